//! MCP clients that show bytes: every answer as it came, every header as the test wants it.
//!
//! ```ignore
//! let modern = Modern::new(weir.url());
//! let reply = modern.call("jira__search", r#"{"q":1e400}"#).await;
//! assert_eq!(reply.result(), r#"{"content":[]}"#);
//! let reply = modern.ask("tools/list", "{}").without("mcp-method").send().await;
//! assert_eq!((reply.status, reply.code()), (400, -32020));
//! ```

mod ask;
mod either;
mod pages;
mod reply;

use std::net::IpAddr;

use http::{HeaderMap, Method};
use serde_json::Value;

use super::{at, quote, tls, unquote};
pub use ask::call_params;
pub use ask::{Ask, with_meta};
use ask::{Wire, headers};
pub use either::Client;
use pages::Pages;
pub use reply::{Reply, Stream};

const CLAIM: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const INFO: &str = "io.modelcontextprotocol/clientInfo";
const INFO_VALUE: &str = r#"{"name":"weir-tests","version":"1.0.0"}"#;
pub const MODERN: &str = "2026-07-28";

/// A connection pool of its own, so that dropping it is closing this client's connections.
pub fn pool() -> reqwest::Client {
    tls();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .build()
        .unwrap()
}

/// The same, whose requests all have this token.
pub fn pool_with(token: &str) -> reqwest::Client {
    tls();
    let mut all = HeaderMap::new();
    let value = format!("Bearer {token}").try_into().unwrap();
    all.insert(http::header::AUTHORIZATION, value);
    let builder = reqwest::Client::builder().no_proxy().tcp_nodelay(true);
    builder.default_headers(all).build().unwrap()
}

/// The same, whose connections come from this address. All of 127.0.0.0/8 is this machine.
pub fn pool_from(address: IpAddr) -> reqwest::Client {
    tls();
    let builder = reqwest::Client::builder().no_proxy().tcp_nodelay(true);
    builder.local_address(address).build().unwrap()
}

/// A pool that speaks HTTP/2 from the first byte.
pub fn http2() -> reqwest::Client {
    tls();
    let builder = reqwest::Client::builder().no_proxy();
    builder.http2_prior_knowledge().build().unwrap()
}

/// A 2026-07-28 client: every request self-contained.
pub struct Modern {
    wire: Wire,
    /// The value of `clientCapabilities`, raw.
    pub capabilities: String,
}

impl Modern {
    pub fn new(url: impl AsRef<str>) -> Self {
        Self {
            wire: Wire::new(url.as_ref()),
            capabilities: "{}".to_owned(),
        }
    }

    /// The same at another address.
    pub fn at(url: impl AsRef<str>, address: IpAddr) -> Self {
        Self {
            wire: Wire::over(pool_from(address), url.as_ref()),
            capabilities: "{}".to_owned(),
        }
    }

    /// The same with another pool: one that has certificates, or speaks HTTP/2 only.
    pub fn over(http: reqwest::Client, url: impl AsRef<str>) -> Self {
        Self {
            wire: Wire::over(http, url.as_ref()),
            capabilities: "{}".to_owned(),
        }
    }

    /// The same with this token.
    pub fn with(url: impl AsRef<str>, token: &str) -> Self {
        Self {
            wire: Wire::over(pool_with(token), url.as_ref()),
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
    /// Sends a body of this method as it is, and reads the answer unless it is a stream.
    pub async fn post(&self, method: &str, name: Option<&str>, body: &str) -> Option<Reply> {
        let mut ask = self.ask(method, "{}");
        if let Some(name) = name {
            ask = ask.header("mcp-name", name);
        }
        let open = self.wire.open(Method::POST, ask.headers, body.into());
        let stream = open.await;
        match stream.header("content-type") {
            Some("text/event-stream") => None,
            _ => Some(stream.finish().await),
        }
    }

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
        Self::open_with(url, version, "{}").await
    }

    /// The same for a client that can do this (raw `ClientCapabilities`).
    pub async fn open_with(url: impl AsRef<str>, version: &str, capabilities: &str) -> Self {
        Self::open_over(Wire::new(url.as_ref()), version, capabilities).await
    }

    /// The same at another address.
    pub async fn open_at(url: impl AsRef<str>, version: &str, address: IpAddr) -> Self {
        let wire = Wire::over(pool_from(address), url.as_ref());
        Self::open_over(wire, version, "{}").await
    }

    /// The same with this token.
    pub async fn open_token(url: impl AsRef<str>, version: &str, token: &str) -> Self {
        let wire = Wire::over(pool_with(token), url.as_ref());
        Self::open_over(wire, version, "{}").await
    }

    /// The same with this token, and an id from elsewhere.
    pub fn resume_token(url: impl AsRef<str>, session: &str, version: &str, token: &str) -> Self {
        Self {
            wire: Wire::over(pool_with(token), url.as_ref()),
            ..Self::resume(url, session, version)
        }
    }

    async fn open_over(wire: Wire, version: &str, capabilities: &str) -> Self {
        let mut client = Self {
            wire,
            session: None,
            version: version.to_owned(),
            welcome: Value::Null,
        };
        let reply = client.initialize(version, capabilities).await;
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

    async fn initialize(&self, version: &str, capabilities: &str) -> Reply {
        let params = format!(
            r#"{{"protocolVersion":{},"capabilities":{capabilities},"clientInfo":{INFO_VALUE}}}"#,
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
        self.get([]).await
    }

    /// A GET for what comes after an event.
    pub async fn read_on(&self, after: &str) -> Stream {
        self.get([("last-event-id", after)]).await
    }

    async fn get<const N: usize>(&self, more: [(&str, &str); N]) -> Stream {
        let mut map = self.headers();
        map.remove("content-type");
        map.extend(headers([("accept", "text/event-stream")]));
        map.extend(headers(more));
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
