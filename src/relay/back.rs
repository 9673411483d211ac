//! The way back to the caller. The messages of an upstream are received, put into the caller's era,
//! written with the caller's ids, and recorded: one at a time, in order. What the caller gets of an
//! upstream is made here and nowhere else.

mod changes;
mod guarded;
mod notifications;
mod outgoing;
mod received;
mod unasked;

use std::borrow::Cow;

use bytes::Bytes;
use tokio::time::Instant;

use crate::guard::{Blocked, Findings};
use crate::large::take_turn;
use crate::limits::RateLease;
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Message, Outcome, Request, Response};
use crate::record::{Record, RecordedData};
use crate::relay::hooks::{Intercepting, ResponseHooks};
use crate::relay::send::{CancelOnDrop, Sent, UpstreamStream};
use crate::relay::{Payload, platform};
use crate::upstream::{LinkError, watch};

pub use changes::{ChangeEvent, Changes, ListKinds};
use guarded::GuardedText;
pub(super) use guarded::towards_caller;
pub(super) use outgoing::ReplySource;
pub use outgoing::{Outgoing, Pause};

use outgoing::Bridged;
use received::{Received, Resuming, receive};

/// The answer to one request: any number of notifications and requests, then one response.
///
/// The next message is read from the upstream when the caller's connection asks for it, so a slow
/// caller slows only its own call. Dropped before its end, it cancels the request at the upstream.
#[derive(Debug)]
pub struct Reply {
    state: State,
}

#[derive(Debug)]
enum State {
    Ready(ReplySource, Record),
    Upstream(UpstreamReply),
    Done,
}

/// A reply of which the upstream has not sent all yet.
struct UpstreamReply {
    sent: Box<Sent>,
    record: Record,
    /// The lease that pays for the answer, where there are limits. Its places are taken until the reply is over.
    lease: Option<RateLease>,
    /// The upstream's stream that is being opened again.
    resuming: Option<Resuming>,
    /// A message that waits for its turn to be parsed.
    received: Option<Bytes>,
    /// The result before pseudonyms in it became values, if some did: for the record file.
    unrestored: Option<String>,
    /// The response that hooks leave, while they are asked about it.
    intercepting: Option<Intercepting>,
    /// Whether the upstream has answered.
    is_answered: bool,
}

impl Reply {
    /// Begins the way back of a request.
    pub(super) fn new(source: ReplySource, record: Record) -> Self {
        let state = match source {
            ReplySource::Result(_) | ReplySource::Refusal(_) | ReplySource::ToolError(..) => {
                State::Ready(source, record)
            }
            ReplySource::Upstream(sent, lease) => State::Upstream(UpstreamReply {
                sent,
                record,
                lease,
                resuming: None,
                received: None,
                unrestored: None,
                intercepting: None,
                is_answered: false,
            }),
        };
        Self { state }
    }

    /// Returns the next message for the caller; `None` when there is no more.
    pub async fn next(&mut self) -> Option<Outgoing> {
        if let State::Upstream(reply) = &mut self.state {
            let outgoing = reply.next().await;
            reply.charge(outgoing.len());
            if reply.is_over() {
                self.state = State::Done;
            }
            return Some(outgoing);
        }
        match std::mem::replace(&mut self.state, State::Done) {
            State::Ready(ReplySource::Result(payload), mut record) => {
                record.succeed();
                record.add_bytes_out(payload.len());
                Some(Outgoing::Response(payload))
            }
            State::Ready(ReplySource::Refusal(payload), mut record) => {
                record.refuse(None);
                record.add_bytes_out(payload.len());
                Some(Outgoing::Response(payload))
            }
            State::Ready(ReplySource::ToolError(payload, fault), mut record) => {
                record.fail(&fault);
                record.add_bytes_out(payload.len());
                Some(Outgoing::Response(payload))
            }
            State::Ready(ReplySource::Upstream(..), _) | State::Upstream(_) | State::Done => None,
        }
    }

    /// Ends a reply whose caller is gone, because others wait for its place.
    pub fn give_way(&mut self) -> Option<Outgoing> {
        let State::Upstream(reply) = &self.state else {
            return None;
        };
        self.abandon(&LinkError::Busy.to_fault(reply.sent.stream.cancel.link.id()))
    }

    /// Ends a reply that its upstream has not completed: returns an error response, and cancels the
    /// request there. Other replies need none, because their response is ready at once.
    pub fn abandon(&mut self, fault: &Fault) -> Option<Outgoing> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Upstream(mut reply) => Some(reply.refuse(fault)),
            State::Ready(..) | State::Done => None,
        }
    }
}

impl UpstreamReply {
    fn is_over(&self) -> bool {
        self.sent.stream.cancel.is_disarmed()
    }

    /// Pays for what the caller gets, where limits count bytes.
    fn charge(&mut self, bytes: usize) {
        if let Some(lease) = &self.lease {
            lease.charge(bytes);
        }
        self.record.add_bytes_out(bytes);
    }

