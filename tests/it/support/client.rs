//! MCP clients that show bytes: every answer as it came, every header as the test wants it.
//!
//! ```ignore
//! let modern = Modern::new(weir.url());
//! let reply = modern.call("jira__search", r#"{"q":1e400}"#).await;
//! assert_eq!(reply.result(), r#"{"content":[]}"#);
//! let reply = modern.ask("tools/list", "{}").without("mcp-method").send().await;
//! assert_eq!((reply.status, reply.code()), (400, -32020));
//! ```

mod reply;

use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::{at, bounded, fields, object, quote, raw, tls, unquote};
pub use reply::{Reply, Stream};

const CLAIM: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const INFO: &str = "io.modelcontextprotocol/clientInfo";
const INFO_VALUE: &str = r#"{"name":"weir-tests","version":"1.0.0"}"#;
pub const MODERN: &str = "2026-07-28";

/// A connection pool of its own, so that closing it is closing this client.
fn pool() -> reqwest::Client {
    tls();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .build()
        .unwrap()
}

/// What both clients share: the pool, the URL, the ids.
struct Wire {
    http: reqwest::Client,
    url: String,
    next: AtomicU64,
}

impl Wire {
    fn new(url: &str) -> Self {
        Self {
            http: pool(),
            url: url.to_owned(),
            next: AtomicU64::new(1),
        }
    }

    fn id(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    async fn open(&self, method: Method, headers: HeaderMap, body: Vec<u8>) -> Stream {
        let request = self.http.request(method, &self.url).headers(headers);
        let sent = bounded("response headers", request.body(body).send()).await;
        Stream::new(sent.unwrap_or_else(|error| panic!("no answer at all: {error:?}")))
    }
}

fn headers<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

/// One request that can still be changed: correct until the test makes it wrong.
pub struct Ask<'c> {
    wire: &'c Wire,
    headers: HeaderMap,
    id: Option<String>,
    method: String,
    params: String,
}

impl Ask<'_> {
    /// Sets a header; an existing one is replaced.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        for (name, value) in &headers([(name, value)]) {
            self.headers.insert(name.clone(), value.clone());
        }
        self
    }

    /// Leaves a header out.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// This id (raw JSON) in place of the next number.
    pub fn id(mut self, raw: &str) -> Self {
        self.id = Some(raw.to_owned());
        self
    }

    /// Sets a member of `_meta` (raw JSON).
    pub fn meta(mut self, key: &str, value: &str) -> Self {
        self.params = with_meta(&self.params, key, value);
        self
    }

    /// Takes a member out of `_meta`.
    pub fn without_meta(mut self, key: &str) -> Self {
        let mut members = fields(&self.params).unwrap();
        let mut meta = fields(members["_meta"].get()).unwrap();
        meta.shift_remove(key).expect("it was there");
        members.insert("_meta".to_owned(), raw(object(&meta)));
        self.params = object(&members);
        self
    }

    /// Exactly these params, `_meta` and all.
    pub fn exactly(mut self, params: &str) -> Self {
        self.params = params.to_owned();
        self
    }

    /// The body that will be sent.
    pub fn body(&self) -> String {
        let (method, params) = (quote(&self.method), &self.params);
        match &self.id {
            Some(id) => {
                format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#)
            }
            None => format!(r#"{{"jsonrpc":"2.0","method":{method},"params":{params}}}"#),
        }
    }

    /// Sends it and reads the answer to its end.
    pub async fn send(self) -> Reply {
        self.stream().await.finish().await
    }

    /// Sends it; the answer is read as it comes. Dropping the stream closes the connection.
    pub async fn stream(self) -> Stream {
        let body = self.body().into_bytes();
        self.wire.open(Method::POST, self.headers, body).await
    }
}

/// Sets a member of the `_meta` of raw params; the bytes of everything else stay.
pub fn with_meta(params: &str, key: &str, value: &str) -> String {
    let mut members = fields(params).unwrap_or_else(|| panic!("no object: {params}"));
    let meta = members.get("_meta").and_then(|meta| fields(meta.get()));
    let mut meta = meta.unwrap_or_default();
    meta.insert(key.to_owned(), raw(value));
    members.insert("_meta".to_owned(), raw(object(&meta)));
    object(&members)
}

