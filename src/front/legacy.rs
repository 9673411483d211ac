//! Messages of the legacy era (2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25): `initialize`,
//! requests in sessions, and the GET stream.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::caller::{Caller, CallerConnection, ShareKey};
use crate::front::agent::agent_of;
use crate::front::answer::{self, Recipient};
use crate::front::changes;
use crate::front::running::Running;
use crate::front::standing::Admission;
use crate::front::state::Front;
use crate::json::{self, Object};
use crate::live::View;
use crate::protocol::era::{Era, Version};
use crate::protocol::error::Fault;
use crate::protocol::headers::{SESSION, VERSION};
use crate::protocol::message::{self, Notification, Request};
use crate::protocol::trace::Trace;
use crate::protocol::{method, sse};
use crate::record::Record;
use crate::relay::{self, Changes, Payload, Scope};
use crate::seal;
use crate::session::{CallerSession, NewSession, SessionToken};
use crate::upstream::probe::SessionProfile;

/// At most this many bytes of a client's capabilities are kept. A client with more counts as one
/// without capabilities, and so does one with data in them that may not pass to an upstream.
const CAPABILITIES: usize = 2048;

/// Reads `initialize` and makes its answer. The version is the one asked for if weir speaks it,
/// else the latest legacy one.
///
/// # Errors
/// There is no `protocolVersion`.
pub(super) fn initialize(
    view: View<'_>,
    caller: &Caller,
    request: &Request<'_>,
) -> Result<(SessionProfile, Bytes), Fault> {
    let asked = request.params.string("protocolVersion");
    let asked = asked.ok_or_else(|| Fault::Params("`protocolVersion` must be a string".into()))?;
    let spoken = Version::parse(&asked).filter(|version| version.era() == Era::Legacy);
    let version = spoken.unwrap_or(Version::LATEST_LEGACY);
    let result = format!(
        "{{\"protocolVersion\":\"{version}\",\"capabilities\":{},\"serverInfo\":{}{}}}",
        relay::capabilities(view, caller, Era::Legacy),
        view.server_info(),
        relay::instructions(view, Era::Legacy),
    );
    let mut capabilities = relayed_capabilities(request);
    if !view.may_tell_all(&capabilities) {
        capabilities = "{}".to_owned();
    }
    let profile = SessionProfile {
        version,
        capabilities: capabilities.into(),
        key: seal::random().ok(),
    };
    Ok((profile, message::result(&request.id, &result)))
}

/// Returns the client's capabilities that weir offers to upstreams: all but tasks, which weir
/// cannot send to a client.
fn relayed_capabilities(request: &Request<'_>) -> String {
    let capabilities = request.params.get("capabilities");
    let capabilities = capabilities.filter(|text| text.len() <= CAPABILITIES);
    let mut relayed = capabilities
        .and_then(|text| Object::parse(text).ok())
        .unwrap_or_default();
    relayed.remove("tasks");
    // Upstreams are told nothing that they could take for a capability, or for a mistake.
    relayed.map_values(|value| match value {
        "null" => None,
        value if json::says_nothing(value) => Some("{}"),
        value => Some(value),
    });
    relayed.to_text()
}

/// Answers `initialize` over HTTP: opens a session.
pub(super) fn open_session(
    front: &Front,
    caller: &Caller,
    headers: &HeaderMap,
    request: &Request<'_>,
    mut record: Record,
) -> Response {
    let snapshot = front.live.load();
    let view = snapshot.view(caller);
    record.set_scope(Era::Legacy, snapshot.generation);
    let (profile, body) = match initialize(view, caller, request) {
        Ok(answer) => answer,
        Err(fault) => {
            record.fail(&fault);
            return answer::refuse(Some(&request.id), &fault);
        }
    };
    if caller.owner().is_some() {
        record.set_agent(request.params.get("clientInfo").and_then(agent_of));
    }
    let new = NewSession {
        version: profile.version,
        capabilities: &profile.capabilities,
        caller: record.caller(),
    };
    if let Some(platform) = &front.platform {
        let id = headers.get(SESSION).map(HeaderValue::as_bytes);
        let before = platform.find(id.unwrap_or_default(), caller.owner(), None);
        // Its sessions upstream were opened for another client.
        front.sessions.drop_state(&before);
        platform.open(id.unwrap_or_default(), new);
        record.succeed();
        return answer::json(Payload::ok(vec![body]));
    }
    let opened = front.sessions.open(new);
    let session = opened.ok().and_then(|id| HeaderValue::from_str(&id).ok());
    let Some(session) = session else {
        record.fail(&Fault::Internal);
        return answer::refuse(Some(&request.id), &Fault::Internal);
    };
    record.succeed();
    record.add_bytes_out(body.len());
    let mut response = answer::json(Payload::ok(vec![body]));
    response.headers_mut().insert(SESSION, session);
    response
}