    /// Receives, bridges, renders and records until there is something for the caller.
    async fn next(&mut self) -> Outgoing {
        loop {
            let length = match self.wait_for_message().await {
                Ok(length) => length,
                Err(outgoing) => return outgoing,
            };
            // The message stays in place until its turn: `next` may be dropped before it.
            let turn = take_turn(length).await;
            let Some(bytes) = self.received.clone() else {
                continue;
            };
            let Ok(text) = std::str::from_utf8(&bytes) else {
                return self.fail(&LinkError::Nonsense("not UTF-8"));
            };
            if self.intercept(text) {
                self.received = None;
                continue;
            }
            let text = match self.check_answer(text) {
                Ok(text) => text,
                Err(fault) => {
                    self.note_answer("result");
                    return self.refuse(&fault);
                }
            };
            let parsed = Message::parse(&text);
            drop(turn);
            let mut guarded = match &parsed {
                Ok(message) => self.guard(message, &text).await,
                Err(_) => Ok(None),
            };
            self.received = None;
            if let Ok(Some(changed)) = &mut guarded {
                self.unrestored = changed.unrestored.take();
            }
            let parsed = match &guarded {
                Ok(None) => parsed,
                Ok(Some(changed)) => Message::parse(&changed.text),
                Err(blocked) => match self.block(parsed, blocked) {
                    Some(outgoing) => return outgoing,
                    None => continue,
                },
            };
            let message = match parsed {
                Ok(Message::Response(response)) => return self.finish(&response).await,
                Ok(Message::Notification(notification)) => {
                    notifications::in_reply(&mut self.sent, self.record.caller(), notification)
                        .await
                }
                Ok(Message::Request(request)) => self.ask(&request).await,
                Err(error) => return self.fail(&LinkError::no_message(&error)),
            };
            if let Some(message) = message {
                return Outgoing::Message(message);
            }
        }
    }

    /// Waits until a message is in place: of the upstream, or of the hooks that were asked about it.
    /// Returns its length, or what the caller gets without a message.
    async fn wait_for_message(&mut self) -> Result<usize, Outgoing> {
        if let Some(intercepting) = &mut self.intercepting {
            // Awaited in place: when `next` is dropped, the future stays here and goes on later.
            let (answered, notes) = intercepting.await;
            self.intercepting = None;
            notes.write(&mut self.record);
            match answered {
                Ok(message) => self.received = Some(message),
                Err(fault) => return Err(self.refuse(&fault)),
            }
        }
        if let Some(bytes) = &self.received {
            return Ok(bytes.len());
        }
        match receive(&mut self.sent.stream, &mut self.resuming).await {
            Received::Message(bytes) => Ok(self.received.insert(bytes).len()),
            Received::Paused(pause) => Err(Outgoing::Paused(pause)),
            Received::Failed(error) => Err(self.fail(&error)),
        }
    }

    /// Begins to ask hooks about a message, if it is a response that they see.
    fn intercept(&mut self, text: &str) -> bool {
        let deadline = self.sent.stream.exchange.deadline();
        let Some((intercepting, status)) =
            ResponseHooks::intercept(&mut self.sent.hooks, text, deadline)
        else {
            return false;
        };
        self.intercepting = Some(intercepting);
        self.note_answer(status);
        true
    }

    /// Relays a request of the upstream to the caller. If the caller cannot be asked, weir answers
    /// the request itself, so that the upstream does not wait.
    async fn ask(&mut self, request: &Request<'_>) -> Option<Bytes> {
        let UpstreamStream {
            cancel, requests, ..
        } = &mut self.sent.stream;
        let CancelOnDrop { link, peer, .. } = cancel;
        let asked = match requests.session() {
            Some(session) => {
                let caller = self.record.caller();
                let guard = self.sent.guard.as_ref();
                let asked = notifications::request(session, caller, link, peer, guard, request);
                Box::pin(asked).await
            }
            None => None,
        };
        let Some((number, message)) = asked else {
            watch::answer_request(link, peer, &request.id, &request.method);
            return None;
        };
        requests.add(number);
        Some(message)
    }

    /// Applies the rules for data to a message. Returns its text if it changes.
    ///
    /// # Errors
    /// The message may not pass.
    async fn guard(
        &mut self,
        message: &Message<'_>,
        text: &str,
    ) -> Result<Option<GuardedText>, Blocked> {
        let Some(guard) = &self.sent.guard else {
            return Ok(None);
        };
        // Counted at the end: the future may be dropped before, and made again.
        let mut findings = Findings::default();
        // In a box, for the size of the future of calls without rules.
        let guarded = guarded::guard_message(guard, message, text, &mut findings);
        let guarded = Box::pin(guarded).await;
        self.record.add_findings(findings);
        guarded
    }

