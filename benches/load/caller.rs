//! A caller: an MCP client of either era that checks every answer it gets.

mod asked;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::catalog::{Catalog, Page};
use crate::http1::{Answer, Connection};
use crate::sse::EventStream;
use crate::transport::Transport;

use asked::call_params;
pub(crate) use asked::{ASKABLE, Question};

const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-06-18";
/// The members that a modern caller adds to `params._meta` of every request, up to its capabilities.
const ENVELOPE: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"load","version":"1"},"io.modelcontextprotocol/clientCapabilities":"#;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Era {
    /// initialize and sessions, here 2025-06-18
    Legacy,
    /// 2026-07-28
    Modern,
}

pub(crate) struct Caller {
    connection: Connection,
    era: Era,
    session: Option<String>,
    /// The bearer token that it presents.
    credential: Option<String>,
    /// The capabilities that it declares, as JSON text.
    capabilities: &'static str,
    /// The connection for answers to questions, once there was one.
    answers: Option<Connection>,
    /// The request head up to what differs from request to request.
    head: String,
    request: String,
    body: String,
    last_id: u64,
    /// The pages of the last list, understood.
    pages: Vec<Page>,
    /// The result of the check of exactly these pages.
    checked: Option<Vec<bool>>,
}

/// One complete list.
pub(crate) struct Listed {
    pub(crate) took: Duration,
    /// When its first page was there.
    pub(crate) first: Instant,
    pub(crate) pages: usize,
    /// Per upstream, whether the pair of tools that swaps was there.
    pub(crate) pairs: Vec<bool>,
}

#[derive(Deserialize)]
struct Response<'a, R> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    result: Option<R>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CallResult<'a> {
    #[serde(borrow)]
    content: Vec<Content<'a>>,
    #[serde(default, rename = "isError")]
    is_error: bool,
    #[serde(rename = "resultType")]
    kind: Option<&'a str>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ListResult<'a> {
    #[serde(borrow)]
    tools: Vec<Tool<'a>>,
    #[serde(rename = "nextCursor")]
    next: Option<String>,
    #[serde(rename = "resultType")]
    kind: Option<&'a str>,
    #[serde(rename = "ttlMs")]
    ttl: Option<u64>,
    #[serde(rename = "cacheScope")]
    scope: Option<&'a str>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(rename = "inputSchema")]
    _schema: IgnoredAny,
}

#[derive(Deserialize)]
struct OpenResult<'a> {
    #[serde(rename = "protocolVersion")]
    version: Option<&'a str>,
    #[serde(borrow, default, rename = "supportedVersions")]
    versions: Vec<&'a str>,
}

impl Caller {
    pub(crate) fn new(address: SocketAddr, era: Era) -> Self {
        let mut caller = Self {
            connection: Connection::new(address),
            era,
            session: None,
            credential: None,
            capabilities: "{}",
            answers: None,
            head: String::new(),
            request: String::with_capacity(1024),
            body: String::with_capacity(512),
            last_id: 0,
            pages: Vec::new(),
            checked: None,
        };
        caller.write_head();
        caller
    }

    /// Presents a credential with each request.
    pub(crate) fn with_credential(mut self, credential: Option<&str>) -> Self {
        self.present(credential);
        self
    }

    /// Presents another credential from now on.
    pub(crate) fn present(&mut self, credential: Option<&str>) {
        self.credential = credential.map(str::to_owned);
        self.write_head();
    }

    /// Calls over another transport than plain HTTP/1.1.
    pub(crate) fn over(mut self, transport: Transport) -> Self {
        self.connection = Connection::over(self.connection.address(), transport);
        self
    }

