//! The rate of one rule: what is taken comes back at that rate.

use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::{Quota, RateLimiter};

use crate::config::Rate;
use crate::limits::key::RateKey;
use crate::limits::recent::{LimitClock, RecentArrivals};

/// The size of the pieces that bytes are admitted in. A nanosecond is too long for a single byte.
const CELL: u64 = 1024;

/// A rate, with what was taken of it by each key.
#[derive(Debug)]
pub(super) struct Bucket {
    limiter: RateLimiter<RateKey, RecentArrivals, LimitClock, NoOpMiddleware<Duration>>,
    arrivals: RecentArrivals,
    clock: LimitClock,
    rate: Rate,
    /// The time in which what one admission takes comes back, in nanoseconds.
    cell: u64,
}

impl Bucket {
    /// Makes the bucket of a rate of requests.
    pub(super) fn of_requests(rate: Rate) -> Self {
        Self::new(rate, 1)
    }

    /// Makes the bucket of a rate of bytes.
    pub(super) fn of_bytes(rate: Rate) -> Self {
        Self::new(rate, CELL)
    }

    fn new(rate: Rate, cell: u64) -> Self {
        let clock = LimitClock::new();
        let cell = nanos_of(rate, cell).max(1);
        let arrivals = RecentArrivals::new(clock);
        // `None` is a period of nothing, which `max` rules out.
        let quota = Quota::with_period(Duration::from_nanos(cell));
        let quota = quota.unwrap_or_else(|| Quota::per_second(rate.burst));
        let quota = quota.allow_burst(rate.burst);
        Self {
            limiter: RateLimiter::new(quota, arrivals.clone(), clock),
            arrivals,
            clock,
            rate,
            cell,
        }
    }

    /// Takes one request, or the first piece of one. Returns the nanoseconds in which it comes back.
    ///
    /// # Errors
    /// There is nothing left, for so long.
    pub(super) fn take(&self, key: &RateKey) -> Result<u64, Duration> {
        let taken = self.limiter.check_key(key);
        taken.map_err(|until| until.wait_time_from(governor::clock::Clock::now(&self.clock)))?;
        Ok(self.cell)
    }

    /// Takes a request of this many bytes, if there is something left: the rest is owed. Returns the
    /// nanoseconds in which it comes back.
    ///
    /// # Errors
    /// There is nothing left, for so long.
    pub(super) fn take_bytes(&self, key: &RateKey, bytes: usize) -> Result<u64, Duration> {
        let cell = self.take(key)?;
        let more = self.nanos_of_bytes(bytes).saturating_sub(cell);
        self.arrivals.charge(key, more);
        Ok(cell.saturating_add(more))
    }

    /// Takes bytes that are there already, whether they are left or not.
    pub(super) fn charge_bytes(&self, key: &RateKey, bytes: usize) {
        self.arrivals.charge(key, self.nanos_of_bytes(bytes));
    }

    /// Gives back what takes this many nanoseconds to come back.
    pub(super) fn refund(&self, key: &RateKey, nanos: u64) {
        self.arrivals.refund(key, nanos);
    }

    /// Returns the nanoseconds of what may be owed before an admission.
    pub(super) fn owed(&self) -> u64 {
        let cells = u64::from(self.rate.burst.get()).saturating_sub(1);
        self.cell.saturating_mul(cells)
    }

    pub(super) fn set_most(&self, most: usize) {
        self.arrivals.set_most(most);
    }

    /// Returns how many keys are remembered, and how many bytes their tables have.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        self.arrivals.size()
    }

    pub(super) fn nanos_of_bytes(&self, bytes: usize) -> u64 {
        nanos_of(self.rate, bytes as u64)
    }
}

/// Returns the nanoseconds in which so much comes back.
fn nanos_of(rate: Rate, amount: u64) -> u64 {
    let nanos = rate.period.as_nanos() * u128::from(amount) / u128::from(rate.amount.get());
    u64::try_from(nanos).unwrap_or(u64::MAX)
}
