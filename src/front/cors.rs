//! The headers that let a browser page read answers (Fetch, "CORS protocol"). Only an origin that
//! passed the check gets them, by its name and never as `*`; others get a 403 without them. No
//! credentials are allowed, because weir has no cookies.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::Arc;

use crate::front::answer;
use crate::front::state::{Front, METHODS};

/// The response headers that a page may read.
const READABLE_HEADERS: HeaderValue =
    HeaderValue::from_static("mcp-session-id, x-request-id, www-authenticate, retry-after");
/// How many seconds a browser may remember a preflight: no browser remembers for more than two
/// hours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Adds the headers that let the page that sent the request read the response.
pub(super) fn allow(origin: Option<HeaderValue>, response: &mut Response) {
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, READABLE_HEADERS);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

/// Checks `Host` and `Origin`, and adds the headers for the page. For all methods but `POST`, which
/// does not go through the router.
pub(super) async fn check_origin(
    State(front): State<Arc<Front>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(fault) = front.check_origin(&parts) {
        return answer::refuse(None, &fault);
    }
    let origin = parts.headers.get(header::ORIGIN).cloned();
    let mut response = next.run(Request::from_parts(parts, body)).await;
    allow(origin, &mut response);
    response
}

/// Answers `OPTIONS`, which a browser sends before the request itself. All headers that it asks for
/// are allowed: `Mcp-Param-*` can have any name.
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
