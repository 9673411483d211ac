//! The state: all that is known of the upstreams, and how each change moves it. Pure: no clock, no
//! IO, no tasks.

mod change;
mod drift;
mod others;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use tokio::time::Instant;

use crate::catalog::{
    Catalog, Digest, DroppedCounts, Hasher, Listing, Part, PerKind, Pins, Prepared, ReservedNames,
};
use crate::config::{self, Config, Resync};
use crate::live::state::others::OtherUpstreams;
use crate::live::state::upstream::{Confirmed, Moment, UpstreamState};
use crate::name::UpstreamIndex;

pub use change::{AcceptOutcome, AcceptRequest, Effects, StateChange};

/// Freshness promised while a cron expression says when the next listing is.
const CRON_TTL: Duration = Duration::from_secs(60);

/// All that is known of the upstreams.
#[derive(Debug)]
pub struct State {
    config: Arc<Config>,
    upstreams: Vec<UpstreamState>,
    /// The catalog that callers see now; at first an empty one.
    published: Arc<Catalog>,
    /// Digest of what is held back; `None` for nothing.
    drift: Option<Digest>,
    /// The exposed names of pinned definitions.
    reserved: Arc<ReservedNames>,
}

impl State {
    /// Makes a state in which nothing is known. `links` are the numbers of the links, in the order
    /// of the config.
    #[must_use]
    pub fn new(config: Arc<Config>, links: impl IntoIterator<Item = u64>) -> Self {
        let configs = config.upstreams.values().zip(links);
        let upstreams = configs
            .map(|(config, link)| UpstreamState::new(config, link))
            .collect();
        let empty = Catalog::merge(&config.naming, config.listen.page_size.get(), &[]);
        Self {
            config,
            upstreams,
            published: Arc::new(empty),
            drift: None,
            reserved: Arc::default(),
        }
    }

