//! `listen.auth.jwt[]`

use schemars::JsonSchema;
use serde::Deserialize;

/// An issuer of tokens, and what must be in them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct JwtIssuer {
    /// The issuer, exactly as in `iss`.
    pub(in crate::config) issuer: String,
}
