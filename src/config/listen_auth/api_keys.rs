//! `listen.auth.api_keys`

use std::path::PathBuf;

/// API keys, which `weir key new` makes.
#[derive(Clone, Debug)]
pub struct ApiKeySettings {
    /// The file of the keys' hashes.
    pub file: PathBuf,
}
