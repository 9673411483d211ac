//! The pace at which an upstream may have itself listed: a floor between such listings, which grows
//! while they find nothing new.

use std::time::Duration;

use tokio::time::Instant;

use crate::allowance::Allowance;
use crate::config::Resync;

/// The floor after the first listing that an upstream asked for.
const FIRST: Duration = Duration::from_millis(50);
/// The highest floor of an upstream whose own interval is longer, or a cron expression.
const HIGHEST: Duration = Duration::from_secs(60);
/// The least that the highest floor can be.
const LOWEST_CEILING: Duration = Duration::from_secs(1);

/// The allowance of listings that an upstream has at once because it changed.
const BURST: Duration = Duration::from_secs(10);
/// The part of [`BURST`] that the listing of a change costs, which comes back as time goes by: an
/// upstream that always changes is listed twenty times at once, and then twice a second.
const CHANGE: Duration = Duration::from_millis(500);
/// So many bytes of definitions cost [`CHANGE`] once more. Checking and merging 30 MiB takes weir
/// half a second of CPU time.
const BYTES: u32 = 2 * 1024 * 1024;

/// The pace of listings that the upstream causes: by `list_changed`, by ending its connections, its
/// sessions or its stream of changes, by a short `ttlMs`, by refusing calls or failing them.
/// Listings that the schedule or an operator wants are not held up.
#[derive(Debug)]
pub(super) struct Pace {
    /// The least time from the end of a listing to the beginning of the next.
    floor: Duration,
    /// The highest that `floor` gets.
    ceiling: Duration,
    /// The allowance that is left for changes.
    changes: Allowance,
    /// The end of the last listing.
    listed: Option<Instant>,
    /// The last time that the upstream asked.
    announced: Option<Instant>,
}

/// A listing that ended, as its pace sees it.
#[derive(Clone, Copy, Debug)]
pub struct EndedListing {
    /// Whether it was listed because of the upstream.
    pub announced: bool,
    /// Whether it differs from the one before.
    pub changed: bool,
    /// How long it took.
    pub took: Duration,
    /// The bytes of its definitions.
    pub bytes: usize,
}

impl Pace {
    pub(super) fn new(resync: &Resync) -> Self {
        let ceiling = match resync {
            Resync::Every(every) => (*every).clamp(LOWEST_CEILING, HIGHEST),
            Resync::Cron(_) => HIGHEST,
        };
        Self {
            floor: Duration::ZERO,
            ceiling,
            changes: Allowance::new(BURST),
            listed: None,
            announced: None,
        }
    }

    /// Notes that the upstream asks for a listing. The floor is forgotten if it has not asked for
    /// twice as long as the highest floor.
    pub(super) fn announce(&mut self, now: Instant) {
        let quiet = self.announced.map(|at| now.duration_since(at));
        if quiet.is_some_and(|quiet| quiet >= self.ceiling * 2) {
            self.floor = Duration::ZERO;
        }
        self.announced = Some(now);
    }

