//! The state of the connection to the store, for operators.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// The state of the connection to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreState {
    /// There was no connection yet.
    #[default]
    Connecting,
    /// There is a connection.
    Up,
    /// The connection is lost, and the next one is tried.
    Lost,
}

/// The store, as operators see it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StoreStatus {
    /// The state of the connection.
    pub store: StoreState,
    /// How limits are kept while the store cannot be reached.
    pub when_lost: &'static str,
    /// Connections that were lost since weir started.
    pub losses: u64,
    /// Requests to the store that failed, or were not made because there was no connection.
    pub failures: u64,
    /// The listings that replicas share.
    pub listings: ListingCounts,
}

/// The listings that replicas share, counted by this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ListingCounts {
    /// Upstreams that this replica lists for all.
    pub led: u64,
    /// Listings of others that it took over since it started.
    pub taken: u64,
    /// Listings in the store that it refused since it started.
    pub refused: u64,
}

/// The same while they change.
#[derive(Debug, Default)]
pub(crate) struct ListingFigures {
    pub(crate) led: AtomicU64,
    pub(crate) taken: AtomicU64,
    pub(crate) refused: AtomicU64,
}

impl ListingFigures {
    pub(super) fn counts(&self) -> ListingCounts {
        ListingCounts {
            led: self.led.load(Ordering::Relaxed),
            taken: self.taken.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}
