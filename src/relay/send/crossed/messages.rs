//! The messages of the upstream in the session of one call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::call::{CallEnd, CrossedCall};
use super::phase::CallPhase;
use super::source::CallSource;
use crate::bridge::AskKind;
use crate::metrics::AskOutcome;
use crate::protocol::message::{self, Id, Message, Notification, Outcome, Request};
use crate::protocol::method;
use crate::record::is_tool_error;
use crate::relay::send::notices::post_answer;
use crate::upstream::{LinkError, RelayedMessage};

/// How long weir waits for more questions after the first, so that those that a server asks at once are
/// one round.
pub(super) const GATHER: Duration = Duration::from_millis(20);

impl CrossedCall {
    /// Takes a message of the upstream.
    pub(super) async fn receive(&mut self, bytes: &Bytes, is_outside: bool) -> Option<CallEnd> {
        let parsed = match std::str::from_utf8(bytes) {
            Ok(text) => Message::parse(text).map_err(|error| LinkError::no_message(&error)),
            Err(_) => Err(LinkError::Nonsense("not UTF-8")),
        };
        match parsed {
            Ok(Message::Response(_)) if is_outside => None,
            Ok(Message::Response(response)) => {
                let outcome = response.outcome;
                self.take_answer(bytes, outcome)
            }
            Ok(Message::Request(request)) => {
                self.take_request(&request, is_outside);
                None
            }
            Ok(Message::Notification(notification)) => {
                self.take_notification(&notification, bytes).await
            }
            Err(_) if is_outside => None,
            Err(error) => self.fail(error),
        }
    }

    /// Takes a request of the upstream: a question, or one that weir answers.
    fn take_request(&mut self, request: &Request<'_>, is_outside: bool) {
        let session = &mut self.setup.session;
        // A process has one channel, on which everything comes in order.
        if is_outside && !session.peer.is_on_stdio() {
            session.note_asked();
        }
        let (link, peer) = (Arc::clone(&session.link), Arc::clone(&session.peer));
        if let Some(answer) = self.asks.take(request) {
            if AskKind::of(&request.method, &request.params).is_some() {
                self.count(AskOutcome::Refused, 1);
            }
            return post_answer(&link, &peer, answer);
        }
        if self.count_kept().is_err() {
            self.count(AskOutcome::Refused, self.asks.keys().len());
            return self.refuse_all();
        }
        if !self.phase.is_parked() {
            self.gather.get_or_insert_with(|| Instant::now() + GATHER);
        }
    }

    /// Refuses all questions that are open.
    pub(super) fn refuse_all(&mut self) {
        self.gather = None;
        let answers = self.asks.refuse();
        self.post_all(answers);
    }

    pub(super) fn post_all(&mut self, answers: Vec<Bytes>) {
        let session = &self.setup.session;
        for answer in answers {
            post_answer(&session.link, &session.peer, answer);
        }
        // Never fails: it becomes less.
        let _ = self.count_kept();
    }

    async fn take_notification(
        &mut self,
        notification: &Notification<'_>,
        bytes: &Bytes,
    ) -> Option<CallEnd> {
        match notification.method.as_ref() {
            method::CANCELLED => {
                if let Some(id) = notification.cancelled_id() {
                    self.asks.withdraw(&id);
                }
                if !self.asks.is_open() {
                    self.gather = None;
                }
                None
            }
            method::TOOLS_CHANGED | method::PROMPTS_CHANGED | method::RESOURCES_CHANGED => {
                self.setup.session.link.rounds.announce_change();
                None
            }
            // It is about a resource that nobody subscribed to in this session.
            method::RESOURCE_UPDATED => None,
            method::ELICITATION_COMPLETE => {
                self.complete_demand(notification);
                None
            }
            is_progress => {
                let is_progress = is_progress == method::PROGRESS;
                if let Some(extension) = self.setup.extension.filter(|_| is_progress) {
                    let deadline = extension.deadline();
                    self.setup.deadline = self.setup.deadline.max(deadline);
                }
                let bytes = match is_progress {
                    true => self.progress_of(bytes),
                    false => bytes.clone(),
                };
                match &mut self.phase {
                    CallPhase::Parked(parked) => {
                        if is_progress {
                            parked.progress = Some(bytes);
                        }
                        None
                    }
                    CallPhase::Running(out) => {
                        let message = RelayedMessage::Message(bytes);
                        let left = out.send(message).await.is_err();
                        left.then_some(CallEnd::Left)
                    }
                }
            }
        }
    }

    /// Takes the response. If the upstream asked for something that the caller does not declare, and
    /// failed then, the failure says so.
    fn take_answer(&mut self, bytes: &Bytes, outcome: Outcome<'_>) -> Option<CallEnd> {
        self.tell_begun();
        self.gather = None;
        self.source = CallSource::Over;
        if let Outcome::Error(error) = outcome
            && self.take_demand(error)
        {
            return None;
        }
        let has_failed = match outcome {
            Outcome::Error(_) => true,
            Outcome::Result(result) => self.method == method::TOOLS_CALL && is_tool_error(result),
        };
        let missing = self.asks.missing_capability().filter(|_| has_failed);
        let answer = match missing {
            Some(error) => message::error(Some(&Id::from(self.number)), &error),
            None => bytes.clone(),
        };
        match &mut self.phase {
            CallPhase::Parked(parked) => {
                parked.answer = Some(Ok(answer));
                None
            }
            CallPhase::Running(out) => Some(CallEnd::Answered(out.clone(), answer)),
        }
    }

    /// Opens the stream of the call again after its last event, if that is possible: no caller drives it
    /// (2025-11-25 `basic/transports.mdx#resumability-and-redelivery`).
    pub(super) fn lose_stream(&mut self, error: LinkError) -> Option<CallEnd> {
        let session = &self.setup.session;
        match self.source.resumed(&session.link, &session.peer, &error) {
            Some(resumed) => {
                self.source = resumed;
                None
            }
            None => self.fail(error),
        }
    }

    /// Ends the call because the upstream gives no answer. A caller that is not there is told when it
    /// comes back.
    pub(super) fn fail(&mut self, error: LinkError) -> Option<CallEnd> {
        if matches!(error, LinkError::SessionLost | LinkError::ChildClosed(_)) {
            self.setup.session.note_lost();
        }
        self.source = CallSource::Over;
        self.gather = None;
        match (&mut self.phase, self.begun.take()) {
            (CallPhase::Parked(parked), _) => {
                // An answer that came before is the answer.
                parked.answer.get_or_insert(Err(error));
                None
            }
            (CallPhase::Running(_), Some(begun)) => Some(CallEnd::NotBegun(begun, error)),
            (CallPhase::Running(out), None) => Some(CallEnd::Failed(out.clone(), error)),
        }
    }
}
