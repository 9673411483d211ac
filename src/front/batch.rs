//! Batches: arrays of messages. Only 2025-03-26 has them, and there every receiver must accept them
//! (`basic/index.mdx#batching`).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{BoxStream, SelectAll, Stream};
use http::{HeaderMap, StatusCode};

use crate::caller::Presence;
use crate::front::answer::{self, Accepts, Recipient};
use crate::front::legacy::{self, Begun};
use crate::front::modern;
use crate::front::running::Running;
use crate::front::standing::Standing;
use crate::front::state::Front;
use crate::json::{self, Object};
use crate::protocol::era::{Era, Version};
use crate::protocol::error::Fault;
use crate::protocol::message::{Message, MessageError};
use crate::protocol::trace::Trace;
use crate::protocol::{method, sse};
use crate::record::RequestOrigin;
use crate::relay::{self, Outgoing, Payload};
use crate::session::SessionToken;

/// At most this many messages are in one batch.
const MAX_MESSAGES: usize = 100;

/// The most bytes of answers that are kept until the form of the whole is known.
const MAX_GATHERED: usize = 64 << 10;

/// The text between two answers.
const COMMA: Bytes = Bytes::from_static(b",");

/// The error for a batch outside of a session whose version has batches.
const WRONG_SESSION: Fault = Fault::Invalid("only sessions of 2025-03-26 take batches");

/// Returns whether a body or a line is meant as a batch.
pub(super) fn is_batch(text: &str) -> bool {
    json::without_bom(text).trim_start().starts_with('[')
}

/// Returns the messages of a batch in a session of this version; `None` is no session.
///
/// # Errors
/// The batch is no JSON array, is empty or too long, has a message that may not be in a batch, or
/// the version has no batches.
pub(super) fn parse_items(text: &str, version: Option<Version>) -> Result<Vec<&str>, Fault> {
    let items =
        json::array_up_to(json::without_bom(text), MAX_MESSAGES + 1).map_err(|_| Fault::Parse)?;
    let envelopes = || items.iter().filter_map(|item| Object::parse(item).ok());
    if envelopes().any(|envelope| modern::envelope_claims_modern(&envelope)) {
        return Err(Fault::Invalid("modern requests are not batched"));
    }
    if version != Some(Version::V2025_03_26) {
        return Err(WRONG_SESSION);
    }
    if items.is_empty() {
        return Err(Fault::Invalid("an empty batch"));
    }
    if items.len() > MAX_MESSAGES {
        return Err(Fault::Invalid("more than 100 messages in a batch"));
    }
    let initializes =
        |envelope: Object<'_>| envelope.string("method").as_deref() == Some(method::INITIALIZE);
    if envelopes().any(initializes) {
        return Err(Fault::Invalid("initialize cannot be part of a batch"));
    }
    Ok(items)
}

/// Answers a batch over HTTP. Its requests run side by side. Their responses are one JSON array if
/// nothing else is sent; they are one event each if a notification or request comes before the last
/// of them, or if they take long.
pub(super) async fn post(
    front: &Arc<Front>,
    headers: &HeaderMap,
    to: &Recipient,
    text: &str,
    trace: &Trace,
) -> Response {
    let session = legacy::find_session(front, &to.admission.caller, headers);
    let version = session.as_ref().ok().map(|session| session.version);
    let (items, session) = match (parse_items(text, version), session) {
        (Ok(items), Ok(session)) => (items, session),
        // A session id that is not valid matters more than its version, which is unknown. Without a
        // session id, the message is that batches need a session.
        (Err(WRONG_SESSION), Err(fault)) if fault != Fault::NoSession => {
            return answer::refuse(None, &fault);
        }
        (Err(fault), _) | (Ok(_), Err(fault)) => return answer::refuse(None, &fault),
    };
    // They are kept only where a hook wants to see some of them.
    let sees_headers = front.live.load().hooks.sees_headers();
    let headers = sees_headers.then(|| Arc::new(headers.clone()));
    let answer = |item: &&str| {
        let headers = headers.as_ref();
        answer_item(front, &session, to, headers, trace, (*item).to_owned())
    };
    let answers = BatchAnswers {
        rest: Some(PacedItems {
            unread: items.iter().map(answer).collect(),
            running: SelectAll::new(),
        }),
        front: Arc::clone(front),
        presence: to.presence.clone(),
        standing: front.standing(&to.admission),
    };
    gather(answers, to.accepts).await
}

