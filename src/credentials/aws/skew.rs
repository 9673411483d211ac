//! This machine's clock, put right by what AWS's clocks say.
//!
//! A signature says when it was made, and AWS refuses what was made more than five minutes away from its own time.
//! Its answer has a `Date` header, which is all that is needed to sign as if the clock were right.

use parking_lot::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, header};

/// Nearer than this the clock is right: a `Date` header has whole seconds, and was some time on its way.
const RIGHT: Duration = Duration::from_secs(30);
/// Further off than this nothing is corrected: what makes weir sign for another day could keep the signature till then.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// A clock that can be put right.
#[derive(Debug, Default)]
pub struct Clock {
    kept: Mutex<Kept>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    offset: Offset,
    number: u32,
}

/// How far the real time is from this machine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offset {
    /// Near enough.
    #[default]
    None,
    /// The machine's clock is behind by so much.
    Behind(Duration),
    /// The machine's clock is ahead by so much.
    Ahead(Duration),
}

/// What became of a clock that was said to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corrected {
    /// It is another now, or was since the request was signed.
    Yes,
    /// The answer does not say what time it is.
    NoDate,
    /// The answer's time is the one that was signed with.
    Agrees,
    /// It is off by more than a day, which is not corrected.
    TooFar(Offset),
}

impl Clock {
    /// What time it is, and the number of the correction that this takes into account.
    #[must_use]
    pub fn now(&self) -> (SystemTime, u32) {
        let kept = self.kept();
        (kept.offset.apply(SystemTime::now()), kept.number)
    }

    /// How far the machine's clock is off, as far as is known.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.kept().offset
    }

    /// An answer says that the time of the request was wrong; that time came with this number.
    pub fn correct(&self, number: u32, headers: &HeaderMap) -> Corrected {
        self.correct_at(number, headers, SystemTime::now())
    }

    fn correct_at(&self, number: u32, headers: &HeaderMap, here: SystemTime) -> Corrected {
        let mut kept = self.kept.lock();
        if kept.number != number {
            return Corrected::Yes;
        }
        let date = headers.get(header::DATE);
        let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let Some(there) = date else {
            return Corrected::NoDate;
        };
        if between(kept.offset.apply(here), there) == Offset::None {
            return Corrected::Agrees;
        }
        let offset = between(here, there);
        match offset {
            Offset::Behind(by) | Offset::Ahead(by) if by > FAR => return Corrected::TooFar(offset),
            Offset::None | Offset::Behind(_) | Offset::Ahead(_) => {}
        }
        *kept = Kept {
            offset,
            number: kept.number.wrapping_add(1),
        };
        Corrected::Yes
    }

    fn kept(&self) -> Kept {
        *self.kept.lock()
    }
}

fn between(here: SystemTime, there: SystemTime) -> Offset {
    match there.duration_since(here) {
        Ok(by) if by > RIGHT => Offset::Behind(by),
        Err(ahead) if ahead.duration() > RIGHT => Offset::Ahead(ahead.duration()),
        Ok(_) | Err(_) => Offset::None,
    }
}

impl Offset {
    fn apply(self, here: SystemTime) -> SystemTime {
        let moved = match self {
            Self::None => Some(here),
            Self::Behind(by) => here.checked_add(by),
            Self::Ahead(by) => here.checked_sub(by),
        };
        moved.unwrap_or(UNIX_EPOCH)
    }

    /// In words; `None` where there is nothing to say.
    #[must_use]
    pub fn words(self) -> Option<String> {
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
        let (clock, here) = (Clock::default(), SystemTime::now());
        let there = dated(here + 10 * MINUTE);
        assert_eq!(clock.correct_at(0, &there, here), Corrected::Yes);
        let words = clock.offset().words().unwrap();
        assert_eq!(words, "this machine's clock is 10 minutes behind AWS's");
        let (now, number) = clock.now();
        assert!(now > here + 9 * MINUTE);
        // Who signed before that need not read the date again; who signed after it has another problem.
        let nothing = HeaderMap::new();
        assert_eq!(clock.correct_at(0, &nothing, here), Corrected::Yes);
        assert_eq!(clock.correct_at(number, &there, here), Corrected::Agrees);
        assert_eq!(clock.correct_at(number, &nothing, here), Corrected::NoDate);
    }

    #[test]
    fn a_clock_that_is_right_again_needs_no_correction() {
        let (clock, here) = (Clock::default(), SystemTime::now());
        let there = dated(here - 7 * MINUTE);
        assert_eq!(clock.correct_at(0, &there, here), Corrected::Yes);
        let words = clock.offset().words().unwrap();
        assert_eq!(words, "this machine's clock is 7 minutes ahead of AWS's");
        let right = dated(here);
        assert_eq!(clock.correct_at(1, &right, here), Corrected::Yes);
        assert_eq!(clock.offset(), Offset::None);
        assert_eq!(clock.offset().words(), None);
    }

    #[test]
    fn nobody_makes_weir_sign_for_another_week() {
        let (clock, here) = (Clock::default(), SystemTime::now());
        let there = dated(here + 7 * 24 * 60 * MINUTE);
        let corrected = clock.correct_at(0, &there, here);
        assert!(matches!(corrected, Corrected::TooFar(Offset::Behind(_))));
        assert_eq!(clock.offset(), Offset::None);
    }
}
