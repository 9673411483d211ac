//! Answers of the admin listener.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};

/// Returns an answer with a JSON body.
pub(super) fn json_response(status: StatusCode, body: &impl serde::Serialize) -> Response {
    let json = HeaderValue::from_static("application/json");
    match serde_json::to_string(body) {
        Ok(text) => (status, [(header::CONTENT_TYPE, json)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
