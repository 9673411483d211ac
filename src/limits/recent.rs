//! The numbers that `governor` keeps for keys. There is a bound to how many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use foldhash::HashMap;
use governor::clock::Clock;
use governor::nanos::Nanos;
use governor::state::StateStore;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::limits::key::RateKey;

/// A clock of the time since it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct LimitClock(Instant);

impl LimitClock {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// Returns the time in nanoseconds.
    pub(super) fn nanos(&self) -> u64 {
        u64::try_from(self.now().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Clock for LimitClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// For each key the time, in nanoseconds of its clock, at which all that was taken has come back
/// (the theoretical arrival time of GCRA). Clones are the same store.
#[derive(Clone, Debug)]
pub(super) struct RecentArrivals(Arc<Store>);

#[derive(Debug)]
struct Store {
    clock: LimitClock,
    most: AtomicUsize,
    arrivals: Mutex<ArrivalMaps>,
}

/// The keys that came lately, and those from before. When there are too many, those that have
/// everything back are forgotten first, for they are like new; then the ones that were not used for
/// longest.
#[derive(Debug, Default)]
struct ArrivalMaps {
    young: HashMap<RateKey, u64>,
    old: HashMap<RateKey, u64>,
}

impl RecentArrivals {
    pub(super) fn new(clock: LimitClock) -> Self {
        Self(Arc::new(Store {
            clock,
            most: AtomicUsize::new(usize::MAX),
            arrivals: Mutex::default(),
        }))
    }

    /// Sets how many keys are remembered at most.
    pub(super) fn set_most(&self, most: usize) {
        self.0.most.store(most, Ordering::Relaxed);
    }

    /// Takes more, whether it is there or not.
    pub(super) fn charge(&self, key: &RateKey, nanos: u64) {
        let now = self.0.clock.nanos();
        self.update(key, now, |arrival| arrival.max(now).saturating_add(nanos));
    }

    /// Gives back what was taken.
    pub(super) fn refund(&self, key: &RateKey, nanos: u64) {
        let now = self.0.clock.nanos();
        self.update(key, now, |arrival| arrival.saturating_sub(nanos));
    }

    fn update(&self, key: &RateKey, now: u64, change: impl FnOnce(u64) -> u64) {
        let mut arrivals = self.0.arrivals.lock();
        let arrival = arrivals.get(key).unwrap_or(now);
        let most = self.0.most.load(Ordering::Relaxed);
        arrivals.set(key, change(arrival), now, most);
    }

    /// Returns how many keys are remembered, and how many bytes their tables have.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let arrivals = self.0.arrivals.lock();
        let maps = [&arrivals.young, &arrivals.old];
        let entry = size_of::<(RateKey, u64)>() + 1;
        let bytes = maps.map(|map| map.capacity().div_ceil(7) * 8 * entry);
        (maps.map(HashMap::len).iter().sum(), bytes.iter().sum())
    }
}

impl StateStore for RecentArrivals {
    type Key = RateKey;

    fn measure_and_replace<T, F, E>(&self, key: &RateKey, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut arrivals = self.0.arrivals.lock();
        let before = arrivals.get(key);
        let decided = decide(before.map(Nanos::from));
        let after = match (&decided, before) {
            (Ok((_, after)), _) => after.as_u64(),
            // A key that is refused counts as used.
            (Err(_), Some(before)) => before,
            (Err(_), None) => return decided.map(|(value, _)| value),
        };
        let most = self.0.most.load(Ordering::Relaxed);
        arrivals.set(key, after, self.0.clock.nanos(), most);
        decided.map(|(value, _)| value)
    }
}

impl ArrivalMaps {
    fn get(&self, key: &RateKey) -> Option<u64> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    fn set(&mut self, key: &RateKey, arrival: u64, now: u64, most: usize) {
        if let Some(known) = self.young.get_mut(key) {
            *known = arrival;
            return;
        }
        self.old.remove(key);
        if self.young.len() >= (most / 2).max(1) {
            self.young.retain(|_, arrival| *arrival > now);
            // If few were like new, the next newcomers must not look through all again.
            if self.young.len() >= (most / 4).max(1) {
                self.old = std::mem::take(&mut self.young);
            }
        }
        self.young.insert(key.clone(), arrival);
    }
}
