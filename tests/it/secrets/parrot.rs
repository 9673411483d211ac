//! A server that repeats whatever it is sent in its errors, credentials included. It is upstream,
//! token endpoint and AWS service in one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, header};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::planted;
use crate::support::client::pool;
use crate::support::upstream::Upstream;

pub struct Parrot {
    inner: Arc<Inner>,
    port: u16,
    _stop: DropGuard,
}

struct Inner {
    /// The server that answers while all is well.
    upstream: Upstream,
    is_bad: AtomicBool,
    told: AtomicUsize,
}

impl Parrot {
    pub async fn start() -> Self {
        let upstream = Upstream::named("up").tools(["search"]).start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, stop) = (
            listener.local_addr().unwrap().port(),
            CancellationToken::new(),
        );
        let inner = Arc::new(Inner {
            upstream,
            is_bad: AtomicBool::new(false),
            told: AtomicUsize::new(0),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&inner));
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(async move {
            axum::serve(listener, router).await.unwrap();
        }));
        Self {
            inner,
            port,
            _stop: stop.drop_guard(),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// From now on all upstreams fail.
    pub fn turns_bad(&self) {
        self.inner.is_bad.store(true, Ordering::Relaxed);
    }

    /// Returns how often it has repeated what it was sent.
    pub fn told(&self) -> usize {
        self.inner.told.load(Ordering::Relaxed)
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut all = format!("{} {}\n", parts.method, parts.uri);
    for (name, value) in &parts.headers {
        all.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or_default()));
    }
    all.push_str(&String::from_utf8_lossy(&body));
    let target = parts.headers.get("x-amz-target");
    let path = parts.uri.path();
    let good = match (path, target.and_then(|target| target.to_str().ok())) {
        ("/token", _) => Some(
            json!({ "access_token": planted::TOKEN, "token_type": "Bearer", "expires_in": 3600 }),
        ),
        (_, Some("secretsmanager.GetSecretValue")) => {
            Some(json!({ "ARN": "a", "Name": "weir", "SecretString": planted::STORED }))
        }
        ("/identities/GetWorkloadAccessToken", _) => {
            Some(json!({ "workloadAccessToken": planted::WORKLOAD }))
        }
        ("/identities/oauth2/token", _) => Some(json!({ "accessToken": planted::IDENTITY })),
        _ => None,
    };
    if let Some(good) = good {
        return respond(200, "application/json", good.to_string());
    }
    if path.ends_with("/mcp") && !inner.is_bad.load(Ordering::Relaxed) {
        return pass(&inner.upstream, parts.headers, body).await;
    }
    repeat(&inner, path, &all)
}

/// The request that it was sent, repeated in one of several forms.
fn repeat(inner: &Inner, path: &str, all: &str) -> Response {
    let number = inner.told.fetch_add(1, Ordering::Relaxed);
    let line = all.replace(['\n', '\r', '"', '\\'], " ");
    let of_oauth = json!({ "error": "invalid_client", "error_description": all, "error_uri": all });
    let of_aws = json!({ "__type": "AccessDeniedException", "message": all, "Message": all });
    let of_rpc = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32001, "message": all, "data": all } });
    let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{line}\"");
    let json = "application/json";
    let (status, kind, text) = match (path, number % 6) {
        ("/broken", _) => (500, "text/plain", all.to_owned()),
        ("/garbled", _) => (
            200,
            json,
            format!("{{\"access_token\": 5, \"x\": \"{line}\"}}"),
        ),
        ("/deny", _) => (400, json, of_oauth.to_string()),
        (path, _) if !path.ends_with("/mcp") => (403, json, of_aws.to_string()),
        (_, 0) => (401, json, of_rpc.to_string()),
        (_, 1) => (403, "text/plain", all.to_owned()),
        (_, 2) => (500, json, of_rpc.to_string()),
        (_, 3) => (200, "text/html", format!("<html>{all}")),
        (_, 4) => (200, json, format!("not json {line}")),
        (_, _) => (503, "text/plain", all.to_owned()),
    };
    let mut response = respond(status, kind, text);
    let headers = response.headers_mut();
    headers.insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
    headers.insert("x-repeated", line.parse().unwrap());
    response
}

fn respond(status: u16, kind: &str, text: String) -> Response {
    let response = Response::builder().status(status);
    let response = response.header(header::CONTENT_TYPE, kind);
    response.body(Body::from(text)).unwrap()
}

async fn pass(upstream: &Upstream, mut headers: HeaderMap, body: bytes::Bytes) -> Response {
    for name in [header::HOST, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    let sent = pool()
        .post(upstream.url())
        .headers(headers)
        .body(body)
        .send();
    let answer = sent.await.unwrap();
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    let mut response = Response::builder().status(answer.status());
    if let Some(kind) = kind {
        response = response.header(header::CONTENT_TYPE, kind);
    }
    response
        .body(Body::from(answer.bytes().await.unwrap()))
        .unwrap()
}
