//! A server of either era that plays by itself, as the argument `do` of its tool says, and keeps nothing of what is
//! over: it can be called a hundred thousand times.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

const SESSION: &str = "mcp-session-id";
/// Longer than weir waits for more questions, so that its caller has the first one.
const MOMENT: Duration = Duration::from_millis(100);

/// The server; it ends when it is dropped.
pub struct Server {
    inner: Arc<Inner>,
    url: String,
    _stop: DropGuard,
}

struct Inner {
    is_modern: bool,
    sessions: Mutex<HashMap<String, Session>>,
    /// Where the answers to its questions come, by id.
    asked: Mutex<HashMap<String, oneshot::Sender<Value>>>,
    /// The calls for which a session was forgotten once.
    forgot: Mutex<HashSet<u64>>,
    numbers: AtomicU64,
    running: AtomicUsize,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Session {
    /// Its GET stream.
    stream: Option<mpsc::Sender<Bytes>>,
    /// The calls in it that are being played.
    running: usize,
    was_called: bool,
}

/// A call that is being played.
struct Played {
    inner: Arc<Inner>,
    id: Value,
    session: String,
    out: mpsc::Sender<Bytes>,
}

impl Drop for Played {
    fn drop(&mut self) {
        self.inner.running.fetch_sub(1, Ordering::Relaxed);
        let mut sessions = self.inner.sessions.lock().unwrap();
        if let Some(session) = sessions.get_mut(&self.session) {
            session.running -= 1;
        }
    }
}

impl Server {
    pub async fn start(is_modern: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            is_modern,
            sessions: Mutex::default(),
            asked: Mutex::default(),
            forgot: Mutex::default(),
            numbers: AtomicU64::default(),
            running: AtomicUsize::default(),
            tasks: TaskTracker::new(),
        });
        let stop = CancellationToken::new();
        let app = Router::new().fallback(handle).with_state(inner.clone());
        let served = async move { axum::serve(listener, app).await };
        let tasks = inner.tasks.clone();
        tasks.spawn(stop.clone().run_until_cancelled_owned(served));
        Self {
            inner,
            url,
            _stop: stop.drop_guard(),
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Counts its sessions.
    pub fn sessions(&self) -> usize {
        self.inner.sessions.lock().unwrap().len()
    }

    /// Counts the calls that it works on.
    pub fn running(&self) -> usize {
        self.inner.running.load(Ordering::Relaxed)
    }

    /// Counts its questions that have no answer.
    pub fn unanswered(&self) -> usize {
        let mut asked = self.inner.asked.lock().unwrap();
        asked.retain(|_, answer| !answer.is_closed());
        asked.len()
    }
}

async fn handle(
    State(inner): State<Arc<Inner>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let session = headers.get(SESSION).and_then(|id| id.to_str().ok());
    let session = session.unwrap_or_default().to_owned();
    let message: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let called = message["method"].as_str().unwrap_or_default().to_owned();
    let opens = ["initialize", "server/discover"].contains(&called.as_str());
    if !inner.is_modern && !opens && !inner.sessions.lock().unwrap().contains_key(&session) {
        return StatusCode::NOT_FOUND.into_response();
    }
    if method == Method::DELETE {
        inner.sessions.lock().unwrap().remove(&session);
        return StatusCode::OK.into_response();
    }
    let (out, events) = mpsc::channel(16);
    if method == Method::GET {
        if let Some(session) = inner.sessions.lock().unwrap().get_mut(&session) {
            session.stream = Some(out);
        }
        return stream(events);
    }
    if called.is_empty() {
        let id = message["id"].as_str().unwrap_or_default();
        if let Some(answer) = inner.asked.lock().unwrap().remove(id) {
            let _ = answer.send(message);
        }
        return StatusCode::ACCEPTED.into_response();
    }
    if message.get("id").is_none() {
        return StatusCode::ACCEPTED.into_response();
    }
    if called == "tools/call" {
        return inner.play(message, session, out, events);
    }
    inner.answer_at_once(&called, &message)
}

fn stream(events: mpsc::Receiver<Bytes>) -> Response {
    let events = futures::stream::unfold(events, async |mut events| {
        let next = events.recv().await?;
        Some((Ok::<_, Infallible>(next), events))
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(events)).into_response()
}

impl Inner {
    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn answer_at_once(&self, called: &str, message: &Value) -> Response {
        let capabilities = json!({"tools": {}});
        let mut session = None;
        let outcome = match called {
            "server/discover" if self.is_modern => Ok(json!({
                "resultType": "complete", "ttlMs": 600_000, "cacheScope": "private",
                "supportedVersions": ["2026-07-28"], "capabilities": capabilities,
            })),
            "initialize" if !self.is_modern => {
                session = Some(format!("s{}", self.number()));
                let server = json!({"name": "old", "version": "1"});
                let version = &message["params"]["protocolVersion"];
                Ok(
                    json!({"protocolVersion": version, "capabilities": capabilities, "serverInfo": server}),
                )
            }
            "initialize" => Err(
                json!({"code": -32022, "message": "no", "data": {"supported": ["2026-07-28"], "requested": ""}}),
            ),
            "tools/list" => Ok(json!({
                "resultType": "complete", "ttlMs": 600_000, "cacheScope": "private",
                "tools": [{"name": "ask", "inputSchema": {"type": "object"}}],
            })),
            "ping" => Ok(json!({})),
            _ => Err(json!({"code": -32601, "message": "no"})),
        };
        let id = &message["id"];
        let (status, body) = match outcome {
            Ok(result) => (
                StatusCode::OK,
                json!({"jsonrpc": "2.0", "id": id, "result": result}),
            ),
            Err(error) => (
                StatusCode::BAD_REQUEST,
                json!({"jsonrpc": "2.0", "id": id, "error": error}),
            ),
        };
        let kind = [(header::CONTENT_TYPE, "application/json")];
        let mut answer = (status, kind, body.to_string()).into_response();
        if let Some(session) = session {
            let headers = answer.headers_mut();
            headers.insert(SESSION, session.parse().unwrap());
            let mut sessions = self.sessions.lock().unwrap();
            sessions.insert(session, Session::default());
        }
        answer
    }

    fn play(
        self: &Arc<Self>,
        message: Value,
        session: String,
        out: mpsc::Sender<Bytes>,
        events: mpsc::Receiver<Bytes>,
    ) -> Response {
        let params = &message["params"];
        let play = params["arguments"]["do"].as_str().unwrap_or_default();
        let play = play.to_owned();
        if play == "gone" {
            let number = params["arguments"]["n"].as_u64().unwrap();
            let mut forgot = self.forgot.lock().unwrap();
            if !forgot.remove(&number) {
                forgot.insert(number);
                // Weir takes it that all are forgotten that it has for later calls.
                let mut sessions = self.sessions.lock().unwrap();
                sessions.remove(&session);
                sessions.retain(|_, other| other.running > 0 || !other.was_called);
                return StatusCode::NOT_FOUND.into_response();
            }
        }
        if let Some(session) = self.sessions.lock().unwrap().get_mut(&session) {
            session.was_called = true;
            session.running += 1;
        }
        self.running.fetch_add(1, Ordering::Relaxed);
        let played = Played {
            inner: Arc::clone(self),
            id: message["id"].clone(),
            session,
            out,
        };
        let params = params.clone();
        let is_modern = self.is_modern;
        self.tasks.spawn(async move {
            match is_modern {
                true => played.modern(&play, &params).await,
                false => played.legacy(&play).await,
            }
        });
        stream(events)
    }
}

impl Played {
    async fn say(&self, message: &Value) {
        let _ = self.out.send(format!("data: {message}\n\n").into()).await;
    }

    async fn result(&self, result: Value) {
        self.say(&json!({"jsonrpc": "2.0", "id": self.id, "result": result}))
            .await;
    }

    async fn error(&self, error: Value) {
        self.say(&json!({"jsonrpc": "2.0", "id": self.id, "error": error}))
            .await;
    }

    async fn tell(&self, text: &str, is_error: bool) {
        let content = json!([{"type": "text", "text": text}]);
        self.result(json!({"resultType": "complete", "content": content, "isError": is_error}))
            .await;
    }

    /// Asks on the stream of the call, or on that of its session. Returns the response; `None` once nobody reads the
    /// call any more.
    async fn ask(&self, method: &str, params: Value, is_outside: bool) -> Option<Value> {
        let (id, answered) = self.begin(method, params, is_outside).await;
        let answer = tokio::select! {
            answer = answered => answer.ok(),
            () = self.out.closed() => None,
        };
        self.inner.asked.lock().unwrap().remove(&id);
        answer
    }

    async fn begin(
        &self,
        method: &str,
        params: Value,
        is_outside: bool,
    ) -> (String, oneshot::Receiver<Value>) {
        let id = format!("q{}", self.inner.number());
        let (sender, answered) = oneshot::channel();
        self.inner.asked.lock().unwrap().insert(id.clone(), sender);
        let question = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let outside = {
            let sessions = self.inner.sessions.lock().unwrap();
            let session = sessions.get(&self.session);
            session.and_then(|session| session.stream.clone())
        };
        match outside.filter(|_| is_outside) {
            Some(outside) => {
                let event = format!("data: {question}\n\n");
                let _ = outside.send(event.into()).await;
            }
            None => self.say(&question).await,
        }
        (id, answered)
    }

    async fn form(&self) -> Option<Value> {
        self.ask("elicitation/create", form(), false).await
    }

    #[allow(clippy::too_many_lines, reason = "an arm for each play")]
    async fn legacy(self, play: &str) {
        match play {
            "form" => {
                if let Some(answer) = self.form().await {
                    let action = answer["result"]["action"].as_str().unwrap_or_default();
                    self.tell(action, false).await;
                }
            }
            "rounds" => {
                for _ in 0..3 {
                    if self.form().await.is_none() {
                        return;
                    }
                }
                self.tell("done", false).await;
            }
            "get" => {
                let asked = self.ask("elicitation/create", form(), true);
                if asked.await.is_some() {
                    self.tell("done", false).await;
                }
            }
            "sampling" => {
                let params = json!({"messages": [], "maxTokens": 1});
                let asked = self.ask("sampling/createMessage", params, false).await;
                let is_refused = asked.is_none_or(|answer| answer.get("error").is_some());
                self.tell("cannot go on", is_refused).await;
            }
            "large" => {
                let params = json!({"message": "x".repeat(300 * 1024)});
                let asked = self.ask("elicitation/create", params, false).await;
                let is_refused = asked.is_some_and(|answer| answer.get("error").is_some());
                self.tell("refused", !is_refused).await;
            }
            "withdraws" => {
                let (id, _answered) = self.begin("elicitation/create", form(), false).await;
                tokio::time::sleep(MOMENT).await;
                self.inner.asked.lock().unwrap().remove(&id);
                self.say(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})).await;
                self.tell("nobody answered", true).await;
            }
            "breaks" => {
                let (id, _answered) = self.begin("elicitation/create", form(), false).await;
                tokio::time::sleep(MOMENT).await;
                self.inner.asked.lock().unwrap().remove(&id);
            }
            "forgets" => {
                if self.form().await.is_some() {
                    self.out.closed().await;
                }
            }
            "url" => {
                let url = json!({"mode": "url", "elicitationId": "e", "url": "https://a.example", "message": "m"});
                self.error(
                    json!({"code": -32042, "message": "no", "data": {"elicitations": [url]}}),
                )
                .await;
            }
            "error" => self.error(json!({"code": -5, "message": "no"})).await,
            "waits" => self.out.closed().await,
            _ => self.tell("done", false).await,
        }
    }

