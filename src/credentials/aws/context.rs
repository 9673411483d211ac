//! The parts of a weir that calls of AWS services use.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::credentials::context::CredentialsContext;
use crate::tls::TlsConfigs;

/// The parts of a weir that calls of AWS services use.
#[derive(Clone, Debug)]
pub struct AwsContext {
    /// The TLS configurations for `https`.
    pub tls: Arc<TlsConfigs>,
    /// The owner of all spawned tasks.
    pub tasks: TaskTracker,
    /// Is cancelled when weir stops; nothing is fetched after that.
    pub stop: CancellationToken,
    /// Replaces the endpoints of all AWS services, for tests. `None`: the environment, the profile
    /// or AWS's own endpoints decide.
    pub endpoint: Option<Url>,
}

impl From<&CredentialsContext> for AwsContext {
    fn from(context: &CredentialsContext) -> Self {
        Self {
            tls: Arc::clone(&context.tls),
            tasks: context.tasks.clone(),
            stop: context.stop.clone(),
            endpoint: None,
        }
    }
}
