//! Answers of the admin listener.

use std::convert::Infallible;

use axum::body::{Body, HttpBody as _};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::memory::{MemoryShare, OverBudget, SMALL};

/// The largest answer that is given however little memory is left: the metrics of most weirs are smaller.
const ALWAYS: usize = 1 << 20;

/// Has an answer count as memory of the connection that asked for it, until it is sent. A large one becomes
/// 503 if there is no room.
pub async fn keep(answer: Response, memory: MemoryShare) -> Result<Response, Infallible> {
    let exact = answer.body().size_hint().exact();
    if exact.is_none_or(|bytes| bytes <= SMALL as u64) {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response());
    };
    let kept = match bytes.len() {
        length @ ..=ALWAYS => Ok(memory.count(length)),
        length => memory.reserve(length),
    };
    Ok(match kept {
        Ok(kept) => Response::from_parts(head, Body::from(kept.attach(bytes))),
        Err(OverBudget) => {
            let error = "no memory left for this answer (`limits.memory`)";
            json_response(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": error }))
        }
    })
}

/// Returns an answer with a JSON body.
pub(super) fn json_response(status: StatusCode, body: &impl serde::Serialize) -> Response {
    let json = HeaderValue::from_static("application/json");
    match serde_json::to_string(body) {
        Ok(text) => (status, [(header::CONTENT_TYPE, json)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
