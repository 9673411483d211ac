//! A call that its upstream made a task of: what is said about the task stays between weir and the
//! upstream, and its end takes the place of the answer to the call.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::bridge::TaskStep;
use crate::protocol::message::{self, Id};
use crate::relay::back::outgoing::Outgoing;
use crate::relay::back::upstream_reply::UpstreamReply;
use crate::relay::send::{Sent, TaskEvent};
use crate::upstream::LinkError;

impl UpstreamReply {
    /// Takes the message that is in place, if it is about the task of the call. What it says for the
    /// caller is in place then, as if the upstream had sent it in answer to the call.
    pub(super) fn drive(&mut self, text: &str) -> ControlFlow<Option<Outgoing>> {
        let Sent {
            stream,
            questions,
            task,
            ..
        } = &mut *self.sent;
        let Some(task) = task else {
            return ControlFlow::Continue(());
        };
        let Some(step) = task.read(text, questions.as_deref_mut()) else {
            return ControlFlow::Continue(());
        };
        self.received = None;
        let id = Id::from(stream.cancel.id);
        ControlFlow::Break(match step {
            TaskStep::Send(pause, method) => {
                task.pause(pause, method, stream);
                None
            }
            TaskStep::Ask(result) | TaskStep::Result(result) => {
                self.put_in_place(message::result(&id, &result))
            }
            TaskStep::Error(error) => self.put_in_place(message::error(Some(&id), &error)),
            TaskStep::Fail(failure) => {
                let fault = failure.to_fault(stream.cancel.link.id());
                Some(self.refuse_question(&fault))
            }
        })
    }

    /// Puts a response in place of the message that was read. Returns an error if there is no room for
    /// it.
    fn put_in_place(&mut self, response: Bytes) -> Option<Outgoing> {
        match self.sent.memory.keep(response) {
            Ok(kept) => {
                self.received = Some(kept);
                None
            }
            Err(over) => Some(self.fail(&over.into())),
        }
    }

    /// Follows what came of a request about the task. Returns what the caller gets, if that is
    /// something.
    pub(super) fn follow_task(&mut self, event: TaskEvent) -> Option<Outgoing> {
        let stream = &mut self.sent.stream;
        match event {
            TaskEvent::Sent(cancel, exchange) => {
                stream.cancel = cancel;
                stream.exchange = exchange;
                None
            }
            TaskEvent::Broken(cancel, error) => {
                stream.cancel = cancel;
                Some(self.fail(&error))
            }
        }
    }

    /// Returns whether the upstream is asked again about the task of the call after its answer broke
    /// off.
    pub(super) fn asks_again(&mut self, error: &LinkError) -> bool {
        let Sent { stream, task, .. } = &mut *self.sent;
        let task = task.as_mut();
        task.is_some_and(|task| task.survives(error, stream))
    }
}
