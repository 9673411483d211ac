//! The legacy face: initialize, sessions, the GET stream (2025-03-26, 2025-06-18, 2025-11-25).

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::front::answer::{self, Accepts, Running};
use crate::front::changes::{self, Changes};
use crate::front::http::Front;
use crate::front::session::Session;
use crate::json::Object;
use crate::live::Live;
use crate::protocol::era::{Era, Version};
use crate::protocol::error::Fault;
use crate::protocol::headers::{SESSION, VERSION};
use crate::protocol::message::{self, Id, Notification, Request};
use crate::protocol::trace::Trace;
use crate::protocol::{method, sse};
use crate::relay::{self, Caller, Payload, Scope};
use crate::seal;
use crate::upstream::probe::{SessionProfile, WEIR};

/// The most bytes of a client's capabilities that are kept; a client with more is taken as one without any.
const CAPABILITIES: usize = 2048;

/// What weir can do, for `initialize` and `server/discover`: JSON text. Tasks and extensions are what upstreams have.
pub(super) fn capabilities(live: &Live, era: Era) -> String {
    let mut all = "{\"tools\":{\"listChanged\":true},\"prompts\":{\"listChanged\":true},\
        \"resources\":{\"subscribe\":true,\"listChanged\":true},\"completions\":{},\"logging\":{}"
        .to_owned();
    let snapshot = live.load();
    let peers = snapshot.links.iter().filter_map(|link| link.current_peer());
    let peers: Vec<_> = peers.filter(|peer| peer.era() == era).collect();
    match era {
        Era::Legacy if peers.iter().any(|peer| peer.capabilities.tasks) => all.push_str(
            ",\"tasks\":{\"list\":{},\"cancel\":{},\"requests\":{\"tools\":{\"call\":{}}}}",
        ),
        Era::Legacy => {}
        Era::Modern => {
            let extensions = peers.iter().map(|peer| Object::parse(&peer.extensions));
            let extensions: Vec<_> = extensions.flatten().collect();
            let mut union = Object::new();
            for (key, value) in extensions.iter().flat_map(Object::iter) {
                if !union.contains(key) {
                    union.set(key, value);
                }
            }
            if !union.is_empty() {
                all.push_str(&format!(",\"extensions\":{}", union.to_text()));
            }
        }
    }
    all.push('}');
    all
}

/// What a client says in `initialize`, and the answer: the version asked for if weir speaks it, else its
/// latest legacy one.
///
/// # Errors
/// There is no `protocolVersion` to answer.
pub(super) fn initialize(
    live: &Live,
    request: &Request<'_>,
) -> Result<(SessionProfile, Bytes), Fault> {
    let asked = request.params.string("protocolVersion");
    let asked = asked.ok_or_else(|| Fault::Params("`protocolVersion` must be a string".into()))?;
    let spoken = Version::parse(&asked).filter(|version| version.era() == Era::Legacy);
    let version = spoken.unwrap_or(Version::LATEST_LEGACY);
    let result = format!(
        "{{\"protocolVersion\":\"{version}\",\"capabilities\":{},\"serverInfo\":{WEIR}}}",
        capabilities(live, Era::Legacy)
    );
    let profile = SessionProfile {
        version,
        capabilities: can(request).into(),
        key: seal::random().ok(),
    };
    Ok((profile, message::result(&request.id, &result)))
}

/// What the client can do that weir can pass on: everything but running tasks of its own.
fn can(request: &Request<'_>) -> String {
    let said = request.params.get("capabilities");
    let said = said.filter(|said| said.len() <= CAPABILITIES);
    let mut can = said
        .and_then(|said| Object::parse(said).ok())
        .unwrap_or_default();
    can.remove("tasks");
    can.to_text()
}

/// `initialize` over HTTP: a new session.
pub(super) fn open(front: &Front, request: &Request<'_>) -> Response {
    let (profile, body) = match initialize(&front.live, request) {
        Ok(answer) => answer,
        Err(fault) => return answer::json(Payload::fault(Some(&request.id), &fault, Era::Legacy)),
    };
    let session = front
        .sessions
        .open(profile.version, &profile.capabilities)
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
    Running(Running, Arc<Caller>),
    /// Nothing: the caller took it back, or wanted no answer.
    Over,
}

