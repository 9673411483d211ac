//! The rounds of listing an upstream: asked for by many, run by its keeper, ended by the publisher.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::catalog::Listing;

/// The rounds of listing one upstream. A round begins with a listing, and ends when its outcome is
/// in the catalog.
#[derive(Debug)]
pub struct Rounds {
    /// Asks the keeper to list again soon.
    resync: Notify,
    /// The number of the last round that began.
    begun: AtomicU64,
    /// The number of the last round that ended.
    ended: watch::Sender<u64>,
    /// The listing that the catalog was built from. Weak: it is freed when the catalog drops it.
    listing: RwLock<Weak<Listing>>,
}

impl Rounds {
    pub(super) fn new() -> Self {
        Self {
            resync: Notify::new(),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
            listing: RwLock::default(),
        }
    }

    /// Asks the keeper to list again soon. Requests that come before it does are one.
    pub fn request_resync(&self) {
        self.resync.notify_one();
    }

    /// Waits until a resync is requested. For the keeper.
    pub async fn resync_requested(&self) {
        self.resync.notified().await;
    }

    /// Begins a round and returns its number. For the keeper.
    pub fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Ends a round: whatever its listing led to is in place. For the publisher.
    pub fn end(&self, round: u64) {
        self.ended.send_replace(round);
    }

    /// Requests a resync and waits until a round that began after this call has ended. Returns
    /// false if that is not so by `deadline`.
    pub async fn resync(&self, deadline: Instant) -> bool {
        // A round that is under way may have read its lists before this call.
        let next = self.begun.load(Ordering::Acquire) + 1;
        let mut ended = self.ended.subscribe();
        self.request_resync();
        let done = ended.wait_for(|ended| *ended >= next);
        matches!(tokio::time::timeout_at(deadline, done).await, Ok(Ok(_)))
    }

    /// Sets the listing that the catalog was built from. For the publisher.
    pub fn set_listing(&self, listing: &Arc<Listing>) {
        *self.listing.write() = Arc::downgrade(listing);
    }

    /// Returns the listing that the catalog was built from, as it was listed.
    #[must_use]
    pub fn listing(&self) -> Option<Arc<Listing>> {
        self.listing.read().upgrade()
    }
}
