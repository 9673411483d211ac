//! The parts of a weir that all ways to authenticate share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::files::Files;
use crate::memory::MemoryBudget;
use crate::tls::{CallerTrust, TlsConfigs};

/// The parts of a weir that all ways to authenticate share.
#[derive(Clone, Debug)]
pub struct AuthenticationContext {
    /// The TLS configurations for `https`.
    pub tls: Arc<TlsConfigs>,
    /// The files that may be replaced while weir runs.
    pub files: Arc<Files>,
    /// The owner of all spawned tasks.
    pub tasks: TaskTracker,
    /// Is cancelled when weir stops; nothing is fetched after that.
    pub shutdown: CancellationToken,
    /// The trust in client certificates, which the handshakes of the listener use too; `None` if
    /// they are not asked for.
    pub caller_trust: Option<Arc<CallerTrust>>,
    /// The budget of `limits.memory`, which what is remembered of tokens counts in.
    pub memory: Arc<MemoryBudget>,
}
