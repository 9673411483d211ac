//! The weir in front of the demo's upstreams.

use std::path::PathBuf;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::upstream::KEY_HEADER;
use crate::secret::Secret;

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
#[derive(Debug)]
pub(super) struct Front {
    pub url: String,
    pub generation: watch::Receiver<u64>,
    stop: CancellationToken,
}

/// Why weir is not running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It could not listen.
    #[error("cannot listen on loopback")]
    Listen(#[source] std::io::Error),
}

/// Starts weir in front of the endpoints.
// STAND-IN until `weir::Server` is here: an rmcp server that has all tools under their exposed names, answers
// them itself, and gains one when the warehouse says that its list changed.
pub(super) async fn start(endpoints: &Endpoints) -> Result<Front, StartError> {
    let _ = (config(endpoints), &endpoints.crm_key);
    let server = super::upstream::Upstream::new(merged());
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let url = server
        .serve_http(None, &tasks, &stop)
        .await
        .map_err(StartError::Listen)?;
    let (sender, generation) = watch::channel(3);
    let warehouse = endpoints.warehouse.clone();
    tasks.spawn(async move {
        let http = reqwest::Client::new();
        let Ok(mut client) = super::client::Client::connect(http, &warehouse).await else {
            return;
        };
        while client.changed(0).await.is_err() {}
        let name = "warehouse__reserve_stock";
        sender.send_modify(|generation| *generation += 1);
        server
            .add_tool(super::tools::Tool {
                name,
                ..super::tools::RESERVE_STOCK
            })
            .await;
        sender.closed().await;
    });
    Ok(Front {
        url,
        generation,
        stop,
    })
}

fn merged() -> &'static super::tools::Profile {
    use super::tools::{CRM, NOTES, Profile, Tool, WAREHOUSE};
    let named = |(prefix, tool): (&str, &Tool)| {
        let name: &'static str = format!("{prefix}__{}", tool.name).leak();
        Tool { name, ..*tool }
    };
    let all = [&CRM, &WAREHOUSE, &NOTES];
    let tools = all
        .iter()
        .flat_map(|profile| profile.tools.iter().map(|tool| (profile.name, tool)));
    let tools = Vec::leak(tools.map(named).collect());
    let name = "weir";
    Box::leak(Box::new(Profile {
        name,
        tools,
        resources: NOTES.resources,
        ..CRM
    }))
}

impl Front {
    /// Stops weir and, with it, the child.
    pub(super) async fn stop(self) {
        self.stop.cancel();
    }
}
