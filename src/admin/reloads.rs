//! `POST /reload`, and what became of reloads.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use crate::admin::response::json_response;
use crate::admin::sender::AdminSender;
use crate::live::reload::{ReloadHandle, ReloadOutcome, ReloadTrigger};

/// Describes the reloads of the config: how many had which outcome, and the last one.
#[must_use]
pub(super) fn describe(reloads: &ReloadHandle) -> serde_json::Value {
    let history = reloads.history();
    let totals = history.counts.totals();
    let mut told: serde_json::Map<_, _> = totals
        .map(|(outcome, count)| (outcome.to_owned(), json!(count)))
        .collect();
    let last = history.last.map(|last| {
        json!({
            "seconds_ago": last.at.elapsed().unwrap_or_default().as_secs(),
            "trigger": last.trigger,
            "outcome": last.outcome,
        })
    });
    told.insert("last".to_owned(), json!(last));
    told.into()
}

/// Answers `POST /reload`: reads the config again. 200 with what has changed, or that nothing has; 422
/// with all errors, in which case the previous config stays in force; 409 if there is no file to read.
pub(crate) async fn reload(
    State(reloads): State<ReloadHandle>,
    Extension(sender): Extension<AdminSender>,
) -> Response {
    let outcome = reloads.reload(ReloadTrigger::Request, sender.subject);
    let outcome = outcome.await;
    let status = match &outcome {
        Some(ReloadOutcome::Applied { .. } | ReloadOutcome::Unchanged) => StatusCode::OK,
        Some(ReloadOutcome::Refused { .. }) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::CONFLICT,
    };
    match outcome {
        Some(outcome) => json_response(status, &json!(outcome)),
        None => json_response(
            status,
            &json!({ "error": reloads.cannot().unwrap_or("weir is stopping") }),
        ),
    }
}
