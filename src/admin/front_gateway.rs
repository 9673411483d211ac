//! `GET /on_publish`: the state of a gateway in front.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::admin::response::json_response;
use crate::live::front_gateway::{FrontGatewayState, FrontGatewaySync};
use crate::live::{Live, Snapshot};

/// Answers with the generation, and the state of the gateway in front; `null` if the config names none.
pub(super) async fn on_publish(
    State(live): State<Arc<Live>>,
    State(sync): State<Arc<FrontGatewaySync>>,
) -> Response {
    let snapshot = live.load_full();
    let described = describe_front(&snapshot, &sync);
    json_response(
        StatusCode::OK,
        &json!({ "generation": snapshot.generation, "synchronize": described }),
    )
}

/// Describes the gateway in front, and its state, as JSON; `None` if the config names none. Times are
/// in seconds.
pub(crate) fn describe_front(snapshot: &Snapshot, sync: &FrontGatewaySync) -> Option<Value> {
    let settings = snapshot.config.front_gateway.as_ref()?;
    let mut row = describe(sync);
    if let Some(members) = row.as_object_mut() {
        members.insert("gateway".to_owned(), json!(settings.gateway));
        members.insert("target".to_owned(), json!(settings.target));
    }
    Some(row)
}

fn describe(sync: &FrontGatewaySync) -> Value {
    let status = sync.status();
    let now = Instant::now();
    let (word, reason, next_try) = match &status.state {
        FrontGatewayState::Idle => ("idle", None, None),
        FrontGatewayState::Pending => ("pending", None, None),
        FrontGatewayState::Running => ("running", None, None),
        FrontGatewayState::Done => ("done", None, None),
        FrontGatewayState::Failing { reason, next_try } => ("failing", Some(reason), *next_try),
    };
    json!({
        "state": word,
        "reason": reason,
        "next_try_in_seconds": next_try.map(|at| at.saturating_duration_since(now).as_secs()),
        "synchronized": status.done,
        "failed": status.failed,
        "last": status.last.map(|(at, generation)| json!({
            "seconds_ago": at.elapsed().as_secs(),
            "generation": generation,
        })),
    })
}
