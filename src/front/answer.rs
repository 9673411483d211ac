//! Turns replies into HTTP responses: JSON if there is only a response, an event stream if another
//! message comes before it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::caller::{CallerConnection, Presence, ShareKey, StandingAnswer};
use crate::front::body::Pieces;
use crate::front::replay::StreamTrigger;
use crate::front::running::Running;
use crate::front::standing::{Admission, Standing};
use crate::front::state::Front;
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::Id;
use crate::protocol::sse;
use crate::relay::{Outgoing, Payload};
use crate::session::CallerSession;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// The end of a call whose caller may not wait for it any more.
pub(super) const CREDENTIAL_ENDED: Fault = Fault::Unauthenticated("the credential has ended");

/// An `Accept` header that is read without parsing.
const USUAL_ACCEPT: &[u8] = b"application/json, text/event-stream";

/// The receiver of an answer.
#[derive(Clone, Debug)]
pub(super) struct Recipient {
    pub(super) accepts: Accepts,
    pub(super) admission: Admission,
    pub(super) connection: Arc<CallerConnection>,
    /// Whether it is still there; `None` where the work on its answer ends with it.
    pub(super) presence: Option<Presence>,
}

impl Recipient {
    /// Returns the key of the caller's share.
    pub(super) fn share(&self) -> ShareKey {
        ShareKey::of_caller(&self.admission.caller, self.connection.address)
    }
}

/// The media types that a caller accepts, by its `Accept` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepts {
    /// JSON only: other messages than the response are left out.
    Json,
    /// JSON and event streams.
    Events,
    /// Both, and event streams first.
    EventsFirst,
    /// Neither.
    Nothing,
}

impl Accepts {
    /// Reads the `Accept` headers (RFC 9110 §12.5.1): media types are the same in any case. Without
    /// any, everything is accepted. What has the weight 0 is not; other weights do not matter.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let (mut json, mut any) = (false, false);
        for value in headers.get_all(header::ACCEPT) {
            // Official SDKs send this.
            if value.as_bytes() == USUAL_ACCEPT && !any {
                return Self::Events;
            }
            let items = value.to_str().unwrap_or_default().split(',');
            for item in items.filter(|item| !item.trim().is_empty()) {
                any = true;
                let (media, parameters) = item.split_once(';').unwrap_or((item, ""));
                if has_no_weight(parameters) {
                    continue;
                }
                let is = |one: &&str| media.trim().eq_ignore_ascii_case(one);
                // The type that is named first is preferred.
                if is(&"text/event-stream") && !json {
                    return Self::EventsFirst;
                }
                if ["text/event-stream", "text/*", "*/*"].iter().any(is) {
                    return Self::Events;
                }
                json |= ["application/json", "application/*"].iter().any(is);
            }
        }
        match (any, json) {
            (false, _) => Self::Events,
            (true, true) => Self::Json,
            (true, false) => Self::Nothing,
        }
    }

    /// Returns whether messages may come before the response.
    pub(super) fn streams(self) -> bool {
        matches!(self, Self::Events | Self::EventsFirst)
    }
}

/// Returns whether the parameters of a media type say that it is not acceptable: `q=0`.
fn has_no_weight(parameters: &str) -> bool {
    let mut pairs = parameters
        .split(';')
        .filter_map(|pair| pair.split_once('='));
    let weight = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, weight)| weight.trim().parse() == Ok(0.0))
}

/// Returns the HTTP response of a modern call. The call is cancelled when the caller closes it.
///
/// A response only is JSON, whatever type the caller names first: the form is the server's choice
/// (2026-07-28 `basic/transports/streamable-http.mdx`), and the official SDKs choose so.
pub(super) async fn respond(mut running: Running, to: &Recipient, front: &Front) -> Response {
    let keep_alive = front.keep_alive;
    let stream = |first, running| {
        let standing = front.standing(&to.admission);
        stream_events(first, running, keep_alive, standing)
    };
    match wait_for_form(&mut running, to.accepts, false, keep_alive).await {
        AnswerForm::Response(payload) | AnswerForm::Stream(StreamTrigger::Response(payload)) => {
            json(payload)
        }
        AnswerForm::Stream(StreamTrigger::Message(message)) => {
            stream(sse::event(&message), running)
        }
        AnswerForm::Stream(StreamTrigger::Silence | StreamTrigger::Paused(_)) => {
            stream(sse::KEEP_ALIVE, running)
        }
        AnswerForm::Empty => events(Body::empty()),
    }
}