/// A request in a session.
pub(super) async fn request(
    front: &Arc<Front>,
    session: &Session,
    accepts: Accepts,
    request: &Request<'_>,
    trace: &Trace,
) -> Response {
    match begin(front, session, accepts, request, trace).await {
        Begun::Answered(payload) => answer::json(payload),
        Begun::Running(running, caller) => {
            let (tapes, tasks) = (&front.sessions.tapes, &front.tasks);
            answer::respond_resumable(running, accepts, &caller, tapes, tasks).await
        }
        Begun::Over => answer::bare(StatusCode::ACCEPTED),
    }
}

/// Begins to answer a request in a session.
pub(super) async fn begin(
    front: &Arc<Front>,
    session: &Session,
    accepts: Accepts,
    request: &Request<'_>,
    trace: &Trace,
) -> Begun {
    let fault = match request.method.as_ref() {
        method::PING => {
            return Begun::Answered(Payload::ok(vec![message::result(&request.id, "{}")]));
        }
        method::INITIALIZE => Fault::Invalid("this session is initialized already"),
        _ => {
            let caller = front.sessions.caller(session);
            let call = caller.call(&request.id);
            let scope = Scope {
                snapshot: front.live.load_full(),
                live: &front.live,
                version: session.version,
                headers: None,
                caller: Some(&caller),
                streams: accepts.streams(),
                trace: trace.clone(),
            };
            let reply = tokio::select! {
                biased;
                reply = relay::answer(&scope, request) => reply,
                () = call.token.cancelled() => return Begun::Over,
            };
            match reply {
                Ok(reply) => {
                    let running = Running::legacy(reply, call, Arc::clone(front));
                    return Begun::Running(running, caller);
                }
                Err(fault) => fault,
            }
        }
    };
    Begun::Answered(Payload::fault(Some(&request.id), &fault, Era::Legacy))
}

/// A notification of a caller in its session. What weir does not know goes nowhere: no upstream is meant more than
/// another.
pub(super) fn notification(caller: &Caller, notification: &Notification<'_>) {
    caller.touch();
    match notification.method.as_ref() {
        method::CANCELLED => {
            if let Some(id) = cancelled_id(notification) {
                caller.cancel(&id);
            }
        }
        method::PROGRESS => caller.progressed(notification),
        method::ROOTS_CHANGED => caller.roots_changed(),
        _ => {}
    }
}

/// The request a `notifications/cancelled` speaks of.
pub(super) fn cancelled_id(notification: &Notification<'_>) -> Option<Id> {
    let params = Object::parse(notification.envelope.borrowed("params")?).ok()?;
    Id::parse(params.get("requestId")?)
}

/// The session's stream: tells when lists change, and what upstreams have to say. With the id of an event, the rest of
/// an answer whose stream broke.
pub(super) fn stream(front: &Arc<Front>, session: &Session, last: Option<&str>) -> Response {
    let caller = front.sessions.caller(session);
    let resumed = last.and_then(|last| front.sessions.tapes.resume(&caller, last));
    if let Some(body) = resumed {
        return answer::events(body);
    }
    // Ends with the weir, with the session, or when another stream takes its place.
    let listening = caller.listen(front.shutdown.child_token());
    let changes = Changes::of_session(&front.live, listening);
    let render = |method, params: Option<&str>| sse::event(&message::notification(method, params));
    let counted = front.metrics.get_streams.hold();
    answer::events(changes::body(
        sse::KEEP_ALIVE,
        changes,
        render,
        None,
        counted,
    ))
}

/// A refusal of what belongs to no era, or to this one.
pub(super) fn refuse(id: Option<&Id>, fault: &Fault) -> Response {
    answer::json(Payload::fault(id, fault, Era::Legacy))
}
