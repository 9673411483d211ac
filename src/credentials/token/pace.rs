//! When a token is renewed, and when a failure is tried again.

use std::time::{Duration, SystemTime};

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::Instant;

use crate::credentials::token::GrantError;

/// When a token that does not say when it ends is renewed.
const UNKNOWN: Duration = Duration::from_secs(300);
/// The longest life that is believed: clocks cannot count much further.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// The shortest: what is left of a token has to be worth the request for it, or requests follow each other.
const SHORTEST: Duration = Duration::from_millis(500);
/// Where a token is taken for ended ahead of its time: it has to get to the upstream first.
const MARGIN: Duration = Duration::from_secs(10);

/// The first wait after a failure, and the longest.
const PASSING: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// The same after a no: nothing but a person changes it.
const REFUSED: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));
/// The same where a person has to log in; grants notice by themselves when that has happened.
const REAUTH: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));
/// The longest `Retry-After` that is honoured: calls fail meanwhile.
const RETRY_AFTER: Duration = Duration::from_secs(600);

/// What is left of a token, by a clock that nobody sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// Until when a 401 says that it is refused, rather than that it has ended: half its life. Servers count in whole
    /// seconds, and upstreams have clocks of their own.
    young: Instant,
    /// From when on a new one is fetched: between 80 and 90 % of the life, so that replicas do not all ask at once.
    due: Instant,
    /// From when on it is not sent any more: 5 % before its end, 10 s at most.
    over: Option<Instant>,
}

impl Life {
    /// The life of a token that has just come; `None` if it has ended.
    pub(super) fn until(expires: Option<SystemTime>) -> Option<Self> {
        let now = Instant::now();
        let Some(expires) = expires else {
            return Some(Self {
                young: now + UNKNOWN / 2,
                due: now + UNKNOWN.mul_f64(early(random())),
                over: None,
            });
        };
        let life = expires.duration_since(SystemTime::now()).ok()?;
        if life < SHORTEST {
            return None;
        }
        let life = life.min(LONGEST);
        Some(Self {
            young: now + life / 2,
            due: now + life.mul_f64(early(random())),
            over: Some(now + (life - (life / 20).min(MARGIN))),
        })
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    pub(super) fn is_young(&self, now: Instant) -> bool {
        now < self.young
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.over.is_some_and(|over| now >= over)
    }

    /// For how long it is still sent; `None` if it is over, or does not end.
    pub(super) fn left(&self) -> Option<Duration> {
        self.over?.checked_duration_since(Instant::now())
    }
}

/// The part of a life after which the next token is fetched.
fn early(random: f64) -> f64 {
    0.9 - 0.1 * random
}

/// How long to wait after a failure that came after so many others. `left` is what is left of a token that is still
/// good: what may pass is tried several times within it.
pub(super) fn until_next(error: &GrantError, failures: u32, left: Option<Duration>) -> Duration {
    let (first, longest) = match error {
        GrantError::Later(_, after) => return (*after).min(RETRY_AFTER).max(PASSING.0),
        GrantError::Passing(_) => PASSING,
        GrantError::Refused(_) => REFUSED,
        GrantError::Reauth(_) => REAUTH,
    };
    let doubled = first.saturating_mul(1_u32 << failures.min(16));
    // Between half of it and all of it.
    let wait = doubled.min(longest).mul_f64(1.0 - 0.5 * random());
    match (error, left) {
        (GrantError::Passing(_), Some(left)) => wait.min(left / 4).max(PASSING.0 / 2),
        _ => wait,
    }
}

/// From 0 to 1.
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
        let passing = GrantError::Passing("".into());
        let refused = GrantError::Refused("".into());
        for failures in 0..40 {
            let doubled = PASSING.0.saturating_mul(1 << failures.min(16));
            let longest = doubled.min(PASSING.1);
            let waits = until_next(&passing, failures, None);
            assert!(
                waits <= longest && waits >= longest / 2,
                "{failures}: {waits:?}"
            );
            assert!(until_next(&refused, failures, Some(PASSING.0)) >= REFUSED.0 / 2);
            assert!(until_next(&refused, failures, Some(PASSING.0)) <= REFUSED.1);
        }
    }

    #[test]
    fn while_there_is_a_token_there_is_another_try_before_it_ends() {
        let passing = GrantError::Passing("".into());
        let left = Duration::from_secs(4);
        assert!(until_next(&passing, 30, Some(left)) <= left / 4);
        assert!(until_next(&passing, 30, Some(Duration::ZERO)) >= PASSING.0 / 2);
    }

    #[test]
    fn what_the_server_asks_for_is_waited_for_within_reason() {
        let later = |seconds| GrantError::Later("".into(), Duration::from_secs(seconds));
        assert_eq!(until_next(&later(7), 9, None), Duration::from_secs(7));
        assert_eq!(until_next(&later(1_000_000), 0, None), RETRY_AFTER);
        assert_eq!(until_next(&later(0), 0, None), PASSING.0);
    }

    #[test]
    fn a_token_is_renewed_before_it_ends_and_not_in_the_first_part_of_its_life() {
        for seconds in [1, 3, 60, 3600, 86_400, u64::from(u32::MAX)] {
            let now = Instant::now();
            let full = Duration::from_secs(seconds);
            let life = Life::until(Some(SystemTime::now() + full)).unwrap();
            let full = full.min(LONGEST);
            assert!(!life.is_due(now + full.mul_f64(0.79)), "{seconds}");
            assert!(life.is_due(now + full.mul_f64(0.91)), "{seconds}");
            assert!(!life.is_over(now + full.mul_f64(0.94)), "{seconds}");
            assert!(life.is_over(now + full), "{seconds}");
        }
        assert!(Life::until(Some(SystemTime::UNIX_EPOCH)).is_none());
        let unknown = Life::until(None).unwrap();
        assert!(unknown.is_due(Instant::now() + UNKNOWN));
        assert!(!unknown.is_over(Instant::now() + LONGEST));
    }
}