/// Returns the HTTP response of a legacy call. A response only is JSON, except for a caller that
/// prefers event streams. When the connection of a stream breaks, the call goes on, and the caller can
/// resume it.
pub(super) async fn respond_resumable(
    mut running: Running,
    to: &Recipient,
    session: &Arc<CallerSession>,
    front: &Front,
) -> Response {
    let polls = session.knows_polling();
    let form = wait_for_form(&mut running, to.accepts, polls, front.keep_alive).await;
    let trigger = match form {
        // A status other than 200 needs JSON.
        AnswerForm::Response(payload)
            if to.accepts != Accepts::EventsFirst || payload.status != StatusCode::OK =>
        {
            return json(payload);
        }
        // Its stream begins with the id of an event, to come back with (SEP-1699).
        AnswerForm::Response(payload) if polls => StreamTrigger::Response(payload),
        AnswerForm::Response(payload) => {
            return events(Body::new(Pieces::new(sse::event_of(payload.chunks))));
        }
        AnswerForm::Stream(trigger) => trigger,
        AnswerForm::Empty => return events(Body::empty()),
    };
    let (memory, standing) = (&to.connection.memory, front.standing(&to.admission));
    let (replays, tasks) = (&front.replays, &front.tasks);
    events(replays.stream(running, trigger, session, memory, standing, tasks))
}

/// The form of an answer.
enum AnswerForm {
    /// The response only.
    Response(Payload),
    /// A stream: another message comes before the response, or the response takes long.
    Stream(StreamTrigger),
    /// No response: the caller cancelled its request.
    Empty,
}

/// Waits until the form of the answer is known. `polls`: whether the caller knows streams that
/// pause.
async fn wait_for_form(
    running: &mut Running,
    accepts: Accepts,
    polls: bool,
    keep_alive: Duration,
) -> AnswerForm {
    let streams = accepts.streams();
    loop {
        let first = tokio::select! {
            biased;
            first = running.next() => first,
            () = tokio::time::sleep(keep_alive), if streams => return AnswerForm::Stream(StreamTrigger::Silence),
        };
        match first {
            Some(Outgoing::Response(payload)) => return AnswerForm::Response(payload),
            Some(Outgoing::Message(message)) if streams => {
                return AnswerForm::Stream(StreamTrigger::Message(message));
            }
            Some(Outgoing::Paused(pause)) if streams && polls => {
                return AnswerForm::Stream(StreamTrigger::Paused(pause));
            }
            Some(Outgoing::Message(_) | Outgoing::Paused(_)) => {}
            None => return AnswerForm::Empty,
        }
    }
}

/// Streams an answer that begins with the event `first`. Once the caller's credential does not hold
/// any more, the call is given up.
fn stream_events(
    first: Bytes,
    running: Running,
    keep_alive: Duration,
    standing: Standing,
) -> Response {
    let rest = futures::stream::unfold(
        (VecDeque::from([first]), running, standing),
        move |(mut pieces, mut running, standing)| async move {
            if let Some(piece) = pieces.pop_front() {
                let rest = (pieces, running, standing);
                return Some((Ok::<_, std::convert::Infallible>(piece), rest));
            }
            let outgoing = tokio::select! {
                biased;
                outgoing = running.next_in_time() => Some(outgoing?),
                () = tokio::time::sleep(standing.silence(keep_alive)) => None,
            };
            let outgoing = match outgoing {
                // It was made while the credential held.
                Some(Outgoing::Response(_)) => outgoing,
                _ if standing.holds() => outgoing,
                _ => Some(running.end(&CREDENTIAL_ENDED)?),
            };
            let bytes = match outgoing {
                Some(Outgoing::Message(message)) => sse::event(&message),
                Some(Outgoing::Response(payload)) => {
                    pieces.extend(sse::event_of(payload.chunks));
                    pieces.pop_front()?
                }
                Some(Outgoing::Paused(_)) | None => sse::KEEP_ALIVE,
            };
            Some((Ok(bytes), (pieces, running, standing)))
        },
    );
    events(Body::from_stream(rest))
}

/// Returns an event stream, with the headers that keep proxies from buffering it.
pub(super) fn events(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, EVENTS);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Returns a stream of changes.
pub(super) fn changes(body: Body) -> Response {
    let mut response = events(body);
    response.extensions_mut().insert(StandingAnswer);
    response
}

/// Returns a JSON answer.
pub(super) fn json(payload: Payload) -> Response {
    let (status, retry_after) = (payload.status, payload.retry_after);
    let body = match <[Bytes; 1]>::try_from(payload.chunks) {
        Ok([only]) => Body::from(only),
        Err(chunks) => Body::new(Pieces::new(chunks)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Returns a JSON answer whose length is not known.
pub(super) fn json_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// Returns an answer without a body.
pub(super) fn bare(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Returns the error answer to a message of the legacy era, or of an unknown one.
pub(super) fn refuse(id: Option<&Id>, fault: &Fault) -> Response {
    json(Payload::fault(id, fault, Era::Legacy))
}
