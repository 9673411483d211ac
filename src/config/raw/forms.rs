//! Values of the file that may be written in more than one form.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::document::de;

/// Text; a number or a truth value counts as what is written.
#[derive(Clone, Debug)]
pub(in crate::config) struct ScalarText(pub(in crate::config) String);

/// A duration such as `30s`.
#[derive(Clone, Debug)]
pub(in crate::config) struct Duration(pub(in crate::config) String);

/// A size such as `32MiB`, or a number of bytes.
#[derive(Clone, Debug)]
pub(in crate::config) struct Size(pub(in crate::config) String);

/// Any value, as JSON text.
#[derive(Clone, Debug)]
pub(in crate::config) struct Json(pub(in crate::config) String);

/// When an upstream is listed again.
#[derive(Clone, Debug)]
pub(in crate::config) enum Resync {
    /// A duration or a cron expression.
    Text(String),
    /// `{ cron: … }`
    Cron(String),
}

/// Which instructions callers see of an upstream.
#[derive(Clone, Debug)]
pub(in crate::config) enum Instructions {
    /// Its own.
    On,
    /// None.
    Off,
    /// This text.
    Own(String),
}

/// The role to assume: its ARN, or a mapping.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Role {
    /// The ARN of the role, such as `arn:aws:iam::123456789012:role/mcp-invoke`.
    arn: String,
    /// The external id that the trust policy of the role requires.
    external_id: Option<String>,
    /// The session name, which CloudTrail shows. Default: `weir`.
    session_name: Option<String>,
}

/// The role to assume: its ARN, or a mapping.
#[derive(Clone, Debug)]
pub(in crate::config) struct AssumeRole {
    pub(in crate::config) arn: String,
    pub(in crate::config) external_id: Option<String>,
    pub(in crate::config) session_name: Option<String>,
    /// Whether it is written as a mapping.
    pub(in crate::config) is_mapping: bool,
}

#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Cron {
    /// A cron expression in UTC with six fields: second, minute, hour, day of month, month, day of
    /// week.
    cron: String,
}

/// Reads a scalar as it is written.
struct Scalar(&'static str);

impl Visitor<'_> for Scalar {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// Reads a scalar as it is written, or else `T`.
pub(super) struct Or<T, O> {
    pub(super) text: fn(String) -> T,
    pub(super) other: fn(O) -> T,
    pub(super) form: PhantomData<O>,
}

impl<'de, T, O: Deserialize<'de>> Visitor<'de> for Or<T, O> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a mapping")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok((self.text)(text.to_owned()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, other: D) -> Result<T, D::Error> {
        O::deserialize(other).map(self.other)
    }
}

impl<'de> Deserialize<'de> for ScalarText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Scalar("text")).map(Self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Scalar("a duration such as `30s`"))
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Scalar("a size such as `32MiB`"))
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let any = Or::<Self, serde::de::IgnoredAny> {
            text: Self,
            other: |_| Self(String::new()),
            form: PhantomData,
        };
        from.deserialize_newtype_struct(de::JSON, any)
    }
}

impl<'de> Deserialize<'de> for Resync {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let either = Or {
            text: Self::Text,
            other: |Cron { cron }| Self::Cron(cron),
            form: PhantomData,
        };
        from.deserialize_newtype_struct(de::SCALAR_OR, either)
    }
}

impl<'de> Deserialize<'de> for AssumeRole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let either = Or {
            text: |arn| Self {
                arn,
                external_id: None,
                session_name: None,
                is_mapping: false,
            },
            other: |role: Role| Self {
                arn: role.arn,
                external_id: role.external_id,
                session_name: role.session_name,
                is_mapping: true,
            },
            form: PhantomData,
        };
        from.deserialize_newtype_struct(de::SCALAR_OR, either)
    }
}

impl<'de> Deserialize<'de> for Instructions {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = from.deserialize_any(Scalar("text, `true` or `false`"))?;
        // YAML 1.1 has `on` and `off` for truth values, and people still write them.
        Ok(match text.trim() {
            "true" | "on" => Self::On,
            "false" | "off" | "" => Self::Off,
            _ => Self::Own(text),
        })
    }
}

impl JsonSchema for Instructions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Instructions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "boolean"] })
    }
}

impl JsonSchema for AssumeRole {
    fn schema_name() -> Cow<'static, str> {
        "AssumeRole".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let role = generator.subschema_for::<Role>();
        json_schema!({
            "description": "The role to assume: its ARN, or a mapping.",
            "anyOf": [{ "type": "string" }, role],
        })
    }
}

impl JsonSchema for ScalarText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A duration with its unit: `500ms`, `30s`, `5m`, `1h`, `1d`, `1h30m`.",
            "type": "string",
            "pattern": "^([0-9]+(ms|s|m|h|d))+$",
        })
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A size: `32MiB`, `4MB`, `512KiB`, or a number of bytes.",
            "oneOf": [
                { "type": "string", "pattern": "^[0-9]+ ?(B|KB|MB|GB|KiB|MiB|GiB)?$" },
                { "type": "integer", "minimum": 1 },
            ],
        })
    }
}

impl JsonSchema for Json {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}

impl JsonSchema for Resync {
    fn schema_name() -> Cow<'static, str> {
        "Resync".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let cron = generator.subschema_for::<Cron>();
        json_schema!({
            "description": "A duration between two listings, such as `60s`, or a cron expression with seconds in UTC, such as `0 */5 * * * *`.",
            "anyOf": [{ "type": "string" }, cron],
        })
    }
}
