//! Writes listings and pins in the background.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::catalog::{Listing, Pins};
use crate::config;
use crate::live::shared_listings::SharedListings;
use crate::live::shared_pins::SharedPins;
use crate::live::store::ListingStore;

/// Least time between two notes that a stored listing still holds.
const CONFIRMED_EVERY: Duration = Duration::from_secs(30);

/// Writes listings and pins in the background; keeps only the latest per upstream and never blocks
/// the publisher.
#[derive(Debug)]
pub struct StoreWriter {
    /// The state folder; `None` if there is none.
    store: Option<ListingStore>,
    /// Gets pins too, if replicas share them.
    shared: Option<Arc<SharedPins>>,
    /// Gets listings too, if replicas share them.
    shared_listings: Option<Arc<SharedListings>>,
    /// By the number of the link.
    waiting: Mutex<BTreeMap<u64, ListingJob>>,
    /// By the number of the link. Pins of a later link of an upstream are written later.
    pins: Mutex<BTreeMap<u64, PinJob>>,
    wake: Notify,
}

#[derive(Debug)]
struct ListingJob {
    upstream: Arc<config::Upstream>,
    /// `None`: the stored one was confirmed.
    listing: Option<Arc<Listing>>,
}

#[derive(Debug)]
struct PinJob {
    upstream: Arc<config::Upstream>,
    /// `None`: nothing is pinned any more.
    pins: Option<Arc<Pins>>,
    /// Notified whether they were written.
    done: Vec<oneshot::Sender<bool>>,
}

impl StoreWriter {
    /// A writer to this store, with nothing to write.
    #[must_use]
    pub fn new(store: ListingStore) -> Self {
        Self {
            store: Some(store),
            shared: None,
            shared_listings: None,
            waiting: Mutex::default(),
            pins: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// A writer to a store, to what replicas share, or to both; `None` for neither.
    #[must_use]
    pub fn for_both(
        store: Option<ListingStore>,
        shared: Option<(Arc<SharedPins>, Arc<SharedListings>)>,
    ) -> Option<Self> {
        let (shared, shared_listings) = shared.unzip();
        (store.is_some() || shared.is_some()).then(|| Self {
            store,
            shared,
            shared_listings,
            waiting: Mutex::default(),
            pins: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// Returns whether there is a state folder.
    #[must_use]
    pub fn has_folder(&self) -> bool {
        self.store.is_some()
    }

    /// Queues a listing of the upstream that a link leads to.
    pub fn queue_listing(
        &self,
        link: u64,
        upstream: &Arc<config::Upstream>,
        listing: Arc<Listing>,
    ) {
        if self.store.is_none() {
            return;
        }
        let upstream = Arc::clone(upstream);
        let listing = Some(listing);
        self.lock().insert(link, ListingJob { upstream, listing });
        self.wake.notify_one();
    }

    /// Has other replicas know of a listing that is believed, new or not.
    pub fn share_listing(&self, link: u64, listing: &Arc<Listing>) {
        if let Some(shared) = &self.shared_listings {
            shared.queue(link, listing);
        }
    }

    /// Queues a note that the stored listing was confirmed.
    pub fn queue_confirmation(&self, link: u64, upstream: &Arc<config::Upstream>) {
        if self.store.is_none() {
            return;
        }
        let job = || ListingJob {
            upstream: Arc::clone(upstream),
            listing: None,
        };
        self.lock().entry(link).or_insert_with(job);
    }

    /// Queues pins of the upstream that a link leads to; `done` gets whether they could be written.
    pub fn queue_pins(
        &self,
        link: u64,
        upstream: &Arc<config::Upstream>,
        pins: Option<Arc<Pins>>,
        done: Option<oneshot::Sender<bool>>,
    ) {
        if let Some(shared) = &self.shared {
            shared.queue(upstream, pins.clone());
        }
        if self.store.is_none() {
            return;
        }
        let mut waiting = lock(&self.pins);
        let job = waiting.entry(link).or_insert_with(|| PinJob {
            upstream: Arc::clone(upstream),
            pins: None,
            done: Vec::new(),
        });
        job.pins = pins;
        job.done.extend(done);
        drop(waiting);
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, ListingJob>> {
        lock(&self.waiting)
    }

    /// Writes until shutdown, and then what is left.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            let stopped = tokio::select! {
                () = self.wake.notified() => false,
                () = tokio::time::sleep(CONFIRMED_EVERY) => false,
                () = shutdown.cancelled() => true,
            };
            let writer = Arc::clone(&self);
            let written = tokio::task::spawn_blocking(move || writer.write()).await;
            if stopped || written.is_err() {
                return;
            }
        }
    }

    fn write(&self) {
        let Some(store) = &self.store else {
            return;
        };
        // Pins first: what is listed again after a crash is held to them.
        self.write_pins(store);
        self.write_listings(store);
    }

    /// Writes the pins. Pins that cannot be written stay queued, unless newer ones are.
    fn write_pins(&self, store: &ListingStore) {
        let mut failed = HashMap::default();
        for (link, job) in std::mem::take(&mut *lock(&self.pins)) {
            let PinJob {
                upstream,
                pins,
                done: told,
            } = job;
            // Those of an earlier link: these take their place.
            failed.remove(&upstream.id);
            let done = match &pins {
                Some(pins) => store.write_pins(&upstream, pins),
                None => store.remove_pins(&upstream),
            };
            for told in told {
                let _ = told.send(done.is_ok());
            }
            if let Err(error) = done {
                tracing::warn!(upstream = %upstream.id, %error, "its pins cannot be stored");
                let job = PinJob {
                    upstream: Arc::clone(&upstream),
                    pins,
                    done: Vec::new(),
                };
                failed.insert(upstream.id.clone(), (link, job));
            }
        }
        let mut waiting = lock(&self.pins);
        for (link, job) in failed.into_values() {
            waiting.entry(link).or_insert(job);
        }
    }

    /// Writes the listings. One that cannot be written stays queued, unless a newer one is. A
    /// confirmation that fails is dropped: the next one follows.
    fn write_listings(&self, store: &ListingStore) {
        let mut failed = HashMap::default();
        for (link, job) in std::mem::take(&mut *self.lock()) {
            let upstream = &job.upstream;
            let done = match &job.listing {
                Some(listing) => {
                    failed.remove(&upstream.id);
                    store.write_listing(upstream, listing)
                }
                // The confirmed listing itself could not be written.
                None if failed.contains_key(&upstream.id) => continue,
                None => store.confirm_listing(upstream),
            };
            if let Err(error) = done {
                tracing::warn!(upstream = %upstream.id, %error, "its listing cannot be stored");
                if job.listing.is_some() {
                    failed.insert(upstream.id.clone(), (link, job));
                }
            }
        }
        let mut waiting = self.lock();
        for (link, job) in failed.into_values() {
            let newer = waiting.get(&link);
            if newer.is_none_or(|newer| newer.listing.is_none()) {
                waiting.insert(link, job);
            }
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock()
}
