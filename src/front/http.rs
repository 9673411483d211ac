//! The HTTP endpoint: checks a message, finds out its era, and hands it to the code for that era.

use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use http_body::Body as _;

use crate::caller::{Caller, CallerConnection};
use crate::front::admission::NotAdmitted;
use crate::front::answer::{self, Accepts, CREDENTIAL_ENDED, Recipient};
use crate::front::elsewhere::answer_elsewhere;
use crate::front::forwarding::ForwardedRequest;
use crate::front::patience::{LateAnswer, Patience};
use crate::front::standing::Admission;
use crate::front::state::{Front, METHODS};
use crate::front::{batch, cors, health_check, intake, legacy, modern, startup, unanswered};
use crate::large::take_turn;
use crate::memory::Reservation;
use crate::protocol::era::Version;
use crate::protocol::error::Fault;
use crate::protocol::headers::{LAST_EVENT_ID, VERSION};
use crate::protocol::message::{self, Id, Message, MessageError};
use crate::protocol::method;
use crate::protocol::trace::Trace;
use crate::record::{Record, RequestOrigin};
use crate::relay::Payload;
use crate::session::SessionToken;

/// Adds the request id to answers of other methods than `POST`.
pub(super) async fn with_request_id(
    State(front): State<Arc<Front>>,
    request: Request,
    next: Next,
) -> Response {
    let trace = Trace::of(request.headers());
    let response = next.run(request).await;
    tag_response(&front, &trace, response)
}

/// Counts an answer of the endpoint, and adds the request id to it.
fn tag_response(front: &Front, trace: &Trace, mut response: Response) -> Response {
    front.metrics.responded(response.status());
    trace.answer(response.headers_mut());
    response
}

/// A `POST` whose body has been read.
struct Posted {
    headers: HeaderMap,
    to: Recipient,
    body: Bytes,
}

/// A request that is let in, with its body.
struct Admitted {
    admission: Admission,
    accepts: Accepts,
    body: Bytes,
    _kept: Option<Reservation>,
}

/// Checks the headers of a `POST`, authenticates its sender, and reads its body. Another replica that
/// forwards a request has done that, but for the body.
///
/// # Errors
/// 403 for `Host` or `Origin`, 400 for not exactly one authority, 401 and the like for the credential,
/// and then those of the headers and of the body.
async fn read_admitted(
    front: &Front,
    parts: &Parts,
    body: &mut Body,
    connection: &CallerConnection,
    forwarded: Option<&ForwardedRequest>,
) -> Result<Admitted, NotAdmitted> {
    let admission = match forwarded {
        Some(forwarded) => front.admit_forwarded(forwarded.caller.clone()),
        None => {
            front.check_origin(parts)?;
            front.authenticate(parts, connection).await?
        }
    };
    let accepts = check_before_body(front, parts, body)?;
    let (body, _kept) = intake::read(body, front.intake, &connection.memory).await?;
    let is_of_body = forwarded.map(|forwarded| forwarded.is_of(&body));
    if let Some(is_of_body) = is_of_body {
        front.metrics.count_received(match is_of_body {
            true => "taken",
            false => "refused",
        });
    }
    if is_of_body == Some(false) {
        return Err(Fault::Invalid("it was forwarded with another body").into());
    }
    Ok(Admitted {
        admission,
        accepts,
        body,
        _kept,
    })
}

/// Answers a `POST`: one message, or a batch. Every answer carries the request id.
pub(super) async fn post(
    front: &Arc<Front>,
    mut connection: Arc<CallerConnection>,
    request: Request,
    is_legacy: bool,
    patience: &Patience,
) -> Response {
    let (parts, mut body) = request.into_parts();
    let forwarded = match front.read_forwarded(&parts.headers, &mut connection) {
        Ok(forwarded) => forwarded,
        Err(status) => {
            front.tasks.spawn(intake::discard_rest(body));
            return answer::bare(status);
        }
    };
    let mut trace = Trace::of(&parts.headers);
    let origin = parts.headers.get(header::ORIGIN).cloned();
    let read = read_admitted(front, &parts, &mut body, &connection, forwarded.as_ref()).await;
    let readable = !matches!(&read, Err(refused) if refused.fault.is_of_origin());
    let response = match read {
        Ok(Admitted {
            admission,
            accepts,
            body,
            // It lasts until the request is answered.
            _kept,
        }) => {
            let posted = Posted {
                headers: parts.headers,
                to: Recipient {
                    accepts,
                    admission,
                    connection,
                    presence: is_legacy.then(|| patience.presence()),
                },
                body,
            };
            let response = answer_in_time(front, &posted, &mut trace, patience).await;
            if patience.is_over() {
                // It becomes events of a stream that has its headers already.
                return response;
            }
            response
        }
        Err(refused) => {
            let checked =
                health_check::answer_without_credential(front, &refused, &mut body, &connection);
            match checked.await {
                Some(answered) => answer::json(Payload::ok(vec![answered])),
                None => {
                    front.tasks.spawn(intake::discard_rest(body));
                    refused.respond()
                }
            }
        }
    };
    if !readable {
        return tag_response(front, &trace, response);
    }
    finish(front, &trace, origin, response)
}

