//! A door in front of an MCP server: what is not signed as AWS wants it does not get through.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, Method, Uri, header};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weir::sigv4::SignatureError;

use super::Keyring;
use crate::support::client::pool;

/// Gone when dropped.
pub struct SigDoor {
    origin: String,
    inner: Arc<Inner>,
    stop: CancellationToken,
}

struct Inner {
    keys: Arc<Keyring>,
    target: String,
    http: reqwest::Client,
    /// The outcome of every request, and the key that signed it.
    judged: Mutex<Vec<Result<String, SignatureError>>>,
    /// Path and query of every request.
    targets: Mutex<Vec<String>>,
    /// Where requests to any other path are redirected to.
    moved: Mutex<Option<&'static str>>,
}

impl SigDoor {
    /// In front of an MCP endpoint; every path leads there.
    pub async fn before(target: &str, keys: &Arc<Keyring>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            keys: Arc::clone(keys),
            target: target.to_owned(),
            http: pool(),
            judged: Mutex::default(),
            targets: Mutex::default(),
            moved: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let app = Router::new().fallback(judge).with_state(Arc::clone(&inner));
        let served = async move { axum::serve(listener, app).await };
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(served));
        Self {
            origin,
            inner,
            stop,
        }
    }

    /// `http://127.0.0.1:1234`
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the outcome of every request so far: the id of the key that signed it, or why it was
    /// refused.
    pub fn judged(&self) -> Vec<Result<String, SignatureError>> {
        self.inner.judged.lock().unwrap().clone()
    }

    /// Why requests were turned away, one after the other.
    pub fn refusals(&self) -> Vec<SignatureError> {
        self.judged().into_iter().filter_map(Result::err).collect()
    }

    /// From now on, redirects whatever is signed to this path.
    pub fn move_to(&self, path: &'static str) {
        *self.inner.moved.lock().unwrap() = Some(path);
    }

    /// Path and query of every request, as they came.
    pub fn targets(&self) -> Vec<String> {
        self.inner.targets.lock().unwrap().clone()
    }
}

impl Drop for SigDoor {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// `Date` says the time of the keyring.
fn dated(keys: &Keyring, mut response: Response) -> Response {
    let date = httpdate::fmt_http_date(keys.now()).parse().unwrap();
    response.headers_mut().insert(header::DATE, date);
    response
}

async fn judge(
    State(inner): State<Arc<Inner>>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = uri.path_and_query().unwrap().as_str();
    inner.targets.lock().unwrap().push(target.to_owned());
    let keys = &inner.keys;
    let judged = keys.judge(
        "bedrock-agentcore",
        method.as_str(),
        target,
        &headers,
        &body,
    );
    let noted = judged.as_ref().map(|key| key.id.clone());
    inner
        .judged
        .lock()
        .unwrap()
        .push(noted.map_err(|refusal| *refusal));
    if let Err(refusal) = judged {
        let kind = HeaderName::from_static("x-amzn-errortype");
        let headers = [
            (kind, refusal.code()),
            (header::CONTENT_TYPE, "application/json"),
        ];
        let answer = (refusal.status(), headers, refusal.body()).into_response();
        return dated(keys, answer);
    }
    let moved = *inner.moved.lock().unwrap();
    if let Some(moved) = moved.filter(|moved| *moved != uri.path()) {
        let status = http::StatusCode::TEMPORARY_REDIRECT;
        return (status, [(header::LOCATION, moved)]).into_response();
    }
    for name in [header::HOST, header::CONTENT_LENGTH, header::AUTHORIZATION] {
        headers.remove(name);
    }
    let sent = inner.http.request(method, &inner.target);
    let Ok(mut answer) = sent.headers(headers).body(body).send().await else {
        return http::StatusCode::BAD_GATEWAY.into_response();
    };
    let (status, mut headers) = (answer.status(), std::mem::take(answer.headers_mut()));
    headers.remove(header::TRANSFER_ENCODING);
    let chunks = futures::stream::unfold(answer, async |mut answer| {
        let chunk = answer.chunk().await.transpose()?;
        Some((chunk, answer))
    });
    dated(
        keys,
        (status, headers, Body::from_stream(chunks)).into_response(),
    )
}
