//! Requests at the same time under one rule.

use std::num::NonZeroU32;

use foldhash::HashMap;
use parking_lot::Mutex;

use crate::limits::key::RateKey;

/// The requests under way, by key. There is no entry for a key without any.
#[derive(Debug)]
pub(super) struct InFlightCounts {
    most: u32,
    counts: Mutex<HashMap<RateKey, u32>>,
}

impl InFlightCounts {
    pub(super) fn new(most: NonZeroU32) -> Self {
        Self {
            most: most.get(),
            counts: Mutex::default(),
        }
    }

    /// Takes a place. Returns whether there was one.
    pub(super) fn enter(&self, key: &RateKey) -> bool {
        let mut counts = self.counts.lock();
        let count = counts.entry(key.clone()).or_default();
        let is_free = *count < self.most;
        *count += u32::from(is_free);
        is_free
    }

    /// Gives a place back.
    pub(super) fn leave(&self, key: &RateKey) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(key);
                // After a crowd the table would stay as large as it was.
                if counts.is_empty() {
                    counts.shrink_to_fit();
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.counts.lock().len()
    }
}
