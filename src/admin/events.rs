//! `GET /events`: what happened of late, found by looking at weir twice a second. Nothing on the way
//! of a call knows of it; what came and went between two looks is not seen.

mod difference;
mod log;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

use crate::admin::events::difference::Sample;
use crate::admin::response::json_response;
use crate::admin::state::AdminState;

pub use log::{EventLog, Signs, WeirEvent};

/// How often weir is looked at.
const PERIOD: Duration = Duration::from_millis(500);

/// Looks at weir until it stops, and notes what has changed.
pub async fn watch(operators: AdminState, stop: CancellationToken) {
    let mut before = Sample::of(&operators);
    let log = Arc::clone(&operators.events);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let now = Sample::of(&operators);
        let found = now.events_since(&before);
        let (generation, records) = (now.generation(), now.records());
        let has_changed = !now.has_same_states(&before);
        before = now;
        let events = log.add(found);
        log.notify(|signs| {
            let next = Signs {
                weir: signs.weir,
                generation,
                states: signs.states + u64::from(has_changed),
                events,
                records,
            };
            std::mem::replace(signs, next) != next
        });
    }
}

/// Answers `GET /events[?after=N]`: 200 with `events`, the oldest first, and the number of the `last`
/// one; 400 for another parameter.
pub(super) async fn events(
    State(operators): State<AdminState>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let mut after = 0;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*name, value.parse()) {
            ("after", Ok(number)) => after = number,
            _ => {
                let error = json!({ "error": "expected `after=NUMBER`, or nothing" });
                return json_response(StatusCode::BAD_REQUEST, &error);
            }
        }
    }
    let events = operators.events.after(after);
    let last = events.last().map_or(after, |event| event.number);
    json_response(StatusCode::OK, &json!({ "last": last, "events": events }))
}
