//! A server that the test plays by hand: it opens sessions and lists by itself, everything else is the test's.
//!
//! ```ignore
//! let up = Asking::named("up").tools(["ask"]).start().await;
//! let call = up.call().await;
//! call.say(r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#).await;
//! call.answer(r#"{"content":[]}"#).await;
//! ```

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::upstream::{Log, Recorded, Seen};
use super::{Fields, bounded, fields, quote, raw, unquote};

const SESSION: &str = "mcp-session-id";
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// The server.
pub struct Asking {
    inner: Arc<Inner>,
    calls: tokio::sync::Mutex<mpsc::Receiver<Call>>,
    resumed: tokio::sync::Mutex<mpsc::Receiver<Call>>,
}

/// A server being described.
pub struct Builder {
    name: String,
    modern: bool,
    capabilities: String,
    tools: Vec<String>,
    resources: Vec<String>,
    prompts: Vec<String>,
}

struct Inner {
    about: Builder,
    url: String,
    log: Log,
    /// Definitions of tools, raw.
    tools: Mutex<Vec<String>>,
    sessions: Mutex<Vec<String>>,
    /// GET streams by session.
    streams: Mutex<HashMap<String, mpsc::Sender<Bytes>>>,
    /// Modern: listen streams, by the raw id of their request.
    listens: Mutex<Vec<Listen>>,
    calls: mpsc::Sender<Call>,
    resumed: mpsc::Sender<Call>,
    opened: Mutex<u64>,
    stop: CancellationToken,
}

struct Listen {
    id: String,
    wishes: Value,
    out: mpsc::Sender<Bytes>,
}

/// A request that waits for the test, with the event stream that answers it; dropped, the stream ends.
pub struct Call {
    pub request: Recorded,
    /// The session, legacy.
    pub session: String,
    /// Raw.
    pub id: String,
    out: mpsc::Sender<Bytes>,
}

impl Call {
    /// A message on the stream.
    pub async fn say(&self, message: &str) {
        self.write(&format!("data: {message}\n\n")).await;
    }

    /// Progress of so much, by the token of the call.
    pub async fn report(&self, done: u32) {
        let token = self.request.raw(&["params", "_meta", "progressToken"]);
        let token = token.expect("a token");
        self.say(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{done}}}}}"#
        ))
        .await;
    }

    /// Anything on the stream.
    pub async fn write(&self, text: &str) {
        self.write_bytes(text.as_bytes()).await;
    }

    /// A piece of the stream, wherever it is cut.
    pub async fn write_bytes(&self, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.out.send(bytes).await.expect("it is read");
    }

    /// The result; the stream ends.
    pub async fn answer(self, result: &str) {
        let id = &self.id;
        self.say(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
        ))
        .await;
    }

    /// Waits until the other side has closed the stream.
    pub async fn closed(&self) {
        bounded("the stream to be closed", self.out.closed()).await;
    }
}

impl Builder {
    /// Speaks 2026-07-28 and nothing else.
    pub fn modern(mut self) -> Self {
        self.modern = true;
        self
    }

    /// Sets its capabilities, raw, in place of tools, resources with subscriptions, logging.
    pub fn capabilities(mut self, raw: &str) -> Self {
        self.capabilities = raw.to_owned();
        self
    }

    pub fn tools<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = names.into_iter().map(|name| {
            let name = quote(name);
            format!(r#"{{"name":{name},"inputSchema":{{"type":"object"}}}}"#)
        });
        self.tools.extend(names);
        self
    }

