//! The state of the connection to the store, for operators.

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
}