    /// Applies changes and returns what follows. However many there are, the catalog is merged
    /// once.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = StateChange>) -> Effects {
        let (mut effects, mut latest, mut anew) = (Effects::default(), None::<Instant>, false);
        OtherUpstreams::reserve(&self.config, &mut self.upstreams, &mut self.reserved);
        for change in changes {
            anew |= matches!(change, StateChange::Configured { .. });
            let at = self.take(change, &mut effects);
            latest = latest.max(at);
        }
        effects.publish = latest.and_then(|now| self.publish(now, anew));
        effects
    }

    /// Applies one change. Returns its time if the catalog may have to be merged.
    fn take(&mut self, change: StateChange, effects: &mut Effects) -> Option<Instant> {
        let (link, round, at, listing) = match change {
            StateChange::Clock(now) => return Some(now),
            StateChange::Restored {
                link,
                at,
                on,
                now,
                listing,
            } => {
                let held = (at, on);
                return self
                    .restore(link, held, now, listing, effects)
                    .then_some(now);
            }
            StateChange::Configured { config, links, now } => {
                self.configure(config, &links, now, effects);
                return Some(now);
            }
            StateChange::Accepted { request, now } => return self.accept(&request, now, effects),
            StateChange::Listed {
                link,
                round,
                at,
                on,
                listing,
            } => (link, round, (at, on), listing),
            StateChange::ListedPart {
                link,
                round,
                at,
                on,
                listing,
            } => return self.take_part((link, round), (at, on), listing, effects),
        };
        let entry = self.entry_before(link, round)?;
        entry.round = round;
        let Some(listing) = listing else {
            // The effect of time on one that goes on failing is the clock's affair.
            let failed_before = std::mem::replace(&mut entry.failing, true);
            return (!failed_before).then_some(at.0);
        };
        entry.ttl = listing.ttl().filter(|ttl| !ttl.is_zero());
        let (listing, confirmed) = entry.complete(at, listing);
        let emptied = entry.emptied(&listing);
        let doubted = std::mem::replace(&mut entry.doubted, emptied);
        let unheard = |(now, before): (&bool, bool)| *now && !before;
        if emptied.iter().zip(doubted).any(unheard) {
            // Not believed yet, so no news of any kind: what failed counts as failing.
            effects.confirm.push(link);
            return None;
        }
        entry.doubted = [false; 4];
        self.believe(link, confirmed, listing, effects)
    }

    /// Applies those kinds of a listing that came while others keep weir waiting. What it says of
    /// nothing being there any more is left to the whole listing.
    fn take_part(
        &mut self,
        (link, round): (u64, u64),
        at: Moment,
        listing: Arc<Listing>,
        effects: &mut Effects,
    ) -> Option<Instant> {
        let entry = self.entry_before(link, round)?;
        let (listing, confirmed) = entry.complete(at, listing);
        if entry.emptied(&listing).contains(&true) {
            return None;
        }
        self.believe(link, confirmed, listing, effects)
    }

    /// Exposes a listing that is complete and believed.
    fn believe(
        &mut self,
        link: u64,
        confirmed: Confirmed,
        listing: Arc<Listing>,
        effects: &mut Effects,
    ) -> Option<Instant> {
        let others = self.others();
        let mut entries = self.upstreams.iter_mut();
        let entry = entries.find(|entry| entry.link == link)?;
        entry.failing = false;
        let now = confirmed.at.0;
        match &mut entry.listed {
            Some(listed) if listed.digest == listing.digest() && !listed.elsewhere => {
                let same_kinds = listed.confirmed.kept == confirmed.kept;
                listed.confirmed = confirmed;
                let is_marked = listed.marks != PerKind::default();
                effects.believed.push((link, false));
                (!entry.visible || is_marked || !same_kinds).then_some(now)
            }
            _ => {
                effects.believed.push((link, true));
                let around = (&others, effects);
                entry.list(&self.config, confirmed, now, listing, around);
                Some(now)
            }
        }
    }

    /// Returns the upstream of a link, if this round is newer than its last one.
    /// Returns the names that upstreams hold. An upstream's own are told from those of others.
    fn others(&self) -> OtherUpstreams {
        OtherUpstreams {
            published: Arc::clone(&self.published),
            reserved: Arc::clone(&self.reserved),
        }
    }

    fn entry_before(&mut self, link: u64, round: u64) -> Option<&mut UpstreamState> {
        let mut entries = self.upstreams.iter_mut();
        entries.find(|entry| entry.link == link && round > entry.round)
    }

    /// Pins a redefinition that an operator accepts. Returns when, if that changed something.
    fn accept(
        &mut self,
        request: &AcceptRequest,
        now: Instant,
        effects: &mut Effects,
    ) -> Option<Instant> {
        let others = self.others();
        let mut upstreams = self.upstreams.iter_mut();
        let upstream = upstreams.find(|upstream| upstream.link == request.link);
        let outcome = upstream.map_or(AcceptOutcome::NotFound, |upstream| {
            upstream.accept(&self.config, request, now, (&others, effects))
        });
        let is_accepted = matches!(outcome, AcceptOutcome::Accepted(_));
        effects.accepted.push(outcome);
        is_accepted.then_some(now)
    }

    /// Applies a stored listing, unless something newer is known.
    fn restore(
        &mut self,
        link: u64,
        held: Moment,
        now: Instant,
        listing: Arc<Listing>,
        effects: &mut Effects,
    ) -> bool {
        let others = self.others();
        let mut entries = self.upstreams.iter_mut();
        let Some(entry) = entries.find(|entry| entry.link == link) else {
            return false;
        };
        if entry.round > 0 || entry.listed.is_some() {
            return false;
        }
        entry.failing = true;
        let confirmed = Confirmed::all(held);
        entry.list(&self.config, confirmed, now, listing, (&others, effects));
        true
    }

    fn configure(
        &mut self,
        config: Arc<Config>,
        links: &[u64],
        now: Instant,
        effects: &mut Effects,
    ) {
        let earlier = std::mem::replace(&mut self.config, Arc::clone(&config));
        let others = self.others();
        let same_names = earlier.naming == config.naming && earlier.instance == config.instance;
        let mut known: HashMap<_, _> = std::mem::take(&mut self.upstreams)
            .into_iter()
            .map(|entry| (entry.config.id.clone(), entry))
            .collect();
        let upstreams = config.upstreams.values().zip(links);
        self.upstreams = upstreams
            .map(|(upstream, link)| match known.remove(&upstream.id) {
                Some(entry) if entry.link == *link && same_names => entry,
                Some(entry) => entry.under(&config, (upstream, *link), now, (&others, effects)),
                None => UpstreamState::new(upstream, *link),
            })
            .collect();
        for entry in &mut self.upstreams {
            entry.pinned_names = None;
        }
    }

    /// Returns the catalog of this moment if it differs from the published one; always if it
    /// belongs to another config.
    fn publish(&mut self, now: Instant, anew: bool) -> Option<Arc<Catalog>> {
        let mut parts = Vec::with_capacity(self.upstreams.len());
        let mut hidden = Vec::new();
        let mut drift = None;
        for (index, entry) in self.upstreams.iter_mut().enumerate() {
            entry.visible = entry.is_visible(now);
            entry.mark(&self.config, now);
            if let Some(listed) = &entry.listed {
                drift::add(&mut drift, &entry.config.id, listed.prepared.drift());
                let to = match entry.visible {
                    true => &mut parts,
                    false if listed.prepared.has_nothing() => continue,
                    false => &mut hidden,
                };
                to.push(Part {
                    upstream: entry.config.id.clone(),
                    upstream_index: UpstreamIndex::new(index),
                    prepared: Arc::clone(&listed.prepared),
                });
            }
        }
        OtherUpstreams::reserve(&self.config, &mut self.upstreams, &mut self.reserved);
        let catalog = match anew {
            true => {
                let page_size = self.config.listen.page_size.get();
                let empty = Catalog::merge(&self.config.naming, page_size, &[]);
                empty.after_reserving(&parts, &self.reserved)
            }
            false => self.published.after_reserving(&parts, &self.reserved),
        };
        // Operators may ask for what is hidden. As a rule it is shown or hidden with a change that
        // callers see too.
        let drift = drift.map(Hasher::finish);
        let before = &self.published;
        let same = before.digest() == catalog.digest()
            && before.hidden().len() == hidden.len()
            && self.drift == drift;
        if same && !anew {
            return None;
        }
        self.drift = drift;
        self.published = Arc::new(catalog.hiding(hidden));
        Some(Arc::clone(&self.published))
    }

    /// Returns for how long callers may take a list answer as fresh.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        let of = |entry: &UpstreamState| {
            let every = match &entry.config.resync {
                Resync::Every(every) => *every,
                Resync::Cron(_) => CRON_TTL,
            };
            entry.ttl.map_or(every, |ttl| ttl.min(every))
        };
        self.upstreams.iter().map(of).min().unwrap_or(CRON_TTL)
    }

    /// Returns the config of the upstream that a link leads to.
    #[must_use]
    pub fn upstream(&self, link: u64) -> Option<&Arc<config::Upstream>> {
        self.entry(link).map(|entry| &entry.config)
    }

    fn entry(&self, link: u64) -> Option<&UpstreamState> {
        self.upstreams.iter().find(|entry| entry.link == link)
    }

    /// Returns the current listing of an upstream, as it was listed.
    #[must_use]
    pub fn listing(&self, link: u64) -> Option<&Arc<Listing>> {
        let listed = self.entry(link)?.listed.as_ref()?;
        Some(&listed.listing)
    }

    /// Returns the warnings of the last listing of an upstream: rules of the config that match
    /// nothing.
    #[must_use]
    pub fn warnings(&self, link: u64) -> Vec<String> {
        let prepared = self.prepared(link);
        prepared.map_or_else(Vec::new, |prepared| prepared.warnings().to_vec())
    }

    /// Counts the definitions of the current listing that are left out because they came from this
    /// weir, or through too many.
    #[must_use]
    pub fn dropped(&self, link: u64) -> DroppedCounts {
        self.prepared(link)
            .map(Prepared::dropped)
            .unwrap_or_default()
    }

    /// Returns the pins of an upstream; `None` if nothing is pinned.
    #[must_use]
    pub fn pins(&self, link: u64) -> Option<Arc<Pins>> {
        self.entry(link)?.pins.clone()
    }

    /// Restores pins of an earlier run, where nothing is pinned yet.
    pub fn restore_pins(&mut self, link: u64, pins: Pins) {
        let mut entries = self.upstreams.iter_mut();
        if let Some(entry) = entries.find(|entry| entry.link == link) {
            entry.restore_pins(pins);
        }
    }

    fn prepared(&self, link: u64) -> Option<&Prepared> {
        let listed = self.entry(link)?.listed.as_ref()?;
        Some(&listed.prepared)
    }

    /// Returns when the next listing of a failing upstream becomes too old to be served, or to be
    /// served without a stale stamp.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.upstreams
            .iter()
            .filter_map(UpstreamState::next_expiry)
            .min()
    }
}

#[cfg(test)]
mod tests;
