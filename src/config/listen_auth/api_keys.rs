//! `listen.auth.api_keys`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

/// API keys, which `weir key new` makes.
#[derive(Clone, Debug)]
pub struct ApiKeySettings {
    /// The file of the keys' hashes.
    pub file: PathBuf,
}

/// One API key of the file: all of it but the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyEntry {
    /// The id, the second part of the key.
    pub id: Box<str>,
    /// The subject that the key proves.
    pub subject: Box<str>,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// The scopes of the caller.
    pub scopes: Vec<Box<str>>,
    /// More that policies may read.
    pub tags: BTreeMap<Box<str>, Box<str>>,
    /// When the key ends to be valid.
    pub expires: Option<SystemTime>,
}

impl ApiKeyEntry {
    /// The largest file of API keys, in bytes.
    pub const MAX_FILE: u64 = 1 << 20;
    /// The most keys of a file.
    pub const MOST: usize = 10_000;

    /// Returns whether this can be the id of a key: 1 to 32 letters, digits and `-`.
    #[must_use]
    pub fn is_id(text: &str) -> bool {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=32).contains(&text.len()) && text.bytes().all(legal)
    }
}
