//! Counts of look-ups in a cache.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many look-ups found what they looked for, and how many did not.
#[derive(Debug, Default)]
pub struct LookupCounts {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl LookupCounts {
    /// Counts one.
    pub fn count(&self, is_hit: bool) {
        let counter = if is_hit { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many found something, and how many did not.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.hits), read(&self.misses))
    }
}
