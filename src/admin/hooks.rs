//! `GET /hooks`: the state of each hook.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::admin::circuit::describe_circuit;
use crate::admin::response::json_response;
use crate::hooks::HookLink;
use crate::live::Live;

/// Answers with the generation and one object per hook, in the order of the config.
pub(super) async fn hooks(State(live): State<Arc<Live>>) -> Response {
    let snapshot = live.load_full();
    let hooks = snapshot.hooks.iter();
    let rows: Vec<_> = hooks.map(|hook| describe(hook)).collect();
    json_response(
        StatusCode::OK,
        &json!({ "generation": snapshot.generation, "hooks": rows }),
    )
}

/// Describes one hook as JSON. Times are in seconds.
fn describe(hook: &HookLink) -> Value {
    let (config, status) = (hook.config(), hook.status());
    let phases = [
        ("request", config.on_request),
        ("response", config.on_response),
    ];
    let phases = phases.into_iter().filter(|(_, sees)| *sees);
    let counts = status.counts.into_iter();
    let counts = counts.map(|(outcome, count)| (outcome.to_owned(), json!(count)));
    json!({
        "name": config.name.as_str(),
        "kind": config.target.as_str(),
        "on": phases.map(|(phase, _)| phase).collect::<Vec<_>>(),
        "on_failure": if config.passes_on_failure { "pass" } else { "deny" },
        "circuit": describe_circuit(status.circuit),
        "calls": {
            "in_flight": status.asking,
            "limit": config.concurrency,
            "outcomes": counts.collect::<serde_json::Map<_, _>>(),
        },
        "last_failure": status.last_failure.map(|(reason, ago)| json!({
            "reason": reason,
            "seconds_ago": ago.as_secs(),
        })),
    })
}
