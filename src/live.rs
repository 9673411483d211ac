//! The state that moves: all that is known of the upstreams, and the snapshot made of it.
//!
//! One writer ([`publisher`]) applies changes ([`state`], pure) and stores snapshots in the one
//! [`ArcSwap`]; readers load it once per request.

pub mod accept;
pub mod access;
pub mod command;
pub mod front_gateway;
pub mod keeper;
mod named;
pub mod publisher;
pub mod reload;
pub mod schedule;
pub mod shared_listings;
pub mod shared_pins;
pub mod snapshot;
pub mod state;
pub mod store;
pub mod view;

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;
use tokio::time::Instant;

use named::NamedByPrincipal;
pub use snapshot::Snapshot;
pub use state::StateChange;
pub use view::View;

use crate::audit::AuditLog;
use crate::caller::Caller;
use crate::catalog::NamedResources;
use crate::config::Config;
use crate::replicas::SharedStore;
use crate::upstream::HealthState;

/// The current snapshot, and a notification of each new one.
#[derive(Debug)]
pub struct Live {
    current: ArcSwap<Snapshot>,
    generation: watch::Sender<u64>,
    /// The resources that results named to callers without a session.
    named_resources: NamedByPrincipal,
    /// The record file, if there is one. It is the same as long as weir runs.
    audit: Option<Arc<AuditLog>>,
    /// The store that replicas share, if there is one. It is the same as long as weir runs.
    store: Option<Arc<SharedStore>>,
}

impl Live {
    /// Starts with a snapshot that has no routes yet.
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        let generation = watch::Sender::new(first.generation);
        Self {
            current: ArcSwap::from_pointee(first),
            generation,
            named_resources: NamedByPrincipal::default(),
            audit: None,
            store: None,
        }
    }

    /// Adds the record file.
    #[must_use]
    pub fn with_audit(self, audit: Option<Arc<AuditLog>>) -> Self {
        Self { audit, ..self }
    }

    /// Adds the store that replicas share.
    #[must_use]
    pub fn with_store(self, store: Option<Arc<SharedStore>>) -> Self {
        Self { store, ..self }
    }

    /// Returns the store that replicas share, if there is one.
    #[must_use]
    pub fn shared_store(&self) -> Option<&Arc<SharedStore>> {
        self.store.as_ref()
    }

    /// Returns the record file, if there is one.
    #[must_use]
    pub fn audit(&self) -> Option<&Arc<AuditLog>> {
        self.audit.as_ref()
    }

    /// Returns the current snapshot. Load it once per request.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Returns the current snapshot, to be kept.
    #[must_use]
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Returns a receiver of the number of each new snapshot, sent after it is in place.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Returns the resources that results named to a caller without a session.
    #[must_use]
    pub fn named_resources(&self, caller: &Caller) -> Arc<NamedResources> {
        self.named_resources.of(caller)
    }

    /// Waits until every upstream has been listed or has failed once.
    pub async fn settled(&self) {
        for link in self.load_full().links().iter() {
            let mut state = link.health.subscribe();
            let _ = state
                .wait_for(|state| *state != HealthState::Connecting)
                .await;
        }
    }

    /// Replaces the snapshot, of which the views in use are made first. Only the publisher calls this.
    fn store(&self, next: Snapshot) {
        let generation = next.generation;
        next.prewarm(&self.load());
        self.current.store(Arc::new(next));
        self.generation.send_replace(generation);
    }

    /// Forgets the pages of earlier catalogs that are too old. Callers see no other difference, and
    /// are not notified.
    fn forget_earlier(&self, now: Instant) {
        if let Some(without) = self.load().without_old_pages(now) {
            self.current.store(Arc::new(without));
        }
    }

    /// Replaces the config by one of equal meaning, as settings moved in its files. Callers see no
    /// difference and are not notified.
    fn relocate(&self, config: Arc<Config>) {
        let relocated = self.load().relocated(config);
        self.current.store(Arc::new(relocated));
    }
}
