//! The parts of a weir that credentials use.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::credentials::secrets::Secrets;
use crate::replicas::SharedStore;
use crate::tls::TlsConfigs;

/// The parts of a weir that the credentials of all its upstreams share.
#[derive(Clone, Debug)]
pub struct CredentialsContext {
    /// The TLS configurations for `https`.
    pub tls: Arc<TlsConfigs>,
    /// The secrets that may change while weir runs.
    pub secrets: Arc<Secrets>,
    /// The folder where `weir login` stores tokens; `None` if weir keeps no state on disk.
    pub state_dir: Option<PathBuf>,
    /// The store that replicas share, if there is one.
    pub shared: Option<Arc<SharedStore>>,
    /// The owner of all spawned tasks.
    pub tasks: TaskTracker,
    /// Is cancelled when weir stops; nothing is fetched after that.
    pub stop: CancellationToken,
}
