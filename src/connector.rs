//! What each kind of upstream needs besides the protocol: a config block becomes a link.

mod gateway;
mod runtime;

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::config::{self, Connector, Endpoint};
use crate::credentials::{self, SetupError};
use crate::metrics::Metrics;
use crate::name::Instance;
use crate::upstream::http::{HttpWire, WireError};
use crate::upstream::quirks::Quirks;
use crate::upstream::stdio::{ChildSpec, inherited_env};
use crate::upstream::{Link, Wire};

/// What connectors need from the weir they belong to.
#[derive(Clone, Debug)]
pub struct ConnectorContext {
    /// The name of that weir in chains, if it is a hop of one.
    pub instance: Option<Instance>,
    /// The `weir` binary, run as the reaper of child processes; without it closing their stdin is all that ends them.
    pub reaper: Option<PathBuf>,
    /// What credentials are made with.
    pub auth: credentials::CredentialsContext,
    /// Where calls are counted.
    pub metrics: Arc<Metrics>,
    /// Owner of everything spawned.
    pub tasks: TaskTracker,
}

/// A link to the upstream. Opens nothing, so it fails only on what can be seen in the config.
///
/// # Errors
/// A credential that no header can carry, or no TLS roots.
pub fn link(
    config: &Arc<config::Upstream>,
    around: &ConnectorContext,
) -> Result<Arc<Link>, WireError> {
    let wire = match &config.endpoint {
        Endpoint::Http(endpoint) => {
            let quirks = quirks(config.connector);
            Wire::Http(Box::new(HttpWire::new(
                config,
                endpoint,
                quirks,
                &around.auth,
            )?))
        }
        Endpoint::Child {
            program,
            args,
            env,
            cwd,
        } => Wire::Child(Box::new(ChildSpec {
            name: config.id.clone(),
            program: program.clone(),
            args: args.clone(),
            env: env
                .iter()
                .map(|(name, value)| Ok((name.clone(), around.auth.secrets.open(value)?)))
                .collect::<Result<_, SetupError>>()?,
            cwd: cwd.clone(),
            reaper: around.reaper.clone(),
            inherited: inherited_env(),
            max_message: config.limits.response_bytes,
        })),
    };
    let mut link = Link::new(
        Arc::clone(config),
        around.instance.clone(),
        wire,
        around.tasks.clone(),
        around.metrics.upstream(&config.id),
    );
    link.gateway_control = gateway::control(config, &around.auth)?;
    Ok(Arc::new(link))
}

/// What is particular to upstreams of a kind.
fn quirks(connector: Connector) -> Quirks {
    match connector {
        Connector::AgentcoreGateway => gateway::QUIRKS,
        Connector::AgentcoreRuntime => runtime::QUIRKS,
        Connector::Saas | Connector::OnPrem => Quirks::default(),
    }
}
