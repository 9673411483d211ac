//! The metadata of the protected resource (RFC 9728): where clients get a token for weir.
//!
//! It is at two places: the well-known path with the path of the endpoint after it (§3.1), and the
//! well-known path alone, where clients look last.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use url::Url;

use crate::config::CallerAuth;
use crate::front::answer;
use crate::front::state::Front;
use crate::json::{self, Object};
use crate::protocol::origin;
use crate::relay::Payload;

/// The well-known path (RFC 9728 §3).
pub(super) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// A reload may change the document, so clients may keep it for five minutes only.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=300");
const ANY: HeaderValue = HeaderValue::from_static("*");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Returns the URL of the metadata, for the challenge to a request; `None` where there is none.
pub(super) fn url_for(front: &Front, settings: &CallerAuth, request: &Parts) -> Option<String> {
    if settings.metadata.authorization_servers.is_empty() {
        return None;
    }
    let resource = resource_for(front, settings, request, request.uri.path())?;
    well_known_url(&resource)
}

/// Returns the URL of the endpoint as its clients know it. Where it is not written, it is derived
/// from the authority of the request, but only on loopback, and of this machine.
fn resource_for(
    front: &Front,
    settings: &CallerAuth,
    request: &Parts,
    path: &str,
) -> Option<String> {
    if let Some(url) = &settings.public_url {
        return Some(url.to_string());
    }
    let authority = origin::local_authority(request).filter(|_| front.is_loopback)?;
    Some(format!("{}://{authority}{path}", front.scheme))
}

/// Inserts the well-known path between host and path of a URL (RFC 9728 §3.1).
fn well_known_url(resource: &str) -> Option<String> {
    let url = Url::parse(resource).ok()?;
    let path = match url.path() {
        "/" => "",
        path => path,
    };
    let origin = url.origin().ascii_serialization();
    Some(format!("{origin}{WELL_KNOWN}{path}"))
}

/// Returns the part of a request's path after the well-known path.
fn asked_path(request: &Parts) -> Option<&str> {
    request.uri.path().strip_prefix(WELL_KNOWN)
}

/// Answers requests for the metadata. Pages of any origin may read it: it is what they need to log
/// in, and nothing of it is secret.
pub(super) async fn serve(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let Some(document) = document(&front, &parts) else {
        return not_found(&front.path);
    };
    let mut response = match parts.method {
        Method::OPTIONS => preflight(&parts.headers),
        Method::GET | Method::HEAD => {
            let mut response = answer::json(Payload::ok(vec![document.into()]));
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
            response
        }
        _ => {
            let mut response = answer::bare(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(header::ALLOW, METHODS);
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    response
}

/// Answers a path where there is nothing, with where the endpoint is.
pub(super) fn not_found(path: &str) -> Response {
    let directions = format!("Not found. The MCP endpoint is at {path}\n");
    (StatusCode::NOT_FOUND, directions).into_response()
}

/// Answers what a browser asks before: clients send `MCP-Protocol-Version` here too.
fn preflight(asked: &HeaderMap) -> Response {
    let mut response = answer::bare(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    if let Some(wanted) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        let vary = HeaderValue::from_static("access-control-request-headers");
        headers.insert(header::VARY, vary);
    }
    response
}

/// Makes the document; `None` where nobody needs a token, no issuer is known, or the path is no
/// endpoint's.
fn document(front: &Front, request: &Parts) -> Option<String> {
    let authenticator = front.authentication.load_full()?;
    let settings = authenticator.settings();
    if settings.metadata.authorization_servers.is_empty() {
        return None;
    }
    let asked = asked_path(request)?;
    let path = if asked.is_empty() {
        &*front.path
    } else {
        asked
    };
    let resource = resource_for(front, settings, request, path)?;
    let known = Url::parse(&resource).ok()?;
    let is_endpoint =
        path == &*front.path || path.trim_end_matches('/') == front.path.trim_end_matches('/');
    if !is_endpoint && path != known.path() {
        return None;
    }
    Some(to_json(settings, &resource))
}

/// Writes the document (RFC 9728 §2).
fn to_json(settings: &CallerAuth, resource: &str) -> String {
    let metadata = &settings.metadata;
    let mut document = Object::new();
    document.set("resource", json::quote(resource));
    document.set(
        "authorization_servers",
        list(&metadata.authorization_servers),
    );
    if !metadata.scopes.is_empty() {
        document.set("scopes_supported", list(&metadata.scopes));
    }
    document.set("bearer_methods_supported", "[\"header\"]");
    document.set("resource_name", json::quote(&metadata.name));
    if let Some(page) = &metadata.documentation {
        document.set("resource_documentation", json::quote(page));
    }
    if settings.client_certificates.is_some() {
        document.set("tls_client_certificate_bound_access_tokens", "true");
    }
    document.to_text()
}

fn list(texts: &[Box<str>]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| json::quote(text)).collect();
    format!("[{}]", texts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_path_goes_between_host_and_path() {
        for (resource, expected) in [
            (
                "https://w.example/mcp",
                "https://w.example/.well-known/oauth-protected-resource/mcp",
            ),
            (
                "https://w.example:8443/a/mcp/",
                "https://w.example:8443/.well-known/oauth-protected-resource/a/mcp/",
            ),
            (
                "https://w.example",
                "https://w.example/.well-known/oauth-protected-resource",
            ),
            (
                "https://w.example/",
                "https://w.example/.well-known/oauth-protected-resource",
            ),
            (
                "http://[::1]:8000/mcp",
                "http://[::1]:8000/.well-known/oauth-protected-resource/mcp",
            ),
        ] {
            assert_eq!(well_known_url(resource).as_deref(), Some(expected));
        }
    }
}
