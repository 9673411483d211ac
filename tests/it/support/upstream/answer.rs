//! The answers to requests that have passed the checks of their era.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::script::{Outcome, Paging, Scripted};
use super::serve::{Message, event};
use super::{Cancelled, Inner, Kind};
use crate::support::{fields, quote, unquote};

/// Methods a modern server of ours knows.
pub const KNOWN: [&str; 10] = [
    "server/discover",
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "completion/complete",
    "subscriptions/listen",
];

/// One request that is being answered.
pub struct Exchange {
    pub modern: bool,
    id: String,
    session: String,
    message: Message,
}

impl Exchange {
    pub fn legacy(id: String, session: String, message: Message) -> Self {
        Self {
            modern: false,
            id,
            session,
            message,
        }
    }

    pub fn modern(id: String, message: Message) -> Self {
        Self {
            modern: true,
            id,
            session: String::new(),
            message,
        }
    }

    pub fn tool(&self) -> Option<String> {
        (self.message.method == "tools/call")
            .then(|| self.message.text("name"))
            .flatten()
    }
}

/// Counts an open change stream while it lives.
pub struct Listening(Arc<Inner>);

impl Listening {
    pub fn open(inner: &Arc<Inner>) -> Self {
        inner.log.note(|seen| seen.listeners += 1);
        Self(inner.clone())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.log.note(|seen| seen.listeners -= 1);
    }
}

/// A running call. Dropped before it is done, the other side closed the connection.
struct Running {
    inner: Arc<Inner>,
    key: (String, String),
    tool: String,
    cancel: CancellationToken,
    done: bool,
}