    async fn modern(self, play: &str, params: &Value) {
        let state = params["requestState"].as_str().unwrap_or("0");
        let round: u32 = state.parse().unwrap();
        let asks = |method: &str, params: Value| {
            let question = json!({"a": {"method": method, "params": params}});
            let state = (round + 1).to_string();
            json!({"resultType": "input_required", "inputRequests": question, "requestState": state})
        };
        let form = || asks("elicitation/create", form());
        let sampling = || {
            asks(
                "sampling/createMessage",
                json!({"messages": [], "maxTokens": 1}),
            )
        };
        match play {
            "form" if round == 0 => self.result(form()).await,
            "form" => {
                let action = &params["inputResponses"]["a"]["action"];
                self.tell(action.as_str().unwrap_or_default(), false).await;
            }
            "rounds" if round < 3 => self.result(form()).await,
            "endless" => self.result(form()).await,
            "sampling" => self.result(sampling()).await,
            "unknown" => self.result(asks("made/up", json!({}))).await,
            "state" if round == 0 => {
                self.result(json!({"resultType": "input_required", "requestState": "1"}))
                    .await;
            }
            "breaks" if round == 0 => self.result(form()).await,
            // After the answer, its stream ends without a response.
            "breaks" => {}
            "error" => self.error(json!({"code": -5, "message": "no"})).await,
            "waits" => self.out.closed().await,
            _ => self.tell("done", false).await,
        }
    }
}

fn form() -> Value {
    json!({"message": "sure?", "requestedSchema": {"type": "object", "properties": {}}})
}
