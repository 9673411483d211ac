//! The state that moves: what is known of every upstream, and the snapshot made of it.
//!
//! One writer ([`publisher`]) applies changes ([`state`], pure) and stores snapshots in the one
//! [`ArcSwap`]; readers load it once per request.

pub mod accept;
pub mod command;
pub mod keeper;
pub mod publisher;
pub mod reload;
pub mod schedule;
pub mod snapshot;
pub mod state;
pub mod store;
pub mod view;

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

pub use snapshot::Snapshot;
pub use state::StateChange;
pub use view::View;

use crate::config::Config;
use crate::upstream::HealthState;

/// The current snapshot, and word of every new one.
#[derive(Debug)]
pub struct Live {
    current: ArcSwap<Snapshot>,
    generation: watch::Sender<u64>,
}

impl Live {
    /// Starts with a snapshot that has no routes yet.
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        let generation = watch::Sender::new(first.generation);
        Self {
            current: ArcSwap::from_pointee(first),
            generation,
        }
    }

    /// The snapshot of this moment. Load it once per request.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The snapshot of this moment, to keep.
    #[must_use]
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Tells the number of every new snapshot, after it is in place.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
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

    /// For the publisher, the only writer.
    fn store(&self, next: Snapshot) {
        let generation = next.generation;
        self.current.store(Arc::new(next));
        self.generation.send_replace(generation);
    }

    /// For the publisher: what callers see stays, so nobody is told.
    fn relocate(&self, config: Arc<Config>) {
        let relocated = self.load().relocated(config);
        self.current.store(Arc::new(relocated));
    }
}