impl Running {
    fn start(inner: &Arc<Inner>, exchange: &Exchange, tool: &str) -> Self {
        let cancel = CancellationToken::new();
        let key = (exchange.session.clone(), exchange.id.clone());
        inner
            .running
            .lock()
            .unwrap()
            .insert(key.clone(), cancel.clone());
        inner.log.note(|seen| {
            *seen.running.entry(tool.to_owned()).or_default() += 1;
            seen.most_running = seen.most_running.max(seen.running.values().sum());
        });
        Self {
            inner: inner.clone(),
            key,
            tool: tool.to_owned(),
            cancel,
            done: false,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let tool = self.tool.clone();
        self.inner.running.lock().unwrap().remove(&self.key);
        self.inner.log.note(|seen| {
            *seen.running.entry(tool.clone()).or_default() -= 1;
            if self.cancel.is_cancelled() {
                seen.cancelled.push(Cancelled::Notified { tool });
            } else if !self.done {
                seen.cancelled.push(Cancelled::Closed { tool });
            }
        });
    }
}

/// `result` or `error`, raw.
type Answer = Result<String, String>;

fn error(code: i32, message: &str) -> Answer {
    let message = quote(message);
    Err(format!(r#"{{"code":{code},"message":{message}}}"#))
}

/// The whole JSON-RPC response. Notifications that belong before it go to `out`.
pub async fn answer(inner: &Arc<Inner>, exchange: &Exchange, out: &mpsc::Sender<Bytes>) -> String {
    let message = &exchange.message;
    let answer = match message.method.as_str() {
        "server/discover" if exchange.modern => discover(inner),
        "ping" | "logging/setLevel" if !exchange.modern => Ok("{}".to_owned()),
        "tools/call" => call(inner, exchange, out).await,
        "prompts/get" => item(inner, exchange, Kind::Prompts),
        "resources/read" => item(inner, exchange, Kind::Resources),
        "completion/complete" => complete(inner, exchange),
        method => match Kind::listed_by(method) {
            Some(kind) => list(inner, exchange, kind),
            None => error(-32601, "Method not found"),
        },
    };
    let id = &exchange.id;
    match answer {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        Err(error) => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#),
    }
}

/// The members of a modern result besides its content.
fn stamps(inner: &Inner, cached: bool) -> String {
    let script = inner.script();
    let info = script.server_info();
    let caching = match cached {
        true => format!(
            r#","ttlMs":{},"cacheScope":"{}""#,
            script.ttl_ms, script.cache_scope
        ),
        false => String::new(),
    };
    format!(
        r#""resultType":"complete","_meta":{{"io.modelcontextprotocol/serverInfo":{info}}}{caching},"#
    )
}

fn stamped(inner: &Inner, exchange: &Exchange, cached: bool) -> String {
    match exchange.modern {
        true => stamps(inner, cached),
        false => String::new(),
    }
}

fn discover(inner: &Inner) -> Answer {
    let stamps = stamps(inner, true);
    let (capabilities, instructions) = {
        let script = inner.script();
        (script.capabilities(), script.instructions())
    };
    Ok(format!(
        r#"{{{stamps}"supportedVersions":["2026-07-28"],"capabilities":{capabilities}{instructions}}}"#
    ))
}

fn list(inner: &Inner, exchange: &Exchange, kind: Kind) -> Answer {
    let (mut items, paging, known) = {
        let mut script = inner.script();
        if script.restless && kind == Kind::Tools {
            let _ = inner.changes.send(kind);
        }
        let empty = kind == Kind::Tools && script.takes_empty();
        let mut items = if empty {
            Vec::new()
        } else {
            script.listing(kind)
        };
        if script.mutating && kind == Kind::Tools {
            items.push(super::script::tool(&format!("m{}", inner.number())));
        }
        let known = kind == Kind::Tools || script.items.contains_key(&kind);
        (items, script.paging.clone(), known)
    };
    if !known {
        return error(-32601, "Method not found");
    }
    let page = match exchange.message.text("cursor") {
        None => 0,
        Some(cursor) => match cursor.strip_prefix("page ").and_then(|n| n.parse().ok()) {
            Some(page) => page,
            None => return error(-32602, "Invalid cursor"),
        },
    };
    let (items, next) = match paging {
        Paging::Whole => (items, None),
        Paging::Repeated => (items, Some(1)),
        Paging::Endless => {
            let name = format!("endless_{page}");
            (vec![super::script::tool(&name)], Some(page + 1))
        }
        Paging::Shifting => {
            let more = page + 2 < items.len();
            let two = items.into_iter().skip(page).take(2).collect();
            (two, more.then_some(page + 1))
        }
        Paging::Sizes(sizes) => {
            let start: usize = sizes.iter().take(page).sum();
            let mut rest = items.split_off(start.min(items.len()));
            let more = match sizes.get(page) {
                Some(&size) if size < rest.len() => {
                    rest.truncate(size);
                    true
                }
                _ => false,
            };
            (rest, more.then_some(page + 1))
        }
    };
    let next = next.map_or(String::new(), |next| {
        format!(r#","nextCursor":"page {next}""#)
    });
    let stamps = stamped(inner, exchange, true);
    let (member, items) = (kind.member(), items.join(","));
    Ok(format!(r#"{{{stamps}"{member}":[{items}]{next}}}"#))
}

async fn call(inner: &Arc<Inner>, exchange: &Exchange, out: &mpsc::Sender<Bytes>) -> Answer {
    let Some(tool) = exchange.tool() else {
        return error(-32602, "name is required");
    };
    if !inner.script().has(Kind::Tools, &tool) {
        return error(-32602, &format!("Unknown tool: {tool}"));
    }
    let scripted = inner.script().scripted(Kind::Tools, &tool);
    let mut running = Running::start(inner, exchange, &tool);
    let cancel = running.cancel.clone();
    let answer = tokio::select! {
        () = cancel.cancelled() => error(0, "Request cancelled"),
        answer = run(inner, exchange, &scripted, &tool, out) => answer,
    };
    running.done = true;
    answer
}

async fn run(
    inner: &Inner,
    exchange: &Exchange,
    scripted: &Scripted,
    tool: &str,
    out: &mpsc::Sender<Bytes>,
) -> Answer {
    if let Some(token) = exchange.message.meta.get("progressToken") {
        for step in 1..=scripted.progress {
            tokio::time::sleep(scripted.pause).await;
            let (token, total) = (token.get(), scripted.progress);
            let params = format!(
                r#"{{"progressToken":{token},"progress":{step},"total":{total},"x":12345678901234567890123}}"#
            );
            send(out, "notifications/progress", &params).await;
        }
    }
    for level in &scripted.logs {
        let params = format!(r#"{{"level":"{level}","data":"{tool} says {level}"}}"#);
        send(out, "notifications/message", &params).await;
    }
    if let Some(gate) = &scripted.gate {
        gate.acquire().await.unwrap().forget();
    }
    match &scripted.outcome {
        Outcome::Result(result) => Ok(result.clone()),
        Outcome::Error(error) => Err(error.clone()),
        Outcome::AskInput => ask(exchange),
        Outcome::Echo => {
            let arguments = exchange.message.params.get("arguments");
            let arguments = arguments.map_or("{}", |raw| raw.get());
            let text = quote(&format!("{}.{tool} {arguments}", inner.script().name));
            let stamps = stamped(inner, exchange, false);
            Ok(format!(
                r#"{{{stamps}"content":[{{"type":"text","text":{text}}}]}}"#
            ))
        }
    }
}

async fn send(out: &mpsc::Sender<Bytes>, method: &str, params: &str) {
    let message = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
    let _ = out.send(event(&message).into()).await;
}

/// The state an input request hands out; it has to come back letter by letter.
pub const STATE: &str = "state of ☂ / \"quoted\"";

fn ask(exchange: &Exchange) -> Answer {
    let params = &exchange.message.params;
    match (
        params.get("inputResponses"),
        exchange.message.text("requestState"),
    ) {
        (None, None) => Ok(format!(
            r#"{{"resultType":"input_required","inputRequests":{{"who":{{"method":"elicitation/create","params":{{"message":"Who?","requestedSchema":{{"type":"object","properties":{{"name":{{"type":"string"}}}}}}}}}}}},"requestState":{}}}"#,
            quote(STATE)
        )),
        (Some(responses), Some(state)) if state == STATE => {
            let text = quote(responses.get());
            Ok(format!(
                r#"{{"resultType":"complete","content":[{{"type":"text","text":{text}}}]}}"#
            ))
        }
        _ => error(-32602, "requestState was changed"),
    }
}

/// `prompts/get` and `resources/read`.
fn item(inner: &Inner, exchange: &Exchange, kind: Kind) -> Answer {
    let name = exchange.message.text(kind.key()).unwrap_or_default();
    let (known, scripted, server) = {
        let script = inner.script();
        let templates = script.items.get(&Kind::Templates).cloned();
        let by_template = kind == Kind::Resources
            && templates.unwrap_or_default().iter().any(|(template, _)| {
                let stem = template.split('{').next().unwrap_or_default();
                name.starts_with(stem)
            });
        let known = script.has(kind, &name) || by_template;
        (known, script.scripted(kind, &name), script.name.clone())
    };
    if !known {
        // The one code that differs between the eras (`server/resources.mdx`).
        let code = match (kind, exchange.modern) {
            (Kind::Resources, false) => -32002,
            _ => -32602,
        };
        return error(code, &format!("Not found: {name}"));
    }
    match scripted.outcome {
        Outcome::Result(result) => return Ok(result),
        Outcome::Error(error) => return Err(error),
        Outcome::Echo | Outcome::AskInput => {}
    }
    let given = exchange.message.params.get("arguments");
    let given = given.map_or("{}", |raw| raw.get());
    let text = quote(&format!("{server}.{name} {given}"));
    let stamps = stamped(inner, exchange, kind == Kind::Resources);
    let uri = quote(&name);
    Ok(match kind {
        Kind::Prompts => format!(
            r#"{{{stamps}"messages":[{{"role":"user","content":{{"type":"text","text":{text}}}}}]}}"#
        ),
        Kind::Resources | Kind::Templates | Kind::Tools => {
            format!(r#"{{{stamps}"contents":[{{"uri":{uri},"text":{text}}}]}}"#)
        }
    })
}

fn complete(inner: &Inner, exchange: &Exchange) -> Answer {
    let params = &exchange.message.params;
    let part = |member: &str, key: &str| {
        let inside = params.get(member).and_then(|raw| fields(raw.get()))?;
        inside.get(key).and_then(|raw| unquote(raw.get()))
    };
    let known = {
        let script = inner.script();
        match part("ref", "type").as_deref() {
            Some("ref/prompt") => {
                part("ref", "name").is_some_and(|name| script.has(Kind::Prompts, &name))
            }
            Some("ref/resource") => part("ref", "uri").is_some_and(|uri| {
                script.has(Kind::Templates, &uri) || script.has(Kind::Resources, &uri)
            }),
            _ => false,
        }
    };
    if !known {
        return error(-32602, "Unknown reference");
    }
    let typed = part("argument", "value").unwrap_or_default();
    let value = quote(&format!("{} completes {typed}", inner.script().name));
    let stamps = stamped(inner, exchange, false);
    Ok(format!(
        r#"{{{stamps}"completion":{{"values":[{value}],"hasMore":false}}}}"#
    ))
}
