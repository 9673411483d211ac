//! The wire between two weirs: passes everything on, and keeps it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, StatusCode, header};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::support::client::pool;

/// Gone when dropped.
pub struct Wire {
    url: String,
    kept: Arc<Mutex<Vec<u8>>>,
    _stop: DropGuard,
}

#[derive(Clone)]
struct Passing {
    http: reqwest::Client,
    target: String,
    kept: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    /// To an MCP endpoint.
    pub async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let (kept, stop) = (Arc::default(), CancellationToken::new());
        let passing = Passing {
            http: pool(),
            target,
            kept: Arc::clone(&kept),
        };
        let app = Router::new().fallback(pass).with_state(passing);
        let served = async move { axum::serve(listener, app).await };
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(served));
        Self {
            url,
            kept,
            _stop: stop.drop_guard(),
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// All bytes of requests, their headers and answers so far.
    pub fn kept(&self) -> Vec<u8> {
        self.kept.lock().unwrap().clone()
    }
}

impl Passing {
    fn keep(&self, headers: &HeaderMap, bytes: &[u8]) {
        let mut kept = self.kept.lock().unwrap();
        for value in headers.values() {
            kept.extend_from_slice(value.as_bytes());
            kept.push(b'\n');
        }
        kept.extend_from_slice(bytes);
        kept.push(b'\n');
    }
}

async fn pass(
    State(passing): State<Passing>,
    method: Method,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    passing.keep(&headers, &body);
    for name in [header::HOST, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    let sent = passing
        .http
        .request(method, &passing.target)
        .headers(headers)
        .body(body);
    let Ok(mut answer) = sent.send().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (status, mut headers) = (answer.status(), std::mem::take(answer.headers_mut()));
    passing.keep(&headers, &[]);
    headers.remove(header::TRANSFER_ENCODING);
    let chunks = futures::stream::unfold((answer, passing), async |(mut answer, passing)| {
        let chunk = answer.chunk().await.transpose()?;
        if let Ok(chunk) = &chunk {
            passing.kept.lock().unwrap().extend_from_slice(chunk);
        }
        Some((chunk, (answer, passing)))
    });
    (status, headers, Body::from_stream(chunks)).into_response()
}
