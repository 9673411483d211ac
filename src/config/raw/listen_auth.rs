//! `listen.auth`: `none`, or a mapping of the ways in.

mod api_keys;
mod client_certificates;
mod jwt;
mod platform;

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::StrDeserializer;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::document::de;

pub(in crate::config) use api_keys::{ApiKeyEntry, ApiKeyFile, ApiKeySettings};
pub(in crate::config) use client_certificates::ClientCertificates;
pub(in crate::config) use jwt::{ClaimRule, Jwks, JwtIssuer};
pub(in crate::config) use platform::PlatformIdentity;

/// How callers are authenticated: `none`, or a mapping.
#[derive(Debug)]
pub(in crate::config) enum ListenAuth {
    /// Not by weir: something in front of it authenticates.
    None,
    /// In one of these ways.
    Callers(Box<CallerAuth>),
}

/// `none`, alone.
#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum NoAuth {
    /// Not by weir: something in front of it authenticates.
    None,
}

/// The ways in which callers may be authenticated. Every request needs one of them.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CallerAuth {
    /// The URL of the MCP endpoint as clients know it, such as `https://weir.example.com/mcp`: the
    /// `resource` of the metadata (RFC 9728), letter by letter, and the default audience of tokens.
    /// Required with `jwt` if the address is not loopback. Default: on loopback, that of the
    /// request's `Host`.
    pub(in crate::config) public_url: Option<String>,
    /// JSON Web Tokens: whose, and what must be in them. A token needs one entry that fits.
    pub(in crate::config) jwt: Option<Vec<JwtIssuer>>,
    /// API keys, which `weir key new` makes.
    pub(in crate::config) api_keys: Option<ApiKeySettings>,
    /// Client certificates. They need `listen.tls`.
    pub(in crate::config) client_certificates: Option<ClientCertificates>,
    /// An identity that a platform in front of weir asserts in headers.
    pub(in crate::config) platform: Option<PlatformIdentity>,
    /// The metadata of the protected resource (RFC 9728), which tells clients where to get a token.
    pub(in crate::config) metadata: Option<ResourceMetadata>,
}

/// The metadata of the protected resource (RFC 9728), which tells clients where to get a token.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ResourceMetadata {
    /// The name that clients show to their users. Default: `server.title`, or `weir`.
    pub(in crate::config) name: Option<String>,
    /// The scopes that clients ask for. Default: all `scopes` and `all_scopes` of `jwt`.
    pub(in crate::config) scopes: Option<Vec<String>>,
    /// The issuers that clients get tokens from. Default: those of `jwt`.
    pub(in crate::config) authorization_servers: Option<Vec<String>>,
    /// A page for developers of clients.
    pub(in crate::config) documentation: Option<String>,
}

impl<'de> Deserialize<'de> for ListenAuth {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ListenAuth;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`none` or a mapping")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ListenAuth, E> {
                let NoAuth::None = NoAuth::deserialize(StrDeserializer::new(text))?;
                Ok(ListenAuth::None)
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                other: D,
            ) -> Result<ListenAuth, D::Error> {
                CallerAuth::deserialize(other).map(|auth| ListenAuth::Callers(Box::new(auth)))
            }
        }
        from.deserialize_newtype_struct(de::SCALAR_OR, Either)
    }
}

impl JsonSchema for ListenAuth {
    fn schema_name() -> Cow<'static, str> {
        "ListenAuth".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let none = generator.subschema_for::<NoAuth>();
        let callers = generator.subschema_for::<CallerAuth>();
        json_schema!({
            "description": "How callers are authenticated: `none`, or a mapping of the ways.",
            "anyOf": [none, callers],
        })
    }
}
