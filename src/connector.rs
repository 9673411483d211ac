//! Makes a link from the config of an upstream: what each kind of upstream needs beside the
//! protocol.

mod gateway;
mod runtime;

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::config::{self, Connector, Endpoint};
use crate::credentials::{self, SetupError};
use crate::memory::MemoryBudget;
use crate::metrics::Metrics;
use crate::name::Instance;
use crate::upstream::confinement::SecretPaths;
use crate::upstream::delegations::Delegations;
use crate::upstream::http::{HttpWire, WireError};
use crate::upstream::quirks::Quirks;
use crate::upstream::stdio::{ChildSpec, InheritedEnv};
use crate::upstream::{Link, Wire};

/// The parts of a running weir that connectors need.
#[derive(Clone, Debug)]
pub struct ConnectorContext {
    /// The name of that weir in chains, if it is a hop of one.
    pub instance: Option<Instance>,
    /// The `weir` binary, run as the reaper of child processes. Without it, only closing their
    /// stdin ends them after a SIGKILL of weir.
    pub reaper: Option<PathBuf>,
    /// The files with secrets, which children are kept from.
    pub secret_paths: Arc<SecretPaths>,
    /// The context that credentials are made with.
    pub auth: credentials::CredentialsContext,
    /// The metrics in which calls are counted.
    pub metrics: Arc<Metrics>,
    /// The bytes that may be kept.
    pub memory: Arc<MemoryBudget>,
    /// The owner of every task that is spawned.
    pub tasks: TaskTracker,
}

/// Builds the link to an upstream. Opens nothing, so it fails only on what can be seen in the
/// config.
///
/// # Errors
/// No header can carry a credential, or there are no TLS roots.
pub fn build_link(
    config: &Arc<config::Upstream>,
    context: &ConnectorContext,
) -> Result<Arc<Link>, WireError> {
    let memory = context.memory.share();
    let wire = match &config.endpoint {
        Endpoint::Http(endpoint) => {
            let quirks = quirks_of(config.connector);
            Wire::Http(Box::new(HttpWire::new(
                config,
                endpoint,
                quirks,
                &context.auth,
                memory.clone(),
            )?))
        }
        Endpoint::Child {
            program,
            args,
            env,
            cwd,
            inherit_env,
            hides_secrets,
            user,
        } => Wire::Child(Box::new(ChildSpec {
            name: config.id.clone(),
            program: program.clone(),
            args: args.clone(),
            env: env
                .iter()
                .map(|(name, value)| Ok((name.clone(), context.auth.secrets.open(value)?)))
                .collect::<Result<_, SetupError>>()?,
            cwd: cwd.clone(),
            reaper: context.reaper.clone(),
            hidden: hides_secrets.then(|| Arc::clone(&context.secret_paths)),
            user: user.clone(),
            inherited: InheritedEnv::read(inherit_env),
            max_message: config.limits.response_bytes,
            memory: memory.clone(),
        })),
    };
    let mut link = Link::new(
        Arc::clone(config),
        context.instance.clone(),
        wire,
        context.tasks.clone(),
        memory.clone(),
        context.metrics.upstream(&config.id),
    );
    if let (Some(on_behalf), Endpoint::Http(endpoint), Wire::Http(wire)) =
        (&config.on_behalf, &config.endpoint, &link.wire)
    {
        let exchange = wire
            .credentials()
            .caller_exchange(on_behalf, endpoint, &context.auth)?;
        link.delegations = Some(Delegations::new(
            on_behalf,
            exchange,
            &context.auth,
            context.memory.share(),
        ));
    }
    link.gateway_control = gateway::build_control(config, &context.auth)?;
    Ok(Arc::new(link))
}

/// Returns what is particular to upstreams of a kind.
fn quirks_of(connector: Connector) -> Quirks {
    match connector {
        Connector::AgentcoreGateway => gateway::QUIRKS,
        Connector::AgentcoreRuntime => runtime::QUIRKS,
        Connector::Saas | Connector::OnPrem => Quirks::default(),
    }
}
