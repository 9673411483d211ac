//! The rounds of listing an upstream: asked for by many, run by its keeper, ended by the publisher.

mod pace;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::catalog::Listing;
use crate::config::Resync;
use pace::Pace;

pub use pace::EndedListing;

/// The rounds of listing one upstream. A round begins with a listing, and ends when its outcome is
/// in the catalog.
#[derive(Debug)]
pub struct Rounds {
    /// Asks the keeper to list again soon.
    resync: Notify,
    /// Asks the keeper to list again now, because an operator wants it.
    ordered: Notify,
    /// Asks the keeper to list again when the pace allows it.
    announced: Notify,
    pace: Mutex<Pace>,
    /// The number of the last round that began.
    begun: AtomicU64,
    /// The number of the last round that ended.
    ended: watch::Sender<u64>,
    /// The listing that the catalog was built from. Weak: it is freed when the catalog drops it.
    listing: RwLock<Weak<Listing>>,
}

impl Rounds {
    pub(super) fn new(resync: &Resync) -> Self {
        Self {
            resync: Notify::new(),
            ordered: Notify::new(),
            announced: Notify::new(),
            pace: Mutex::new(Pace::new(resync)),
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

    /// Asks the keeper for a listing now, because an operator wants it.
    pub fn order_listing(&self) {
        self.ordered.notify_one();
    }

    /// Waits until an operator wants a listing. For the keeper.
    pub async fn listing_ordered(&self) {
        self.ordered.notified().await;
    }

    /// Notes that the upstream announced a change, or may have missed to announce one. It is listed
    /// again, but not at its own pace: the time between such listings grows while nothing changes.
    pub fn announce_change(&self) {
        self.pace.lock().announce(Instant::now());
        self.announced.notify_one();
    }

    /// Waits until the upstream has announced a change and may be listed for it. For the keeper.
    pub async fn change_announced(&self) {
        self.announced.notified().await;
        self.wait_for_turn().await;
    }

    /// Notes that the upstream causes a listing in another way: it lost its connection, or calls of
    /// it failed. Returns how long that listing has to wait.
    pub fn note_cause(&self) -> Duration {
        self.pace.lock().announce(Instant::now());
        self.announcement_delay()
    }

    /// Waits until the upstream may be listed for what it caused.
    pub async fn wait_for_turn(&self) {
        let earliest = self.pace.lock().earliest();
        if let Some(earliest) = earliest {
            tokio::time::sleep_until(earliest).await;
        }
    }

    /// Returns how long an announcement would have to wait now.
    #[must_use]
    pub fn announcement_delay(&self) -> Duration {
        let earliest = self.pace.lock().earliest();
        let now = Instant::now();
        earliest.map_or(Duration::ZERO, |earliest| {
            earliest.saturating_duration_since(now)
        })
    }

    /// Returns the least time until the next listing that the upstream asks for. For the keeper.
    #[must_use]
    pub fn floor(&self) -> Duration {
        self.pace.lock().floor()
    }

    /// Notes that a listing has ended, whatever came of it. For the keeper.
    pub fn note_listed(&self, ended: EndedListing) {
        self.pace.lock().listed(ended, Instant::now());
    }

    /// Begins a round and returns its number. For the keeper.
    pub fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Ends a round: whatever its listing led to is in place. For the publisher.
    pub fn end(&self, round: u64) {
        self.ended.send_replace(round);
    }

    /// Has the upstream listed now, for an operator, and waits until a round that began after this
    /// call has ended. Not even a `Retry-After` of the upstream is waited out. Returns false if that
    /// is not so by `deadline`.
    pub async fn resync(&self, deadline: Instant) -> bool {
        let done = self.next_round();
        self.order_listing();
        matches!(tokio::time::timeout_at(deadline, done).await, Ok(true))
    }

    /// Notes that the upstream announced a change, as [`Rounds::announce_change`], and waits as
    /// [`Rounds::resync`] does.
    pub async fn follow_change(&self, deadline: Instant) -> bool {
        let done = self.next_round();
        self.announce_change();
        matches!(tokio::time::timeout_at(deadline, done).await, Ok(true))
    }

    /// Waits until a round that begins after this call has ended. False if none will.
    fn next_round(&self) -> impl Future<Output = bool> + use<> {
        // A round that is under way may have read its lists before this call.
        let next = self.begun.load(Ordering::Acquire) + 1;
        let mut ended = self.ended.subscribe();
        async move { ended.wait_for(|ended| *ended >= next).await.is_ok() }
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
