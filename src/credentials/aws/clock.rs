//! This machine's clock, corrected by the clocks of AWS.
//!
//! A signature contains the time at which it was made, and AWS rejects it if that differs by more
//! than five minutes from its own time (IAM user guide, "Troubleshoot Signature Version 4"). The
//! `Date` header of its answer is enough to sign as if this machine's clock were right.

use parking_lot::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, header};

/// Up to this offset the clock counts as right: a `Date` header has whole seconds, and took some
/// time to arrive.
const TOLERANCE: Duration = Duration::from_secs(30);
/// A larger offset is not corrected: whoever makes weir sign for another day could use that
/// signature on that day.
const MAX_OFFSET: Duration = Duration::from_secs(24 * 3600);

/// A clock that can be corrected.
#[derive(Debug, Default)]
pub struct Clock {
    correction: Mutex<Correction>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Correction {
    offset: ClockOffset,
    /// Counts the corrections.
    number: u32,
}

/// How far this machine's clock is from the real time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockOffset {
    /// Within the tolerance.
    #[default]
    None,
    /// Behind by this much.
    Behind(Duration),
    /// Ahead by this much.
    Ahead(Duration),
}

/// The result of [`Clock::correct`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockCorrection {
    /// The clock is corrected, now or since the request was signed.
    Yes,
    /// Nothing: the answer has no `Date` header.
    NoDate,
    /// Nothing: the answer's time is the time of the signature.
    Agrees,
    /// Nothing: the clock is off by more than a day.
    TooFar(ClockOffset),
}

impl Clock {
    /// Returns the corrected time, and the number of the correction.
    #[must_use]
    pub fn now(&self) -> (SystemTime, u32) {
        let correction = self.correction();
        let now = correction.offset.apply(SystemTime::now());
        (now, correction.number)
    }

    /// Returns how far this machine's clock is off, as far as is known.
    #[must_use]
    pub fn offset(&self) -> ClockOffset {
        self.correction().offset
    }

    /// Corrects the clock by the `Date` header of an answer that rejected a request for its time.
    /// `number` is the number of the correction with which that request was signed.
    pub fn correct(&self, number: u32, headers: &HeaderMap) -> ClockCorrection {
        self.correct_at(number, headers, SystemTime::now())
    }

    fn correct_at(&self, number: u32, headers: &HeaderMap, local: SystemTime) -> ClockCorrection {
        let mut correction = self.correction.lock();
        if correction.number != number {
            return ClockCorrection::Yes;
        }
        let date = headers.get(header::DATE);
        let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let Some(remote) = date else {
            return ClockCorrection::NoDate;
        };
        if offset_between(correction.offset.apply(local), remote) == ClockOffset::None {
            return ClockCorrection::Agrees;
        }
        let offset = offset_between(local, remote);
        match offset {
            ClockOffset::Behind(by) | ClockOffset::Ahead(by) if by > MAX_OFFSET => {
                return ClockCorrection::TooFar(offset);
            }
            ClockOffset::None | ClockOffset::Behind(_) | ClockOffset::Ahead(_) => {}
        }
        *correction = Correction {
            offset,
            number: correction.number.wrapping_add(1),
        };
        ClockCorrection::Yes
    }

    fn correction(&self) -> Correction {
        *self.correction.lock()
    }
}

fn offset_between(local: SystemTime, remote: SystemTime) -> ClockOffset {
    match remote.duration_since(local) {
        Ok(by) if by > TOLERANCE => ClockOffset::Behind(by),
        Err(ahead) if ahead.duration() > TOLERANCE => ClockOffset::Ahead(ahead.duration()),
        Ok(_) | Err(_) => ClockOffset::None,
    }
}

impl ClockOffset {
    fn apply(self, local: SystemTime) -> SystemTime {
        let corrected = match self {
            Self::None => Some(local),
            Self::Behind(by) => local.checked_add(by),
            Self::Ahead(by) => local.checked_sub(by),
        };
        corrected.unwrap_or(UNIX_EPOCH)
    }

    /// Describes the offset in a sentence; `None` if the clock is right.
    #[must_use]
    pub fn describe(self) -> Option<String> {
        let (by, side) = match self {
            Self::None => return None,
            Self::Behind(by) => (by, "behind"),
            Self::Ahead(by) => (by, "ahead of"),
        };
        let minutes = (by.as_secs() + 30) / 60;
        let by = match (minutes, by.as_secs()) {
            (0 | 1, seconds) => format!("{seconds} seconds"),
            (2..120, _) => format!("{minutes} minutes"),
            _ => format!("{} hours", (minutes + 30) / 60),
        };
        Some(format!("this machine's clock is {by} {side} AWS's"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dated(at: SystemTime) -> HeaderMap {
        let date = httpdate::fmt_http_date(at).parse().unwrap();
        HeaderMap::from_iter([(header::DATE, date)])
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_clock_is_put_right_once_and_says_how_far_it_is_off() {
        let (clock, local) = (Clock::default(), SystemTime::now());
        let remote = dated(local + 10 * MINUTE);
        assert_eq!(clock.correct_at(0, &remote, local), ClockCorrection::Yes);
        let text = clock.offset().describe().unwrap();
        assert_eq!(text, "this machine's clock is 10 minutes behind AWS's");
        let (now, number) = clock.now();
        assert!(now > local + 9 * MINUTE);
        // A request that was signed before the correction is repeated without reading its date. One
        // that was signed after it has another problem.
        let nothing = HeaderMap::new();
        assert_eq!(clock.correct_at(0, &nothing, local), ClockCorrection::Yes);
        assert_eq!(
            clock.correct_at(number, &remote, local),
            ClockCorrection::Agrees
        );
        assert_eq!(
            clock.correct_at(number, &nothing, local),
            ClockCorrection::NoDate
        );
    }

    #[test]
    fn a_clock_that_is_right_again_needs_no_correction() {
        let (clock, local) = (Clock::default(), SystemTime::now());
        let remote = dated(local - 7 * MINUTE);
        assert_eq!(clock.correct_at(0, &remote, local), ClockCorrection::Yes);
        let text = clock.offset().describe().unwrap();
        assert_eq!(text, "this machine's clock is 7 minutes ahead of AWS's");
        let right = dated(local);
        assert_eq!(clock.correct_at(1, &right, local), ClockCorrection::Yes);
        assert_eq!(clock.offset(), ClockOffset::None);
        assert_eq!(clock.offset().describe(), None);
    }

    #[test]
    fn nobody_makes_weir_sign_for_another_week() {
        let (clock, local) = (Clock::default(), SystemTime::now());
        let remote = dated(local + 7 * 24 * 60 * MINUTE);
        let corrected = clock.correct_at(0, &remote, local);
        assert!(matches!(
            corrected,
            ClockCorrection::TooFar(ClockOffset::Behind(_))
        ));
        assert_eq!(clock.offset(), ClockOffset::None);
    }
}
