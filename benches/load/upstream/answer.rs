//! The answer of an upstream to one message: whether it is acceptable, and the result.
//!
//! Everything is written by hand. The bench measures proxies, not its upstream.

use std::fmt::Write as _;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{SESSION, Server, UpstreamEras, VERSION, count};
use crate::tools::{ACTIVE, ASK};

pub(super) const MODERN: &str = "2026-07-28";
const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];
const CAPABILITIES: &str = r#"{"tools":{"listChanged":true}}"#;
const NAMED: &str = r#"{"name":"load","version":"1"}"#;
/// The form that callers are asked for.
pub(super) const FORM: &str = r#"{"message":"Which one?","requestedSchema":{"type":"object","properties":{"which":{"type":"string"}}}}"#;
/// The state of a modern call whose caller was asked.
const ASKED: &str = "asked";

#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) id: Option<&'a RawValue>,
    pub(super) method: Option<&'a str>,
    #[serde(borrow, default)]
    pub(super) params: Params<'a>,
    /// Of the answer to a question.
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

impl Message<'_> {
    /// The number of the question that this answers, and whether the form is accepted.
    pub(super) fn answer(&self) -> Option<(u64, bool)> {
        let id = self.id?.get();
        let number = id.strip_prefix("\"ask-")?.strip_suffix('"')?;
        Some((number.parse().ok()?, accepts(self.result)))
    }
}

fn accepts(answer: Option<&RawValue>) -> bool {
    answer.is_some_and(|answer| answer.get().contains(r#""action":"accept""#))
}

#[derive(Deserialize, Default)]
pub(super) struct Params<'a> {
    pub(super) name: Option<&'a str>,
    cursor: Option<&'a str>,
    #[serde(rename = "protocolVersion")]
    version: Option<&'a str>,
    #[serde(borrow)]
    arguments: Option<Arguments<'a>>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<Meta<'a>>,
    #[serde(borrow, rename = "inputResponses")]
    responses: Option<&'a RawValue>,
    #[serde(rename = "requestState")]
    state: Option<&'a str>,
}

impl<'a> Params<'a> {
    /// The progress token, as JSON text.
    pub(super) fn progress_token(&self) -> Option<&'a str> {
        Some(self.meta.as_ref()?.token?.get())
    }

    /// Whether this is a modern call whose caller has to be asked first.
    fn has_to_ask(&self) -> bool {
        let is_answered = self.state == Some(ASKED) && accepts(self.responses);
        self.name == Some(ASK) && !is_answered
    }

    fn declares_elicitation(&self) -> bool {
        let capabilities = self.meta.as_ref().and_then(|meta| meta.capabilities);
        capabilities.is_some_and(|capabilities| capabilities.get().contains("elicitation"))
    }
}

#[derive(Deserialize)]
struct Arguments<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(rename = "io.modelcontextprotocol/protocolVersion")]
    version: Option<&'a str>,
    #[serde(borrow, rename = "io.modelcontextprotocol/clientCapabilities")]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, rename = "progressToken")]
    token: Option<&'a RawValue>,
}

/// An error answer: HTTP status, JSON-RPC code, message.
pub(super) struct Refusal(
    pub(super) StatusCode,
    pub(super) i32,
    pub(super) &'static str,
);

pub(super) fn is_modern(headers: &HeaderMap) -> bool {
    headers
        .get(VERSION)
        .is_some_and(|version| version == MODERN)
}

/// Refuses a request without a session that was minted here.
pub(super) fn check_session(server: &Server, headers: &HeaderMap) -> Result<(), Refusal> {
    let session = headers.get(SESSION);
    let session = session.ok_or(Refusal(StatusCode::BAD_REQUEST, -32600, "no session"))?;
    let number = session
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("load-"))
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    if number.is_some_and(|number| number <= server.sessions.get()) {
        Ok(())
    } else {
        Err(Refusal(StatusCode::NOT_FOUND, -32001, "unknown session"))
    }
}

pub(super) fn check_legacy(
    server: &Server,
    headers: &HeaderMap,
    method: &str,
) -> Result<(), Refusal> {
    if server.speaks == UpstreamEras::Modern {
        let text = "unsupported protocol version";
        return Err(Refusal(StatusCode::BAD_REQUEST, -32022, text));
    }
    if method == "initialize" {
        return Ok(());
    }
    check_session(server, headers)
}

