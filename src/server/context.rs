//! The parts that the upstreams of one weir share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::connector::ConnectorContext;
use crate::credentials::CredentialsContext;
use crate::files::Files;
use crate::hooks::{HookContext, HookSetupError, Hooks};
use crate::memory::MemoryBudget;
use crate::metrics::Metrics;
use crate::server::options::Options;
use crate::upstream::confinement::SecretPaths;

/// Makes the parts that the upstreams of one weir share.
pub(super) fn make_context(
    config: &Config,
    options: &Options,
    files: &Arc<Files>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> ConnectorContext {
    ConnectorContext {
        instance: config.instance.clone(),
        reaper: options.reaper.clone(),
        secret_paths: Arc::new(SecretPaths::of(config)),
        auth: CredentialsContext::new(files, config.state_dir.clone(), tasks, shutdown),
        metrics: Metrics::new(),
        memory: MemoryBudget::new(config.memory),
        tasks: tasks.clone(),
    }
}

/// Sets up the hooks of a config. Those that were there before keep their state.
pub(super) fn make_hooks(
    config: &Config,
    before: &Hooks,
    around: &ConnectorContext,
) -> Result<Arc<Hooks>, HookSetupError> {
    let context = HookContext {
        auth: around.auth.clone(),
        reaper: around.reaper.clone(),
        secret_paths: Arc::clone(&around.secret_paths),
        memory: Arc::clone(&around.memory),
        metrics: Arc::clone(&around.metrics),
        tasks: around.tasks.clone(),
    };
    Hooks::new(&config.hooks, before, &context).map(Arc::new)
}
