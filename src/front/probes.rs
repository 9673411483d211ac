//! Probes: endpoints that tell whether weir is up and whether it is ready.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;

use crate::front::answer;
use crate::front::state::Front;
use crate::relay::Payload;
use crate::upstream::HealthState;

/// Returns the routes `/healthz` and `/readyz`. The admin listener has them too, because it still
/// answers while weir drains.
pub fn probes(front: &Arc<Front>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(Arc::clone(front))
}

/// Answers AgentCore Runtime's health check: `{"status": "Healthy"}`.
pub(super) fn ping() -> Response {
    answer::json(Payload::ok(vec![Bytes::from_static(
        b"{\"status\":\"Healthy\"}",
    )]))
}

/// Answers `/readyz`. Weir is ready once each upstream has been listed, has a stored listing, has
/// failed once, or has had its list timeout; it is not ready any more once it has to stop. The
/// body gives the reason, the upstreams that have not been listed yet, and the child processes that
/// are still starting: these may take minutes, and readiness waits no longer for them. It also says
/// whether the store of the replicas is there, without which weir goes on.
async fn ready(State(front): State<Arc<Front>>) -> Response {
    let snapshot = front.live.load_full();
    let up_for = front.started.elapsed();
    let behind = snapshot.links().iter().filter(|link| {
        link.health.state() == HealthState::Connecting && link.health.report().at.is_none()
    });
    let (late, behind): (Vec<_>, Vec<_>) =
        behind.partition(|link| up_for >= link.config.timeouts.list);
    let reason = match (front.shutdown.is_cancelled(), behind.is_empty()) {
        (true, _) => Some("draining"),
        (false, false) => Some("upstreams have not answered yet"),
        (false, true) => None,
    };
    let ready = reason.is_none();
    let behind: Vec<&str> = behind
        .into_iter()
        .chain(late)
        .map(|link| link.id().as_str())
        .collect();
    let starting = snapshot.links().iter();
    let starting: Vec<&str> = starting
        .filter(|link| link.health.is_starting())
        .map(|link| link.id().as_str())
        .collect();
    let generation = snapshot.generation;
    let store = front.live.shared_store();
    let mut body = serde_json::json!({
        "ready": ready,
        "reason": reason,
        "generation": generation,
        "behind": behind,
        "starting": starting,
    });
    if let (Some(store), Some(members)) = (store, body.as_object_mut()) {
        let store = serde_json::json!(store.status().store);
        members.insert("replicas".to_owned(), store);
    }
    let mut payload = Payload::ok(vec![body.to_string().into()]);
    if !ready {
        payload.status = StatusCode::SERVICE_UNAVAILABLE;
    }
    answer::json(payload)
}