fn call_params(tool: &str, arguments: &str) -> String {
    format!(r#"{{"name":{},"arguments":{arguments}}}"#, quote(tool))
}

/// A 2026-07-28 client: every request self-contained.
pub struct Modern {
    wire: Wire,
    /// What `clientCapabilities` says, raw.
    pub capabilities: String,
}

impl Modern {
    pub fn new(url: impl AsRef<str>) -> Self {
        Self {
            wire: Wire::new(url.as_ref()),
            capabilities: "{}".to_owned(),
        }
    }

    /// A correct request; `params` is raw JSON without the reserved `_meta` keys.
    pub fn ask(&self, method: &str, params: &str) -> Ask<'_> {
        let mut whole = with_meta(params, CLAIM, &quote(MODERN));
        whole = with_meta(&whole, CAPABILITIES, &self.capabilities);
        whole = with_meta(&whole, INFO, INFO_VALUE);
        let mut map = headers([
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", MODERN),
            ("mcp-method", method),
        ]);
        let name = match method {
            "tools/call" | "prompts/get" => at(params, &["name"]),
            "resources/read" => at(params, &["uri"]),
            _ => None,
        };
        if let Some(name) = name.and_then(|name| unquote(&name)) {
            map.extend(headers([("mcp-name", encoded(&name).as_str())]));
        }
        Ask {
            wire: &self.wire,
            headers: map,
            id: Some(self.wire.id()),
            method: method.to_owned(),
            params: whole,
        }
    }

    pub async fn request(&self, method: &str, params: &str) -> Reply {
        self.ask(method, params).send().await
    }

    pub async fn call(&self, tool: &str, arguments: &str) -> Reply {
        self.request("tools/call", &call_params(tool, arguments))
            .await
    }

    /// A notification: no id.
    pub async fn notify(&self, method: &str, params: &str) -> Reply {
        let mut ask = self.ask(method, params);
        ask.id = None;
        ask.send().await
    }

    /// Anything at all.
    pub async fn raw<'a>(
        &self,
        method: Method,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: &str,
    ) -> Reply {
        let stream = self.wire.open(method, headers(pairs), body.into()).await;
        stream.finish().await
    }

    /// The raw definitions of a list method, all pages.
    pub async fn list_all(&self, method: &str) -> Vec<String> {
        let mut pages = Pages::default();
        while let Some(params) = pages.next() {
            pages.take(method, &self.request(method, &params).await);
        }
        pages.items
    }

    pub async fn tool_names(&self) -> Vec<String> {
        names(&self.list_all("tools/list").await, "name")
    }

    /// A `subscriptions/listen` stream under this id (raw), for these notifications (raw object).
    pub async fn listen(&self, id: &str, notifications: &str) -> Stream {
        let params = format!(r#"{{"notifications":{notifications}}}"#);
        let ask = self.ask("subscriptions/listen", &params).id(id);
        ask.stream().await
    }
}

/// `Mcp-Name` as the specification encodes it.
pub fn encoded(value: &str) -> String {
    let plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && value.trim() == value
        && !value.starts_with("=?");
    match plain {
        true => value.to_owned(),
        false => sentinel(value.as_bytes()),
    }
}

/// Any bytes in the base64 sentinel.
pub fn sentinel(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    format!("=?base64?{encoded}?=")
}

/// A legacy client in a session.
pub struct Legacy {
    wire: Wire,
    /// The session id, if the server gave one.
    pub session: Option<String>,
    /// The version the server chose.
    pub version: String,
    /// The answer to `initialize`.
    pub welcome: Value,
}

impl Legacy {
    /// Initializes a session; the version that the server chooses is in `version`.
    pub async fn open(url: impl AsRef<str>, version: &str) -> Self {
        let mut client = Self {
            wire: Wire::new(url.as_ref()),
            session: None,
            version: version.to_owned(),
            welcome: Value::Null,
        };
        let reply = client.initialize(version).await;
        client.welcome = reply.value();
        client.version = client.welcome["protocolVersion"]
            .as_str()
            .unwrap()
            .to_owned();
        client.session = reply.header("mcp-session-id").map(str::to_owned);
        let accepted = client.notify("notifications/initialized", "{}").await;
        assert_eq!(accepted.status, 202, "{accepted:?}");
        client
    }

