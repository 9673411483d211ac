//! The demo's authorization server: one client, tokens that expire after a second, and counts.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::secrets::random_secret;
use crate::secret::Secret;

/// The lifetime of a token. Real ones live for an hour.
pub(super) const LIFE: Duration = Duration::from_secs(1);

/// The path of the token endpoint.
pub(super) const PATH: &str = "/oauth2/token";

/// The one client.
pub(super) const CLIENT: &str = "weir-demo";

/// The issued tokens, and the secret of the client that may have them.
pub(super) struct DemoTokenServer {
    secret: Secret,
    /// Tokens with their expiry; expired ones are removed when another is issued.
    alive: Mutex<HashMap<String, Instant>>,
    issued: AtomicUsize,
}

impl DemoTokenServer {
    pub(super) fn new(secret: Secret) -> Arc<Self> {
        Arc::new(Self {
            secret,
            alive: Mutex::default(),
            issued: AtomicUsize::new(0),
        })
    }

    /// Answers a token request (RFC 6749 §4.4): the client shows its secret with HTTP Basic.
    pub(super) fn grant(&self, headers: &HeaderMap, body: &Bytes) -> Response {
        let refused = |status: StatusCode, error: &str| {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (status, json, json!({ "error": error }).to_string()).into_response()
        };
        let sent = headers.get(header::AUTHORIZATION);
        let sent = sent.and_then(|sent| sent.to_str().ok()?.strip_prefix("Basic "));
        let pair = format!("{CLIENT}:{}", self.secret.expose());
        if sent != Some(STANDARD.encode(pair).as_str()) {
            return refused(StatusCode::UNAUTHORIZED, "invalid_client");
        }
        let asked = |pair: &[u8]| pair == b"grant_type=client_credentials";
        if !body.split(|byte| *byte == b'&').any(asked) {
            return refused(StatusCode::BAD_REQUEST, "unsupported_grant_type");
        }
        let Some(token) = random_secret() else {
            return refused(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable");
        };
        let now = Instant::now();
        let mut alive = self.alive.lock();
        alive.retain(|_, end| *end > now);
        alive.insert(token.expose().to_owned(), now + LIFE);
        self.issued.fetch_add(1, Ordering::Relaxed);
        let body = json!({
            "access_token": token.expose(),
            "token_type": "Bearer",
            "expires_in": LIFE.as_secs(),
        });
        let headers = [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        (headers, body.to_string()).into_response()
    }

    /// Returns whether the token was issued and has not expired.
    pub(super) fn is_good(&self, token: &str) -> bool {
        let alive = self.alive.lock();
        alive.get(token).is_some_and(|end| *end > Instant::now())
    }

    /// Returns how many were issued, and how many of those have expired.
    pub(super) fn counts(&self) -> (usize, usize) {
        let alive = self.alive.lock();
        let now = Instant::now();
        let alive = alive.values().filter(|end| **end > now).count();
        let issued = self.issued.load(Ordering::Relaxed);
        (issued, issued.saturating_sub(alive))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(tokens: &DemoTokenServer, pair: &str, body: &'static str) -> StatusCode {
        let mut headers = HeaderMap::new();
        let basic = format!("Basic {}", STANDARD.encode(pair));
        headers.insert(header::AUTHORIZATION, basic.parse().unwrap());
        tokens
            .grant(&headers, &Bytes::from_static(body.as_bytes()))
            .status()
    }

    #[tokio::test]
    async fn tokens_are_for_the_client_alone_and_end() {
        let tokens = DemoTokenServer::new(Secret::new("open sesame"));
        let body = "grant_type=client_credentials&scope=x";
        let right = "weir-demo:open sesame";
        assert_eq!(granted(&tokens, "weir-demo:barley", body), 401);
        assert_eq!(granted(&tokens, right, "grant_type=password"), 400);
        assert_eq!(tokens.counts(), (0, 0));
        assert_eq!(granted(&tokens, right, body), 200);
        assert_eq!(tokens.counts(), (1, 0));
        let token = tokens.alive.lock().keys().next().cloned();
        let token = token.unwrap();
        assert!(tokens.is_good(&token) && !tokens.is_good("x"));
        tokio::time::sleep(LIFE).await;
        assert!(!tokens.is_good(&token));
        assert_eq!(tokens.counts(), (1, 1));
    }
}
