//! Definitions that say otherwise than what is pinned: what each change does about them.

use std::sync::Arc;
use std::time::SystemTime;

use foldhash::HashSet;
use tokio::time::Instant;

use crate::catalog::drift::{FilteredListing, gate};
use crate::catalog::{Digest, DriftReport, DriftedDefinition, Hasher, Kind, Listing, Pins};
use crate::config::{self, Config};
use crate::live::state::entry::{Entry, Listed, prepared, rules};
use crate::live::state::{Effects, State};
use crate::live::store;
use crate::name::UpstreamId;

/// What an operator accepts.
#[derive(Clone, Debug)]
pub struct Accept {
    /// The number of the upstream's link.
    pub link: u64,
    /// What it is.
    pub kind: Kind,
    /// What its upstream calls it.
    pub original: Arc<str>,
    /// What was looked at: nothing else is accepted. `None`: whatever the upstream says.
    pub digest: Option<Digest>,
    /// When.
    pub now: Instant,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Accepted {
    /// This is pinned now.
    Done(DriftedDefinition),
    /// It says something else than what was looked at.
    Other(DriftedDefinition),
    /// Nothing waits there.
    Nothing,
}

impl State {
    /// Pins what an upstream says.
    pub(super) fn accept(&mut self, accept: &Accept, effects: &mut Effects) -> Option<Instant> {
        let mut entries = self.entries.iter_mut();
        let entry = entries.find(|entry| entry.link == accept.link);
        let accepted = entry.map_or(Accepted::Nothing, |entry| {
            entry.accept(&self.config, accept, effects)
        });
        let is_done = matches!(accepted, Accepted::Done(_));
        effects.accepted.push(accepted);
        is_done.then_some(accept.now)
    }
}

impl Entry {
    /// Takes in a listing that is believed. `held`: when it was last found to hold, by both clocks.
    pub(super) fn list(
        &mut self,
        config: &Config,
        held: (Instant, SystemTime),
        now: Instant,
        listing: Arc<Listing>,
        effects: &mut Effects,
    ) {
        let gated = self.gate(config, &listing, now, effects);
        self.expose(config, held, listing, gated);
    }

    /// What of a listing is let through.
    fn gate(
        &mut self,
        config: &Config,
        listing: &Arc<Listing>,
        now: Instant,
        effects: &mut Effects,
    ) -> (Arc<Listing>, DriftReport) {
        if !self.config.drift.is_gated() {
            if self.pins.take().is_some() {
                effects.pinned.push(self.link);
            }
            return (Arc::clone(listing), DriftReport::default());
        }
        let none = DriftReport::default();
        let before = self.listed.as_ref();
        let before = before.map_or(&none, |listed| listed.prepared.drift());
        let pins = self.pins.get_or_insert_default();
        let FilteredListing {
            listing,
            drift,
            pinned,
        } = gate(
            Arc::make_mut(pins),
            (
                &rules(config, &self.config),
                &config.naming,
                self.config.drift,
            ),
            self.config.limits.tools,
            listing,
            (before, now),
        );
        if pinned {
            effects.pinned.push(self.link);
        }
        news(self.link, before, &drift, effects);
        (listing, drift)
    }

    fn expose(
        &mut self,
        config: &Config,
        (at, on): (Instant, SystemTime),
        listing: Arc<Listing>,
        (let_through, drift): (Arc<Listing>, DriftReport),
    ) {
        self.listed = Some(Listed {
            at,
            on,
            stamp: None,
            digest: listing.digest(),
            counts: Kind::ALL.map(|kind| listing.definitions(kind).len()),
            prepared: prepared(config, &self.config, &let_through, drift, None),
            listing,
            let_through,
            elsewhere: false,
        });
    }

