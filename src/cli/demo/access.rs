//! The access checks of the demo's upstreams: they require credentials, and count requests.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::tokens::DemoTokenServer;
use crate::protocol::headers::SESSION;
use crate::secret::Secret;
use crate::sigv4;

/// The header with the key of an upstream that requires one.
pub(super) const KEY_HEADER: &str = "x-api-key";
/// The header that leads a request to its session's machine on AgentCore Runtime: 33 to 256 characters.
const RUNTIME_SESSION: &str = "x-amzn-bedrock-agentcore-runtime-session-id";
/// The prefix of session ids that are the platform's and not the server's.
const PLATFORM: &str = "demo-platform-";
/// The largest request that is read.
const LARGEST: usize = 4 << 20;

/// An access check, and its counts.
pub(super) struct AccessCheck {
    required: RequiredCredential,
    admitted: AtomicUsize,
    refused: AtomicUsize,
    /// The sessions that AgentCore Runtime would have started a machine for.
    machines: Mutex<HashSet<String>>,
}

/// The credential that an upstream requires.
pub(super) enum RequiredCredential {
    /// The right key in [`KEY_HEADER`].
    Key(Secret),
    /// The right signature of the bytes that arrive.
    Signature(Box<sigv4::Verifier>),
    /// A token that was issued and has not ended.
    Token(Arc<DemoTokenServer>),
}

impl AccessCheck {
    pub(super) fn new(required: RequiredCredential) -> Arc<Self> {
        Arc::new(Self {
            required,
            admitted: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            machines: Mutex::default(),
        })
    }

    /// Returns how many requests were admitted, and how many refused.
    pub(super) fn counts(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        (count(&self.admitted), count(&self.refused))
    }

    /// Returns how many machines AgentCore Runtime would have started.
    pub(super) fn machines(&self) -> usize {
        let machines = self.machines.lock();
        machines.len()
    }

    /// Passes a request on, or refuses it.
    pub(super) async fn pass(self: Arc<Self>, request: Request, next: Next) -> Response {
        let (mut parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, LARGEST).await else {
            return StatusCode::PAYLOAD_TOO_LARGE.into_response();
        };
        if let Some(refusal) = self.refusal(&parts, &body) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return refusal;
        }
        self.admitted.fetch_add(1, Ordering::Relaxed);
        let session = match self.required {
            RequiredCredential::Token(_) => self.platform(&mut parts.headers),
            RequiredCredential::Key(_) | RequiredCredential::Signature(_) => None,
        };
        let mut answer = next.run(Request::from_parts(parts, body.into())).await;
        if let Some(session) = session {
            let headers = answer.headers_mut();
            headers.entry(SESSION).or_insert(session);
        }
        answer
    }

    /// Treats sessions as AgentCore Runtime does: it starts a machine for each, and answers with the session
    /// id that it was sent, or with one of its own. The server does not see those.
    fn platform(&self, headers: &mut HeaderMap) -> Option<HeaderValue> {
        let session = headers.get(RUNTIME_SESSION)?.to_str().ok()?.to_owned();
        let own = HeaderValue::try_from(format!("{PLATFORM}{session}")).ok();
        let sent = headers.get(SESSION).cloned();
        if sent.is_some() && sent == own {
            headers.remove(SESSION);
        }
        let mut machines = self.machines.lock();
        machines.insert(session);
        sent.or(own)
    }

    /// Returns the answer to a request without the required credential.
    fn refusal(&self, parts: &Parts, body: &Bytes) -> Option<Response> {
        let header = |name: &str| parts.headers.get(name).map(HeaderValue::as_bytes);
        match &self.required {
            RequiredCredential::Key(key) if header(KEY_HEADER) == Some(key.expose().as_bytes()) => {
                None
            }
            RequiredCredential::Key(_) => {
                Some((StatusCode::UNAUTHORIZED, "an API key is needed\n").into_response())
            }
            RequiredCredential::Signature(check) => {
                let target = parts.uri.path_and_query();
                let request = sigv4::ReceivedRequest {
                    method: parts.method.as_str(),
                    target: target.map_or("/", |target| target.as_str()),
                    headers: &parts.headers,
                    body,
                };
                let refusal = check.verify(&request, SystemTime::now()).err()?;
                let json = [(header::CONTENT_TYPE, "application/json")];
                Some((refusal.status(), json, refusal.body()).into_response())
            }
            RequiredCredential::Token(tokens) => {
                let sent = header("authorization").and_then(|sent| std::str::from_utf8(sent).ok());
                let token = sent.and_then(|sent| sent.strip_prefix("Bearer "));
                if !token.is_some_and(|token| tokens.is_good(token)) {
                    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
                    return Some((StatusCode::UNAUTHORIZED, challenge).into_response());
                }
                let length = header(RUNTIME_SESSION).map_or(0, <[u8]>::len);
                let words = "a session id of 33 to 256 characters is needed\n";
                let is_named = (33..=256).contains(&length);
                (!is_named).then(|| (StatusCode::BAD_REQUEST, words).into_response())
            }
        }
    }
}
