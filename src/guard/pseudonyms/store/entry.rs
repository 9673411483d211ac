//! Values in a store.

use std::time::Duration;

use crate::classes::Class;

/// How much a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// The most values.
    pub values: usize,
    /// The most bytes of memory.
    pub bytes: usize,
    /// How long a value is kept that nobody uses.
    pub keep: Duration,
}

impl Default for StoreLimits {
    /// Returns 100,000 values, 64 MiB and 30 days.
    fn default() -> Self {
        Self {
            values: 100_000,
            bytes: 64 << 20,
            keep: Duration::from_hours(30 * 24),
        }
    }
}

/// A value that is kept.
#[derive(Clone)]
pub(in crate::guard::pseudonyms) struct Entry {
    /// Its class.
    pub class: Class,
    /// The value, encrypted.
    pub sealed: Box<[u8]>,
    /// When it was used last, in seconds since 1970, and what the file says of that.
    pub used: u64,
    pub noted: u64,
    /// Its place in the order of use.
    pub turn: u64,
}