    /// Keeps a message from the caller: returns an error in place of a response. A notification is
    /// dropped, and a request is answered for the caller.
    fn block(
        &mut self,
        parsed: Result<Message<'_>, message::MessageError>,
        blocked: &Blocked,
    ) -> Option<Outgoing> {
        match parsed {
            Ok(Message::Response(response)) => {
                self.note_answer(response.outcome.as_str());
                let rule = blocked.rule.clone();
                Some(self.refuse(&Fault::BlockedAnswer { rule }))
            }
            Ok(Message::Request(request)) => {
                let CancelOnDrop { link, peer, .. } = &self.sent.stream.cancel;
                watch::answer_request(link, peer, &request.id, &request.method);
                None
            }
            Ok(Message::Notification(_)) | Err(_) => None,
        }
    }

    /// Checks the result of a tool, if the message has one, before anything else looks at it. There is
    /// no wait here: the message has its turn.
    ///
    /// # Errors
    /// The result is refused.
    fn check_answer<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, Fault> {
        let link = &self.sent.stream.cancel.link;
        match &self.sent.checks {
            Some(checks) => checks.check_message(text, link, self.record.request_id()),
            None => Ok(Cow::Borrowed(text)),
        }
    }

    /// Notes that the upstream has answered: `result` or `error`. What hooks make of it later is no
    /// answer of the upstream.
    fn note_answer(&mut self, status: &'static str) {
        if !std::mem::replace(&mut self.is_answered, true) {
            self.record.note_answer(status);
        }
        let stream = &mut self.sent.stream;
        stream.cancel.disarm();
        if let Some(slot) = &mut stream.cancel.slot {
            slot.record_answer();
        }
    }

    /// Ends the reply with the upstream's response.
    async fn finish(&mut self, response: &Response<'_>) -> Outgoing {
        self.note_answer(response.outcome.as_str());
        self.sent.stream.span.end(response.outcome);
        notifications::keep_task_token(&self.sent, response);
        match self.bridge(response).await {
            Ok(bridged) => self.render(bridged),
            Err(fault) => self.refuse(&fault),
        }
    }

    /// Puts an answer into the caller's era. It is async for checks of an answer's data, which
    /// belong here and may have to wait.
    async fn bridge<'a>(&mut self, response: &Response<'a>) -> Result<Bridged<'a>, Fault> {
        let Sent {
            stream,
            bridge,
            named_resources,
            ..
        } = &mut *self.sent;
        let link = &stream.cancel.link;
        match response.outcome {
            Outcome::Result(result) => {
                if let Some(named) = named_resources {
                    named.note(result, link.id(), Instant::now());
                }
                let changed = bridge.result(result, link.id(), self.record.caller())?;
                Ok(Bridged::Result(
                    changed.map_or(Cow::Borrowed(result), Cow::Owned),
                ))
            }
            Outcome::Error(error) => {
                let request_id = self.record.request_id();
                let blame = platform::note(error, &mut stream.cancel, request_id);
                let link = &stream.cancel.link;
                let (changed, status) = bridge.error(error, link.id());
                Ok(Bridged::Error {
                    text: changed.map_or(Cow::Borrowed(error), Cow::Owned),
                    status,
                    blame,
                })
            }
        }
    }

    /// Writes an answer for the caller, and records it.
    fn render(&mut self, bridged: Bridged<'_>) -> Outgoing {
        let id = &self.sent.id;
        let payload = match bridged {
            Bridged::Result(result) => {
                self.record.succeed();
                self.record.set_result(RecordedData {
                    sent: &result,
                    unrestored: self.unrestored.as_deref(),
                    guard: self.sent.guard.as_ref(),
                });
                Payload::ok(vec![message::result(id, &result)])
            }
            Bridged::Error {
                text: error,
                status,
                blame,
            } => {
                self.record.refuse(blame);
                self.record.set_error(&error);
                Payload {
                    status,
                    chunks: vec![message::error(Some(id), &error)],
                    retry_after: None,
                }
            }
        };
        match payload.keep(&self.sent.memory) {
            Ok(kept) => Outgoing::Response(kept),
            Err(over) => self.fail(&over.into()),
        }
    }

    /// Returns an error of weir's own, and records it.
    fn refuse(&mut self, fault: &Fault) -> Outgoing {
        self.record.fail(fault);
        let payload = Payload::fault(Some(&self.sent.id), fault, self.sent.bridge.caller);
        Outgoing::Response(payload)
    }

    /// Ends the reply because the upstream gave no usable answer.
    fn fail(&mut self, error: &LinkError) -> Outgoing {
        self.sent.stream.span.fail(error);
        let cancel = &mut self.sent.stream.cancel;
        self.record.note_answer(error.public_text());
        self.record.set_failure(error.kind());
        let request_id = self.record.request_id();
        tracing::warn!(upstream = %cancel.link.id(), reason = %error.full_text(), request_id, "call failed");
        cancel.record_failure(error);
        if error.may_still_run() {
            cancel.cancel("weir gave up", ());
        }
        let fault = error.to_fault(cancel.link.id());
        cancel.disarm();
        self.refuse(&fault)
    }
}

impl std::fmt::Debug for UpstreamReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamReply")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}
