//! Counters.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counter of the values of one class with one outcome.
#[derive(Debug)]
pub(super) struct GuardCounter {
    pub(super) labels: [Box<str>; 3],
    pub(super) values: Counter,
}
