//! The state of one upstream.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::catalog::{
    Digest, DriftReport, Kind, Listing, PerKind, PinnedNames, Pins, Prepared, Rules, StaleSince,
};
use crate::config::{self, Config, StalePolicy};

#[derive(Debug)]
pub(super) struct UpstreamState {
    /// The number of its link.
    pub(super) link: u64,
    pub(super) config: Arc<config::Upstream>,
    pub(super) round: u64,
    pub(super) listed: Option<KnownListing>,
    pub(super) failing: bool,
    /// The kinds of which the last listing had nothing though there was something before.
    pub(super) doubted: [bool; 4],
    pub(super) ttl: Option<Duration>,
    pub(super) visible: bool,
    /// The pins of its definitions, if its config uses pins.
    pub(super) pins: Option<Arc<Pins>>,
    /// Whether there were pins when this process started.
    pub(super) restored: bool,
    /// The exposed names that the pins want; `None` if they have changed since.
    pub(super) pinned_names: Option<PinnedNames>,
}

#[derive(Debug)]
pub(super) struct KnownListing {
    pub(super) confirmed: Confirmed,
    /// The mark that its definitions have because they may be out of date.
    pub(super) marks: PerKind<StaleMark>,
    pub(super) digest: Digest,
    /// As it was listed.
    pub(super) listing: Arc<Listing>,
    /// As it is exposed.
    pub(super) let_through: Arc<Listing>,
    pub(super) prepared: Arc<Prepared>,
    /// The upstream had another address when it was listed.
    pub(super) elsewhere: bool,
}

/// A moment, by both clocks: that of this process and that of the wall.
pub(super) type Moment = (Instant, SystemTime);

/// When a listing was last confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Confirmed {
    /// When the last listing came.
    pub(super) at: Moment,
    /// The kinds that it left out though they had definitions before: when those last came.
    pub(super) kept: PerKind<Option<Moment>>,
}

impl Confirmed {
    /// Returns the time for a listing that has all kinds.
    pub(super) fn all(at: Moment) -> Self {
        Self {
            at,
            kept: PerKind::default(),
        }
    }

    fn is_kept(&self, kind: Kind) -> bool {
        self.kept.get(kind).is_some()
    }

    /// Returns when the definitions of a kind last came.
    fn of(&self, kind: Kind) -> Moment {
        self.kept.get(kind).unwrap_or(self.at)
    }
}

/// The visibility of definitions that may be out of date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StaleMark {
    /// They are not out of date, or not long enough.
    #[default]
    None,
    /// They are stamped.
    Stamped(StaleSince),
    /// They are not shown.
    Hidden,
}

/// Prepares the allowed definitions of a listing under their config.
pub(super) fn prepare(
    config: &Config,
    upstream: &config::Upstream,
    let_through: &Listing,
    drift: DriftReport,
    marks: &PerKind<StaleMark>,
) -> Arc<Prepared> {
    let rules = Rules {
        stale: PerKind::from_fn(|kind| match *marks.get(kind) {
            StaleMark::Stamped(since) => Some(since),
            StaleMark::None | StaleMark::Hidden => None,
        }),
        ..rules_of(config, upstream)
    };
    let hidden = Kind::ALL.into_iter();
    let hidden = hidden.filter(|kind| *marks.get(*kind) == StaleMark::Hidden);
    let hidden: Vec<_> = hidden.map(|kind| (kind, Vec::new())).collect();
    let prepared = match hidden.is_empty() {
        true => Prepared::new(rules, &config.naming, let_through),
        false => Prepared::new(rules, &config.naming, &let_through.replaced(hidden)),
    };
    Arc::new(prepared.drifting(drift))
}

/// Returns the rules by which a listing is exposed.
pub(super) fn rules_of<'r>(config: &'r Config, upstream: &'r config::Upstream) -> Rules<'r> {
    Rules {
        instance: config.instance.as_ref(),
        inline_schemas: config.listen.inline_schemas,
        ..Rules::from(upstream)
    }
}

