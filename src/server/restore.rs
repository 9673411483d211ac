//! Listings and pins of an earlier run.

use std::num::NonZero;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::catalog::Pins;
use crate::credentials::CredentialsContext;
use crate::live::accept::AcceptHandle;
use crate::live::publisher::{self, drift};
use crate::live::shared_listings::SharedListings;
use crate::live::shared_pins::SharedPins;
use crate::live::state::{Effects, State};
use crate::live::store::{ListingStore, StoredListing};
use crate::live::{Live, StateChange};
use crate::replicas::SharedStore;
use crate::upstream::Link;
use crate::upstream::health::ListingReport;

/// Loads the stored pins into `state`, and changes nothing in the folder.
pub(super) async fn apply_stored_pins(
    store: ListingStore,
    links: Arc<[Arc<Link>]>,
    state: &mut State,
) {
    let looking = tokio::task::spawn_blocking(move || {
        let pins = links.iter().filter_map(|link| {
            let pins = store.read_pins(&link.config).unwrap_or_else(|error| {
                tracing::warn!(upstream = %link.id(), %error, "its pins cannot be used");
                None
            });
            Some((link.link_id, pins?))
        });
        pins.collect::<Vec<_>>()
    });
    for (link, pins) in looking.await.unwrap_or_default() {
        state.restore_pins(link, pins);
    }
}

/// Loads the listings and pins of an earlier run into `state`, and returns the effects.
pub(super) async fn restore_listings(
    (store, shared): (Option<ListingStore>, Option<&SharedPins>),
    links: &[Arc<Link>],
    state: &mut State,
) -> Effects {
    let found = match store {
        Some(store) => read_files(store, links).await,
        None => links
            .iter()
            .map(|link| (None, None, Arc::clone(link)))
            .collect(),
    };
    let now = Instant::now();
    let mut changes = Vec::new();
    for (stored, pins, link) in found {
        let pins = match shared {
            Some(shared) => shared.restore(&link.config, pins).await,
            None => pins,
        };
        if let Some(pins) = pins {
            state.restore_pins(link.link_id, pins);
        }
        let Some(StoredListing { listing, at }) = stored else {
            continue;
        };
        let age = SystemTime::now().duration_since(at).unwrap_or_default();
        let (on, at) = (at, now.checked_sub(age).unwrap_or(now));
        let listing = Arc::new(listing);
        link.health.restore_report(ListingReport {
            stored: true,
            stale: true,
            ..publisher::make_report(&listing, at, on)
        });
        link.rounds.set_listing(&listing);
        changes.push(StateChange::Restored {
            link: link.link_id,
            at,
            on,
            now,
            listing,
        });
    }
    if !changes.is_empty() {
        tracing::info!(
            upstreams = changes.len(),
            "stored listings are served until the upstreams answer"
        );
    }
    let effects = state.apply(changes);
    drift::log(state, &effects);
    effects
}

/// The files of an upstream, read.
type StoredFiles = (Option<StoredListing>, Option<Pins>, Arc<Link>);

/// Reads the files of all upstreams.
async fn read_files(store: ListingStore, links: &[Arc<Link>]) -> Vec<StoredFiles> {
    // A large weir has many files: they are read in parallel.
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    let shares = links.chunks(links.len().div_ceil(workers).max(1));
    let loading: Vec<_> = shares
        .map(|links| {
            let (store, links) = (store.clone(), links.to_vec());
            tokio::task::spawn_blocking(move || {
                let found = links.into_iter().map(|link| {
                    let config = &link.config;
                    (store.load_listing(config), store.load_pins(config), link)
                });
                found.collect::<Vec<_>>()
            })
        })
        .collect();
    let mut found = Vec::with_capacity(links.len());
    for share in loading {
        found.extend(share.await.unwrap_or_default());
    }
    found
}

/// Loads the pins of upstreams that an earlier run stored, or this one before their config changed,
/// and those that replicas share.
pub(super) async fn load_pins(
    (store, shared): (Option<ListingStore>, Option<&SharedPins>),
    links: &[Arc<Link>],
) -> Vec<(u64, Pins)> {
    let configs: Vec<_> = links.iter().map(|link| Arc::clone(&link.config)).collect();
    let looking = tokio::task::spawn_blocking(move || {
        let load = |config| store.as_ref()?.load_pins(config);
        configs.iter().map(|config| load(config)).collect()
    });
    let mut own: Vec<_> = looking.await.unwrap_or_default();
    own.resize_with(links.len(), || None);
    let mut found = Vec::new();
    for (link, own) in links.iter().zip(own) {
        let pins = match shared {
            Some(shared) => shared.restore(&link.config, own).await,
            None => own,
        };
        found.extend(pins.map(|pins| (link.link_id, pins)));
    }
    found
}

/// Begins to share pins and listings with other replicas, if there is a store for them.
pub(super) fn begin_sharing(
    store: Option<&Arc<SharedStore>>,
    CredentialsContext { tasks, stop, .. }: &CredentialsContext,
) -> Option<(Arc<SharedPins>, Arc<SharedListings>)> {
    let store = store?;
    let listings = SharedListings::new(Arc::clone(store));
    tasks.spawn(Arc::clone(&listings).run(stop.clone()));
    Some((SharedPins::new(Arc::clone(store)), listings))
}

/// Brings the pins of all upstreams into the store of the replicas, and begins to accept what is
/// accepted on others.
pub(super) fn share_pins(
    shared: Option<&Arc<SharedPins>>,
    state: &State,
    (live, accepts): (&Arc<Live>, AcceptHandle),
    CredentialsContext { tasks, stop, .. }: &CredentialsContext,
) {
    let Some(shared) = shared else {
        return;
    };
    for link in live.load().links().iter() {
        if let Some(pins) = state.pins(link.link_id) {
            shared.queue(&link.config, Some(pins));
        }
    }
    tasks.spawn(Arc::clone(shared).run(stop.clone()));
    let following = Arc::clone(shared).follow(Arc::clone(live), accepts, stop.clone());
    tasks.spawn(following);
}
