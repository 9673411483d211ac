//! Shows a dual server as a legacy one: the modern probe gets a 404, everything else goes through.

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

impl Lens {
    /// In front of an MCP endpoint.
    pub async fn legacy(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let app = Router::new()
            .fallback(pass)
            .with_state((pool(), target))
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
    State((http, target)): State<(reqwest::Client, String)>,
    method: Method,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    if headers.contains_key("mcp-method") {
        return StatusCode::NOT_FOUND.into_response();
    }
    for name in [header::HOST, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    let sent = http.request(method, target).headers(headers).body(body);
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