/// Waits until it is known whether the answer is an array or a stream, and returns that. Of what is
/// answered meanwhile, little is kept: large answers are sent as they come, in either form.
async fn gather(mut answers: BatchAnswers, accepts: Accepts) -> Response {
    let mut ready: Vec<Payload> = Vec::new();
    let mut bytes = 0;
    let keep_alive = answers.front.keep_alive;
    let silence = tokio::time::sleep(keep_alive);
    tokio::pin!(silence);
    let first = loop {
        tokio::select! {
            biased;
            outgoing = answers.next() => match outgoing {
                Some(Outgoing::Response(payload)) => {
                    bytes += payload.len();
                    ready.push(payload);
                    if bytes > MAX_GATHERED {
                        break None;
                    }
                }
                Some(Outgoing::Message(message)) if accepts.streams() => {
                    break Some(sse::event(&message));
                }
                Some(Outgoing::Message(_) | Outgoing::Paused(_)) => {}
                None => return join_answers(ready),
            },
            () = &mut silence, if accepts.streams() => break Some(sse::KEEP_ALIVE),
        }
    };
    if !accepts.streams() {
        return stream_array(ready, answers);
    }
    let ready = ready.into_iter();
    let mut begun: VecDeque<Bytes> = ready.flat_map(|one| sse::event_of(one.chunks)).collect();
    begun.extend(first);
    stream_events(begun, answers)
}

/// Sends the answers as events, and what comes before them.
fn stream_events(begun: VecDeque<Bytes>, answers: BatchAnswers) -> Response {
    let keep_alive = answers.front.keep_alive;
    let events = futures::stream::unfold(
        (begun, answers),
        move |(mut begun, mut answers)| async move {
            if let Some(event) = begun.pop_front() {
                return Some((Ok::<_, Infallible>(event), (begun, answers)));
            }
            let silence = answers.standing.silence(keep_alive);
            let event = tokio::select! {
                biased;
                outgoing = answers.next() => match outgoing? {
                    Outgoing::Message(message) => sse::event(&message),
                    Outgoing::Response(payload) => {
                        begun.extend(sse::event_of(payload.chunks));
                        begun.pop_front()?
                    }
                    Outgoing::Paused(_) => sse::KEEP_ALIVE,
                },
                () = tokio::time::sleep(silence) => sse::KEEP_ALIVE,
            };
            if !answers.standing.holds() {
                return None;
            }
            Some((Ok(event), (begun, answers)))
        },
    );
    answer::events(Body::from_stream(events))
}

/// Sends the answers as one JSON array, each as soon as it is there. Some are `ready`.
fn stream_array(ready: Vec<Payload>, answers: BatchAnswers) -> Response {
    let pieces = join_pieces(ready);
    let start = (pieces, Some(answers));
    let pieces = futures::stream::unfold(start, |(mut pieces, mut answers)| async move {
        loop {
            if let Some(piece) = pieces.pop_front() {
                return Some((Ok::<_, Infallible>(piece), (pieces, answers)));
            }
            match answers.as_mut()?.next().await {
                Some(Outgoing::Response(payload)) => {
                    pieces.push_back(COMMA);
                    pieces.extend(payload.chunks);
                }
                Some(Outgoing::Message(_) | Outgoing::Paused(_)) => {}
                None => {
                    pieces.push_back(Bytes::from_static(b"]"));
                    answers = None;
                }
            }
        }
    });
    answer::json_stream(Body::from_stream(pieces))
}

/// Returns all responses as one array. There may be none: if the batch has no requests, or all of
/// them were cancelled.
fn join_answers(answers: Vec<Payload>) -> Response {
    if answers.is_empty() {
        return answer::bare(StatusCode::ACCEPTED);
    }
    let mut body = join_pieces(answers);
    body.push_back(Bytes::from_static(b"]"));
    let body = Vec::from(body).concat();
    answer::json(Payload::ok(vec![body.into()]))
}

/// Returns the pieces of an array of these answers, without its end.
fn join_pieces(answers: Vec<Payload>) -> VecDeque<Bytes> {
    let mut pieces = VecDeque::new();
    for answer in answers {
        pieces.push_back(COMMA);
        pieces.extend(answer.chunks);
    }
    if let Some(first) = pieces.front_mut() {
        *first = Bytes::from_static(b"[");
    }
    pieces
}

/// The messages for the caller of a batch, from all of its requests as they come. Dropped early,
/// the requests go on in the background: in legacy a disconnect cancels nothing.
struct BatchAnswers {
    rest: Option<PacedItems>,
    front: Arc<Front>,
    presence: Option<Presence>,
    standing: Standing,
}

impl Stream for BatchAnswers {
    type Item = Outgoing;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Outgoing>> {
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let next = std::task::ready!(rest.poll_next_unpin(context));
        if next.is_none() {
            self.rest = None;
        }
        Poll::Ready(next)
    }
}

