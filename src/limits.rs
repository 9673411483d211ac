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
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::policy::ClassKey;

use active::ActiveRate;
pub use lease::RateLease;
pub use request::{LimitedRequest, RateRefusal};

/// Most keys that are remembered, of all rules together. Those that were not used for longest are
/// forgotten, and begin anew.
const KEYS: usize = 100_000;

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
}