    /// Returns the earliest moment for a listing that the upstream causes; `None` is now.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.listed.map(|listed| listed + self.floor)
    }

    /// Returns the floor.
    pub(super) const fn floor(&self) -> Duration {
        self.floor
    }

    /// Notes that a listing ended at `now`.
    pub(super) fn listed(&mut self, ended: EndedListing, now: Instant) {
        self.listed = Some(now);
        if !ended.announced {
            return;
        }
        // A listing that takes long is not followed by the next at once either.
        let lowest = ended.took.clamp(FIRST, self.ceiling);
        self.floor = match ended.changed {
            true => {
                let times = u32::try_from(ended.bytes).unwrap_or(u32::MAX) / BYTES;
                self.changes.spend(CHANGE.saturating_mul(times + 1), now);
                self.changes.debt(now).clamp(lowest, self.ceiling)
            }
            false => (self.floor * 2).clamp(lowest, self.ceiling),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listing that the upstream asked for.
    fn announced(changed: bool) -> EndedListing {
        EndedListing {
            announced: true,
            changed,
            took: Duration::ZERO,
            bytes: 100,
        }
    }

    fn pace(every: u64) -> Pace {
        Pace::new(&Resync::Every(Duration::from_secs(every)))
    }

    /// Lists as soon as the upstream may be listed, for as long as given, and counts.
    fn count(pace: &mut Pace, changed: bool, start: Instant, lasting: Duration) -> u32 {
        let (mut now, mut count) = (start, 0);
        while now < start + lasting {
            pace.announce(now);
            now = pace.earliest().map_or(now, |earliest| earliest.max(now));
            pace.listed(announced(changed), now);
            count += 1;
        }
        count
    }

    #[test]
    fn an_upstream_that_always_asks_and_never_changes_is_listed_little_more_than_its_interval_says()
    {
        let (mut pace, start) = (pace(30), Instant::now());
        let hour = count(&mut pace, false, start, Duration::from_secs(3_600));
        assert!((120..=132).contains(&hour), "{hour}");
    }

    #[test]
    fn an_upstream_that_always_changes_is_followed_but_not_at_any_pace() {
        let (mut pace, start) = (pace(60), Instant::now());
        let second = count(&mut pace, true, start, Duration::from_secs(1));
        assert!((20..=22).contains(&second), "{second}");
        let start = start + Duration::from_secs(1);
        let minute = count(&mut pace, true, start, Duration::from_secs(60));
        assert!((118..=122).contains(&minute), "{minute}");
        // After a quiet time it is as fast again.
        let start = start + Duration::from_secs(600);
        let second = count(&mut pace, true, start, Duration::from_secs(1));
        assert!((20..=22).contains(&second), "{second}");
    }

    #[test]
    fn large_listings_that_always_change_come_more_seldom() {
        let (mut pace, mut now) = (pace(60), Instant::now());
        let (begin, large) = (now, 32 * 1024 * 1024);
        let mut listings = 0;
        while now - begin < Duration::from_secs(120) {
            now = pace.earliest().unwrap_or(now).max(now);
            let ended = EndedListing {
                bytes: large,
                ..announced(true)
            };
            pace.listed(ended, now);
            listings += 1;
        }
        assert!((13..=18).contains(&listings), "{listings}");
    }

    #[test]
    fn the_first_change_after_a_quiet_time_is_listed_at_once() {
        let (mut pace, start) = (pace(10), Instant::now());
        count(&mut pace, false, start, Duration::from_secs(60));
        assert_eq!(pace.floor(), Duration::from_secs(10));
        let later = start + Duration::from_secs(90);
        pace.announce(later);
        assert!(pace.earliest().is_some_and(|earliest| earliest <= later));
    }

    #[test]
    fn a_change_brings_the_floor_down() {
        let (mut pace, start) = (pace(60), Instant::now());
        count(&mut pace, false, start, Duration::from_secs(300));
        assert_eq!(pace.floor(), HIGHEST);
        pace.listed(announced(true), start + Duration::from_secs(400));
        assert_eq!(pace.floor(), FIRST);
    }

    #[test]
    fn a_listing_that_nobody_announced_leaves_the_floor() {
        let (mut pace, now) = (pace(60), Instant::now());
        let own = EndedListing {
            announced: false,
            ..announced(false)
        };
        (0..10).for_each(|_| pace.listed(own, now));
        assert_eq!(pace.floor(), Duration::ZERO);
    }

    #[test]
    fn a_listing_that_takes_long_is_followed_by_a_pause_as_long() {
        let (mut pace, now) = (pace(60), Instant::now());
        let took = Duration::from_secs(3);
        let ended = EndedListing {
            took,
            ..announced(false)
        };
        pace.listed(ended, now);
        assert_eq!(pace.earliest(), Some(now + took));
    }
}
