//! `listen.auth.api_keys`

use schemars::JsonSchema;
use serde::Deserialize;

/// API keys, which `weir key new` makes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ApiKeySettings {
    /// The file of the keys' hashes. It is watched.
    pub(in crate::config) file: String,
}
