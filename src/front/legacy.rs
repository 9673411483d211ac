//! The legacy face: initialize, sessions, the GET stream (2025-03-26, 2025-06-18, 2025-11-25).

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::front::answer::{self, Accepts, Running};
use crate::front::changes::{self, Changes, Wanted};
use crate::front::http::Front;
use crate::front::session::Session;
use crate::json::{self, Object};
use crate::protocol::era::{Era, Version};
use crate::protocol::error::{Fault, Refusal};
use crate::protocol::headers::{SESSION, VERSION};
use crate::protocol::message::{self, Id, Message, Notification, Request};
use crate::protocol::trace::Trace;
use crate::protocol::{method, sse};
use crate::relay::{self, Outgoing, Payload, Scope};
use crate::upstream::probe::WEIR;

/// Most messages in one batch.
const BATCH: usize = 100;

/// What weir can do, for `initialize` and `server/discover`: JSON text.
pub(super) const CAPABILITIES: &str = "{\"tools\":{\"listChanged\":true},\"prompts\":{\"listChanged\":true},\
    \"resources\":{\"listChanged\":true},\"completions\":{}}";

/// The answer to `initialize`: the version asked for if weir speaks it, else its latest legacy one.
///
/// # Errors
/// There is no `protocolVersion` to answer.
pub(super) fn initialize(request: &Request<'_>) -> Result<(Version, Bytes), Fault> {
    let asked = request.params.string("protocolVersion");
    let asked = asked.ok_or_else(|| Fault::Params("`protocolVersion` must be a string".into()))?;
    let spoken = Version::parse(&asked).filter(|version| version.era() == Era::Legacy);
    let version = spoken.unwrap_or(Version::LATEST_LEGACY);
    let result = format!(
        "{{\"protocolVersion\":\"{version}\",\"capabilities\":{CAPABILITIES},\"serverInfo\":{WEIR}}}"
    );
    Ok((version, message::result(&request.id, &result)))
}

