//! The way back to the caller. The messages of an upstream are received, put into the caller's era,
//! written with the caller's ids, and recorded: one at a time, in order. What the caller gets of an
//! upstream is made here and nowhere else.

mod changes;
mod guarded;
mod notifications;
mod outgoing;
mod resume;
mod unasked;

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use crate::guard::{Blocked, Findings};
use crate::large::take_turn;
use crate::limits::RateLease;
use crate::protocol::error::{Blame, Fault};
use crate::protocol::message::{self, Message, Outcome, Request, Response};
use crate::record::{Record, RecordedData};
use crate::relay::send::{CancelOnDrop, Sent, UpstreamStream};
use crate::relay::{Payload, platform};
use crate::upstream::{LinkError, watch};

pub use changes::{ChangeEvent, Changes, ListKinds};
use guarded::GuardedText;
pub(super) use guarded::towards_caller;
pub use outgoing::{Outgoing, Pause};

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

/// The origin of a reply.
#[derive(Debug)]
pub(super) enum ReplySource {
    /// A result that weir has made itself.
    Result(Payload),
    /// An upstream's error, in answer to a request that weir sent on behalf of the caller.
    Refusal(Payload),
    /// A fault of weir's own in the form of a tool's result.
    ToolError(Payload, Fault),
    /// An upstream that is still answering, and what the request took of limits.
    Upstream(Box<Sent>, Option<RateLease>),
}

/// A reply of which the upstream has not sent all yet.
struct UpstreamReply {
    sent: Box<Sent>,
    record: Record,
    /// The lease that pays for the answer, where there are limits. Its places are taken until the reply is over.
    lease: Option<RateLease>,
    /// The upstream's stream that is being opened again.
    resuming: Option<resume::Resuming>,
    /// A message that waits for its turn to be parsed.
    received: Option<Bytes>,
    /// The result before pseudonyms in it became values, if some did: for the record file.
    unrestored: Option<String>,
}

/// The next thing that came from an upstream for a reply.
enum Received {
    Message(Bytes),
    Paused(Pause),
    Failed(LinkError),
}

/// An upstream's answer in the caller's era.
enum Bridged<'a> {
    /// Its result: the upstream's own bytes, or changed ones.
    Result(Cow<'a, str>),
    /// Its error likewise, with the HTTP status of a modern answer, and the party to blame if it is
    /// an error of the platform in front of the upstream.
    Error {
        text: Cow<'a, str>,
        status: StatusCode,
        blame: Option<Blame>,
    },
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
            let length = match &self.received {
                Some(bytes) => bytes.len(),
                None => match self.receive().await {
                    Received::Message(bytes) => self.received.insert(bytes).len(),
                    Received::Paused(pause) => return Outgoing::Paused(pause),
                    Received::Failed(error) => return self.fail(&error),
                },
            };
            // The message stays in place until its turn: `next` may be dropped before it.
            let turn = take_turn(length).await;
            let Some(bytes) = self.received.clone() else {
                continue;
            };
            let Ok(text) = std::str::from_utf8(&bytes) else {
                return self.fail(&LinkError::Nonsense("not UTF-8"));
            };
            let parsed = Message::parse(text);
            drop(turn);
            let mut guarded = match &parsed {
                Ok(message) => self.guard(message, text).await,
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

    /// Waits for the next message of the upstream. A stream that ended or broke before the response
    /// is opened again if that is possible.
    async fn receive(&mut self) -> Received {
        if let Some(resuming) = &mut self.resuming {
            // Awaited in place: when `next` is dropped, the future stays here and goes on later.
            let resumed = resuming.await;
            self.resuming = None;
            match resumed {
                Ok(exchange) => self.sent.stream.exchange = exchange,
                Err(error) => return Received::Failed(error),
            }
        }
        match self.sent.stream.exchange.next().await {
            Ok(Some(bytes)) => Received::Message(bytes),
            Ok(None) => self
                .resume()
                .unwrap_or(Received::Failed(LinkError::Nonsense(
                    "ended without an answer",
                ))),
            Err(error @ LinkError::Broken(_)) => self.resume().unwrap_or(Received::Failed(error)),
            Err(error) => Received::Failed(error),
        }
    }

    /// Begins to open the upstream's stream again; `None` if that is not possible.
    fn resume(&mut self) -> Option<Received> {
        let (resuming, pause) = resume::begin(&self.sent.stream)?;
        self.resuming = Some(resuming);
        Some(Received::Paused(pause))
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
                notifications::request(session, caller, link, peer, guard, request).await
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
        let guarded = guarded::guard_message(guard, message, text, &mut findings).await;
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
            Ok(Message::Response(_)) => {
                self.note_answer();
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

    /// Notes that the upstream has answered.
    fn note_answer(&mut self) {
        let stream = &mut self.sent.stream;
        stream.cancel.disarm();
        if let Some(slot) = &mut stream.cancel.slot {
            slot.record_answer();
        }
    }

    /// Ends the reply with the upstream's response.
    async fn finish(&mut self, response: &Response<'_>) -> Outgoing {
        self.note_answer();
        self.sent.stream.span.end(response.outcome);
        self.record.note_answer(match response.outcome {
            Outcome::Result(_) => "result",
            Outcome::Error(_) => "error",
        });
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
