//! Limits of what callers may ask for: `limits.rates`.
//!
//! A request that rules are about has to be within all of them. It gets a [`RateLease`], which pays
//! for the bytes of its answer, and gives its places among requests at the same time back when it is
//! dropped, whatever its end. Rates are kept by `governor`, whose algorithm (GCRA) needs one number
//! for each rule and key; how many keys there are is bounded.

mod active;
mod bucket;
mod in_flight;
mod key;
mod lease;
mod recent;
mod request;
mod shared;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, WhenLost};
use crate::metrics::Metrics;
use crate::policy::ClassKey;
use crate::replicas::StoreLost;

use active::ActiveRate;
use state::RateState;

pub use lease::RateLease;
pub use request::{LimitedRequest, RateRefusal};
pub use shared::SharedRates;

/// Most keys that are remembered, of all rules together. Those that were not used for longest are
/// forgotten, and begin anew.
const KEYS: usize = 100_000;

/// After how long a request may come again that was refused because the store of the replicas is lost.
const LOST_WAIT: Duration = Duration::from_secs(1);

/// The rules in force, with what they know of requests.
#[derive(Debug)]
pub struct RateLimits {
    rates: Box<[ActiveRate]>,
}

impl RateLimits {
    /// Puts the rules of a config in force; `None` if it has none. Rules that are the same as `before`
    /// go on with what they know.
    #[must_use]
    pub fn of(before: Option<&Self>, config: &Config, metrics: &Metrics) -> Option<Arc<Self>> {
        if config.rates.is_empty() {
            return None;
        }
        let mut earlier: Vec<_> = before.iter().flat_map(|limits| &limits.rates).collect();
        let rates = config.rates.iter().map(|rule| {
            let same = |known: &&ActiveRate| known.fingerprint() == rule.fingerprint;
            let known = earlier.iter().position(same);
            let known = known.map(|at| earlier.swap_remove(at));
            ActiveRate::new(rule, known, metrics.limited(&rule.name))
        });
        let rates: Box<[_]> = rates.collect();
        let stores: usize = rates.iter().map(ActiveRate::stores).sum();
        let each = KEYS / stores.max(1);
        rates.iter().for_each(|rate| rate.set_most(each));
        Some(Arc::new(Self { rates }))
    }

    /// Takes what a request needs of every rule that is about it. `class` returns the class of its
    /// caller, and is asked only if a rule needs it.
    ///
    /// # Errors
    /// A rule lets no more pass now. Then nothing is taken.
    pub fn admit(
        &self,
        request: &LimitedRequest<'_>,
        class: impl Fn() -> Option<ClassKey>,
    ) -> Result<RateLease, RateRefusal> {
        let mut lease = RateLease::default();
        for rate in self.rates.iter().filter(|rate| rate.is_about(request)) {
            let Some(key) = rate.key_of(request, &class) else {
                continue;
            };
            if let Err(wait) = rate.take(key, request.bytes, &mut lease) {
                lease.undo();
                return Err(rate.refuse(wait));
            }
        }
        Ok(lease)
    }

    /// Takes what a request needs that goes elsewhere than `before` was taken for: what both need stays
    /// taken, and the rest of `before` is given back.
    ///
    /// # Errors
    /// A rule lets no more pass now. What was taken before stays so: the request came.
    pub fn admit_elsewhere(
        &self,
        request: &LimitedRequest<'_>,
        class: impl Fn() -> Option<ClassKey>,
        mut before: RateLease,
    ) -> Result<RateLease, RateRefusal> {
        let (mut lease, mut kept) = (RateLease::default(), RateLease::default());
        for rate in self.rates.iter().filter(|rate| rate.is_about(request)) {
            let Some(key) = rate.key_of(request, &class) else {
                continue;
            };
            if let Some(part) = before.take_out(rate.state(), &key) {
                kept.add(part);
            } else if let Err(wait) = rate.take(key, request.bytes, &mut lease) {
                lease.undo();
                return Err(rate.refuse(wait));
            }
        }
        before.undo();
        lease.append(kept);
        Ok(lease)
    }

    /// Takes of the rates that replicas count together, what a lease took on this one. While their
    /// store is lost, what this one knows decides, or nothing passes, as the operator wants it.
    ///
    /// # Errors
    /// A rule lets no more pass now. Then what the lease took of late is given back.
    pub async fn confirm(
        &self,
        shared: &Arc<SharedRates>,
        mut lease: RateLease,
    ) -> Result<RateLease, RateRefusal> {
        let Some(asked) = lease.ask(shared, |state| self.rule_of(state)) else {
            return Ok(lease);
        };
        let (place, wait) = match shared.take(&asked.amounts).await {
            Ok(None) => {
                lease.note_shared(shared, asked);
                return Ok(lease);
            }
            Ok(Some((index, wait))) => (asked.places.get(index).copied(), wait),
            Err(StoreLost) if shared.store().when_lost() == WhenLost::Local => return Ok(lease),
            Err(StoreLost) => (asked.places.first().copied(), LOST_WAIT),
        };
        let state = place.and_then(|place| lease.state_at(place)).cloned();
        lease.undo_unshared();
        let rate = state.and_then(|state| self.rate_of(&state));
        // There is one: the lease is of these rules.
        rate.map_or(Ok(RateLease::default()), |rate| Err(rate.refuse(wait)))
    }

    fn rate_of(&self, state: &Arc<RateState>) -> Option<&ActiveRate> {
        self.rates
            .iter()
            .find(|rate| Arc::ptr_eq(rate.state(), state))
    }

    /// Returns the name that a rule has on every replica: its digest.
    fn rule_of(&self, state: &Arc<RateState>) -> Option<String> {
        Some(self.rate_of(state)?.fingerprint().to_hex())
    }
}