/// Adds to an answer the headers that any answer has, and counts it.
pub(super) fn finish(
    front: &Front,
    trace: &Trace,
    origin: Option<HeaderValue>,
    mut response: Response,
) -> Response {
    cors::allow(origin, &mut response);
    tag_response(front, trace, response)
}

/// Answers a message, and does not keep its sender in the dark: an answer that takes long becomes
/// an event stream, and one that takes longer than weir goes on becomes an error. `trace` becomes
/// that of the message.
async fn answer_in_time(
    front: &Arc<Front>,
    posted: &Posted,
    trace: &mut Trace,
    patience: &Patience,
) -> Response {
    let mut heeded = trace.clone();
    let response = {
        let mut answering = pin!(answer_message(
            front,
            &posted.headers,
            &posted.to,
            &posted.body,
            &mut heeded
        ));
        loop {
            // Only a request is left: nothing else makes weir wait.
            let may_stream = posted.to.accepts.streams() && !patience.is_over();
            // A legacy call goes on without its caller.
            let ends = patience.is_over() && posted.to.presence.is_none();
            let standing = ends.then(|| front.standing(&posted.to.admission));
            let silence = standing.as_ref().map_or(front.keep_alive, |standing| {
                standing.silence(front.keep_alive)
            });
            tokio::select! {
                biased;
                response = &mut answering => break response,
                () = front.given_up.cancelled() => {
                    let id = reread(&posted.body, &mut trace.clone());
                    // Its record is written when the work on it is dropped.
                    break answer::refuse(id.as_ref(), &Fault::ShuttingDown);
                }
                () = tokio::time::sleep(silence), if standing.is_some() => {
                    if !standing.is_some_and(|standing| standing.holds()) {
                        let id = reread(&posted.body, &mut trace.clone());
                        break answer::refuse(id.as_ref(), &CREDENTIAL_ENDED);
                    }
                }
                () = tokio::time::sleep(front.keep_alive), if may_stream => {
                    let mut trace = trace.clone();
                    reread(&posted.body, &mut trace);
                    let origin = posted.headers.get(header::ORIGIN).cloned();
                    patience.end(LateAnswer { trace, origin });
                }
            }
        }
    };
    *trace = heeded;
    response
}

/// Returns the id of a request that is still being answered. `trace` becomes that of the request.
fn reread(body: &[u8], trace: &mut Trace) -> Option<Id> {
    match std::str::from_utf8(body).map(Message::parse) {
        Ok(Ok(Message::Request(request))) => {
            trace.heed(request.meta.as_ref());
            Some(request.id)
        }
        Ok(Ok(Message::Notification(_) | Message::Response(_)) | Err(_)) | Err(_) => None,
    }
}

/// Checks what can be checked before the body is read.
///
/// # Errors
/// 413 for the size, 415 for `Content-Type` or `Content-Encoding`, 406 for `Accept`.
fn check_before_body(front: &Front, parts: &Parts, body: &Body) -> Result<Accepts, Fault> {
    if body.size_hint().lower() > front.intake.max_bytes as u64 {
        return Err(Fault::TooLarge);
    }
    let media = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Fault::MediaType);
    }
    if parts
        .headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|coding| !is_identity(coding))
    {
        return Err(Fault::ContentCoding);
    }
    match Accepts::read(&parts.headers) {
        Accepts::Nothing => Err(Fault::NotAcceptable),
        accepts @ (Accepts::Json | Accepts::Events | Accepts::EventsFirst) => Ok(accepts),
    }
}

/// Returns whether a coding leaves the body as it is.
fn is_identity(coding: &HeaderValue) -> bool {
    coding
        .as_bytes()
        .trim_ascii()
        .eq_ignore_ascii_case(b"identity")
}

