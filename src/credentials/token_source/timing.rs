//! When a token is renewed, and when a failed refresh is tried again.

use std::time::{Duration, SystemTime};

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::Instant;

use crate::credentials::token::GrantError;

/// The lifetime of a token whose expiry is not known, for the purpose of renewing it.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);
/// The longest lifetime that is counted: clocks cannot count much further.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// The shortest lifetime of a token that is used. With less, one request for a token would follow
/// the other.
const MIN_LIFETIME: Duration = Duration::from_millis(500);
/// The most that a token stops being sent before it expires: it has to reach the upstream first.
const MAX_MARGIN: Duration = Duration::from_secs(10);

/// The first and the longest wait after a failure.
#[derive(Clone, Copy)]
struct Backoff {
    first: Duration,
    longest: Duration,
}

/// After a failure that may pass by itself.
const TEMPORARY: Backoff = Backoff {
    first: Duration::from_millis(250),
    longest: Duration::from_secs(30),
};
/// After a rejection, which only a person can change.
const REJECTED: Backoff = Backoff {
    first: Duration::from_secs(30),
    longest: Duration::from_secs(600),
};
/// When a person has to log in. A login is noticed before that, by the grant's version.
const LOGIN_NEEDED: Backoff = Backoff {
    first: Duration::from_secs(10),
    longest: Duration::from_secs(60),
};
/// The longest `Retry-After` that is respected: calls fail meanwhile.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// The lifetime of a token, on a clock that cannot be set.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenLifetime {
    /// Before this instant a 401 means rejected, after it expired: half the lifetime. Servers count
    /// whole seconds, and upstreams have clocks of their own.
    young_until: Instant,
    /// From this instant on a new token is fetched: after 80 to 90 % of the lifetime, at random, so
    /// that replicas do not all ask at once.
    due_at: Instant,
    /// From this instant on the token is no longer sent: 5 % of the lifetime before it expires, at
    /// most 10 s.
    over_at: Option<Instant>,
}

impl TokenLifetime {
    /// Returns the lifetime of a token that has just come; `None` if it has expired, or is about
    /// to.
    pub(super) fn until(expires: Option<SystemTime>) -> Option<Self> {
        let now = Instant::now();
        let Some(expires) = expires else {
            return Some(Self {
                young_until: now + DEFAULT_LIFETIME / 2,
                due_at: now + DEFAULT_LIFETIME.mul_f64(renewal_point(random())),
                over_at: None,
            });
        };
        let lifetime = expires.duration_since(SystemTime::now()).ok()?;
        if lifetime < MIN_LIFETIME {
            return None;
        }
        let lifetime = lifetime.min(MAX_LIFETIME);
        Some(Self {
            young_until: now + lifetime / 2,
            due_at: now + lifetime.mul_f64(renewal_point(random())),
            over_at: Some(now + (lifetime - (lifetime / 20).min(MAX_MARGIN))),
        })
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.due_at
    }

    pub(super) fn is_young(&self, now: Instant) -> bool {
        now < self.young_until
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.over_at.is_some_and(|over_at| now >= over_at)
    }

    /// Returns for how long the token is still sent; `None` if it is over, or has no known end.
    pub(super) fn left(&self) -> Option<Duration> {
        self.over_at?.checked_duration_since(Instant::now())
    }
}

/// Returns the part of a lifetime after which the next token is fetched. `random` is from 0 to 1.
fn renewal_point(random: f64) -> f64 {
    0.9 - 0.1 * random
}

/// Returns how long to wait after a failure that follows `failures` others. `left` is what is left
/// of a token that is still valid: after a temporary failure there are several attempts within it.
pub(super) fn next_wait(error: &GrantError, failures: u32, left: Option<Duration>) -> Duration {
    let backoff = match error {
        GrantError::RetryAfter(_, after) => {
            return (*after).min(MAX_RETRY_AFTER).max(TEMPORARY.first);
        }
        GrantError::Temporary(_) => TEMPORARY,
        GrantError::Rejected(_) => REJECTED,
        GrantError::LoginNeeded(_) => LOGIN_NEEDED,
    };
    let doubled = backoff.first.saturating_mul(1_u32 << failures.min(16));
    // Between half of it and all of it.
    let wait = doubled.min(backoff.longest).mul_f64(1.0 - 0.5 * random());
    match (error, left) {
        (GrantError::Temporary(_), Some(left)) => wait.min(left / 4).max(TEMPORARY.first / 2),
        _ => wait,
    }
}

/// Returns a random number from 0 to 1.
fn random() -> f64 {
    let mut bytes = [0; 2];
    // Without randomness there is no jitter.
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX),
        Err(_) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_up_to_a_bound_and_a_no_waits_longer() {
        let temporary = GrantError::Temporary("".into());
        let rejected = GrantError::Rejected("".into());
        for failures in 0..40 {
            let doubled = TEMPORARY.first.saturating_mul(1 << failures.min(16));
            let longest = doubled.min(TEMPORARY.longest);
            let waits = next_wait(&temporary, failures, None);
            assert!(
                waits <= longest && waits >= longest / 2,
                "{failures}: {waits:?}"
            );
            assert!(next_wait(&rejected, failures, Some(TEMPORARY.first)) >= REJECTED.first / 2);
            assert!(next_wait(&rejected, failures, Some(TEMPORARY.first)) <= REJECTED.longest);
        }
    }

    #[test]
    fn while_there_is_a_token_there_is_another_try_before_it_ends() {
        let temporary = GrantError::Temporary("".into());
        let left = Duration::from_secs(4);
        assert!(next_wait(&temporary, 30, Some(left)) <= left / 4);
        assert!(next_wait(&temporary, 30, Some(Duration::ZERO)) >= TEMPORARY.first / 2);
    }

    #[test]
    fn what_the_server_asks_for_is_waited_for_within_reason() {
        let later = |seconds| GrantError::RetryAfter("".into(), Duration::from_secs(seconds));
        assert_eq!(next_wait(&later(7), 9, None), Duration::from_secs(7));
        assert_eq!(next_wait(&later(1_000_000), 0, None), MAX_RETRY_AFTER);
        assert_eq!(next_wait(&later(0), 0, None), TEMPORARY.first);
    }

    #[test]
    fn a_token_is_renewed_before_it_ends_and_not_in_the_first_part_of_its_life() {
        for seconds in [1, 3, 60, 3600, 86_400, u64::from(u32::MAX)] {
            let now = Instant::now();
            let full = Duration::from_secs(seconds);
            let lifetime = TokenLifetime::until(Some(SystemTime::now() + full)).unwrap();
            let full = full.min(MAX_LIFETIME);
            assert!(!lifetime.is_due(now + full.mul_f64(0.79)), "{seconds}");
            assert!(lifetime.is_due(now + full.mul_f64(0.91)), "{seconds}");
            assert!(!lifetime.is_over(now + full.mul_f64(0.94)), "{seconds}");
            assert!(lifetime.is_over(now + full), "{seconds}");
        }
        assert!(TokenLifetime::until(Some(SystemTime::UNIX_EPOCH)).is_none());
        let unknown = TokenLifetime::until(None).unwrap();
        assert!(unknown.is_due(Instant::now() + DEFAULT_LIFETIME));
        assert!(!unknown.is_over(Instant::now() + MAX_LIFETIME));
    }
}
