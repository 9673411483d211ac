//! The control plane of AgentCore gateways.

use tokio::time::Instant;

use crate::auth::{Around, SetupError};
use crate::config::AwsCredentials;

/// The control plane of one gateway.
#[derive(Debug)]
pub struct Control {}

/// What became of the targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synchronized {
    /// So many list what their servers have now.
    pub done: usize,
    /// So many were left alone: waiting for a person's consent, with a schema of their own, busy, or not for MCP.
    pub skipped: usize,
    /// So many could not be synchronized.
    pub failed: usize,
}

/// Why targets were not synchronized. Never a peer's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyncError(pub Box<str>);

impl Control {
    /// Of the gateway with this id. Opens nothing.
    ///
    /// # Errors
    /// What shows in the config.
    pub fn new(
        _gateway: &str,
        _region: Option<&str>,
        _credentials: &AwsCredentials,
        _around: &Around,
    ) -> Result<Self, SetupError> {
        Ok(Self {})
    }

    /// Has every target list what its server has now (`SynchronizeGatewayTargets`), one after the other, and waits
    /// until each is ready. Asked again within a minute it does nothing (`Ok(None)`).
    ///
    /// # Errors
    /// The control plane could not be asked, or not until `deadline`.
    pub async fn synchronize(&self, _deadline: Instant) -> Result<Option<Synchronized>, SyncError> {
        Err(SyncError("not built".into()))
    }
}
