//! The modern face: every request self-contained, checked as strictly as 2026-07-28 asks.

use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use http::{HeaderMap, Response};
use serde_json::Value;
use tokio::sync::mpsc;

use super::answer::{Exchange, KNOWN, Listening};
use super::serve::{CLAIM, Message, event, event_stream, refusal, respond, response_accepted};
use super::{Inner, Kind};
use crate::support::{fields, quote, unquote};

pub const VERSION: &str = "2026-07-28";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// HTTP status and raw `error`.
struct Refused(u16, String);

fn mismatch(what: &str) -> Refused {
    let text = quote(&format!("Header mismatch: {what}"));
    Refused(400, format!(r#"{{"code":-32020,"message":{text}}}"#))
}

pub async fn post(inner: &Arc<Inner>, headers: &HeaderMap, message: Message) -> Response<Body> {
    let Some(id) = message.id.clone() else {
        return response_accepted();
    };
    match check(inner, headers, &message) {
        Err(Refused(status, error)) => refusal(status, Some(&id), &error),
        Ok(()) if message.method == "subscriptions/listen" => listen(inner, &id, &message),
        Ok(()) => respond(inner, Exchange::modern(id, message)).await,
    }
}

fn check(inner: &Inner, headers: &HeaderMap, message: &Message) -> Result<(), Refused> {
    let claimed = message.meta.get(CLAIM).and_then(|raw| unquote(raw.get()));
    let claimed = claimed.unwrap_or_default();
    let capable = message.meta.get(CAPABILITIES).map(|raw| raw.get());
    if !capable.is_some_and(|raw| raw.starts_with('{')) {
        let error = r#"{"code":-32602,"message":"Invalid params: clientCapabilities is required"}"#;
        return Err(Refused(400, error.to_owned()));
    }
    if decoded(headers, "mcp-protocol-version").as_deref() != Some(&claimed) {
        return Err(mismatch("MCP-Protocol-Version"));
    }
    if claimed != VERSION {
        let data = format!(
            r#"{{"supported":["{VERSION}"],"requested":{}}}"#,
            quote(&claimed)
        );
        let error =
            format!(r#"{{"code":-32022,"message":"Unsupported protocol version","data":{data}}}"#);
        return Err(Refused(400, error));
    }
    if decoded(headers, "mcp-method").as_deref() != Some(&message.method) {
        return Err(mismatch("Mcp-Method"));
    }
    let name = match message.method.as_str() {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        _ => None,
    };
    if let Some(name) = name
        && decoded(headers, "mcp-name") != message.text(name)
    {
        return Err(mismatch("Mcp-Name"));
    }
    if !KNOWN.contains(&message.method.as_str()) {
        let text = quote(&format!("Method not found: {}", message.method));
        return Err(Refused(
            404,
            format!(r#"{{"code":-32601,"message":{text}}}"#),
        ));
    }
    if message.method == "tools/call" {
        mirrored(inner, headers, message)?;
    }
    Ok(())
}

/// A header's value, taken out of its base64 sentinel. `None` if absent, doubled or malformed.
fn decoded(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    if values.next().is_some() {
        return None;
    }
    match value
        .strip_prefix("=?base64?")
        .and_then(|value| value.strip_suffix("?="))
    {
        None => Some(value.to_owned()),
        Some(encoded) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(encoded);
            String::from_utf8(bytes.ok()?).ok()
        }
    }
}

/// `Mcp-Param-*` must mirror the arguments that the tool marks with `x-mcp-header`.
fn mirrored(inner: &Inner, headers: &HeaderMap, message: &Message) -> Result<(), Refused> {
    let name = message.text("name").unwrap_or_default();
    let definition = inner
        .script()
        .items
        .get(&Kind::Tools)
        .and_then(|tools| tools.iter().find(|(known, _)| *known == name))
        .and_then(|(_, raw)| serde_json::from_str::<Value>(raw).ok());
    let arguments = message.params.get("arguments");
    let arguments = arguments.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
    let (Some(definition), Some(arguments)) = (definition, arguments) else {
        return Ok(());
    };
    let mut marked = Vec::new();
    collect(&definition["inputSchema"], &arguments, &mut marked);
    for (header, argument) in marked {
        let header = format!("mcp-param-{}", header.to_lowercase());
        let sent = decoded(headers, &header);
        let same = match argument {
            Value::Null => sent.is_none(),
            Value::String(text) => sent.as_ref() == Some(text),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                sent == Some(argument.to_string())
            }
        };
        if !same {
            return Err(mismatch(&header));
        }
    }
    Ok(())
}

fn collect<'a>(schema: &'a Value, value: &'a Value, into: &mut Vec<(&'a str, &'a Value)>) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, property) in properties {
        if let Some(header) = property["x-mcp-header"].as_str() {
            into.push((header, &value[name]));
        }
        collect(property, &value[name], into);
    }
}

fn listen(inner: &Arc<Inner>, id: &str, message: &Message) -> Response<Body> {
    let wishes = message.params.get("notifications");
    let wishes = wishes.and_then(|raw| fields(raw.get())).unwrap_or_default();
    let announces = inner.script().announces;
    let honoured: Vec<&str> = [
        "toolsListChanged",
        "promptsListChanged",
        "resourcesListChanged",
    ]
    .into_iter()
    .filter(|wish| announces && wishes.get(*wish).is_some_and(|raw| raw.get() == "true"))
    .collect();
    let subset: Vec<String> = honoured
        .iter()
        .map(|wish| format!("\"{wish}\":true"))
        .collect();
    let meta = format!(r#""_meta":{{"{SUBSCRIPTION}":{id}}}"#);
    let acknowledged = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"notifications":{{{}}},{meta}}}}}"#,
        subset.join(",")
    );
    let mut changes = inner.changes.subscribe();
    let (out, events) = mpsc::channel(16);
    let shared = inner.clone();
    inner.spawn(async move {
        let _listening = Listening::open(&shared);
        let relay = async {
            let _ = out.send(event(&acknowledged).into()).await;
            if shared.script().brief_streams {
                return;
            }
            while let Ok(kind) = changes.recv().await {
                if honoured.contains(&kind.wish()) {
                    let method = kind.changed();
                    let changed =
                        format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{{meta}}}}}"#);
                    let _ = out.send(event(&changed).into()).await;
                }
            }
        };
        tokio::select! {
            () = out.closed() => {}
            () = relay => {}
        }
    });
    event_stream(events)
}
