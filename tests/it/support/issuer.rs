//! An issuer of tokens: metadata and a key set over HTTP, which rotate, stall, lie and die as a test
//! says, and are counted.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::free_port;
use super::signing::{SigningKey, jwks};

/// The places of metadata and of the key set.
pub const OPENID: &str = "/.well-known/openid-configuration";
pub const KEYS: &str = "/keys";

/// An issuer, and the handle to script it. Clones are the same one; the last to go stops it.
#[derive(Clone)]
pub struct Issuer {
    inner: Arc<Inner>,
    _stop: Arc<tokio_util::sync::DropGuard>,
}

struct Inner {
    port: u16,
    state: Mutex<State>,
}

struct State {
    key: Arc<SigningKey>,
    key_id: String,
    /// The answers, by path.
    pages: BTreeMap<String, Page>,
    asked: Vec<String>,
    mood: Mood,
    delay: Duration,
}

/// A response.
#[derive(Clone)]
pub struct Page {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

/// The behaviour of the issuer as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// It takes connections and says nothing.
    Silent,
    /// It answers 503.
    Down,
}

impl Page {
    /// JSON with 200.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
        }
    }
}

impl Issuer {
    /// One with OpenID metadata and a key on P-256.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Inner {
            port,
            state: Mutex::new(State {
                key: Arc::new(SigningKey::p256()),
                key_id: "k1".to_owned(),
                pages: BTreeMap::new(),
                asked: Vec::new(),
                mood: Mood::Well,
                delay: Duration::ZERO,
            }),
        });
        let stop = CancellationToken::new();
        let (shared, tasks) = (Arc::clone(&inner), TaskTracker::new());
        let serving = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = Arc::clone(&shared);
                tasks.spawn(async move {
                    let service = service_fn(move |request| handle(Arc::clone(&inner), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        };
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(serving));
        let issuer = Self {
            inner,
            _stop: Arc::new(stop.drop_guard()),
        };
        issuer.set(OPENID, Page::json(issuer.metadata().to_string()));
        issuer.publish(&[issuer.jwk()]);
        issuer
    }

    /// `iss` of its tokens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.inner.port)
    }

    /// The metadata that it has at first.
    pub fn metadata(&self) -> Value {
        json!({ "issuer": self.url(), "jwks_uri": format!("{}{KEYS}", self.url()) })
    }

    /// The public key that it signs with.
    pub fn jwk(&self) -> Value {
        let state = self.state();
        state.key.jwk(&state.key_id)
    }

    /// Has a page at a path from now on.
    pub fn set(&self, path: &str, page: Page) {
        self.state().pages.insert(path.to_owned(), page);
    }

    /// Has no page at a path from now on.
    pub fn remove(&self, path: &str) {
        self.state().pages.remove(path);
    }

    /// Publishes these keys.
    pub fn publish(&self, keys: &[Value]) {
        self.set(KEYS, Page::json(jwks(keys)));
    }

    /// Signs with a new key from now on, and publishes it alone.
    pub fn rotate(&self) {
        {
            let mut state = self.state();
            state.key = Arc::new(SigningKey::p256());
            state.key_id = format!("k{:?}", SystemTime::now());
        }
        self.publish(&[self.jwk()]);
    }

    /// Answers 503 from now on.
    pub fn go_down(&self) {
        self.state().mood = Mood::Down;
    }

    /// Takes connections and says nothing from now on.
    pub fn fall_silent(&self) {
        self.state().mood = Mood::Silent;
    }

    /// Answers again.
    pub fn recover(&self) {
        self.state().mood = Mood::Well;
    }

    /// Takes this long for an answer.
    pub fn be_slow(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// The paths of all requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// Returns how often the key set was fetched.
    pub fn key_fetches(&self) -> usize {
        self.asked().iter().filter(|path| *path == KEYS).count()
    }

    /// Claims of a token for this audience that is good for an hour.
    pub fn claims(&self, audience: &str, subject: &str) -> Value {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = since.unwrap().as_secs();
        json!({
            "iss": self.url(), "aud": audience, "sub": subject, "client_id": "app",
            "scope": "mcp:read mcp:call", "iat": now, "exp": now + 3600,
        })
    }

    /// A token of these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let state = self.state();
        let header = json!({ "kid": state.key_id, "typ": "at+jwt" });
        state.key.sign(&header, claims)
    }

    /// A token for this audience that is good for an hour.
    pub fn token(&self, audience: &str, subject: &str) -> String {
        self.sign(&self.claims(audience, subject))
    }

    /// A token that says it was signed with a key of this id.
    pub fn token_with_key_id(&self, audience: &str, id: &str) -> String {
        let claims = self.claims(audience, "flood");
        self.state().key.sign(&json!({ "kid": id }), &claims)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap()
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issuer")
    }
}

async fn handle(
    inner: Arc<Inner>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let (page, mood, delay) = {
        let mut state = inner.state.lock().unwrap();
        state.asked.push(path.clone());
        (state.pages.get(&path).cloned(), state.mood, state.delay)
    };
    tokio::time::sleep(delay).await;
    let bare = |status| Page {
        status,
        headers: Vec::new(),
        body: Bytes::new(),
    };
    let page = match mood {
        Mood::Well => page.unwrap_or_else(|| bare(404)),
        Mood::Down => bare(503),
        Mood::Silent => std::future::pending().await,
    };
    let mut response = Response::builder().status(page.status);
    response = response.header(header::CONTENT_TYPE, "application/json");
    for (name, value) in page.headers {
        response = response.header(name, value);
    }
    Ok(response.body(page.body.into()).unwrap())
}
