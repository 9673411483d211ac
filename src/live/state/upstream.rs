//! The state of one upstream.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::catalog::{Digest, DriftReport, Listing, Pins, Prepared, Rules, StaleSince};
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
}

#[derive(Debug)]
pub(super) struct KnownListing {
    /// When it was last confirmed.
    pub(super) at: Instant,
    /// The same moment by the wall clock.
    pub(super) on: SystemTime,
    /// The stamp that callers see on its definitions, if it is out of date.
    pub(super) stamp: Option<StaleSince>,
    pub(super) digest: Digest,
    pub(super) counts: [usize; 4],
    /// As it was listed.
    pub(super) listing: Arc<Listing>,
    /// As it is exposed.
    pub(super) let_through: Arc<Listing>,
    pub(super) prepared: Arc<Prepared>,
    /// The upstream had another address when it was listed.
    pub(super) elsewhere: bool,
}

/// Prepares the allowed definitions of a listing under their config.
pub(super) fn prepare(
    config: &Config,
    upstream: &config::Upstream,
    let_through: &Listing,
    drift: DriftReport,
    stale: Option<StaleSince>,
) -> Arc<Prepared> {
    let rules = Rules {
        stale,
        ..rules_of(config, upstream)
    };
    Arc::new(Prepared::new(rules, &config.naming, let_through).drifting(drift))
}

/// Returns the rules by which a listing is exposed.
pub(super) fn rules_of<'r>(config: &'r Config, upstream: &'r config::Upstream) -> Rules<'r> {
    Rules {
        instance: config.instance.as_ref(),
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
        }
    }

    /// Returns the kinds of which nothing is listed any more.
    pub(super) fn emptied(&self, counts: [usize; 4]) -> [bool; 4] {
        let then = self.listed.as_ref().map_or([0; 4], |listed| listed.counts);
        let mut emptied = [false; 4];
        for (emptied, (now, then)) in emptied.iter_mut().zip(counts.into_iter().zip(then)) {
            *emptied = now == 0 && then > 0;
        }
        emptied
    }

    /// Puts a stale stamp on its definitions, or removes it.
    pub(super) fn mark(&mut self, config: &Config, now: Instant) {
        let marked = self.failing && self.visible;
        let Some(listed) = &mut self.listed else {
            return;
        };
        let old = marked && now >= listed.at + self.config.stale.mark_after;
        let stamp = old.then(|| StaleSince::of(listed.on));
        if stamp != listed.stamp {
            listed.stamp = stamp;
            let drift = listed.prepared.drift().clone();
            listed.prepared = prepare(config, &self.config, &listed.let_through, drift, stamp);
        }
    }

    /// Returns when the passing of time alone changes what callers see of it.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let listed = self.listed.as_ref();
        let listed = listed.filter(|_| self.failing && self.visible)?;
        let stale = &self.config.stale;
        let mark = listed.stamp.is_none().then_some(stale.mark_after);
        Some(listed.at + stale.max_age.min(mark.unwrap_or(stale.max_age)))
    }

    pub(super) fn is_visible(&self, now: Instant) -> bool {
        let stale = &self.config.stale;
        self.listed.as_ref().is_some_and(|listed| {
            !self.failing || (stale.policy == StalePolicy::Serve && now < listed.at + stale.max_age)
        })
    }
}
