//! Shows a dual server as one of one era: requests of the other era are refused, everything else goes through.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, StatusCode, header};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::pool;

/// Gone when dropped.
pub struct Lens {
    url: String,
    stop: CancellationToken,
}

/// Where requests go, and whether those of the modern era do.
#[derive(Clone)]
struct Target {
    http: reqwest::Client,
    url: String,
    is_modern: bool,
}

impl Lens {
    /// In front of an MCP endpoint. The modern probe gets a 404.
    pub async fn legacy(target: String) -> Self {
        Self::before(target, false).await
    }

    /// The same, and `initialize` is refused as a modern server refuses it.
    pub async fn modern(target: String) -> Self {
        Self::before(target, true).await
    }

    async fn before(url: String, is_modern: bool) -> Self {
        let target = Target {
            http: pool(),
            url,
            is_modern,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let app = Router::new()
            .fallback(pass)
            .with_state(target)
            .into_make_service();
        let served = async move { axum::serve(listener, app).await };
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(served));
        Self { url, stop }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Lens {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn pass(
    State(target): State<Target>,
    method: Method,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    match (headers.contains_key("mcp-method"), target.is_modern) {
        (true, false) => return StatusCode::NOT_FOUND.into_response(),
        (false, true) => return refuse(&body),
        (true, true) | (false, false) => {}
    }
    for name in [header::HOST, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    let sent = target.http.request(method, target.url);
    let sent = sent.headers(headers).body(body);
    let Ok(mut answer) = sent.send().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (status, mut headers) = (answer.status(), std::mem::take(answer.headers_mut()));
    headers.remove(header::TRANSFER_ENCODING);
    let chunks = futures::stream::unfold(answer, async |mut answer| {
        let chunk = answer.chunk().await.transpose()?;
        Some((chunk, answer))
    });
    (status, headers, Body::from_stream(chunks)).into_response()
}

/// Refuses a request of the legacy era (2026-07-28 `basic/versioning.mdx`).
fn refuse(body: &Bytes) -> Response {
    let message: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let error = serde_json::json!({
        "code": -32022, "message": "no", "data": {"supported": ["2026-07-28"], "requested": ""},
    });
    let answer = serde_json::json!({"jsonrpc": "2.0", "id": message["id"], "error": error});
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::BAD_REQUEST, kind, answer.to_string()).into_response()
}
