//! `listen.auth.api_keys`

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::raw::forms::ScalarText;

/// API keys, which `weir key new` makes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ApiKeySettings {
    /// The file of the keys, with their hashes only: a mapping by id, of `subject`, `hash`, and
    /// optional `scopes`, `tags`, `expires`. It is watched.
    pub(in crate::config) file: String,
}

/// The file of API keys: each by its id.
pub(in crate::config) type ApiKeyFile = IndexMap<String, ApiKeyEntry>;

/// One API key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ApiKeyEntry {
    /// The subject that it proves. Several keys may have the same.
    pub(in crate::config) subject: String,
    /// `sha256:` and the SHA-256 of the secret in hex.
    pub(in crate::config) hash: String,
    /// The scopes of the caller.
    pub(in crate::config) scopes: Option<Vec<String>>,
    /// More that policies may read.
    pub(in crate::config) tags: Option<IndexMap<String, ScalarText>>,
    /// The time from which on it is refused: `2027-02-01`, or RFC 3339.
    pub(in crate::config) expires: Option<String>,
}