impl UpstreamState {
    /// Makes a state in which nothing is known.
    pub(super) fn new(config: &Arc<config::Upstream>, link: u64) -> Self {
        Self {
            link,
            config: Arc::clone(config),
            round: 0,
            listed: None,
            failing: false,
            doubted: [false; 4],
            ttl: None,
            visible: false,
            pins: None,
            restored: false,
            pinned_names: None,
        }
    }

    /// Returns the kinds of which nothing is listed any more. One whose list did not come is not
    /// among them.
    pub(super) fn emptied(&self, listing: &Listing) -> [bool; 4] {
        let Some(before) = &self.listed else {
            return [false; 4];
        };
        let is_empty = |listing: &Listing, kind| listing.definitions(kind).is_empty();
        Kind::ALL.map(|kind| {
            let had_some = !is_empty(&before.listing, kind);
            had_some && listing.is_listed(kind) && is_empty(listing, kind)
        })
    }

    /// Returns a listing that came, where each kind that it left out has the definitions of the
    /// last one; and when each kind last came. Of a server at another address nothing is kept, nor
    /// of one in the other era, whose definitions have members that this one does not know.
    pub(super) fn complete(&self, at: Moment, listing: Arc<Listing>) -> (Arc<Listing>, Confirmed) {
        let is_same =
            |listed: &&KnownListing| !listed.elsewhere && listed.listing.era() == listing.era();
        let before = self.listed.as_ref().filter(is_same);
        let mut kinds = Kind::ALL.into_iter().chain([Kind::Instructions]);
        let is_whole = kinds.all(|kind| listing.is_listed(kind));
        let (Some(before), false) = (before, is_whole) else {
            return (listing, Confirmed::all(at));
        };
        let listing = listing.completed_from(&before.listing);
        let kept = |kind| {
            let is_kept = !listing.is_listed(kind) && !listing.definitions(kind).is_empty();
            is_kept.then(|| before.confirmed.of(kind))
        };
        let kept = PerKind::from_fn(kept);
        (Arc::new(listing), Confirmed { at, kept })
    }

    /// Stamps or hides the definitions that may be out of date, and takes that back where they are
    /// not.
    pub(super) fn mark(&mut self, config: &Config, now: Instant) {
        let (visible, failing, stale) = (self.visible, self.failing, &self.config.stale);
        let Some(listed) = &mut self.listed else {
            return;
        };
        let confirmed = &listed.confirmed;
        let marks = PerKind::from_fn(|kind| {
            let (at, on) = confirmed.of(kind);
            let is_kept = confirmed.is_kept(kind);
            if !visible || !(failing || is_kept) {
                StaleMark::None
            } else if is_kept && !is_served(stale, at, now) {
                StaleMark::Hidden
            } else if now >= at + stale.mark_after {
                StaleMark::Stamped(StaleSince::of(on))
            } else {
                StaleMark::None
            }
        });
        if marks != listed.marks {
            listed.marks = marks;
            let drift = listed.prepared.drift().clone();
            listed.prepared = prepare(config, &self.config, &listed.let_through, drift, &marks);
        }
    }

    /// Returns when the passing of time alone changes what callers see of it.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let listed = self.listed.as_ref().filter(|_| self.visible)?;
        let stale = &self.config.stale;
        let of = |kind: Kind| {
            let (at, _) = listed.confirmed.of(kind);
            let is_stale = self.failing || listed.confirmed.is_kept(kind);
            match listed.marks.get(kind) {
                StaleMark::None if is_stale => Some(at + stale.max_age.min(stale.mark_after)),
                StaleMark::Stamped(_) if is_stale => Some(at + stale.max_age),
                StaleMark::None | StaleMark::Stamped(_) | StaleMark::Hidden => None,
            }
        };
        Kind::ALL.into_iter().filter_map(of).min()
    }

    pub(super) fn is_visible(&self, now: Instant) -> bool {
        let stale = &self.config.stale;
        self.listed
            .as_ref()
            .is_some_and(|listed| !self.failing || is_served(stale, listed.confirmed.at.0, now))
    }
}

/// Returns whether definitions that last came at this time are served though they may be out of
/// date.
fn is_served(stale: &config::Stale, at: Instant, now: Instant) -> bool {
    stale.policy == StalePolicy::Serve && now < at + stale.max_age
}
