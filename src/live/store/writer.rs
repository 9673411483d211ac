//! Whoever writes what is stored: the latest of each upstream, some time soon, and nobody waits who does not want to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::catalog::{Listing, Pins};
use crate::config;
use crate::live::store::Store;

/// Least time between two notes that a stored listing still holds.
const CONFIRMED_EVERY: Duration = Duration::from_secs(30);

/// Hands listings to whoever writes them, the latest of each upstream only, and waits for nobody.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    /// By the number of the link.
    waiting: Mutex<BTreeMap<u64, Job>>,
    /// The same. Those of a later link of an upstream are written later.
    pins: Mutex<BTreeMap<u64, PinJob>>,
    wake: Notify,
}

#[derive(Debug)]
struct Job {
    upstream: Arc<config::Upstream>,
    /// `None`: the one that is stored still holds.
    listing: Option<Arc<Listing>>,
}

#[derive(Debug)]
struct PinJob {
    upstream: Arc<config::Upstream>,
    /// `None`: nothing is pinned any more.
    pins: Option<Arc<Pins>>,
    /// Told whether it is written.
    done: Vec<oneshot::Sender<bool>>,
}

impl Writer {
    /// A writer to this store, with nothing to write.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            waiting: Mutex::default(),
            pins: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Stores this listing of the upstream that a link leads to, some time soon.
    pub fn keep(&self, link: u64, upstream: &Arc<config::Upstream>, listing: Arc<Listing>) {
        let upstream = Arc::clone(upstream);
        let listing = Some(listing);
        self.lock().insert(link, Job { upstream, listing });
        self.wake.notify_one();
    }

    /// Notes some time soon that what is stored of it still holds.
    pub fn confirm(&self, link: u64, upstream: &Arc<config::Upstream>) {
        let job = || Job {
            upstream: Arc::clone(upstream),
            listing: None,
        };
        self.lock().entry(link).or_insert_with(job);
    }

    /// Stores these pins of the upstream that a link leads to, some time soon, and tells when that is done, and whether it could be.
    pub fn pin(
        &self,
        link: u64,
        upstream: &Arc<config::Upstream>,
        pins: Option<Arc<Pins>>,
        done: Option<oneshot::Sender<bool>>,
    ) {
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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Job>> {
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
        // Pins first: what is listed again after a crash is held to them.
        for job in std::mem::take(&mut *lock(&self.pins)).into_values() {
            let done = match &job.pins {
                Some(pins) => self.store.keep_pins(&job.upstream, pins),
                None => self.store.drop_pins(&job.upstream),
            };
            if let Err(error) = &done {
                tracing::warn!(upstream = %job.upstream.id, %error, "its pins cannot be stored");
            }
            for told in job.done {
                let _ = told.send(done.is_ok());
            }
        }
        let jobs = std::mem::take(&mut *self.lock());
        for Job { upstream, listing } in jobs.into_values() {
            let done = match listing {
                Some(listing) => self.store.keep(&upstream, &listing),
                None => self.store.confirm(&upstream),
            };
            if let Err(error) = done {
                tracing::warn!(upstream = %upstream.id, %error, "its listing cannot be stored");
            }
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