    /// A client that does what a session's client does, with an id from elsewhere.
    pub fn resume(url: impl AsRef<str>, session: &str, version: &str) -> Self {
        Self {
            wire: Wire::new(url.as_ref()),
            session: Some(session.to_owned()),
            version: version.to_owned(),
            welcome: Value::Null,
        }
    }

    async fn initialize(&self, version: &str) -> Reply {
        let params = format!(
            r#"{{"protocolVersion":{},"capabilities":{{}},"clientInfo":{INFO_VALUE}}}"#,
            quote(version)
        );
        let ask = self.ask("initialize", &params);
        ask.without("mcp-protocol-version").send().await
    }

    /// A correct request; `params` is raw JSON.
    pub fn ask(&self, method: &str, params: &str) -> Ask<'_> {
        Ask {
            wire: &self.wire,
            headers: self.headers(),
            id: Some(self.wire.id()),
            method: method.to_owned(),
            params: params.to_owned(),
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut map = headers([
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", &self.version),
        ]);
        if let Some(session) = &self.session {
            map.extend(headers([("mcp-session-id", session.as_str())]));
        }
        map
    }

    pub async fn request(&self, method: &str, params: &str) -> Reply {
        self.ask(method, params).send().await
    }

    pub async fn call(&self, tool: &str, arguments: &str) -> Reply {
        self.request("tools/call", &call_params(tool, arguments))
            .await
    }

    pub async fn notify(&self, method: &str, params: &str) -> Reply {
        let mut ask = self.ask(method, params);
        ask.id = None;
        ask.send().await
    }

    /// Any body, with the headers of this session.
    pub async fn post(&self, body: &str) -> Reply {
        let stream = self.wire.open(Method::POST, self.headers(), body.into());
        stream.await.finish().await
    }

    /// The GET stream.
    pub async fn listen(&self) -> Stream {
        let mut map = self.headers();
        map.remove("content-type");
        map.extend(headers([("accept", "text/event-stream")]));
        self.wire.open(Method::GET, map, Vec::new()).await
    }

    /// Ends the session.
    pub async fn delete(&self) -> Reply {
        let stream = self.wire.open(Method::DELETE, self.headers(), Vec::new());
        stream.await.finish().await
    }

    /// The raw definitions of a list method, all pages.
    pub async fn list_all(&self, method: &str) -> Vec<String> {
        let mut pages = Pages::default();
        while let Some(params) = pages.next() {
            pages.take(method, &self.request(method, &params).await);
        }
        pages.items
    }

    pub async fn tool_names(&self) -> Vec<String> {
        names(&self.list_all("tools/list").await, "name")
    }
}

/// One member of each definition.
pub fn names(definitions: &[String], key: &str) -> Vec<String> {
    let name = |raw: &String| at(raw, &[key]).and_then(|name| unquote(&name)).unwrap();
    definitions.iter().map(name).collect()
}

/// A walk through the pages of a list.
#[derive(Default)]
struct Pages {
    items: Vec<String>,
    seen: usize,
    cursor: Option<String>,
}

impl Pages {
    /// The params that ask for the next page; `None` after the last.
    fn next(&mut self) -> Option<String> {
        assert!(self.seen < 1000, "a list without end");
        match (self.seen, &self.cursor) {
            (0, _) => Some("{}".to_owned()),
            (_, Some(cursor)) => Some(format!(r#"{{"cursor":{cursor}}}"#)),
            (_, None) => None,
        }
    }

    fn take(&mut self, method: &str, reply: &Reply) {
        let member = super::upstream::Kind::listed_by(method).unwrap().member();
        let result = reply.result();
        let items = at(&result, &[member]).unwrap_or_else(|| panic!("no {member}: {result}"));
        let items: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&items).unwrap();
        self.items
            .extend(items.iter().map(|raw| raw.get().to_owned()));
        self.cursor = at(&result, &["nextCursor"]);
        self.seen += 1;
    }
}