/// Finds out which era a message belongs to (`basic/versioning.mdx`), and answers it.
async fn answer_message(
    front: &Arc<Front>,
    headers: &HeaderMap,
    to: &Recipient,
    body: &Bytes,
    trace: &mut Trace,
) -> Response {
    if let Some(answered) = startup::check_or_wait(front, body).await {
        return answer::json(Payload::ok(vec![answered]));
    }
    let turn = take_turn(body.len()).await;
    let Ok(text) = std::str::from_utf8(body) else {
        return answer::refuse(None, &Fault::Parse);
    };
    if batch::is_batch(text) {
        drop(turn);
        return batch::post(front, headers, to, text, trace).await;
    }
    let version = headers
        .get(VERSION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let modern_header = Version::claims_modern(version.trim());
    let parsed = Message::parse(text);
    drop(turn);
    let message = match parsed {
        Ok(message) => message,
        Err(MessageError { id, fault }) => {
            return answer::refuse(id.as_ref(), &fault);
        }
    };
    match message {
        Message::Request(request) => {
            trace.heed(request.meta.as_ref());
            let is_modern = modern_header || modern::claims_modern(request.meta.as_ref());
            if is_modern && front.forwarding.is_some() {
                let sent = (body, &*trace);
                let elsewhere =
                    Box::pin(answer_elsewhere(front, headers, to, &request, sent)).await;
                if let Some(answered) = elsewhere {
                    return answered;
                }
            }
            answer_request(
                front,
                headers,
                to,
                &request,
                (body.len(), modern_header),
                trace,
            )
            .await
        }
        Message::Notification(notification) => {
            let sent = (body, &*trace);
            let read = (&notification, modern_header);
            unanswered::handle_notification(front, headers, to, read, sent).await
        }
        Message::Response(response) => {
            unanswered::handle_response(front, headers, to, &response, (body, &*trace)).await
        }
    }
}

/// Answers a request that has so many bytes, and whose header claims to be modern or does not.
async fn answer_request(
    front: &Arc<Front>,
    headers: &HeaderMap,
    to: &Recipient,
    request: &message::Request<'_>,
    (bytes, modern_header): (usize, bool),
    trace: &Trace,
) -> Response {
    let caller = &to.admission.caller;
    let mut record = front.record(caller.clone(), request, bytes, trace);
    let origin = RequestOrigin::http(Some(headers), to.connection.address);
    record.begin_span(request, origin);
    let claims_modern = modern::claims_modern(request.meta.as_ref());
    if request.method == method::INITIALIZE && !claims_modern {
        if modern_header {
            let fault =
                Fault::HeaderMismatch("initialize is legacy, MCP-Protocol-Version is not".into());
            return fail(record, &request.id, &fault);
        }
        return legacy::open_session(front, caller, headers, request, record);
    }
    if modern_header || claims_modern {
        return modern::handle_request(front, headers, to, request, trace, record).await;
    }
    match legacy::find_session(front, caller, headers) {
        Ok(session) => {
            legacy::handle_request(front, &session, to, headers, request, trace, record).await
        }
        Err(fault) => fail(record, &request.id, &fault),
    }
}

/// Refuses a request, and records why.
fn fail(mut record: Record, id: &Id, fault: &Fault) -> Response {
    record.fail(fault);
    answer::refuse(Some(id), fault)
}

/// Answers a `GET`: opens a legacy session's stream.
pub(super) async fn open_stream(
    State(front): State<Arc<Front>>,
    Extension(connection): Extension<Arc<CallerConnection>>,
    Extension(admission): Extension<Admission>,
    headers: HeaderMap,
) -> Response {
    match find_session(&front, &admission.caller, &headers) {
        Ok(_) if !Accepts::read(&headers).streams() => answer::refuse(None, &Fault::NotAcceptable),
        Ok(session) => {
            let last = headers.get(LAST_EVENT_ID);
            let last = last.and_then(|last| last.to_str().ok());
            legacy::open_stream(&front, &session, &admission, &connection, last)
        }
        Err(response) => *response,
    }
}

/// Answers a `DELETE`: ends a legacy session.
pub(super) async fn end_session(
    State(front): State<Arc<Front>>,
    Extension(admission): Extension<Admission>,
    headers: HeaderMap,
) -> Response {
    match find_session(&front, &admission.caller, &headers) {
        Ok(session) => {
            let ended = match &front.platform {
                None => front.sessions.end(&session),
                Some(platform) => {
                    platform.end(&session);
                    front.sessions.drop_state(&session)
                }
            };
            if let Some(ended) = ended {
                front.replays.discard(&ended);
            }
            answer::bare(StatusCode::NO_CONTENT)
        }
        Err(response) => *response,
    }
}

fn find_session(
    front: &Front,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<SessionToken, Box<Response>> {
    legacy::find_session(front, caller, headers)
        .map_err(|fault| Box::new(answer::refuse(None, &fault)))
}

/// Refuses any other method. That includes `HEAD`: axum would answer it as a `GET`, which ends the
/// session's current stream.
pub(super) async fn refuse_method() -> Response {
    let mut response = answer::refuse(None, &Fault::HttpMethod);
    response.headers_mut().insert(header::ALLOW, METHODS);
    response
}