    pub fn resources<'a>(mut self, uris: impl IntoIterator<Item = &'a str>) -> Self {
        let uris = uris
            .into_iter()
            .map(|uri| format!(r#"{{"uri":{},"name":"r"}}"#, quote(uri)));
        self.resources.extend(uris);
        self
    }

    pub fn prompts<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = names
            .into_iter()
            .map(|name| format!(r#"{{"name":{}}}"#, quote(name)));
        self.prompts.extend(names);
        self
    }

    pub async fn start(mut self) -> Asking {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (calls, called) = mpsc::channel(64);
        let (resumed, taken_up) = mpsc::channel(64);
        let inner = Arc::new(Inner {
            url: format!("http://{}/mcp", listener.local_addr().unwrap()),
            tools: Mutex::new(std::mem::take(&mut self.tools)),
            about: self,
            log: Log::default(),
            sessions: Mutex::default(),
            streams: Mutex::default(),
            listens: Mutex::default(),
            calls,
            resumed,
            opened: Mutex::default(),
            stop: CancellationToken::new(),
        });
        let app = Router::new().fallback(handle).with_state(inner.clone());
        let served = async move { axum::serve(listener, app).await };
        TaskTracker::new().spawn(inner.stop.clone().run_until_cancelled_owned(served));
        Asking {
            inner,
            calls: tokio::sync::Mutex::new(called),
            resumed: tokio::sync::Mutex::new(taken_up),
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.inner.stop.cancel();
    }
}

impl Asking {
    /// Begins a server: legacy, with whatever version it is asked for.
    pub fn named(name: &str) -> Builder {
        Builder {
            name: name.to_owned(),
            modern: false,
            capabilities: r#"{"tools":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"logging":{}}"#.to_owned(),
            tools: Vec::new(),
            resources: Vec::new(),
            prompts: Vec::new(),
        }
    }

    pub fn name(&self) -> &str {
        &self.inner.about.name
    }

    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// As YAML for `Weir::with`.
    pub fn yaml(&self) -> String {
        format!("  {}:\n    url: \"{}\"\n", self.name(), self.url())
    }

    /// The next request that waits for the test.
    pub async fn call(&self) -> Call {
        let mut calls = self.calls.lock().await;
        bounded("a call", calls.recv()).await.unwrap()
    }

    /// The next stream that is taken up with `Last-Event-ID`.
    pub async fn resumed(&self) -> Call {
        let mut resumed = self.resumed.lock().await;
        bounded("a stream that is taken up", resumed.recv())
            .await
            .unwrap()
    }

    pub async fn wait_for(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        self.inner.log.wait_for(what, condition).await;
    }

    /// All requests with this method so far; the empty method is that of responses, GET and DELETE.
    pub fn requests(&self, method: &str) -> Vec<Recorded> {
        self.inner.log.seen().of(method).cloned().collect()
    }

    /// All that arrived.
    pub fn arrived(&self) -> Vec<Recorded> {
        self.inner.log.seen().requests.clone()
    }

    pub fn count(&self, method: &str) -> usize {
        self.requests(method).len()
    }

    /// Waits for so many requests with this method and gives the last.
    pub async fn wait_count(&self, method: &str, at_least: usize) -> Recorded {
        self.wait_for(method, |seen| seen.count(method) >= at_least)
            .await;
        self.requests(method).remove(at_least - 1)
    }

    /// Returns the answer to a request of this id (raw): the whole body.
    pub fn answers(&self, id: &str) -> Vec<String> {
        let answers = self.requests("").into_iter();
        let answers = answers.filter(|got| got.raw(&["id"]).as_deref() == Some(id));
        answers
            .map(|got| String::from_utf8(got.body.to_vec()).unwrap())
            .collect()
    }

    /// Waits for the answer to a request of this id (raw).
    pub async fn answered(&self, id: &str) -> String {
        self.wait_for(&format!("an answer to {id}"), |seen| {
            seen.of("")
                .any(|got| got.raw(&["id"]).as_deref() == Some(id))
        })
        .await;
        self.answers(id).remove(0)
    }

    /// The sessions that are open, in order.
    pub fn sessions(&self) -> Vec<String> {
        self.inner.sessions.lock().unwrap().clone()
    }

    /// Forgets all sessions, as a restart does.
    pub fn forget(&self) {
        self.inner.sessions.lock().unwrap().clear();
        self.inner.streams.lock().unwrap().clear();
    }

    /// Waits until a session is ended with DELETE.
    pub async fn left(&self, session: &str) {
        self.wait_for(&format!("the end of {session}"), |seen| {
            seen.of("")
                .any(|got| got.http == Method::DELETE && got.header(SESSION) == Some(session))
        })
        .await;
    }

    /// Ends the GET stream of a session, which lives on.
    pub fn hang_up(&self, session: &str) {
        self.inner.streams.lock().unwrap().remove(session);
    }

    /// Waits for the GET stream of a session.
    pub async fn listening(&self, session: &str) {
        self.wait_for(&format!("a stream of {session}"), |_| {
            self.inner.streams.lock().unwrap().contains_key(session)
        })
        .await;
    }

    /// A message on the GET stream of a session.
    pub async fn tell(&self, session: &str, message: &str) {
        self.listening(session).await;
        let out = self.inner.streams.lock().unwrap()[session].clone();
        let event = format!("data: {message}\n\n");
        out.send(event.into()).await.unwrap();
    }

    /// A notification on every open listen stream that this holds for; to how many.
    pub async fn publish(
        &self,
        method: &str,
        params: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> usize {
        let open: Vec<_> = {
            let mut listens = self.inner.listens.lock().unwrap();
            listens.retain(|listen| !listen.out.is_closed());
            let meant = listens.iter().filter(|listen| wanted(&listen.wishes));
            meant.map(|l| (l.id.clone(), l.out.clone())).collect()
        };
        for (id, out) in &open {
            let mut params = fields(params).unwrap();
            params.insert(
                "_meta".to_owned(),
                raw(format!(r#"{{"{SUBSCRIPTION}":{id}}}"#)),
            );
            let params = super::object(&params);
            let message = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
            let _ = out.send(format!("data: {message}\n\n").into()).await;
        }
        open.len()
    }

    /// Modern: says that a resource changed on every listen stream that follows it; on how many.
    pub async fn updated(&self, uri: &str, params: &str) -> usize {
        let follows = |wishes: &Value| {
            let followed = wishes["resourceSubscriptions"].as_array();
            followed.is_some_and(|all| all.iter().any(|known| known == uri))
        };
        self.publish("notifications/resources/updated", params, follows)
            .await
    }

    /// The filters of the listen streams that are open.
    pub fn listens(&self) -> Vec<Value> {
        let listens = self.inner.listens.lock().unwrap();
        let open = listens.iter().filter(|listen| !listen.out.is_closed());
        open.map(|listen| listen.wishes.clone()).collect()
    }

    /// From now on, these definitions of tools.
    pub fn set_tools(&self, definitions: &[&str]) {
        let definitions = definitions.iter().map(|raw| (*raw).to_owned());
        *self.inner.tools.lock().unwrap() = definitions.collect();
    }
}

async fn handle(
    State(inner): State<Arc<Inner>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let message = std::str::from_utf8(&body).ok().and_then(fields);
    let message = message.unwrap_or_default();
    let name = message.get("method").and_then(|raw| unquote(raw.get()));
    let name = name.unwrap_or_default();
    let session = headers.get(SESSION).and_then(|id| id.to_str().ok());
    let session = session.unwrap_or_default().to_owned();
    let request = Recorded {
        http: method.clone(),
        headers: headers.clone(),
        body: body.clone(),
        method: name.clone(),
        value: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    // Noted after whatever comes of it, so that what is seen is in place.
    let answer = inner.route(&request, &message, session);
    inner.log.note(|seen| seen.requests.push(request));
    answer
}

impl Inner {
    fn route(&self, request: &Recorded, message: &Fields, session: String) -> Response {
        let id = message.get("id").map(|id| id.get().to_owned());
        let opens = request.method == "server/discover" || request.method == "initialize";
        let knows = self.about.modern || self.sessions.lock().unwrap().contains(&session);
        if !knows && !opens {
            return StatusCode::NOT_FOUND.into_response();
        }
        if request.http == Method::DELETE {
            self.sessions.lock().unwrap().retain(|id| *id != session);
            self.streams.lock().unwrap().remove(&session);
            return StatusCode::OK.into_response();
        }
        let (out, answer) = events();
        if request.http == Method::GET {
            if request.headers.contains_key("last-event-id") {
                self.queue(&self.resumed, request, session, String::new(), out);
            } else {
                self.streams.lock().unwrap().insert(session, out);
            }
            return answer;
        }
        let (Some(id), false) = (id, request.method.is_empty()) else {
            return StatusCode::ACCEPTED.into_response();
        };
        match self.known(request, &id, &out) {
            Some(Ok(result)) if request.method == "initialize" => {
                let session = {
                    let mut opened = self.opened.lock().unwrap();
                    *opened += 1;
                    format!("s{opened}")
                };
                self.sessions.lock().unwrap().push(session.clone());
                let mut answer = json(&format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
                ));
                answer
                    .headers_mut()
                    .insert(SESSION, session.parse().unwrap());
                answer
            }
            Some(Ok(result)) if result.is_empty() => answer,
            Some(Ok(result)) => json(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
            )),
            Some(Err(error)) => {
                let mut answer = json(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#));
                *answer.status_mut() = StatusCode::BAD_REQUEST;
                answer
            }
            None => {
                self.queue(&self.calls, request, session, id, out);
                answer
            }
        }
    }

    fn queue(
        &self,
        to: &mpsc::Sender<Call>,
        request: &Recorded,
        session: String,
        id: String,
        out: mpsc::Sender<Bytes>,
    ) {
        let call = Call {
            request: request.clone(),
            session,
            id,
            out,
        };
        assert!(to.try_send(call).is_ok(), "there is room for a call");
    }

    /// Returns the answer that it gives by itself: a result, which is empty where it is a stream,
    /// or an error.
    fn known(
        &self,
        request: &Recorded,
        id: &str,
        out: &mpsc::Sender<Bytes>,
    ) -> Option<Result<String, String>> {
        let (modern, can) = (self.about.modern, &self.about.capabilities);
        let stamps = match modern {
            true => r#""resultType":"complete","ttlMs":600000,"cacheScope":"private","#,
            false => "",
        };
        let uri = request.value["params"]["uri"].as_str().unwrap_or_default();
        let result = match request.method.as_str() {
            "server/discover" if modern => {
                format!(r#"{{{stamps}"supportedVersions":["2026-07-28"],"capabilities":{can}}}"#)
            }
            "server/discover" => return Some(Err(r#"{"code":-32601,"message":"no"}"#.to_owned())),
            "initialize" if modern => {
                let error = r#"{"code":-32022,"message":"no","data":{"supported":["2026-07-28"],"requested":""}}"#;
                return Some(Err(error.to_owned()));
            }
            "initialize" => {
                let (version, name) = (
                    request.raw(&["params", "protocolVersion"]).unwrap(),
                    quote(&self.about.name),
                );
                format!(
                    r#"{{"protocolVersion":{version},"capabilities":{can},"serverInfo":{{"name":{name},"version":"1"}}}}"#
                )
            }
            "tools/list" => {
                let tools = self.tools.lock().unwrap().join(",");
                format!(r#"{{{stamps}"tools":[{tools}]}}"#)
            }
            "resources/list" => {
                let resources = self.about.resources.join(",");
                format!(r#"{{{stamps}"resources":[{resources}]}}"#)
            }
            "prompts/list" if !self.about.prompts.is_empty() => {
                let prompts = self.about.prompts.join(",");
                format!(r#"{{{stamps}"prompts":[{prompts}]}}"#)
            }
            "resources/templates/list" => format!(r#"{{{stamps}"resourceTemplates":[]}}"#),
            "resources/subscribe" if uri.contains("refused") => {
                return Some(Err(
                    r#"{"code":-32002,"message":"not this one","data":1e400}"#.to_owned(),
                ));
            }
            "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
                "{}".to_owned()
            }
            "subscriptions/listen" => {
                self.listen(request, id, out);
                String::new()
            }
            _ => return None,
        };
        Some(Ok(result))
    }

    fn listen(&self, request: &Recorded, id: &str, out: &mpsc::Sender<Bytes>) {
        let mut wishes = request.value["params"]["notifications"].clone();
        // It does not acknowledge what it does not know.
        if let Some(uris) = wishes["resourceSubscriptions"].as_array_mut() {
            uris.retain(|uri| !uri.as_str().unwrap().contains("refused"));
        }
        wishes
            .as_object_mut()
            .unwrap()
            .retain(|_, wish| !wish.is_null());
        let meta = format!(r#"{{"{SUBSCRIPTION}":{id}}}"#);
        let acknowledged = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"notifications":{wishes},"_meta":{meta}}}}}"#
        );
        let event = format!("data: {acknowledged}\n\n");
        out.try_send(event.into()).unwrap();
        let (id, out) = (id.to_owned(), out.clone());
        self.listens
            .lock()
            .unwrap()
            .push(Listen { id, wishes, out });
    }
}

fn events() -> (mpsc::Sender<Bytes>, Response) {
    let (out, events) = mpsc::channel::<Bytes>(64);
    let events = futures::stream::unfold(events, |mut events| async {
        let next = events.recv().await?;
        Some((Ok::<_, Infallible>(next), events))
    });
    let mut answer = Response::new(Body::from_stream(events));
    let kind = header::HeaderValue::from_static("text/event-stream");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    (out, answer)
}

fn json(text: &str) -> Response {
    let mut answer = Response::new(Body::from(text.to_owned()));
    let kind = header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
