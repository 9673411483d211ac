//! The weir in front of the demo's upstreams.

use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::upstream::KEY_HEADER;
use crate::config::ConfigErrors;
use crate::secret::Secret;
use crate::server::{Options, ServeError, Server};

/// How the demo's upstreams are reached.
#[derive(Debug)]
pub(super) struct Endpoints {
    pub crm: String,
    pub crm_key: Secret,
    pub warehouse: String,
    /// This binary, which is the notes upstream when run as `weir demo-child`.
    pub program: PathBuf,
}

/// The variable that the config takes the CRM's key from.
pub(super) const KEY_VARIABLE: &str = "CRM_API_KEY";

/// The config of the demo, as a newcomer would write it.
pub(super) fn config(endpoints: &Endpoints) -> String {
    let Endpoints {
        crm,
        warehouse,
        program,
        ..
    } = endpoints;
    // JSON strings are YAML strings: a path may have anything in it.
    let program = serde_json::Value::from(program.to_string_lossy()).to_string();
    format!(
        "version: 1
listen: {{ address: 127.0.0.1:0 }}
upstreams:
  crm:
    connector: saas
    url: {crm}
    auth: {{ type: header, name: {KEY_HEADER}, value: {{ env: {KEY_VARIABLE} }} }}
  warehouse:
    connector: on_prem
    url: {warehouse}
  notes:
    connector: on_prem
    command: {program}
    args: [demo-child]
"
    )
}

/// A running weir.
pub(super) struct Front {
    pub url: String,
    pub generation: watch::Receiver<u64>,
    server: Server,
}

/// Why weir is not running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The demo's own config is refused.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// It could not start.
    #[error("weir does not start")]
    Serve(#[from] ServeError),
}

/// Starts weir in front of the endpoints.
pub(super) async fn start(endpoints: &Endpoints) -> Result<Front, StartError> {
    let key = endpoints.crm_key.expose().to_owned();
    let env = move |name: &str| (name == KEY_VARIABLE).then(|| key.clone());
    let config = crate::config::parse(&config(endpoints), Path::new("demo.yaml"), &env)?;
    let server = Server::start(
        config,
        Options {
            guard: Some(endpoints.program.clone()),
            ..Options::default()
        },
    )
    .await?;
    Ok(Front {
        url: server.url(),
        generation: server.generation(),
        server,
    })
}

impl Front {
    /// Stops weir and, with it, the child.
    pub(super) async fn stop(self) {
        self.server.stop().await;
    }
}
