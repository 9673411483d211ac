//! `drift:` in both its forms.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::StrDeserializer;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::document::de;

/// The treatment of a definition that differs from its pin: from when it was first seen, or
/// accepted.
#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum DriftPolicy {
    /// It replaces the previous definition.
    Accept,
    /// The pinned definition stays in the catalog until an operator accepts the new one.
    Hold,
    /// Neither definition is in the catalog until an operator accepts the new one.
    Quarantine,
}

/// The largest change that is applied without review, in ascending order.
#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum DriftThreshold {
    /// It means the same, but is written differently.
    Cosmetic,
    /// Calls that were valid still are, and models read nothing new.
    Widened,
    /// Calls that were valid may not be any more.
    Narrowed,
    /// An argument is required that was not required before.
    NewRequired,
    /// An annotation about what a call does has changed: `readOnlyHint`, `destructiveHint`,
    /// `idempotentHint`, `openWorldHint`.
    Annotation,
}

/// How tool and prompt definitions are treated that differ from when they were first seen.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DriftMapping {
    /// How a change beyond `threshold` is treated. Default: `accept`.
    policy: Option<DriftPolicy>,
    /// The largest change that is applied without review. Default: `widened`.
    threshold: Option<DriftThreshold>,
}

/// `drift`: the policy alone, or a mapping.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::config) struct Drift {
    pub(in crate::config) policy: Option<DriftPolicy>,
    pub(in crate::config) threshold: Option<DriftThreshold>,
}

impl<'de> Deserialize<'de> for Drift {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Drift;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a policy or a mapping")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Drift, E> {
                let policy = DriftPolicy::deserialize(StrDeserializer::new(text))?;
                Ok(Drift {
                    policy: Some(policy),
                    threshold: None,
                })
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                other: D,
            ) -> Result<Drift, D::Error> {
                let DriftMapping { policy, threshold } = DriftMapping::deserialize(other)?;
                Ok(Drift { policy, threshold })
            }
        }
        from.deserialize_newtype_struct(de::SCALAR_OR, Either)
    }
}

impl JsonSchema for Drift {
    fn schema_name() -> Cow<'static, str> {
        "Drift".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let policy = generator.subschema_for::<DriftPolicy>();
        let mapping = generator.subschema_for::<DriftMapping>();
        json_schema!({
            "description": "The treatment of a tool or prompt definition that differs from when it was first seen, or accepted: a policy, or a mapping.",
            "anyOf": [policy, mapping],
        })
    }
}
