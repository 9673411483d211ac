//! The reply of one upstream to one request, while it comes.

use std::borrow::Cow;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::bridge::AskKind;
use crate::guard::{Blocked, Findings};
use crate::large::take_turn;
use crate::limits::RateLease;
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::{Message, MessageError, Outcome, Request, Response};
use crate::record::Record;
use crate::relay::back::guarded::{self, GuardedText};
use crate::relay::back::notifications;
use crate::relay::back::outgoing::Outgoing;
use crate::relay::back::received::{Received, Resuming, receive};
use crate::relay::hooks::{Intercepting, ResponseHooks};
use crate::relay::send::{
    CallQuestions, CallTask, CancelOnDrop, Sent, UpstreamStream, is_question,
};
use crate::upstream::{LinkError, watch};

/// A reply of which the upstream has not sent all yet.
pub(super) struct UpstreamReply {
    pub(super) sent: Box<Sent>,
    pub(super) record: Record,
    /// The lease that pays for the answer, where there are limits. Its places are taken until the reply is over.
    lease: Option<RateLease>,
    /// The upstream's stream that is being opened again.
    resuming: Option<Resuming>,
    /// A message that waits for its turn to be parsed.
    pub(super) received: Option<Bytes>,
    /// The result before pseudonyms in it became values, if some did: for the record file.
    pub(super) unrestored: Option<String>,
    /// The response that hooks leave, while they are asked about it.
    intercepting: Option<Intercepting>,
    /// The first question of the upstream that the caller does not declare to take.
    pub(super) lacking: Option<AskKind>,
    /// Whether the upstream has answered.
    pub(super) is_answered: bool,
}

impl UpstreamReply {
    /// Begins with nothing received.
    pub(super) fn new(sent: Box<Sent>, record: Record, lease: Option<RateLease>) -> Self {
        Self {
            sent,
            record,
            lease,
            resuming: None,
            received: None,
            unrestored: None,
            intercepting: None,
            lacking: None,
            is_answered: false,
        }
    }

    /// Returns whether nothing more comes.
    pub(super) fn is_over(&self) -> bool {
        let Sent {
            stream,
            questions,
            task,
            ..
        } = &*self.sent;
        stream.cancel.is_disarmed()
            && questions.as_deref().is_none_or(CallQuestions::is_running)
            && task.as_deref().is_none_or(CallTask::is_running)
    }

    /// Returns the fault of a reply that makes room for others.
    pub(super) fn gave_way(&self) -> Fault {
        LinkError::Busy.to_fault(self.sent.stream.cancel.link.id())
    }

    /// Pays for what the caller gets, where limits count bytes.
    pub(super) fn charge(&mut self, bytes: usize) {
        if let Some(lease) = &self.lease {
            lease.charge(bytes);
        }
        self.record.add_bytes_out(bytes);
    }

    /// Receives, bridges, renders and records until there is something for the caller.
    pub(super) async fn next(&mut self) -> Outgoing {
        loop {
            if let Some(questions) = self.sent.questions.as_deref_mut()
                && !questions.is_running()
            {
                // In a box, for the size of the future of all other calls.
                let event = Box::pin(questions.next()).await;
                match self.follow(event) {
                    Some(outgoing) => return outgoing,
                    None => continue,
                }
            }
            if let Some(task) = self.sent.task.as_deref_mut()
                && !task.is_running()
            {
                let event = Box::pin(task.next()).await;
                match self.follow_task(event) {
                    Some(outgoing) => return outgoing,
                    None => continue,
                }
            }
            if let Err(outgoing) = self.wait_for_message().await {
                return outgoing;
            }
            if let Some(outgoing) = self.step().await {
                return outgoing;
            }
        }
    }

    /// Takes the message that is in place. Returns what the caller gets of it, if that is something.
    async fn step(&mut self) -> Option<Outgoing> {
        // The message stays in place until its turn: `step` may be dropped before it.
        let turn = take_turn(self.received.as_ref().map_or(0, Bytes::len)).await;
        let bytes = self.received.clone()?;
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return Some(self.fail(&LinkError::Nonsense("not UTF-8")));
        };
        if let ControlFlow::Break(outgoing) = self.drive(text) {
            return outgoing;
        }
        if self.intercept(text) {
            self.received = None;
            return None;
        }
        let text = match self.check_answer(text) {
            Ok(text) => text,
            Err(fault) => {
                self.note_answer("result");
                return Some(self.refuse(&fault));
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
            Err(blocked) => return self.block(parsed, blocked),
        };
        let message = match parsed {
            Ok(Message::Response(response)) => return self.finish(&response, &bytes),
            Ok(Message::Notification(notification)) => {
                notifications::in_reply(&mut self.sent, self.record.caller(), notification).await
            }
            // A modern upstream asks by its answer (`basic/patterns/mrtr.mdx`).
            Ok(Message::Request(_)) if self.sent.stream.cancel.peer.era() == Era::Modern => {
                return Some(self.fail(&LinkError::SentRequest));
            }
            Ok(Message::Request(request)) => self.ask(&request).await,
            Err(error) => return Some(self.fail(&LinkError::no_message(&error))),
        };
        message.map(Outgoing::Message)
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
            Received::Failed(error) if self.asks_again(&error) => Ok(0),
            Received::Failed(error) => Err(self.fail(&error)),
        }
    }

    /// Begins to ask hooks about a message, if it is a response that they see.
    fn intercept(&mut self, text: &str) -> bool {
        // Questions to callers are no responses, in either era: hooks see what comes of them.
        if self.sent.stream.exchange.is_question() {
            return false;
        }
        if self.sent.hooks.is_some() && self.sent.questions.is_some() && has_question(text) {
            return false;
        }
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
            let declared = self.sent.declared;
            let kind = declared.and_then(|_| AskKind::of(&request.method, &request.params));
            let is_lacking =
                |kind: &AskKind| declared.is_some_and(|declared| !declared.takes(*kind));
            self.lacking = self.lacking.or(kind.filter(is_lacking));
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
        parsed: Result<Message<'_>, MessageError>,
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
}

impl std::fmt::Debug for UpstreamReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamReply")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

/// Returns whether a message is an answer that is a question.
fn has_question(text: &str) -> bool {
    let parsed = Message::parse(text);
    matches!(parsed, Ok(Message::Response(Response { outcome: Outcome::Result(result), .. })) if is_question(result))
}
