//! A balancer in front of replicas: a client that sends its cookie back stays on its replica, any other goes on to the
//! next one with each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, StatusCode, header};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::client::pool;
use super::upstream::Upstream;

/// Gone when dropped.
pub struct Balancer {
    url: String,
    _stop: DropGuard,
}

struct Inner {
    http: reqwest::Client,
    replicas: Vec<String>,
    next: AtomicUsize,
}

impl Balancer {
    pub async fn before(replicas: &[&Upstream]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            http: pool(),
            replicas: replicas.iter().map(|replica| replica.url()).collect(),
            next: AtomicUsize::new(0),
        });
        let stop = CancellationToken::new();
        let app = Router::new().fallback(pass).with_state(inner);
        let served = async move { axum::serve(listener, app).await };
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(served));
        Self {
            url,
            _stop: stop.drop_guard(),
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

async fn pass(
    State(inner): State<Arc<Inner>>,
    method: Method,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    let cookie = headers.remove(header::COOKIE);
    let cookie =
        cookie.and_then(|value| value.to_str().ok()?.strip_prefix("AWSALB=")?.parse().ok());
    let next = || inner.next.fetch_add(1, Ordering::Relaxed) % inner.replicas.len();
    let replica = cookie.unwrap_or_else(next);
    for name in [header::HOST, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    let sent = inner.http.request(method, &inner.replicas[replica]);
    let Ok(mut answer) = sent.headers(headers).body(body).send().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (status, mut headers) = (answer.status(), std::mem::take(answer.headers_mut()));
    headers.remove(header::TRANSFER_ENCODING);
    let cookie = format!("AWSALB={replica}; Max-Age=600; Path=/");
    headers.insert(header::SET_COOKIE, cookie.parse().unwrap());
    let chunks = futures::stream::unfold(answer, async |mut answer| {
        let chunk = answer.chunk().await.transpose()?;
        Some((chunk, answer))
    });
    (status, headers, Body::from_stream(chunks)).into_response()
}
