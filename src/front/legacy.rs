//! The legacy face: initialize, sessions, the GET stream (2025-03-26, 2025-06-18, 2025-11-25).

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::front::answer::{self, Accepts, Running};
use crate::front::changes::{self, Changes, Wanted};
use crate::front::http::Front;
use crate::front::session::Session;
use crate::json::Object;
use crate::protocol::era::{Era, Version};
use crate::protocol::error::Fault;
use crate::protocol::headers::{SESSION, VERSION};
use crate::protocol::message::{self, Id, Notification, Request};
use crate::protocol::{method, sse};
use crate::relay::{self, Payload, Scope};
use crate::upstream::probe::WEIR;

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
/// There is none, it is unknown or over, or the version header is none of weir's.
pub(super) fn session(front: &Front, headers: &HeaderMap) -> Result<Session, Fault> {
    let id = headers.get(SESSION).ok_or(Fault::NoSession)?;
    let session = id.to_str().ok().and_then(|id| front.sessions.find(id));
    let session = session.ok_or(Fault::UnknownSession)?;
    match headers
        .get(VERSION)
        .map(|value| value.to_str().ok().and_then(Version::parse))
    {
        None => Ok(session),
        Some(Some(version)) if version.era() == Era::Legacy => Ok(session),
        Some(_) => Err(Fault::SessionVersion),
    }
}

/// What a request in a session leads to.
pub(super) enum Begun {
    /// The answer.
    Answered(Payload),
    /// An upstream is at it.
    Running(Running),
    /// Nothing: the caller took it back, or wanted no answer.
    Over,
}

/// A request in a session.
pub(super) async fn request(
    front: &Arc<Front>,
    session: &Session,
    accepts: Accepts,
    request: &Request<'_>,
) -> Response {
    match begin(front, session, request).await {
        Begun::Answered(payload) => answer::json(payload),
        Begun::Running(running) => answer::respond(running, accepts).await,
        Begun::Over => answer::bare(StatusCode::ACCEPTED),
    }
}

/// Begins to answer a request in a session.
pub(super) async fn begin(front: &Arc<Front>, session: &Session, request: &Request<'_>) -> Begun {
    let fault = match request.method.as_ref() {
        method::PING => {
            return Begun::Answered(Payload::ok(vec![message::result(&request.id, "{}")]));
        }
        method::INITIALIZE => Fault::Invalid("this session is initialized already"),
        _ => {
            let call = front.sessions.call(session, &request.id);
            let scope = Scope {
                snapshot: front.live.load_full(),
                version: session.version,
                headers: None,
            };
            let reply = tokio::select! {
                biased;
                reply = relay::answer(&scope, request) => reply,
                () = call.token.cancelled() => return Begun::Over,
            };
            match reply {
                Ok(reply) => {
                    return Begun::Running(Running::legacy(reply, call, front.tasks.clone()));
                }
                Err(fault) => fault,
            }
        }
    };
    Begun::Answered(Payload::fault(Some(&request.id), &fault, Era::Legacy))
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
        stream,
    ))
}

/// A refusal of what belongs to no era, or to this one.
pub(super) fn refuse(id: Option<&Id>, fault: &Fault) -> Response {
    answer::json(Payload::fault(id, fault, Era::Legacy))
}
