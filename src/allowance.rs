//! An allowance: time that may be spent at once, and that comes back as time goes by. It is how
//! weir lets bursts pass and still bounds the rate of what peers cause.

use std::time::Duration;

use tokio::time::Instant;

/// An allowance. Spending more than there is makes a debt, which has to be waited out.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// The most that can be spent at once.
    burst: Duration,
    /// When all that was spent is back.
    whole_at: Option<Instant>,
}

impl Allowance {
    /// Returns an allowance of which nothing is spent.
    #[must_use]
    pub const fn new(burst: Duration) -> Self {
        Self {
            burst,
            whole_at: None,
        }
    }

    /// Spends a part, whether or not there is as much.
    pub fn spend(&mut self, cost: Duration, now: Instant) {
        let from = self.whole_at.map_or(now, |whole_at| whole_at.max(now));
        self.whole_at = from.checked_add(cost).or(self.whole_at);
    }

    /// Returns how long to wait at `now` until there is no debt.
    #[must_use]
    pub fn debt(&self, now: Instant) -> Duration {
        let spent = self
            .whole_at
            .map(|whole_at| whole_at.saturating_duration_since(now));
        spent.unwrap_or_default().saturating_sub(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_what_follows_is_as_fast_as_time_goes_by() {
        let (burst, cost) = (Duration::from_secs(4), Duration::from_secs(1));
        let (mut allowance, begin) = (Allowance::new(burst), Instant::now());
        let mut now = begin;
        for _ in 0..14 {
            now += allowance.debt(now);
            allowance.spend(cost, now);
        }
        // Four at once, one more on credit, and nine that waited for a second each.
        assert_eq!(now - begin, Duration::from_secs(9));
        // After a quiet time there is as much as in the beginning, and not more.
        now += Duration::from_secs(3_600);
        (0..5).for_each(|_| allowance.spend(cost, now));
        assert_eq!(allowance.debt(now), cost);
    }
}
