//! References to secrets, and text that may be one.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer};

use super::forms::{Or, ScalarText};
use crate::document::de;

/// A secret: where it comes from, or its text.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[serde(rename = "Secret")]
pub(in crate::config) enum SecretRef {
    /// The name of an environment variable.
    Env(String),
    /// The path of a file. One line break at its end is ignored. The file is watched: a new secret
    /// is in use within a second. Keys of weir itself are read with the config instead: those of
    /// `guard.redact` at each reload, `sealing_key`, `sealing_keys`, `audit.sign` and
    /// `audit.hash_key` when weir starts.
    File(String),
    /// A secret in AWS Secrets Manager: its name or ARN, or a mapping.
    AwsSecret(AwsSecret),
    /// The secret itself. Everybody who can read this file can read it.
    Value(ScalarText),
}

/// Text, or a secret reference.
#[derive(Debug)]
pub(in crate::config) enum TextOrSecret {
    Text(String),
    Secret(SecretRef),
}

/// A secret in AWS Secrets Manager.
#[derive(Clone, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AwsSecretRef {
    /// The name or ARN of the secret.
    id: String,
    /// The member to use, if the secret is a JSON object. Default: the whole text.
    key: Option<String>,
    /// The AWS region. Default: that of the ARN, of the profile, or of the environment.
    region: Option<String>,
    /// A profile of the AWS configuration files. Default: the default chain.
    profile: Option<String>,
}

/// A secret in AWS Secrets Manager: its name or ARN, or a mapping.
#[derive(Clone, Debug)]
pub(in crate::config) struct AwsSecret {
    pub(in crate::config) id: String,
    pub(in crate::config) key: Option<String>,
    pub(in crate::config) region: Option<String>,
    pub(in crate::config) profile: Option<String>,
}

impl<'de> Deserialize<'de> for TextOrSecret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let either = Or {
            text: Self::Text,
            other: Self::Secret,
            form: PhantomData,
        };
        from.deserialize_newtype_struct(de::SCALAR_OR, either)
    }
}

impl<'de> Deserialize<'de> for AwsSecret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let either = Or {
            text: |id| Self {
                id,
                key: None,
                region: None,
                profile: None,
            },
            other: |named: AwsSecretRef| Self {
                id: named.id,
                key: named.key,
                region: named.region,
                profile: named.profile,
            },
            form: PhantomData,
        };
        from.deserialize_newtype_struct(de::SCALAR_OR, either)
    }
}

impl JsonSchema for TextOrSecret {
    fn schema_name() -> Cow<'static, str> {
        "TextOrSecret".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (text, secret) = (
            generator.subschema_for::<ScalarText>(),
            generator.subschema_for::<SecretRef>(),
        );
        json_schema!({ "description": "Text, or a secret reference.", "anyOf": [text, secret] })
    }
}

impl JsonSchema for AwsSecret {
    fn schema_name() -> Cow<'static, str> {
        "AwsSecret".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let named = generator.subschema_for::<AwsSecretRef>();
        json_schema!({
            "description": "A secret in AWS Secrets Manager: its name or ARN, or a mapping.",
            "anyOf": [{ "type": "string" }, named],
        })
    }
}