    /// The same under another config, and perhaps another link. What was listed is exposed as that config wants it until the next
    /// listing. A server at another address is held to nothing that this one said.
    pub(super) fn under(
        mut self,
        config: &Config,
        (upstream, link): (&Arc<config::Upstream>, u64),
        now: Instant,
        effects: &mut Effects,
    ) -> Self {
        let moves = store::endpoint(&self.config) != store::endpoint(upstream);
        if self.link != link {
            self = Self {
                failing: self.failing,
                listed: self.listed,
                pins: self.pins,
                ..Self::new(upstream, link)
            };
        }
        self.config = Arc::clone(upstream);
        if moves {
            self.pins = None;
        }
        let Some(listed) = self.listed.take() else {
            if !upstream.drift.is_gated() && self.pins.take().is_some() {
                effects.pinned.push(link);
            }
            return self;
        };
        if moves || listed.elsewhere {
            let let_through = Arc::clone(&listed.let_through);
            let exposed = (Arc::clone(&let_through), DriftReport::default());
            self.expose(config, (listed.at, listed.on), let_through, exposed);
            self.listed = self.listed.map(|listed| Listed {
                elsewhere: true,
                ..listed
            });
            return self;
        }
        let (held, listing) = ((listed.at, listed.on), Arc::clone(&listed.listing));
        // What drifted before is no news.
        self.listed = Some(listed);
        self.list(config, held, now, listing, effects);
        self
    }

    /// Holds what will be listed to what was pinned in an earlier run.
    pub(super) fn hold_to(&mut self, pins: Pins) {
        let is_known = self.listed.as_ref().is_some_and(|listed| !listed.elsewhere);
        if self.config.drift.is_gated() && !is_known {
            self.pins.get_or_insert(Arc::new(pins));
        }
    }

    fn accept(&mut self, config: &Config, accept: &Accept, effects: &mut Effects) -> Accepted {
        let Some(listed) = &self.listed else {
            return Accepted::Nothing;
        };
        let drift = listed.prepared.drift();
        let Some(drifted) = drift.of(accept.kind, &accept.original).cloned() else {
            return Accepted::Nothing;
        };
        if accept.digest.is_some_and(|digest| digest != drifted.digest) {
            return Accepted::Other(drifted);
        }
        let (held, listing) = ((listed.at, listed.on), Arc::clone(&listed.listing));
        let pins: &mut Arc<Pins> = self.pins.get_or_insert_default();
        drifted.accept(Arc::make_mut(pins));
        self.list(config, held, accept.now, listing, effects);
        if !effects.pinned.contains(&self.link) {
            effects.pinned.push(self.link);
        }
        Accepted::Done(drifted)
    }
}

/// What of a drift is news.
fn news(link: u64, before: &DriftReport, drift: &DriftReport, effects: &mut Effects) {
    // A listing may be all drift: looking through the one before for each of it would cost their square.
    let known: HashSet<_> = before
        .drifted
        .iter()
        .map(DriftedDefinition::identity)
        .collect();
    let drifted = drift.drifted.iter();
    let new = drifted.filter(|one| !known.contains(&one.identity()));
    let drifted = new.map(|one| (link, one.clone()));
    effects.drifted.extend(drifted);
    let known: HashSet<_> = before.moved.iter().collect();
    let new = drift.moved.iter().filter(|one| !known.contains(one));
    effects.moved.extend(new.map(|one| (link, one.clone())));
}

/// Adds what operators see of an upstream's drift.
pub(super) fn add(to: &mut Option<Hasher>, upstream: &UpstreamId, drift: &DriftReport) {
    if drift.is_empty() {
        return;
    }
    let hasher = to.get_or_insert_with(|| Hasher::new("drift"));
    hasher.add(upstream.as_str().as_bytes());
    for drifted in &drift.drifted {
        hasher.add(drifted.kind.as_str().as_bytes());
        hasher.add(drifted.original.as_bytes());
        hasher.add(drifted.was.as_deref().unwrap_or_default().as_bytes());
        hasher.add(drifted.digest.as_bytes());
        hasher.add(&[u8::from(drifted.quarantined)]);
        for change in &drifted.changes {
            hasher.add(change.what.as_bytes());
        }
    }
    for moved in &drift.moved {
        hasher.add(moved.kind.as_str().as_bytes());
        hasher.add(moved.original.as_bytes());
        hasher.add(moved.was.as_bytes());
    }
}

#[cfg(test)]
mod tests;
