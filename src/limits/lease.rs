//! The amounts that a request took of rules.

use std::sync::Arc;

use crate::limits::key::RateKey;
use crate::limits::state::RateState;

/// The amounts that one request took of the rules that are about it. Dropped, it gives back its places among
/// requests at the same time.
#[derive(Debug, Default)]
pub struct RateLease {
    parts: Vec<LeasedPart>,
}

/// The amount that was taken of one rule.
#[derive(Debug)]
pub(super) struct LeasedPart {
    pub(super) state: Arc<RateState>,
    pub(super) key: RateKey,
    /// Whether a place was taken.
    pub(super) has_place: bool,
    /// The nanoseconds in which what was taken comes back: of requests, and of bytes.
    pub(super) requests: u64,
    pub(super) bytes: u64,
}

impl RateLease {
    pub(super) fn add(&mut self, part: LeasedPart) {
        self.parts.push(part);
    }

    /// Adds all that another one took.
    pub(super) fn append(&mut self, mut other: Self) {
        self.parts.append(&mut other.parts);
    }

    /// Pays for bytes of the answer.
    pub fn charge(&self, bytes: usize) {
        for part in &self.parts {
            if let Some(bucket) = &part.state.bytes {
                bucket.charge_bytes(&part.key, bytes);
            }
        }
    }

    /// Gives everything back, because the request is refused, or goes elsewhere.
    pub(super) fn undo(self) {
        self.parts.iter().for_each(LeasedPart::refund);
    }

    /// Takes out what was taken of one rule under a key.
    pub(super) fn take_out(&mut self, state: &Arc<RateState>, key: &RateKey) -> Option<LeasedPart> {
        let is_it = |part: &LeasedPart| Arc::ptr_eq(&part.state, state) && part.key == *key;
        let at = self.parts.iter().position(is_it)?;
        Some(self.parts.swap_remove(at))
    }
}

impl LeasedPart {
    /// Gives back what it took of rates; its place goes with it.
    fn refund(&self) {
        if let Some(bucket) = self.state.requests.as_ref().filter(|_| self.requests > 0) {
            bucket.refund(&self.key, self.requests);
        }
        if let Some(bucket) = self.state.bytes.as_ref().filter(|_| self.bytes > 0) {
            bucket.refund(&self.key, self.bytes);
        }
    }
}

impl Drop for LeasedPart {
    fn drop(&mut self) {
        if let Some(counts) = self.state.in_flight.as_ref().filter(|_| self.has_place) {
            counts.leave(&self.key);
        }
    }
}