    /// Declares these capabilities, which are JSON text.
    pub(crate) fn with_capabilities(mut self, capabilities: &'static str) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Legacy: initialize and `notifications/initialized`, a new session. Modern: `server/discover`.
    pub(crate) async fn open(&mut self) -> Result<Duration, String> {
        self.session = None;
        self.write_head();
        let (method, params) = match self.era {
            Era::Legacy => (
                "initialize",
                format!(
                    r#""protocolVersion":"{LEGACY}","capabilities":{},"clientInfo":{{"name":"load","version":"1"}}"#,
                    self.capabilities
                ),
            ),
            Era::Modern => ("server/discover", String::new()),
        };
        let answer = self.request(method, None, &params).await?;
        let opened: OpenResult<'_> = self.result(&answer)?;
        let agreed = match self.era {
            Era::Legacy => opened.version == Some(LEGACY),
            Era::Modern => opened.versions.contains(&MODERN),
        };
        if !agreed {
            return Err(format!("{method}: another version"));
        }
        if self.era == Era::Modern {
            return Ok(answer.took);
        }
        self.session = answer.session;
        self.write_head();
        let body = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let request = self.message("POST", "", body);
        let noted = self.connection.exchange(request.as_bytes(), None).await?;
        match noted.status {
            200..300 => Ok(answer.took + noted.took),
            status => Err(format!("notifications/initialized: HTTP {status}")),
        }
    }

    /// Ends the session, if there is one.
    pub(crate) async fn close(&mut self) -> Result<(), String> {
        if self.session.is_none() {
            return Ok(());
        }
        let request = self.message("DELETE", "", "");
        let answer = self.connection.exchange(request.as_bytes(), None).await?;
        self.session = None;
        match answer.status {
            200..300 | 405 => Ok(()),
            status => Err(format!("DELETE: HTTP {status}")),
        }
    }

    /// Calls a tool that echoes, and checks the echo.
    pub(crate) async fn call(&mut self, tool: &str, text: &str) -> Result<Duration, String> {
        let params = call_params(tool, text);
        let answer = self.request("tools/call", Some(tool), &params).await?;
        self.check_echo(&answer, text)?;
        Ok(answer.took)
    }

    fn check_echo(&self, answer: &Answer, text: &str) -> Result<(), String> {
        let result: CallResult<'_> = self.result(answer)?;
        if result.is_error {
            return Err("call: isError".into());
        }
        if !matches!(result.content.as_slice(), [only] if only.text == text) {
            return Err("call: another text came back".into());
        }
        if self.era == Era::Modern && result.kind != Some("complete") {
            return Err("call: no resultType".into());
        }
        Ok(())
    }

    /// Reads all pages and checks the whole. The time is that spent waiting for pages.
    pub(crate) async fn list(&mut self, catalog: &Catalog) -> Result<Listed, String> {
        let mut took = Duration::ZERO;
        let mut page = 0;
        let mut cursor = String::new();
        let mut first = None;
        loop {
            let answer = self.request("tools/list", None, &cursor).await?;
            took += answer.took;
            first.get_or_insert_with(Instant::now);
            let known = self.pages.get(page);
            if !known.is_some_and(|page| page.is(self.connection.message(), self.last_id)) {
                self.checked = None;
                let understood = self.page(&answer)?;
                self.pages.truncate(page);
                self.pages.push(understood);
            }
            page += 1;
            match self.pages.get(page - 1).and_then(|page| page.next.as_ref()) {
                Some(next) => {
                    cursor = format!(r#""cursor":{}"#, serde_json::Value::from(next.as_str()));
                }
                None => break,
            }
        }
        if page < self.pages.len() {
            self.pages.truncate(page);
            self.checked = None;
        }
        let pairs = match &self.checked {
            Some(pairs) => pairs.clone(),
            None => {
                let names = self.pages.iter().flat_map(|page| &page.names);
                catalog.check(names.map(String::as_str))?
            }
        };
        self.checked = Some(pairs.clone());
        Ok(Listed {
            took,
            first: first.unwrap_or_else(Instant::now),
            pages: page,
            pairs,
        })
    }

    /// Reads the first page, and only looks whether it is one.
    pub(crate) async fn first_page(&mut self) -> Result<Duration, String> {
        let answer = self.request("tools/list", None, "").await?;
        let message = self.connection.message();
        let start = message.get(..128).unwrap_or(message);
        match memchr::memmem::find(start, b"\"tools\":[{") {
            Some(_) if answer.status == 200 => Ok(answer.took),
            _ => Err(format!("list: {}", String::from_utf8_lossy(start))),
        }
    }

    /// A stream for notifications: GET in a session, `subscriptions/listen` without.
    pub(crate) async fn notifications(&mut self) -> Result<EventStream, String> {
        let request = match self.era {
            Era::Legacy => self.message("GET", "", ""),
            Era::Modern => {
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":"listen","method":"subscriptions/listen","params":{{"notifications":{{"toolsListChanged":true}},"_meta":{{{ENVELOPE}{}}}}}}}"#,
                    self.capabilities
                );
                self.message("POST", "mcp-method: subscriptions/listen\r\n", &body)
            }
        };
        EventStream::open(self.connection.address(), request.as_bytes()).await
    }

    /// The page in the last answer, parsed.
    fn page(&self, answer: &Answer) -> Result<Page, String> {
        let result: ListResult<'_> = self.result(answer)?;
        if self.era == Era::Modern
            && !matches!(
                (result.kind, result.ttl, result.scope),
                (Some("complete"), Some(_), Some("public" | "private"))
            )
        {
            return Err("list: no resultType, ttlMs or cacheScope".into());
        }
        let names = result.tools.into_iter().map(|tool| tool.name.into_owned());
        Ok(Page::new(
            self.connection.message(),
            self.last_id,
            names.collect(),
            result.next,
        ))
    }

    /// Sends a request with the next id; `name` is what a modern request repeats in `Mcp-Name`.
    async fn request(
        &mut self,
        method: &str,
        name: Option<&str>,
        params: &str,
    ) -> Result<Answer, String> {
        let id = self.write(method, name, params, "");
        let request = self.request.as_bytes();
        self.connection.exchange(request, Some(id)).await
    }

    /// Writes a request with the next id; `meta` are more members of `_meta`. Gives the id.
    fn write(&mut self, method: &str, name: Option<&str>, params: &str, meta: &str) -> u64 {
        self.last_id += 1;
        let (id, mut extra) = (self.last_id, String::new());
        let (envelope, capabilities) = match self.era {
            Era::Legacy => ("", ""),
            Era::Modern => (ENVELOPE, self.capabilities),
        };
        let comma = |one: &str, other: &str| match one.is_empty() || other.is_empty() {
            true => "",
            false => ",",
        };
        let between = comma(envelope, meta);
        let (open, close) = match envelope.len() + meta.len() {
            0 => ("", ""),
            _ => ("\"_meta\":{", "}"),
        };
        let before = comma(params, open);
        self.body.clear();
        let _ = write!(
            self.body,
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}{before}{open}{envelope}{capabilities}{between}{meta}{close}}}}}"#
        );
        if self.era == Era::Modern {
            let _ = write!(extra, "mcp-method: {method}\r\n");
            if let Some(name) = name {
                let _ = write!(extra, "mcp-name: {name}\r\n");
            }
        }
        self.request.clear();
        let (head, body) = (&self.head, &self.body);
        let _ = write!(
            self.request,
            "POST {head}{extra}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        id
    }

    /// A call as it would be sent, for those who do not wait for its answer; and its id. `params` and `meta` are members.
    pub(crate) fn unsent(&mut self, tool: &str, params: &str, meta: &str) -> (u64, String) {
        let params = format!(
            r#""name":"{tool}"{}{params}"#,
            if params.is_empty() { "" } else { "," }
        );
        let id = self.write("tools/call", Some(tool), &params, meta);
        (id, self.request.clone())
    }

    /// Takes a request back, as a legacy caller does.
    pub(crate) async fn cancel(&mut self, id: u64) -> Result<(), String> {
        let body = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#
        );
        let request = self.message("POST", "", &body);
        let noted = self.connection.exchange(request.as_bytes(), None).await?;
        match noted.status {
            200..300 => Ok(()),
            status => Err(format!("notifications/cancelled: HTTP {status}")),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.connection.address()
    }

    /// Lets go of the session without ending it.
    pub(crate) fn leave(&mut self) -> Option<String> {
        self.session.take()
    }

    /// Goes on in a session that was left.
    pub(crate) fn enter(&mut self, session: String) {
        self.session = Some(session);
        self.write_head();
    }

    /// The result in the last answer; another id or an error instead is an error.
    fn result<'a, R: Deserialize<'a>>(&'a self, answer: &Answer) -> Result<R, String> {
        let message = self.connection.message();
        let response: Response<'a, R> = serde_json::from_slice(message).map_err(|error| {
            let start = String::from_utf8_lossy(message.get(..120).unwrap_or(message));
            format!("HTTP {} {error} in {start}", answer.status)
        })?;
        if let Some(error) = response.error {
            return Err(format!("HTTP {} error {error}", answer.status));
        }
        if response.id.and_then(|id| id.get().parse().ok()) != Some(self.last_id) {
            return Err("another id came back".into());
        }
        response.result.ok_or_else(|| "no result".into())
    }

    fn message(&self, verb: &str, extra: &str, body: &str) -> String {
        let (head, length) = (&self.head, body.len());
        format!("{verb} {head}{extra}content-length: {length}\r\n\r\n{body}")
    }

    fn write_head(&mut self) {
        self.head = format!(
            "/mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n",
            self.connection.address()
        );
        if let Some(credential) = &self.credential {
            let _ = write!(self.head, "authorization: Bearer {credential}\r\n");
        }
        if let Some(session) = &self.session {
            let _ = write!(self.head, "mcp-session-id: {session}\r\n");
        }
        let version = match self.era {
            Era::Modern => Some(MODERN),
            Era::Legacy => self.session.as_ref().map(|_| LEGACY),
        };
        if let Some(version) = version {
            let _ = write!(self.head, "mcp-protocol-version: {version}\r\n");
        }
    }
}
