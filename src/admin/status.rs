//! `GET /status`: what weir is and how it is, in a few numbers.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use crate::admin::reloads;
use crate::admin::response::json_response;
use crate::admin::state::AdminState;
use crate::catalog::Kind;
use crate::live::Snapshot;
use crate::replicas::StoreStatus;

/// The state of a weir in a few numbers.
#[derive(Clone, Debug, Serialize)]
pub struct WeirStatus {
    /// The version of weir.
    pub version: &'static str,
    /// The name of this weir in chains.
    pub instance: Option<String>,
    /// How long it has been running.
    pub uptime_seconds: u64,
    /// The number of the snapshot.
    pub generation: u64,
    /// The upstreams by their state.
    pub upstreams: UpstreamCounts,
    /// Tools that callers can see, if policies let them; and so on.
    pub tools: usize,
    /// Prompts.
    pub prompts: usize,
    /// Resources.
    pub resources: usize,
    /// Resource templates.
    pub templates: usize,
    /// Definitions that wait to be accepted.
    pub waiting: usize,
    /// Whether there are policies.
    pub has_policies: bool,
    /// The store that replicas share, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<StoreStatus>,
    /// The reloads of the config, as in `GET /upstreams`.
    pub reloads: serde_json::Value,
}

/// The number of upstreams in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UpstreamCounts {
    /// All.
    pub total: usize,
    /// Those whose last listing worked.
    pub up: usize,
    /// Those whose last attempt failed.
    pub failing: usize,
    /// Those that have not answered yet.
    pub connecting: usize,
}

impl WeirStatus {
    /// Describes a weir.
    #[must_use]
    pub fn of(operators: &AdminState, snapshot: &Snapshot) -> Self {
        let catalog = &snapshot.catalog;
        let parts = catalog.parts().chain(catalog.hidden());
        Self {
            version: env!("CARGO_PKG_VERSION"),
            instance: snapshot.config.instance.as_ref().map(ToString::to_string),
            uptime_seconds: operators.started.elapsed().as_secs(),
            generation: snapshot.generation,
            upstreams: UpstreamCounts::of(snapshot),
            tools: catalog.len(Kind::Tools),
            prompts: catalog.len(Kind::Prompts),
            resources: catalog.len(Kind::Resources),
            templates: catalog.len(Kind::Templates),
            waiting: parts.map(|part| part.prepared.drift().drifted.len()).sum(),
            has_policies: snapshot.policies.is_some(),
            replicas: operators.live.shared_store().map(|store| store.status()),
            reloads: reloads::describe(&operators.reloads),
        }
    }
}

impl UpstreamCounts {
    fn of(snapshot: &Snapshot) -> Self {
        let mut counts = Self::default();
        for link in snapshot.links().iter() {
            counts.total += 1;
            match link.health.state_word() {
                "up" => counts.up += 1,
                "failing" => counts.failing += 1,
                _ => counts.connecting += 1,
            }
        }
        counts
    }
}

/// Answers `GET /status`.
pub(super) async fn status(State(operators): State<AdminState>) -> Response {
    let status = WeirStatus::of(&operators, &operators.live.load_full());
    json_response(StatusCode::OK, &status)
}
