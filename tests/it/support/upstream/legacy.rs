//! The legacy face: `initialize`, sessions, the GET stream, DELETE; 2025-03-26 to 2025-11-25.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Response};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::answer::{Exchange, Listening};
use super::script::Sdk;
use super::serve::{Message, event, event_stream, plain, refusal, respond, response_accepted};
use super::{Cancelled, Inner};
use crate::support::quote;

const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";

/// One client's session.
pub struct Session {
    version: String,
    initialized: bool,
    streaming: bool,
    /// Cancelled when the session is dropped.
    end: CancellationToken,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// Whether a request belongs to a session, or how it is refused.
enum Admission {
    Session(String),
    Stateless,
    Refused(Response<Body>),
}

fn admit(inner: &Inner, headers: &HeaderMap, id: Option<&str>) -> Admission {
    let (sdk, versions) = {
        let script = inner.script();
        (script.sdk, script.legacy.clone())
    };
    let version = header(headers, VERSION);
    if let Some(sdk) = sdk.filter(|sdk| sdk.stateless()) {
        return match version {
            Some(version) if !versions.contains(&version) => {
                Admission::Refused(unsupported(sdk, &version, &versions, id))
            }
            _ => Admission::Stateless,
        };
    }
    let Some(session) = header(headers, SESSION) else {
        return Admission::Refused(no_session(sdk));
    };
    let sessions = inner.sessions.lock().unwrap();
    let Some(known) = sessions.get(&session) else {
        let error = r#"{"code":-32001,"message":"Session not found"}"#;
        return Admission::Refused(refusal(404, None, error));
    };
    // Since 2025-06-18 every request after initialize names the negotiated version.
    let expected = (known.version != "2025-03-26").then_some(known.version.as_str());
    if version.is_some() && version.as_deref() != Some(&known.version)
        || expected.is_some() && version.as_deref() != expected
    {
        let error = r#"{"code":-32000,"message":"Bad Request: wrong protocol version header"}"#;
        return Admission::Refused(refusal(400, None, error));
    }
    Admission::Session(session)
}

/// The answers of servers to a request outside a session, the modern probe among them.
fn no_session(sdk: Option<Sdk>) -> Response<Body> {
    match sdk {
        Some(Sdk::PyStateful) => refusal(
            400,
            Some("\"server-error\""),
            r#"{"code":-32600,"message":"Bad Request: Missing session ID"}"#,
        ),
        Some(Sdk::TsStateful) => refusal(
            400,
            None,
            r#"{"code":-32000,"message":"Bad Request: Server not initialized"}"#,
        ),
        _ => refusal(
            400,
            None,
            r#"{"code":-32000,"message":"Bad Request: Mcp-Session-Id header is required"}"#,
        ),
    }
}

fn unsupported(sdk: Sdk, version: &str, known: &[String], id: Option<&str>) -> Response<Body> {
    let known = known.join(", ");
    match sdk {
        Sdk::PyStateless | Sdk::PyStateful => {
            let text = format!(
                "Bad Request: Unsupported protocol version: {version}. Supported versions: {known}"
            );
            let error = format!(r#"{{"code":-32600,"message":{}}}"#, quote(&text));
            refusal(400, Some(id.unwrap_or("\"server-error\"")), &error)
        }
        Sdk::TsStateless | Sdk::TsStateful => {
            let text =
                format!("Bad Request: Unsupported protocol version (supported versions: {known})");
            let error = format!(r#"{{"code":-32000,"message":{}}}"#, quote(&text));
            refusal(400, None, &error)
        }
    }
}

pub async fn post(inner: &Arc<Inner>, headers: &HeaderMap, message: Message) -> Response<Body> {
    if message.method == "initialize" {
        return initialize(inner, &message);
    }
    let session = match admit(inner, headers, message.id.as_deref()) {
        Admission::Session(session) => session,
        Admission::Stateless => String::new(),
        Admission::Refused(refused) => return refused,
    };
    let Some(id) = message.id.clone() else {
        notification(inner, &session, &message);
        return response_accepted();
    };
    let ready = session.is_empty()
        || inner
            .sessions
            .lock()
            .unwrap()
            .get(&session)
            .is_some_and(|session| session.initialized);
    if !ready && message.method != "ping" {
        let error =
            r#"{"code":-32602,"message":"Received request before initialization was complete"}"#;
        return refusal(200, Some(&id), error);
    }
    respond(inner, Exchange::legacy(id, session, message)).await
}

fn initialize(inner: &Inner, message: &Message) -> Response<Body> {
    let Some(id) = &message.id else {
        return plain(400, "initialize is a request");
    };
    let wanted = message.text("protocolVersion").unwrap_or_default();
    let complete = message.params.contains_key("capabilities")
        && message.params.contains_key("clientInfo")
        && !wanted.is_empty();
    if !complete {
        let error = r#"{"code":-32602,"message":"Invalid request parameters"}"#;
        return refusal(200, Some(id), error);
    }
    let refused = {
        let script = inner.script();
        let spoken = script.legacy.contains(&wanted);
        script.version_error.clone().filter(|_| !spoken)
    };
    if let Some(error) = refused {
        return refusal(400, Some(id), &error);
    }
    let (version, result, stateless) = {
        let script = inner.script();
        let known = script.legacy.contains(&wanted);
        let version = if known {
            wanted
        } else {
            script.legacy[0].clone()
        };
        let (capabilities, info) = (script.capabilities(), script.server_info());
        let instructions = script.instructions();
        let result = format!(
            r#"{{"protocolVersion":"{version}","capabilities":{capabilities},"serverInfo":{info}{instructions}}}"#
        );
        (version, result, script.sdk.is_some_and(Sdk::stateless))
    };
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
    let answer = Response::builder().header("content-type", "application/json");
    if stateless {
        return answer.body(body.into()).unwrap();
    }
    let session = format!("{}-session-{}", inner.script().name, inner.number());
    inner.sessions.lock().unwrap().insert(
        session.clone(),
        Session {
            version,
            initialized: false,
            streaming: false,
            end: CancellationToken::new(),
        },
    );
    answer.header(SESSION, session).body(body.into()).unwrap()
}

fn notification(inner: &Inner, session: &str, message: &Message) {
    match message.method.as_str() {
        "notifications/initialized" => {
            if let Some(session) = inner.sessions.lock().unwrap().get_mut(session) {
                session.initialized = true;
            }
        }
        "notifications/cancelled" => {
            let request = message
                .params
                .get("requestId")
                .map(|id| id.get().to_owned());
            let key = (session.to_owned(), request.unwrap_or_default());
            let running = inner.running.lock().unwrap().get(&key).cloned();
            match running {
                Some(call) => call.cancel(),
                None => inner.log.note(|seen| seen.cancelled.push(Cancelled::Stray)),
            }
        }
        _ => {}
    }
}

pub fn open_stream(inner: &Arc<Inner>, headers: &HeaderMap) -> Response<Body> {
    let without = inner.script().get_status;
    if let Some(status) = without {
        return plain(status, "no page");
    }
    let accepts = header(headers, "accept").is_some_and(|accept| accept.contains("event-stream"));
    if !accepts {
        return plain(406, "not acceptable");
    }
    let session = match admit(inner, headers, None) {
        Admission::Session(session) => session,
        Admission::Stateless => return plain(405, "no streams here"),
        Admission::Refused(refused) => return refused,
    };
    let end = {
        let mut sessions = inner.sessions.lock().unwrap();
        let session = sessions.get_mut(&session).unwrap();
        if std::mem::replace(&mut session.streaming, true) {
            return plain(409, "this session has a stream");
        }
        session.end.clone()
    };
    let mut changes = inner.changes.subscribe();
    let (out, events) = mpsc::channel(16);
    let shared = inner.clone();
    inner.spawn(async move {
        let _listening = Listening::open(&shared);
        let relay = async {
            let _ = out.send(Bytes::from_static(b": open\n\n")).await;
            if shared.script().brief_streams {
                return;
            }
            let flood = shared.script().floods.clone();
            if let Some(message) = flood {
                for n in 0_u64.. {
                    let message = message.replace("{n}", &n.to_string());
                    if out.send(event(&message).into()).await.is_err() {
                        return;
                    }
                    if n % 100 == 0 {
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                }
            }
            while let Ok(kind) = changes.recv().await {
                if shared.script().announces {
                    let changed = format!(r#"{{"jsonrpc":"2.0","method":"{}"}}"#, kind.changed());
                    let _ = out.send(event(&changed).into()).await;
                }
            }
        };
        tokio::select! {
            () = out.closed() => {}
            () = end.cancelled() => {}
            () = relay => {}
        }
        if let Some(session) = shared.sessions.lock().unwrap().get_mut(&session) {
            session.streaming = false;
        }
    });
    event_stream(events)
}

pub fn delete(inner: &Inner, headers: &HeaderMap) -> Response<Body> {
    match admit(inner, headers, None) {
        Admission::Session(session) => {
            inner.sessions.lock().unwrap().remove(&session);
            plain(200, "")
        }
        Admission::Stateless => plain(405, "no sessions here"),
        Admission::Refused(refused) => refused,
    }
}
