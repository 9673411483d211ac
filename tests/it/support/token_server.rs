//! An authorization server: a token endpoint that counts, and metadata, both as the test says.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{BOUND, free_port};

/// A server, and the handle to script it. Clones are the same server; the last one to go stops it.
#[derive(Clone)]
pub struct TokenServer {
    inner: Arc<Inner>,
    _stop: Arc<tokio_util::sync::DropGuard>,
}

struct Inner {
    port: u16,
    state: Mutex<State>,
    tasks: TaskTracker,
}

struct State {
    /// The next answers; the last stays.
    says: VecDeque<Says>,
    life: Option<u64>,
    /// The `client_secret` that is accepted, if not any.
    secret: Option<String>,
    asked: Vec<Asked>,
    live: HashSet<String>,
    metadata: Option<String>,
    looked_for: Vec<String>,
}

/// One token request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub headers: HeaderMap,
    /// The form, in order.
    pub form: Vec<(String, String)>,
}

/// An answer to a token request.
#[derive(Clone, Debug)]
pub enum Says {
    /// A token: `token-1`, `token-2`, …
    Token,
    /// This status, with headers, and a body that gives away the secret.
    Status(u16, &'static [(&'static str, &'static str)]),
    /// 400 with this `error`.
    Error(&'static str),
    /// This body with 200.
    Body(String),
    /// Nothing, for ever.
    Stall,
}

impl Asked {
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.form.iter().filter(|(key, _)| key == name);
        let (_, value) = found.next()?;
        assert!(found.next().is_none(), "{name} occurs twice");
        Some(value)
    }
}

impl TokenServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner {
            port: listener.local_addr().unwrap().port(),
            state: Mutex::new(State {
                says: [Says::Token].into(),
                life: Some(3600),
                secret: None,
                asked: Vec::new(),
                live: HashSet::new(),
                metadata: None,
                looked_for: Vec::new(),
            }),
            tasks: TaskTracker::new(),
        });
        let shared = Arc::clone(&inner);
        inner
            .tasks
            .spawn(stop.clone().run_until_cancelled_owned(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let connection = Arc::clone(&shared);
                    shared.tasks.spawn(async move {
                        let service =
                            service_fn(move |request| handle(connection.clone(), request));
                        let _ = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
            }));
        Self {
            inner,
            _stop: Arc::new(stop.drop_guard()),
        }
    }

    /// The issuer, without a slash at its end.
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.inner.port)
    }

    /// The token endpoint.
    pub fn url(&self) -> String {
        format!("{}/token", self.issuer())
    }

    /// Sets the next answers, each once; the last stays.
    pub fn says(&self, says: impl IntoIterator<Item = Says>) {
        self.inner.state().says = says.into_iter().collect();
    }

    /// Sets the seconds that tokens live; `None` says nothing of them.
    pub fn life(&self, life: Option<u64>) {
        self.inner.state().life = life;
    }

    /// From now on `invalid_client` to who has no such `client_secret` in the form.
    pub fn secret(&self, secret: &str) {
        self.inner.state().secret = Some(secret.to_owned());
    }

    /// The metadata, at whatever place is looked at.
    pub fn metadata(&self, json: String) {
        self.inner.state().metadata = Some(json);
    }

    /// No token of so far is good any more.
    pub fn revoke(&self) {
        self.inner.state().live.clear();
    }

    /// This token is not good any more.
    pub fn revoke_one(&self, token: &str) {
        self.inner.state().live.remove(token);
    }

    pub fn is_live(&self, authorization: &str) -> bool {
        let token = authorization.strip_prefix("Bearer ");
        token.is_some_and(|token| self.inner.state().live.contains(token))
    }

    /// All token requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.inner.state().asked.clone()
    }

    /// The paths at which metadata was looked for.
    pub fn looked_for(&self) -> Vec<String> {
        self.inner.state().looked_for.clone()
    }

    /// Waits for so many token requests.
    pub async fn wait_asked(&self, count: usize) {
        let wait = async {
            while self.asked().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(BOUND, wait).await;
        assert!(waited.is_ok(), "{} of {count}", self.asked().len());
    }
}

impl std::fmt::Debug for TokenServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenServer")
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The answer to a token request; `None` is silence.
    fn answer(&self, asked: Asked) -> Option<Response<Body>> {
        let mut state = self.state();
        let is_wrong =
            state.secret.is_some() && state.secret.as_deref() != asked.get("client_secret");
        state.asked.push(asked);
        let number = state.asked.len();
        let says = match state.says.len() {
            _ if is_wrong => Some(Says::Error("invalid_client")),
            0 | 1 => state.says.front().cloned(),
            _ => state.says.pop_front(),
        };
        Some(match says.unwrap() {
            Says::Token => {
                let token = format!("token-{number}");
                state.live.insert(token.clone());
                let life = state.life.map(|life| format!(r#","expires_in":{life}"#));
                let life = life.unwrap_or_default();
                json(
                    200,
                    format!(r#"{{"access_token":"{token}","token_type":"Bearer"{life}}}"#),
                )
            }
            Says::Status(status, headers) => {
                let mut answer = json(status, r#"{"text":"your secret is hunter2"}"#.to_owned());
                for (name, value) in headers {
                    answer.headers_mut().insert(*name, value.parse().unwrap());
                }
                answer
            }
            Says::Error(error) => {
                let text = "your secret is hunter2";
                json(
                    400,
                    format!(r#"{{"error":"{error}","error_description":"{text}"}}"#),
                )
            }
            Says::Body(body) => json(200, body),
            Says::Stall => return None,
        })
    }
}

async fn handle(
    inner: Arc<Inner>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    if parts.uri.path() != "/token" {
        let mut state = inner.state();
        state.looked_for.push(parts.uri.path().to_owned());
        return Ok(match &state.metadata {
            Some(metadata) => json(200, metadata.clone()),
            None => json(404, String::new()),
        });
    }
    let body = to_bytes(Body::new(body), usize::MAX).await;
    let form = url::form_urlencoded::parse(&body.unwrap_or_default())
        .into_owned()
        .collect();
    let asked = Asked {
        headers: parts.headers,
        form,
    };
    match inner.answer(asked) {
        Some(answer) => Ok(answer),
        None => std::future::pending().await,
    }
}

fn json(status: u16, body: String) -> Response<Body> {
    let response = Response::builder().status(status);
    let response = response.header(header::CONTENT_TYPE, "application/json");
    response.body(Bytes::from(body).into()).unwrap()
}

/// Returns header and claims of a JWT, without looking at its signature.
pub fn jwt(token: &str) -> (HashMap<String, serde_json::Value>, serde_json::Value) {
    use base64::Engine as _;
    let part = |text: &str| {
        base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(text)
            .unwrap()
    };
    let parts: Vec<_> = token.split('.').collect();
    let header = serde_json::from_slice(&part(parts[0])).unwrap();
    (header, serde_json::from_slice(&part(parts[1])).unwrap())
}
