//! A double of what hooks run on: the Invoke API of Lambda, with the signature checked, and a plain
//! endpoint. Functions are the Python files of `tests/hooks`, or fail in a way.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::at;
use super::aws::Keyring;

/// The ways in which a function ends.
#[derive(Clone, Debug)]
pub enum Function {
    /// It is this file of `tests/hooks`.
    File(&'static str),
    /// It answers this.
    Says(Bytes),
    /// It answers with this status.
    Status(u16),
    /// It raises an error.
    Raises,
    /// It never answers.
    Hangs,
    /// It answers a byte now and then, and never ends.
    Drips,
    /// It returns everything as it came.
    Passes,
    /// The same, after so long.
    PassesAfter(Duration),
    /// It returns requests with this name in place of theirs.
    Renames(&'static str),
    /// It answers so many bytes.
    Huge(usize),
}

/// A server of one function. Gone when dropped.
pub struct HookServer {
    url: String,
    inner: Arc<Inner>,
    stop: CancellationToken,
}

struct Inner {
    /// The keys that may sign; `None` for a plain endpoint.
    keys: Option<Arc<Keyring>>,
    function: Mutex<Function>,
    seen: Mutex<Vec<(HeaderMap, Value)>>,
}

impl HookServer {
    /// The Invoke API, for signers of `keys`.
    pub async fn lambda(keys: &Arc<Keyring>, function: Function) -> Self {
        Self::start(Some(Arc::clone(keys)), function).await
    }

    /// An endpoint that takes the payload.
    pub async fn http(function: Function) -> Self {
        Self::start(None, function).await
    }

    async fn start(keys: Option<Arc<Keyring>>, function: Function) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            keys,
            function: Mutex::new(function),
            seen: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let app = Router::new()
            .fallback(answer)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&inner));
        let served = async move { axum::serve(listener, app).await };
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(served));
        Self { url, inner, stop }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn set(&self, function: Function) {
        *self.inner.function.lock().unwrap() = function;
    }

    /// The inputs so far.
    pub fn inputs(&self) -> Vec<Value> {
        let seen = self.inner.seen.lock().unwrap();
        seen.iter().map(|(_, input)| input.clone()).collect()
    }

    /// The headers of the last request.
    pub fn last_headers(&self) -> HeaderMap {
        self.inner.seen.lock().unwrap().last().unwrap().0.clone()
    }
}

impl Drop for HookServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A file of `tests/hooks`.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/hooks")
        .join(name)
}

async fn answer(
    State(inner): State<Arc<Inner>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(keys) = &inner.keys {
        let target = uri.path_and_query().unwrap().as_str();
        let judged = keys.judge("lambda", method.as_str(), target, &headers, &body);
        if let Err(refusal) = judged {
            return (refusal.status(), refusal.body()).into_response();
        }
        assert!(target.starts_with("/2015-03-31/functions/arn%3Aaws%3Alambda%3A"));
        assert!(target.ends_with("/invocations"));
    }
    let input = serde_json::from_slice(&body).unwrap_or_default();
    inner.seen.lock().unwrap().push((headers, input));
    let function = inner.function.lock().unwrap().clone();
    match function {
        Function::File(name) => run(name, &body).await.into_response(),
        Function::Says(text) => text.into_response(),
        Function::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Function::Raises => {
            let said = r#"{"errorMessage":"planted-in-a-message","errorType":"KeyError"}"#;
            ([("x-amz-function-error", "Unhandled")], said).into_response()
        }
        Function::Hangs => std::future::pending().await,
        Function::Drips => drip().into_response(),
        Function::Passes => pass(&body).into_response(),
        Function::PassesAfter(time) => {
            tokio::time::sleep(time).await;
            pass(&body).into_response()
        }
        Function::Renames(name) => {
            let mut input: Value = serde_json::from_slice(&body).unwrap();
            input["mcp"]["gatewayRequest"]["body"]["params"]["name"] = name.into();
            pass(input.to_string().as_bytes()).into_response()
        }
        Function::Huge(bytes) => vec![b' '; bytes].into_response(),
    }
}

/// A body that goes on for ever.
fn drip() -> axum::body::Body {
    let bytes = futures::stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((
            Ok::<_, std::convert::Infallible>(Bytes::from_static(b" ")),
            (),
        ))
    });
    axum::body::Body::from_stream(bytes)
}

/// The output that changes nothing: bodies keep their bytes.
fn pass(input: &[u8]) -> String {
    let input = std::str::from_utf8(input).unwrap();
    let within = |path: [&str; 2]| at(input, &["mcp", path[0], path[1]]);
    let transformed = match within(["gatewayResponse", "body"]) {
        None => {
            let body = within(["gatewayRequest", "body"]).unwrap();
            format!(r#"{{"transformedGatewayRequest":{{"body":{body}}}}}"#)
        }
        Some(body) => {
            let status = within(["gatewayResponse", "statusCode"]).unwrap();
            format!(r#"{{"transformedGatewayResponse":{{"statusCode":{status},"body":{body}}}}}"#)
        }
    };
    format!(r#"{{"interceptorOutputVersion":"1.0","mcp":{transformed}}}"#)
}

/// Runs `lambda_handler` of a file in a process of its own.
async fn run(name: &str, input: &[u8]) -> Vec<u8> {
    let mut child = tokio::process::Command::new("python3")
        .arg("-B")
        .arg(file("invoke.py"))
        .arg(file(name))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).await.unwrap();
    drop(stdin);
    let ended = tokio::time::timeout(Duration::from_secs(20), child.wait_with_output());
    let output = ended.await.unwrap().unwrap();
    assert!(output.status.success(), "{name}");
    output.stdout
}