/// Returns the session of a request.
///
/// # Errors
/// There is none, it is unknown, over or another principal's, or the version header names no legacy version.
pub(super) fn find_session(
    front: &Front,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<SessionToken, Fault> {
    let id = headers.get(SESSION);
    if let Some(platform) = &front.platform {
        let id = id.map(HeaderValue::as_bytes).unwrap_or_default();
        let version = named_version(headers)?;
        return Ok(platform.find(id, caller.owner(), version));
    }
    let id = id.ok_or(Fault::NoSession)?.to_str().ok();
    let session = id.and_then(|id| front.sessions.find(id, caller.owner()));
    let session = session.ok_or(Fault::UnknownSession)?;
    named_version(headers)?;
    Ok(session)
}

/// Returns the version that a request in a session names, if it names one.
///
/// # Errors
/// It is no legacy version.
fn named_version(headers: &HeaderMap) -> Result<Option<Version>, Fault> {
    let Some(value) = headers.get(VERSION) else {
        return Ok(None);
    };
    let version = value.to_str().ok().and_then(Version::parse);
    let legacy = version.filter(|version| version.era() == Era::Legacy);
    legacy.map(Some).ok_or(Fault::SessionVersion)
}

/// The beginning of an answer in a session.
#[allow(
    clippy::large_enum_variant,
    reason = "moved once or twice; a box would cost each call an allocation"
)]
pub(super) enum Begun {
    /// The whole answer.
    Answered(Payload),
    /// A reply that goes on.
    Running(Running, Arc<CallerSession>),
    /// Nothing: the caller cancelled the request, or wants no answer.
    Over,
}

/// Answers a request in a session.
pub(super) async fn handle_request(
    front: &Arc<Front>,
    session: &SessionToken,
    to: &Recipient,
    headers: &HeaderMap,
    request: &Request<'_>,
    trace: &Trace,
    record: Record,
) -> Response {
    match begin(front, session, to, Some(headers), request, trace, record).await {
        Begun::Answered(payload) => answer::json(payload),
        Begun::Running(running, session) => {
            answer::respond_resumable(running, to, &session, front).await
        }
        Begun::Over => answer::bare(StatusCode::ACCEPTED),
    }
}

/// Begins to answer a request in a session.
pub(super) async fn begin(
    front: &Arc<Front>,
    session: &SessionToken,
    to: &Recipient,
    headers: Option<&HeaderMap>,
    request: &Request<'_>,
    trace: &Trace,
    mut record: Record,
) -> Begun {
    record.set_agent(session.agent.clone());
    record.set_era(Era::Legacy);
    record.set_session(|| session.name());
    let fault = match request.method.as_ref() {
        method::PING => {
            let payload = Payload::ok(vec![message::result(&request.id, "{}")]);
            record.succeed();
            record.add_bytes_out(payload.len());
            return Begun::Answered(payload);
        }
        method::INITIALIZE => {
            let fault = Fault::Invalid("this session is initialized already");
            record.fail(&fault);
            fault
        }
        _ => {
            let state = front.sessions.state(session, to.share());
            let call = state.call(&request.id);
            let caller = record.caller().clone();
            let scope = Scope::new(&front.live, caller, session.version, trace)
                .with_headers(headers)
                .in_session(&state)
                .over(&to.connection)
                .awaited_by(to.presence.as_ref())
                .streaming(to.accepts.streams());
            let reply = tokio::select! {
                biased;
                reply = relay::answer(&scope, request, record) => reply,
                () = call.token.cancelled() => return Begun::Over,
            };
            match reply {
                Ok(reply) => {
                    let running =
                        Running::legacy(reply, call, to.presence.clone(), &front.given_up);
                    return Begun::Running(running, state);
                }
                Err(fault) => fault,
            }
        }
    };
    Begun::Answered(Payload::fault(Some(&request.id), &fault, Era::Legacy))
}

/// Handles a notification of a caller in its session. One that weir does not know is dropped,
/// because it does not tell which upstream it is meant for. Returns false if it cancels a request that
/// is not under way here.
pub(super) async fn handle_notification(
    session: &CallerSession,
    notification: &Notification<'_>,
) -> bool {
    session.touch();
    match notification.method.as_ref() {
        method::CANCELLED => {
            let id = notification.cancelled_id();
            return id.is_none_or(|id| session.cancel(&id));
        }
        method::PROGRESS => relay::progress(session, notification).await,
        method::ROOTS_CHANGED => relay::roots_changed(session),
        _ => {}
    }
    true
}

/// Opens the session's stream, for changes of lists and for messages of upstreams that belong to no
/// call. With the id of the last event that the caller received from an answer's stream, it returns
/// the rest of that answer.
pub(super) fn open_stream(
    front: &Arc<Front>,
    session: &SessionToken,
    admission: &Admission,
    connection: &CallerConnection,
    last: Option<&str>,
) -> Response {
    let caller = &admission.caller;
    let share = ShareKey::of_caller(caller, connection.address);
    let state = front.sessions.state(session, share);
    let standing = || front.standing(admission);
    let resumed = last.and_then(|last| front.replays.resume(&state, last, standing));
    if let Some(body) = resumed {
        return answer::events(body);
    }
    // It ends when weir stops, with the session, or when another stream takes its place.
    let stream = state.listen(front.shutdown.child_token());
    let changes = Changes::of_session(&front.live, caller.clone(), stream);
    let render = |method, params: Option<&str>| sse::event(&message::notification(method, params));
    let counted = front.metrics.get_streams.hold();
    answer::changes(changes::body(
        sse::KEEP_ALIVE,
        front.keep_alive,
        changes,
        render,
        None,
        (standing(), counted),
    ))
}