/// The messages of a batch, side by side. They begin one after the other, with a turn for others in
/// between: callers with one message each do not wait until all of a batch have begun.
struct PacedItems {
    unread: VecDeque<BoxStream<'static, Outgoing>>,
    running: SelectAll<BoxStream<'static, Outgoing>>,
}

impl Stream for PacedItems {
    type Item = Outgoing;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Outgoing>> {
        if let Some(item) = self.unread.pop_front() {
            self.running.push(item);
        }
        let next = self.running.poll_next_unpin(context);
        if self.unread.is_empty() || matches!(next, Poll::Ready(Some(_))) {
            return next;
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for BatchAnswers {
    fn drop(&mut self) {
        if let (Some(mut rest), Some(presence)) = (self.rest.take(), self.presence.take()) {
            if presence.is_only_waiting() {
                return;
            }
            presence.leave_for_good();
            let shutdown = self.front.shutdown.clone();
            self.front.tasks.spawn(async move {
                let rest = async { while rest.next().await.is_some() {} };
                tokio::select! {
                    _ = shutdown.run_until_cancelled(rest) => {}
                    () = presence.given_up() => {}
                }
            });
        }
    }
}

/// The state of one message of a batch.
#[allow(
    clippy::large_enum_variant,
    reason = "moved once or twice; a box would cost each call an allocation"
)]
enum ItemState {
    Unread(String),
    Running(Running),
    Done,
}

/// Handles one message of a batch and returns what its caller gets.
fn answer_item(
    front: &Arc<Front>,
    session: &SessionToken,
    to: &Recipient,
    headers: Option<&Arc<HeaderMap>>,
    trace: &Trace,
    text: String,
) -> BoxStream<'static, Outgoing> {
    let (front, session) = (Arc::clone(front), session.clone());
    let (to, headers, trace) = (to.clone(), headers.cloned(), trace.clone());
    futures::stream::unfold(ItemState::Unread(text), move |stage| {
        let (front, session) = (Arc::clone(&front), session.clone());
        let (to, headers, trace) = (to.clone(), headers.clone(), trace.clone());
        async move {
            let mut running = match stage {
                ItemState::Unread(text) => {
                    let headers = headers.as_deref();
                    match begin(&front, &session, &to, headers, trace, &text).await {
                        Begun::Answered(payload) => {
                            return Some((Outgoing::Response(payload), ItemState::Done));
                        }
                        Begun::Running(running, _) => running,
                        Begun::Over => return None,
                    }
                }
                ItemState::Running(running) => running,
                ItemState::Done => return None,
            };
            let outgoing = running.next_in_time().await?;
            Some((outgoing, ItemState::Running(running)))
        }
    })
    .boxed()
}

async fn begin(
    front: &Arc<Front>,
    session: &SessionToken,
    to: &Recipient,
    headers: Option<&HeaderMap>,
    mut trace: Trace,
    text: &str,
) -> Begun {
    match Message::parse(text) {
        Ok(Message::Request(request)) => {
            trace.heed(request.meta.as_ref());
            let mut record =
                front.record(to.admission.caller.clone(), &request, text.len(), &trace);
            record.begin_span(&request, RequestOrigin::http(None, to.connection.address));
            legacy::begin(front, session, to, headers, &request, &trace, record).await
        }
        Ok(Message::Notification(notification)) => {
            let share = to.share();
            legacy::handle_notification(&front.sessions.state(session, share), &notification).await;
            Begun::Over
        }
        Ok(Message::Response(response)) => {
            let share = to.share();
            let state = front.sessions.state(session, share);
            relay::answer_upstream(&state, &to.admission.caller, &response).await;
            Begun::Over
        }
        Err(MessageError { id, fault }) => {
            Begun::Answered(Payload::fault(id.as_ref(), &fault, Era::Legacy))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Items that count themselves when they begin, and have one message after a while.
    fn items(count: usize, begun: &Arc<AtomicUsize>) -> PacedItems {
        let item = |_| {
            let begun = Arc::clone(begun);
            let message = async move {
                begun.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Outgoing::Message(Bytes::from_static(b"{}"))
            };
            futures::stream::once(message).boxed()
        };
        PacedItems {
            unread: (0..count).map(item).collect(),
            running: SelectAll::new(),
        }
    }

    #[tokio::test]
    async fn the_messages_of_a_batch_begin_one_after_the_other_and_all_are_answered() {
        let begun = Arc::new(AtomicUsize::new(0));
        let mut paced = items(50, &begun);
        for expected in 1..=3 {
            assert!(futures::poll!(paced.next()).is_pending());
            assert_eq!(begun.load(Ordering::Relaxed), expected);
        }
        assert_eq!(paced.count().await, 50);
        assert_eq!(begun.load(Ordering::Relaxed), 50);
        assert_eq!(items(0, &begun).count().await, 0);
    }
}
