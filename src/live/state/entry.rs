//! What is known of one upstream.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::catalog::{Digest, Listing, Pins, Prepared};
use crate::config::{self, StalePolicy};

#[derive(Debug)]
pub(super) struct Entry {
    /// The number of its link.
    pub(super) link: u64,
    pub(super) config: Arc<config::Upstream>,
    pub(super) round: u64,
    pub(super) listed: Option<Listed>,
    pub(super) failing: bool,
    /// The kinds that the last listing had nothing of where there was something.
    pub(super) doubted: [bool; 4],
    pub(super) ttl: Option<Duration>,
    pub(super) visible: bool,
    /// What its definitions are held to, where they are.
    pub(super) pins: Option<Arc<Pins>>,
}

#[derive(Debug)]
pub(super) struct Listed {
    pub(super) at: Instant,
    pub(super) digest: Digest,
    pub(super) counts: [usize; 4],
    /// As it was listed.
    pub(super) listing: Arc<Listing>,
    /// As it is exposed.
    pub(super) let_through: Arc<Listing>,
    pub(super) prepared: Arc<Prepared>,
    /// The upstream was another server when it was listed.
    pub(super) elsewhere: bool,
}

impl Entry {
    /// Nothing is known of it yet.
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

    /// The kinds of which there is nothing any more.
    pub(super) fn emptied(&self, counts: [usize; 4]) -> [bool; 4] {
        let then = self.listed.as_ref().map_or([0; 4], |listed| listed.counts);
        let mut emptied = [false; 4];
        for (emptied, (now, then)) in emptied.iter_mut().zip(counts.into_iter().zip(then)) {
            *emptied = now == 0 && then > 0;
        }
        emptied
    }

    pub(super) fn is_visible(&self, now: Instant) -> bool {
        let stale = &self.config.stale;
        self.listed.as_ref().is_some_and(|listed| {
            !self.failing || (stale.policy == StalePolicy::Serve && now < listed.at + stale.max_age)
        })
    }
}