pub(super) fn check_modern(
    server: &Server,
    headers: &HeaderMap,
    method: &str,
    params: &Params<'_>,
) -> Result<(), Refusal> {
    let refuse = |code, text| Err(Refusal(StatusCode::BAD_REQUEST, code, text));
    if server.speaks == UpstreamEras::Legacy {
        return refuse(-32000, "unsupported protocol version");
    }
    let Some((version, _)) = params
        .meta
        .as_ref()
        .and_then(|meta| meta.version.zip(meta.capabilities))
    else {
        return refuse(-32602, "incomplete _meta");
    };
    let says = |name: &str, value: Option<&str>| {
        headers.get(name).map(HeaderValue::as_bytes) == value.map(str::as_bytes)
    };
    let named = method != "tools/call" || says("mcp-name", params.name);
    if version == MODERN && says("mcp-method", Some(method)) && named {
        Ok(())
    } else {
        refuse(-32020, "headers and body differ")
    }
}

/// The whole response as text.
pub(super) fn answer(
    server: &Server,
    id: &str,
    method: &str,
    params: &Params<'_>,
    modern: bool,
) -> Result<String, Refusal> {
    let mut text = String::with_capacity(512);
    let _ = write!(text, r#"{{"jsonrpc":"2.0","id":{id},"result":{{"#);
    match method {
        "tools/call" if modern && params.has_to_ask() => {
            question(params, &mut text)?;
            text.push_str(r#","resultType":"input_required"}}"#);
            return Ok(text);
        }
        "tools/call" => call(server, params, &mut text)?,
        "tools/list" => list(server, params, &mut text)?,
        "initialize" if !modern => initialize(server, params, &mut text),
        "server/discover" if modern => discover(server, &mut text),
        "ping" if !modern => {}
        _ => {
            count(&server.counts.others);
            let status = if modern {
                StatusCode::NOT_FOUND
            } else {
                StatusCode::OK
            };
            return Err(Refusal(status, -32601, "no such method"));
        }
    }
    if modern {
        text.push_str(r#","resultType":"complete""#);
        if method != "tools/call" {
            text.push_str(r#","ttlMs":3600000,"cacheScope":"public""#);
        }
    }
    text.push_str("}}");
    Ok(text)
}

fn call(server: &Server, params: &Params<'_>, text: &mut String) -> Result<(), Refusal> {
    count(&server.counts.calls);
    let echoed = params
        .arguments
        .as_ref()
        .and_then(|arguments| arguments.text);
    let is_known = params.name.is_some_and(|name| ACTIVE.contains(&name));
    let Some(echoed) = echoed.filter(|_| is_known) else {
        return Err(Refusal(
            StatusCode::OK,
            -32602,
            "unknown tool, or no text for it",
        ));
    };
    let _ = write!(
        text,
        r#""content":[{{"type":"text","text":{echoed}}}],"isError":false"#
    );
    Ok(())
}

/// Asks the caller of a modern request for a form.
fn question(params: &Params<'_>, text: &mut String) -> Result<(), Refusal> {
    if !params.declares_elicitation() {
        let status = StatusCode::BAD_REQUEST;
        return Err(Refusal(status, -32021, "the caller cannot be asked"));
    }
    let _ = write!(
        text,
        r#""inputRequests":{{"form":{{"method":"elicitation/create","params":{FORM}}}}},"requestState":"{ASKED}""#
    );
    Ok(())
}

fn list(server: &Server, params: &Params<'_>, text: &mut String) -> Result<(), Refusal> {
    count(&server.counts.lists);
    let number = params.cursor.map_or(Ok(0), str::parse::<usize>);
    let tools = server.tools.borrow();
    let page = number.ok().and_then(|number| tools.page(number));
    let page = page.ok_or(Refusal(StatusCode::OK, -32602, "unknown cursor"))?;
    text.reserve(page.len() + 64);
    text.push_str(page);
    Ok(())
}

fn initialize(server: &Server, params: &Params<'_>, text: &mut String) {
    count(&server.counts.opens);
    let asked = LEGACY
        .iter()
        .find(|version| Some(**version) == params.version);
    let version = asked.copied().unwrap_or(LEGACY[0]);
    let _ = write!(
        text,
        r#""protocolVersion":"{version}","capabilities":{CAPABILITIES},"serverInfo":{NAMED}"#
    );
}

fn discover(server: &Server, text: &mut String) {
    count(&server.counts.opens);
    let _ = write!(
        text,
        r#""supportedVersions":["{MODERN}"],"capabilities":{CAPABILITIES},"_meta":{{"io.modelcontextprotocol/serverInfo":{NAMED}}}"#
    );
}
