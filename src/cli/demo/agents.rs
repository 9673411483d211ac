//! The agents of the demo's last step: each has a key of its own, and policies say what it may do.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::json;

use super::client::{DemoClient, DemoClientError};
use super::error::DemoError;
use super::secrets::random_secret;
use super::weir::{self, DemoWeir, Endpoints};
use crate::authentication::{ApiKeyText, make_api_key, write_hash};
use crate::secret::Secret;

/// The policies. A key's entity is its subject; an action is an upstream, or a tool of one.
pub(super) const POLICIES: &str = r#"@id("support-reads")
permit(principal == Weir::ApiKey::"support", action in [AgentCore::Action::"crm", AgentCore::Action::"notes"], resource);

@id("logistics")
permit(principal == Weir::ApiKey::"logistics", action in AgentCore::Action::"warehouse", resource);
"#;

/// An agent, and the upstreams whose tools it may use.
#[derive(Debug)]
pub(super) struct DemoAgent {
    pub(super) name: &'static str,
    pub(super) upstreams: &'static [&'static str],
}

pub(super) const AGENTS: [DemoAgent; 2] = [
    DemoAgent {
        name: "support",
        upstreams: &["crm", "notes"],
    },
    DemoAgent {
        name: "logistics",
        upstreams: &["warehouse"],
    },
];

/// A weir that asks its callers for keys, and the folder of its files.
pub(super) struct GuardedWeir {
    pub(super) front: DemoWeir,
    keys: Vec<Secret>,
    folder: Folder,
}

/// A folder that only its user may read. It is removed with the value.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Self, DemoError> {
        let name = random_secret().ok_or(DemoError::Random)?;
        let path = std::env::temp_dir().join(format!("weir-demo-{}", name.expose()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(DemoError::Folder)?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        fs::write(self.0.join(name), text)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl GuardedWeir {
    /// Starts a weir over the same upstreams whose callers need a key.
    pub(super) async fn start(endpoints: &Endpoints) -> Result<Self, DemoError> {
        let folder = Folder::create()?;
        let (mut keys, mut file) = (Vec::new(), String::new());
        for DemoAgent { name, .. } in AGENTS {
            let key = make_api_key(name).ok_or(DemoError::Random)?;
            let text = ApiKeyText::parse(key.expose()).map_err(|_| DemoError::Random)?;
            let hash = write_hash(&text.hash());
            // Writing to a String does not fail.
            let _ = writeln!(file, "{name}: {{ subject: {name}, hash: \"{hash}\" }}");
            keys.push(key);
        }
        let written = folder.write("callers.yaml", &file);
        let written = written.and_then(|()| folder.write("agents.cedar", POLICIES));
        written.map_err(DemoError::Folder)?;
        let front = weir::start_guarded(endpoints, folder.path()).await;
        let front = front.map_err(DemoError::Start)?;
        Ok(Self {
            front,
            keys,
            folder,
        })
    }

    /// Connects a client for each agent.
    pub(super) async fn connect_agents(&self) -> Result<Vec<(DemoAgent, DemoClient)>, DemoError> {
        let mut clients = Vec::new();
        for (agent, key) in AGENTS.into_iter().zip(&self.keys) {
            let http = http(key)?;
            let client = DemoClient::connect(http, &self.front.url).await?;
            clients.push((agent, client));
        }
        Ok(clients)
    }

    /// Expects that a request without a key is refused. Returns the status.
    pub(super) async fn expect_refusal(&self, http: &reqwest::Client) -> Result<String, DemoError> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
        let request = http.post(&self.front.url).body(request);
        let request = request
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        let name = "weir";
        let failed = |source| DemoError::NoAnswer { name, source };
        let status = request.send().await.map_err(failed)?.status();
        match status {
            reqwest::StatusCode::UNAUTHORIZED => Ok(status.to_string()),
            status => Err(DemoError::Open { name, status }),
        }
    }

    pub(super) async fn stop(self) {
        self.front.stop().await;
        drop(self.folder);
    }
}

/// Calls a tool that the agent may not use, and returns the error that it gets.
///
/// # Errors
/// It gets an answer, or none.
pub(super) async fn expect_denial(
    client: &mut DemoClient,
    tool: &str,
) -> Result<String, DemoError> {
    let arguments = json!({ "site": "rotterdam" });
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    match client.call(tool, arguments, &mut |_| {}).await {
        Err(DemoClientError::Request { source, .. }) => Ok(source.to_string()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(DemoError::Allowed {
            tool: tool.to_owned(),
        }),
    }
}

/// Returns an HTTP client that sends a key with every request.
fn http(key: &Secret) -> Result<reqwest::Client, DemoError> {
    let bearer = HeaderValue::try_from(format!("Bearer {}", key.expose()));
    let mut bearer = bearer.map_err(|_| DemoError::Random)?;
    bearer.set_sensitive(true);
    let builder = reqwest::Client::builder()
        .no_proxy()
        .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]));
    builder.build().map_err(DemoError::Http)
}
