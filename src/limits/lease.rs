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

    /// Pays for bytes of the answer.
    pub fn charge(&self, bytes: usize) {
        for part in &self.parts {
            if let Some(bucket) = &part.state.bytes {
                bucket.charge_bytes(&part.key, bytes);
            }
        }
    }

    /// Gives everything back, because the request is refused.
    pub(super) fn undo(self) {
        for part in &self.parts {
            if let Some(bucket) = part.state.requests.as_ref().filter(|_| part.requests > 0) {
                bucket.refund(&part.key, part.requests);
            }
            if let Some(bucket) = part.state.bytes.as_ref().filter(|_| part.bytes > 0) {
                bucket.refund(&part.key, part.bytes);
            }
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
