//! The weir in front of the demo's upstreams.

use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::access::KEY_HEADER;
use super::tokens::CLIENT;
use crate::config::ConfigErrors;
use crate::secret::Secret;
use crate::server::{Options, ServeError, Server};

/// The runtime's ARN. Its account is the one of AWS's own examples.
const RUNTIME: &str =
    "arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/warehouse-0a1b2c3d4e";
/// The AWS region of the demo's gateway and runtime.
pub(super) const REGION: &str = "eu-west-1";

/// How the demo's upstreams are reached. URLs are without their paths.
#[derive(Debug)]
pub(super) struct Endpoints {
    pub office: String,
    /// Access key id and secret access key.
    pub office_key: (String, Secret),
    pub warehouse: String,
    pub token_url: String,
    pub warehouse_secret: Secret,
    pub crm: String,
    pub crm_key: Secret,
    /// This binary, which is the notes upstream when run as `weir demo-child`.
    pub program: PathBuf,
}

/// The environment variables of the config's secrets.
const OFFICE_VARIABLE: &str = "OFFICE_SECRET_ACCESS_KEY";
const WAREHOUSE_VARIABLE: &str = "WAREHOUSE_CLIENT_SECRET";
const CRM_VARIABLE: &str = "CRM_API_KEY";

/// Returns path and query of the warehouse; its ARN is one segment.
pub(super) fn runtime_target() -> String {
    let arn = RUNTIME.replace(':', "%3A").replace('/', "%2F");
    format!("/runtimes/{arn}/invocations?qualifier=DEFAULT")
}

/// Returns the config of the demo, as a new user would write it.
pub(super) fn config(endpoints: &Endpoints) -> String {
    let Endpoints {
        office,
        office_key: (access_key_id, _),
        warehouse,
        token_url,
        crm,
        program,
        ..
    } = endpoints;
    // JSON strings are YAML strings, and escape whatever is in the path.
    let program = serde_json::Value::from(program.to_string_lossy()).to_string();
    format!(
        "version: 1
listen: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0 }}
upstreams:
  office:
    connector: agentcore_gateway
    gateway: {{ id: office-0a1b2c3d4e, region: {REGION}, endpoint: {office} }}
    auth:
      type: sigv4
      access_key_id: {access_key_id}
      secret_access_key: {{ env: {OFFICE_VARIABLE} }}
    names: {{ strip: \"^[^_]+___\" }}
  warehouse:
    connector: agentcore_runtime
    runtime:
      arn: {RUNTIME}
      endpoint: {warehouse}
    auth:
      type: oauth2_client_credentials
      token_url: {token_url}
      client_id: {CLIENT}
      client_secret: {{ env: {WAREHOUSE_VARIABLE} }}
  crm:
    connector: saas
    url: {crm}/mcp
    auth: {{ type: header, name: {KEY_HEADER}, value: {{ env: {CRM_VARIABLE} }} }}
  notes:
    connector: on_prem
    command: {program}
    args: [demo-child]
"
    )
}

/// Returns the config of a weir whose callers have keys, and upstreams no addresses. Its files are
/// in this folder.
fn guarded_config(endpoints: &Endpoints, folder: &Path) -> String {
    let place = |file: &str| {
        let path = folder.join(file);
        serde_json::Value::from(path.to_string_lossy()).to_string()
    };
    let (callers, policies) = (place("callers.yaml"), place("agents.cedar"));
    config(endpoints).replace(
        "listen: { address: 127.0.0.1:0 }",
        &format!(
            "listen: {{ address: 127.0.0.1:0, auth: {{ api_keys: {{ file: {callers} }} }} }}\npolicy: {{ files: [{policies}], covers: [tools, prompts, resources] }}
guard: {{ redact: {{ towards_upstream: {{ EMAIL: tokenise }}, towards_caller: {{ EMAIL: restore }} }} }}"
        ),
    )
}

/// A running weir.
pub(super) struct DemoWeir {
    pub url: String,
    /// The address of the page for operators.
    pub page: Option<String>,
    pub generation: watch::Receiver<u64>,
    server: Server,
}

/// Why the demo's weir does not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoStartError {
    /// The demo's config is refused.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// It could not start.
    #[error("weir does not start")]
    Serve(#[from] ServeError),
}

/// Starts weir in front of the endpoints.
pub(super) async fn start(endpoints: &Endpoints) -> Result<DemoWeir, DemoStartError> {
    start_with(&config(endpoints), endpoints).await
}

/// Starts a weir whose callers have keys in front of the same endpoints.
pub(super) async fn start_guarded(
    endpoints: &Endpoints,
    folder: &Path,
) -> Result<DemoWeir, DemoStartError> {
    start_with(&guarded_config(endpoints, folder), endpoints).await
}

async fn start_with(config: &str, endpoints: &Endpoints) -> Result<DemoWeir, DemoStartError> {
    let (_, office_key) = &endpoints.office_key;
    let env = |name: &str| {
        let secret = match name {
            OFFICE_VARIABLE => office_key,
            WAREHOUSE_VARIABLE => &endpoints.warehouse_secret,
            CRM_VARIABLE => &endpoints.crm_key,
            _ => return None,
        };
        Some(secret.expose().to_owned())
    };
    let config = crate::config::parse(config, Path::new("demo.yaml"), &env)?;
    let server = Server::start(
        config,
        Options {
            reaper: Some(endpoints.program.clone()),
            ..Options::default()
        },
    )
    .await?;
    Ok(DemoWeir {
        url: server.url(),
        page: server
            .admin_address()
            .map(|address| format!("http://{address}/")),
        generation: server.generation(),
        server,
    })
}

impl DemoWeir {
    /// Stops weir and, with it, the child.
    pub(super) async fn stop(self) {
        self.server.stop().await;
    }
}
