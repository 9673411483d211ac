//! The amounts that a request took of rules.

use std::sync::Arc;

use crate::limits::key::RateKey;
use crate::limits::shared::{SharedAmount, SharedRates};
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
    /// The keys of both in the store of the replicas, if they were taken there too.
    pub(super) shared: Option<SharedKeys>,
}

/// The keys of what was taken in the store of the replicas.
#[derive(Debug)]
pub(super) struct SharedKeys {
    rates: Arc<SharedRates>,
    requests: Option<String>,
    bytes: Option<String>,
}

/// The amounts to be taken in the store, and the places of their parts in the lease.
#[derive(Debug, Default)]
pub(super) struct AskedAmounts {
    pub(super) amounts: Vec<SharedAmount>,
    pub(super) places: Vec<usize>,
    /// Whether each is of bytes.
    of_bytes: Vec<bool>,
}

impl AskedAmounts {
    fn push(&mut self, place: usize, of_bytes: bool, amount: SharedAmount) {
        self.amounts.push(amount);
        self.places.push(place);
        self.of_bytes.push(of_bytes);
    }
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
            let Some(bucket) = &part.state.bytes else {
                continue;
            };
            bucket.charge_bytes(&part.key, bytes);
            if let Some(SharedKeys {
                rates,
                bytes: Some(key),
                ..
            }) = &part.shared
            {
                rates.charge(key, bucket.nanos_of_bytes(bytes));
            }
        }
    }

    /// Gives everything back, because the request is refused, or goes elsewhere.
    pub(super) fn undo(self) {
        self.parts.iter().for_each(LeasedPart::refund);
    }

    /// Gives back what was not taken in the store of the replicas, because it is refused there.
    pub(super) fn undo_unshared(self) {
        let unshared = self.parts.iter().filter(|part| part.shared.is_none());
        unshared.for_each(LeasedPart::refund);
    }

    /// Returns the state of the rule of a part.
    pub(super) fn state_at(&self, place: usize) -> Option<&Arc<RateState>> {
        self.parts.get(place).map(|part| &part.state)
    }

    /// Returns what is to be taken in the store of the replicas; `None` for nothing. `rule` names
    /// the rule of a state.
    pub(super) fn ask(
        &self,
        shared: &SharedRates,
        rule: impl Fn(&Arc<RateState>) -> Option<String>,
    ) -> Option<AskedAmounts> {
        let mut asked = AskedAmounts::default();
        let unshared = self.parts.iter().enumerate();
        for (place, part) in unshared.filter(|(_, part)| part.shared.is_none()) {
            let Some(rule) = rule(&part.state) else {
                continue;
            };
            let taken = [
                ("requests", &part.state.requests, part.requests),
                ("bytes", &part.state.bytes, part.bytes),
            ];
            for (of, bucket, nanos) in taken {
                if let Some(bucket) = bucket.as_ref().filter(|_| nanos > 0) {
                    let amount = SharedAmount {
                        key: shared.key(&rule, of, &part.key),
                        nanos,
                        owed: bucket.owed(),
                    };
                    asked.push(place, of == "bytes", amount);
                }
            }
        }
        (!asked.amounts.is_empty()).then_some(asked)
    }

    /// Notes that amounts were taken in the store of the replicas.
    pub(super) fn note_shared(&mut self, shared: &Arc<SharedRates>, asked: AskedAmounts) {
        let places = asked.places.into_iter().zip(asked.of_bytes);
        for ((place, of_bytes), amount) in places.zip(asked.amounts) {
            let Some(part) = self.parts.get_mut(place) else {
                continue;
            };
            let keys = part.shared.get_or_insert_with(|| SharedKeys {
                rates: Arc::clone(shared),
                requests: None,
                bytes: None,
            });
            match of_bytes {
                true => keys.bytes = Some(amount.key),
                false => keys.requests = Some(amount.key),
            }
        }
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
        let Some(shared) = &self.shared else {
            return;
        };
        let (requests, bytes) = (shared.requests.as_ref(), shared.bytes.as_ref());
        for (key, nanos) in [(requests, self.requests), (bytes, self.bytes)] {
            if let Some(key) = key {
                shared.rates.refund(key, nanos);
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
