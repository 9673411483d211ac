//! A call that its upstream answered with a question: what its caller gets until the call is answered.

use std::collections::VecDeque;

use crate::bridge::RetryMembers;
use crate::metrics::AskOutcome;
use crate::protocol::error::Fault;
use crate::protocol::message::Outcome;
use crate::relay::back::outgoing::Outgoing;
use crate::relay::back::upstream_reply::UpstreamReply;
use crate::relay::send::{self, QuestionEvent};

impl UpstreamReply {
    /// Takes an answer that only says what the upstream has to know first. Returns `None` if the
    /// caller is asked.
    pub(super) fn question(&mut self, result: &str) -> Option<Outgoing> {
        let stream = &mut self.sent.stream;
        // The attempt is over. Nothing runs while the caller is asked, so others get its place; and the
        // time that this takes is neither weir's nor the upstream's.
        stream.cancel.disarm();
        stream.span.end(Outcome::Result("{}"));
        if let Some(mut slot) = stream.cancel.slot.take() {
            slot.record_answer();
        }
        if let Some(questions) = &mut self.sent.questions {
            self.record.note_question();
            questions.begin(result, stream.exchange.deadline());
            return None;
        }
        let upstream = stream.cancel.link.id();
        let fault = match send::refusal(result) {
            Some(failure) => {
                if failure.is_unasked() {
                    let metrics = &stream.cancel.link.metrics;
                    metrics.count_asks(AskOutcome::Refused, 1);
                }
                failure.to_fault(upstream)
            }
            None => Fault::NotBridged {
                upstream: upstream.as_str().into(),
            },
        };
        Some(self.refuse_question(&fault))
    }

    /// Follows what came of a question. Returns what the caller gets, if that is something.
    pub(super) fn follow(&mut self, event: QuestionEvent) -> Option<Outgoing> {
        match event {
            QuestionEvent::Message(message) => Some(Outgoing::Message(message)),
            QuestionEvent::Last(payload) => Some(Outgoing::Response(payload)),
            QuestionEvent::Due(members) => {
                self.send_again(&members);
                None
            }
            QuestionEvent::Resent(cancel, exchange) => {
                let stream = &mut self.sent.stream;
                stream.cancel = cancel;
                stream.exchange = exchange;
                if let Some(task) = &mut self.sent.task {
                    task.note_answers_sent();
                }
                None
            }
            QuestionEvent::Broken(cancel, error) => {
                if let Some(cancel) = cancel {
                    self.sent.stream.cancel = cancel;
                }
                Some(self.fail(&error))
            }
            QuestionEvent::Failed(failure) => {
                let link = &self.sent.stream.cancel.link;
                let fault = failure.to_fault(link.id());
                Some(self.refuse_question(&fault))
            }
        }
    }

    /// Sends the call again, with the caller's answers. It is another attempt, with a span of its own, and
    /// the call's time goes on.
    fn send_again(&mut self, members: &RetryMembers) {
        let stream = &mut self.sent.stream;
        let Some(questions) = &mut self.sent.questions else {
            return;
        };
        self.record.note_sent();
        let (span, stood) = questions.send_again(members, &mut self.record);
        stream.span = span;
        if let Some(extension) = &mut stream.extension {
            extension.postpone(stood);
        }
    }

    /// Returns the messages that take back what the caller was asked.
    pub(super) fn take_back(&mut self) -> VecDeque<Outgoing> {
        let mut messages = VecDeque::new();
        if let Some(questions) = &mut self.sent.questions {
            // Questions that it has not read yet need not be taken back.
            while questions.take_ready().is_some() {}
            questions.take_back();
            let taken_back = std::iter::from_fn(|| questions.take_ready());
            messages.extend(taken_back.map(Outgoing::Message));
        }
        messages
    }
}
