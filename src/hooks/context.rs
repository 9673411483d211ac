//! The parts of a running weir that hooks need, and why one cannot be set up.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::credentials::{CredentialsContext, SetupError};
use crate::memory::MemoryBudget;
use crate::metrics::Metrics;
use crate::upstream::client::HttpClientError;
use crate::upstream::confinement::SecretPaths;

/// Most bytes of a request and its response that a hook is asked about.
pub(super) const MESSAGE: usize = 8 << 20;
/// Most bytes of an answer.
pub(super) const ANSWER: usize = 8 << 20;

/// Why a hook cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum HookSetupError {
    /// Its credentials.
    #[error(transparent)]
    Credentials(#[from] SetupError),
    /// It has no program.
    #[error("it has no program")]
    NoProgram,
    /// Its HTTP client.
    #[error(transparent)]
    Client(#[from] HttpClientError),
}

/// The parts of a running weir that hooks need.
#[derive(Clone, Debug)]
pub struct HookContext {
    /// The context that credentials are made with.
    pub auth: CredentialsContext,
    /// The `weir` binary, run as the reaper of child processes.
    pub reaper: Option<PathBuf>,
    /// The files with secrets, which children are kept from.
    pub secret_paths: Arc<SecretPaths>,
    /// The bytes that may be kept.
    pub memory: Arc<MemoryBudget>,
    /// The metrics in which calls are counted.
    pub metrics: Arc<Metrics>,
    /// The owner of every task that is spawned.
    pub tasks: TaskTracker,
}
