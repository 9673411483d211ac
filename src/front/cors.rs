//! What lets a browser page read answers (Fetch, "CORS protocol"): said to origins that passed the check, by
//! name and never as `*`. Others are turned away before anything is said to them. No credentials: weir has no cookies.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::Arc;

use crate::front::answer;
use crate::front::state::{Front, METHODS};

/// What a page may read besides the body.
const READABLE_HEADERS: HeaderValue =
    HeaderValue::from_static("mcp-session-id, x-request-id, www-authenticate");
/// For how long a browser may remember: two hours is the most that any does.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Lets the page that asked read this answer.
pub(super) fn allow(asked: &HeaderMap, response: &mut Response) {
    if let Some(origin) = asked.get(header::ORIGIN) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, READABLE_HEADERS);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

/// Checks `Host` and `Origin` before everything but `POST`, and says what the page may read.
pub(super) async fn check_origin(
    State(front): State<Arc<Front>>,
    request: Request,
    next: Next,
) -> Response {
    let asked = request.headers();
    if let Err(fault) = front.check_origin(asked) {
        return answer::refuse(None, &fault);
    }
    let asked: HeaderMap = asked
        .get(header::ORIGIN)
        .map(|origin| (header::ORIGIN, origin.clone()))
        .into_iter()
        .collect();
    let mut response = next.run(request).await;
    allow(&asked, &mut response);
    response
}

/// `OPTIONS`: a browser asks before it sends. `Mcp-Param-*` have any name, so the headers it asks for are the
/// headers it may send.
pub(super) async fn preflight(asked: HeaderMap) -> Response {
    let mut response = answer::bare(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, METHODS);
    if asked.contains_key(header::ORIGIN) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        if let Some(wanted) = wanted {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
            headers.insert(
                header::VARY,
                HeaderValue::from_static("access-control-request-headers"),
            );
        }
    }
    response
}