/// `initialize` over HTTP: a new session.
pub(super) fn open(front: &Front, request: &Request<'_>) -> Response {
    let (version, body) = match initialize(request) {
        Ok(answer) => answer,
        Err(fault) => return answer::json(Payload::fault(Some(&request.id), &fault, Era::Legacy)),
    };
    let session = front
        .sessions
        .open(version)
        .ok()
        .and_then(|id| HeaderValue::from_str(&id).ok());
    let Some(session) = session else {
        return answer::bare(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut response = answer::json(Payload::ok(vec![body]));
    response.headers_mut().insert(SESSION, session);
    response
}

/// The session of a request.
///
/// # Errors
/// 400 without one or with a version header that is none of weir's, 404 for one that is unknown or over.
pub(super) fn session(front: &Front, headers: &HeaderMap) -> Result<Session, (StatusCode, Fault)> {
    let Some(id) = headers.get(SESSION) else {
        return Err((
            StatusCode::BAD_REQUEST,
            Fault::Invalid("no Mcp-Session-Id; begin with initialize"),
        ));
    };
    let session = id.to_str().ok().and_then(|id| front.sessions.find(id));
    let session = session.ok_or((
        StatusCode::NOT_FOUND,
        Fault::Invalid("session not found; begin with initialize"),
    ))?;
    match headers
        .get(VERSION)
        .map(|value| value.to_str().ok().and_then(Version::parse))
    {
        None => Ok(session),
        Some(Some(version)) if version.era() == Era::Legacy => Ok(session),
        Some(_) => Err((
            StatusCode::BAD_REQUEST,
            Fault::Invalid("unsupported MCP-Protocol-Version"),
        )),
    }
}

/// A request in a session.
pub(super) async fn request(
    front: &Arc<Front>,
    session: &Session,
    accepts: Accepts,
    request: &Request<'_>,
    trace: &Trace,
) -> Response {
    let fault = match request.method.as_ref() {
        method::PING => return answer::json(Payload::ok(vec![message::result(&request.id, "{}")])),
        method::INITIALIZE => Fault::Invalid("this session is initialized already"),
        _ => {
            let call = front.sessions.call(session, &request.id);
            let scope = Scope {
                snapshot: front.live.load_full(),
                version: session.version,
                headers: None,
                trace: trace.clone(),
            };
            let reply = tokio::select! {
                biased;
                reply = relay::answer(&scope, request) => reply,
                () = call.token.cancelled() => return answer::bare(StatusCode::ACCEPTED),
            };
            match reply {
                Ok(reply) => {
                    return answer::respond(
                        Running::legacy(reply, call, Arc::clone(front)),
                        accepts,
                    )
                    .await;
                }
                Err(fault) => fault,
            }
        }
    };
    answer::json(Payload::fault(Some(&request.id), &fault, Era::Legacy))
}

/// A notification in a session: only cancellation asks for something to be done.
pub(super) fn notification(front: &Front, session: &Session, notification: &Notification<'_>) {
    if notification.method == method::CANCELLED
        && let Some(id) = cancelled_id(notification)
    {
        front.sessions.cancel(session, &id);
    }
}

/// The request a `notifications/cancelled` speaks of.
pub(super) fn cancelled_id(notification: &Notification<'_>) -> Option<Id> {
    let params = Object::parse(notification.envelope.borrowed("params")?).ok()?;
    Id::parse(params.get("requestId")?)
}

/// A batch, which only 2025-03-26 knows; it never has `initialize` in it.
pub(super) async fn batch(
    front: &Arc<Front>,
    session: &Session,
    text: &str,
    trace: &Trace,
) -> Response {
    let refuse = |fault: Fault| refuse(StatusCode::BAD_REQUEST, None, &fault);
    if session.version != Version::V2025_03_26 {
        return refuse(Fault::Invalid("only sessions of 2025-03-26 take batches"));
    }
    let items = match json::array(text) {
        Ok(items) if items.is_empty() => return refuse(Fault::Invalid("an empty batch")),
        Ok(items) if items.len() > BATCH => {
            return refuse(Fault::Invalid("more than 100 messages in a batch"));
        }
        Ok(items) => items,
        Err(_) => return refuse(Fault::Parse),
    };
    let initializes = |item: &str| {
        let item = json::Object::parse(item);
        item.is_ok_and(|item| item.string("method").as_deref() == Some(method::INITIALIZE))
    };
    if items.iter().any(|item| initializes(item)) {
        return refuse(Fault::Invalid("initialize cannot be part of a batch"));
    }
    let items = items.into_iter();
    let answers = items.map(|item| in_batch(front, session, item, trace.clone()));
    let answers = futures::future::join_all(answers).await;
    let answers: Vec<Bytes> = answers.into_iter().flatten().collect();
    if answers.is_empty() {
        return answer::bare(StatusCode::ACCEPTED);
    }
    let mut body = vec![b'['];
    for (at, answer) in answers.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(answer);
    }
    body.push(b']');
    answer::json(Payload::ok(vec![body.into()]))
}

async fn in_batch(
    front: &Arc<Front>,
    session: &Session,
    text: &str,
    mut trace: Trace,
) -> Option<Bytes> {
    let request = match Message::parse(text) {
        Ok(Message::Request(request)) => request,
        Ok(Message::Notification(note)) => {
            notification(front, session, &note);
            return None;
        }
        Ok(Message::Response(_)) => return None,
        Err(Refusal { id, fault }) => {
            return Some(Payload::fault(id.as_ref(), &fault, Era::Legacy).concat());
        }
    };
    let fault = match request.method.as_ref() {
        method::PING => return Some(message::result(&request.id, "{}")),
        _ => {
            trace.heed(request.meta.as_ref());
            let scope = Scope {
                snapshot: front.live.load_full(),
                version: session.version,
                headers: None,
                trace,
            };
            match relay::answer(&scope, &request).await {
                Ok(mut reply) => {
                    while let Some(outgoing) = reply.next().await {
                        if let Outgoing::Response(payload) = outgoing {
                            return Some(payload.concat());
                        }
                    }
                    return None;
                }
                Err(fault) => fault,
            }
        }
    };
    Some(Payload::fault(Some(&request.id), &fault, Era::Legacy).concat())
}

/// The session's stream: tells when lists change.
pub(super) fn stream(front: &Arc<Front>, session: &Session) -> Response {
    // Ends with the weir, with the session, or when another stream takes its place.
    let stream = front.sessions.stream(session, front.shutdown.child_token());
    let changes = Changes::new(&front.live, Wanted::ALL, stream.token.clone());
    let render = |method| sse::event(&message::notification(method, None));
    answer::events(changes::body(
        Some(sse::KEEP_ALIVE),
        changes,
        render,
        None,
        (stream, front.metrics.get_streams.hold()),
    ))
}

/// A refusal with an HTTP status of its own.
pub(super) fn refuse(status: StatusCode, id: Option<&Id>, fault: &Fault) -> Response {
    let mut payload = Payload::fault(id, fault, Era::Legacy);
    payload.status = status;
    answer::json(payload)
}
