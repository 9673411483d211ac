//! The end of a reply: the response of its upstream in the caller's era, or an error of weir's own.

use std::borrow::Cow;

use bytes::Bytes;
use tokio::time::Instant;

use crate::bridge::missing_capability;
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Outcome, Response};
use crate::record::{RecordedData, is_tool_error};
use crate::relay::back::notifications;
use crate::relay::back::outgoing::{Bridged, Outgoing};
use crate::relay::back::upstream_reply::UpstreamReply;
use crate::relay::send::{Sent, is_question};
use crate::relay::{Payload, platform};
use crate::upstream::LinkError;

impl UpstreamReply {
    /// Ends the reply with the upstream's response, a part of `received` if nothing has changed it. Returns
    /// `None` if something comes before it.
    pub(super) fn finish(&mut self, response: &Response<'_>, received: &Bytes) -> Option<Outgoing> {
        if let (Era::Legacy, Outcome::Result(result)) = (self.sent.bridge.caller, response.outcome)
            && self.sent.bridge.upstream == Era::Modern
            && is_question(result)
        {
            return self.question(result);
        }
        if let Some(kind) = self.lacking.filter(|_| self.has_failed(response)) {
            // It failed for that, as far as anybody can tell (2026-07-28 `basic/index.mdx#error-codes`).
            let missing = missing_capability(kind);
            let response = Response {
                id: response.id,
                outcome: Outcome::Error(&missing),
            };
            return Some(self.end(&response, received));
        }
        let ended = self.end(response, received);
        let Some(questions) = &mut self.sent.questions else {
            return Some(ended);
        };
        match ended {
            Outgoing::Response(payload) => questions.end(payload).map(Outgoing::Response),
            ended @ (Outgoing::Message(_) | Outgoing::Paused(_)) => Some(ended),
        }
    }

    /// Returns whether a response is an error, or the error of a tool.
    fn has_failed(&self, response: &Response<'_>) -> bool {
        match response.outcome {
            Outcome::Error(_) => true,
            Outcome::Result(result) => self.sent.bridge.is_call && is_tool_error(result),
        }
    }

    /// Puts the response into the caller's era, and records it.
    fn end(&mut self, response: &Response<'_>, received: &Bytes) -> Outgoing {
        self.note_answer(response.outcome.as_str());
        self.sent.stream.span.end(response.outcome);
        if self.sent.stream.exchange.is_question() {
            // It is weir's own, and what the upstream asks is in it as the modern era has it.
            self.sent.bridge.upstream = Era::Modern;
        }
        notifications::keep_task_token(&self.sent, response);
        match self.bridge(response) {
            Ok(bridged) => self.render(bridged, received),
            Err(fault) => self.refuse(&fault),
        }
    }

    /// Puts an answer into the caller's era.
    fn bridge<'a>(&mut self, response: &Response<'a>) -> Result<Bridged<'a>, Fault> {
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
                if let Some(result) = bridge.refusal(error) {
                    return Ok(Bridged::Result(Cow::Owned(result)));
                }
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
    fn render(&mut self, bridged: Bridged<'_>, received: &Bytes) -> Outgoing {
        let id = &self.sent.id;
        let payload = match bridged {
            Bridged::Result(result) => {
                self.record.succeed();
                self.record.set_result(RecordedData {
                    sent: &result,
                    unrestored: self.unrestored.as_deref(),
                    guard: self.sent.guard.as_ref(),
                });
                let pieces = message::result_of(id, &result, received);
                if pieces.len() > 1 {
                    // The large one was received, and counts already.
                    return Outgoing::Response(Payload::ok(pieces));
                }
                Payload::ok(pieces)
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
    pub(super) fn refuse(&mut self, fault: &Fault) -> Outgoing {
        self.record.fail(fault);
        let payload = Payload::fault(Some(&self.sent.id), fault, self.sent.bridge.caller);
        Outgoing::Response(payload)
    }

    /// Ends the reply because the upstream gave no usable answer.
    pub(super) fn fail(&mut self, error: &LinkError) -> Outgoing {
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

    /// Ends a call whose question has no answer, or whose task has no end: of a tool, with a result
    /// that models read.
    pub(super) fn refuse_question(&mut self, fault: &Fault) -> Outgoing {
        self.note_answer("result");
        self.sent.stream.span.end(Outcome::Result("{}"));
        if !self.sent.bridge.is_call {
            return self.refuse(fault);
        }
        self.record.fail(fault);
        let payload = Payload::tool_error(&self.sent.id, fault, self.sent.bridge.caller);
        Outgoing::Response(payload)
    }

    /// Notes that the upstream has answered: `result` or `error`. What hooks make of it later is no
    /// answer of the upstream.
    pub(super) fn note_answer(&mut self, status: &'static str) {
        if !std::mem::replace(&mut self.is_answered, true) {
            self.record.note_answer(status);
        }
        let stream = &mut self.sent.stream;
        stream.cancel.disarm();
        if let Some(slot) = &mut stream.cancel.slot {
            slot.record_answer();
        }
    }
}
