//! Drift in the state: which definitions a listing exposes, and how accepting one changes that.

use std::sync::Arc;

use foldhash::HashSet;
use tokio::time::Instant;

use crate::catalog::drift::{FilteredListing, filter_listing};
use crate::catalog::{DriftReport, DriftedDefinition, Hasher, Listing, PerKind, Pins};
use crate::config::{self, Config};
use crate::live::state::change::{AcceptOutcome, AcceptRequest, Effects};
use crate::live::state::others::OtherUpstreams;
use crate::live::state::upstream::{Confirmed, KnownListing, UpstreamState, prepare, rules_of};
use crate::live::store;
use crate::name::UpstreamId;

impl UpstreamState {
    /// Applies a listing that is believed.
    pub(super) fn list(
        &mut self,
        config: &Config,
        confirmed: Confirmed,
        now: Instant,
        listing: Arc<Listing>,
        (others, effects): (&OtherUpstreams, &mut Effects),
    ) {
        let gated = self.gate(config, &listing, now, (others, effects));
        self.expose(config, confirmed, listing, gated);
    }

    /// Filters a listing.
    fn gate(
        &mut self,
        config: &Config,
        listing: &Arc<Listing>,
        now: Instant,
        (others, effects): (&OtherUpstreams, &mut Effects),
    ) -> (Arc<Listing>, DriftReport) {
        if !self.config.drift.is_gated() {
            if self.pins.take().is_some() {
                self.pinned_names = None;
                effects.pins_changed.push(self.link);
            }
            return (Arc::clone(listing), DriftReport::default());
        }
        let none = DriftReport::default();
        let before = self.listed.as_ref();
        let before = before.map_or(&none, |listed| listed.prepared.drift());
        let is_first = self.pins.is_none();
        let holder = |kind, name: &str| others.holder(&self.config.id, is_first, kind, name);
        let pins = self.pins.get_or_insert_default();
        let FilteredListing {
            listing,
            drift,
            pinned,
        } = filter_listing(
            Arc::make_mut(pins),
            (
                &rules_of(config, &self.config),
                &config.naming,
                self.config.drift,
            ),
            self.config.limits.tools,
            listing,
            (before, now),
            &holder,
        );
        if pinned {
            self.pinned_names = None;
            effects.pins_changed.push(self.link);
        }
        news(self.link, before, &drift, effects);
        (listing, drift)
    }

    fn expose(
        &mut self,
        config: &Config,
        confirmed: Confirmed,
        listing: Arc<Listing>,
        (let_through, drift): (Arc<Listing>, DriftReport),
    ) {
        let marks = PerKind::default();
        self.listed = Some(KnownListing {
            confirmed,
            marks,
            digest: listing.digest(),
            prepared: prepare(config, &self.config, &let_through, drift, &marks),
            listing,
            let_through,
            elsewhere: false,
        });
    }

    /// Moves the state of an upstream to another config, and perhaps another link. The last listing
    /// is exposed under the new config until the next one. A server at another address is not
    /// checked against the pins of this one.
    pub(super) fn under(
        mut self,
        config: &Config,
        (upstream, link): (&Arc<config::Upstream>, u64),
        now: Instant,
        (others, effects): (&OtherUpstreams, &mut Effects),
    ) -> Self {
        let moves = store::endpoint(&self.config) != store::endpoint(upstream);
        if self.link != link {
            self = Self {
                failing: self.failing,
                listed: self.listed,
                pins: self.pins,
                restored: self.restored,
                ..Self::new(upstream, link)
            };
        }
        self.config = Arc::clone(upstream);
        if moves {
            self.pins = None;
        }
        let Some(listed) = self.listed.take() else {
            if !upstream.drift.is_gated() && self.pins.take().is_some() {
                effects.pins_changed.push(link);
            }
            return self;
        };
        if moves || listed.elsewhere {
            let let_through = Arc::clone(&listed.let_through);
            let exposed = (Arc::clone(&let_through), DriftReport::default());
            self.expose(config, listed.confirmed, let_through, exposed);
            self.listed = self.listed.map(|listed| KnownListing {
                elsewhere: true,
                ..listed
            });
            return self;
        }
        let (confirmed, listing) = (listed.confirmed, Arc::clone(&listed.listing));
        // The previous drift stays known, so that it is not reported as new.
        self.listed = Some(listed);
        self.list(config, confirmed, now, listing, (others, effects));
        self
    }

    /// Restores pins of an earlier run, unless something is known already.
    pub(super) fn restore_pins(&mut self, pins: Pins) {
        let is_known = self.listed.as_ref().is_some_and(|listed| !listed.elsewhere);
        if self.config.drift.is_gated() && !is_known {
            self.restored |= self.pins.is_none();
            self.pins.get_or_insert(Arc::new(pins));
            self.pinned_names = None;
        }
    }

    /// Pins a redefinition, and exposes the listing anew.
    pub(super) fn accept(
        &mut self,
        config: &Config,
        request: &AcceptRequest,
        now: Instant,
        (others, effects): (&OtherUpstreams, &mut Effects),
    ) -> AcceptOutcome {
        let Some(listed) = &self.listed else {
            return AcceptOutcome::NotFound;
        };
        let drift = listed.prepared.drift();
        let Some(drifted) = drift.of(request.kind, &request.original).cloned() else {
            return AcceptOutcome::NotFound;
        };
        if request
            .digest
            .is_some_and(|digest| digest != drifted.digest)
        {
            return AcceptOutcome::Changed(drifted);
        }
        let (confirmed, listing) = (listed.confirmed, Arc::clone(&listed.listing));
        let pins: &mut Arc<Pins> = self.pins.get_or_insert_default();
        drifted.accept(Arc::make_mut(pins));
        self.list(config, confirmed, now, listing, (others, effects));
        self.pinned_names = None;
        if !effects.pins_changed.contains(&self.link) {
            effects.pins_changed.push(self.link);
        }
        AcceptOutcome::Accepted(drifted)
    }
}

/// Adds the drift that is new to the effects.
fn news(link: u64, before: &DriftReport, drift: &DriftReport, effects: &mut Effects) {
    // A listing may be all drift: looking through the one before for each of it would cost their
    // square.
    let known: HashSet<_> = before
        .drifted
        .iter()
        .map(DriftedDefinition::identity)
        .collect();
    let drifted = drift.drifted.iter();
    let new = drifted.filter(|one| !known.contains(&one.identity()));
    let drifted = new.map(|one| (link, one.clone()));
    effects.drifted.extend(drifted);
    let known: HashSet<_> = before.renamed.iter().collect();
    let new = drift.renamed.iter().filter(|one| !known.contains(one));
    effects.renamed.extend(new.map(|one| (link, one.clone())));
}

/// Adds the drift of an upstream to the digest of all drift.
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
    for renamed in &drift.renamed {
        hasher.add(renamed.kind.as_str().as_bytes());
        hasher.add(renamed.original.as_bytes());
        hasher.add(renamed.was.as_bytes());
    }
}

#[cfg(test)]
mod tests;
