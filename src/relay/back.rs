//! The way back to the caller. The messages of an upstream are received, put into the caller's era,
//! written with the caller's ids, and recorded: one at a time, in order. What the caller gets of an
//! upstream is made here and nowhere else.

mod changes;
mod driven;
mod ending;
mod guarded;
mod notifications;
mod outgoing;
mod questions;
mod received;
mod unasked;
mod upstream_reply;

use std::collections::VecDeque;

use crate::protocol::error::Fault;
use crate::record::Record;

pub use changes::{ChangeEvent, Changes, ListKinds};
pub(super) use guarded::towards_caller;
pub(super) use outgoing::ReplySource;
pub use outgoing::{Outgoing, Pause};

use upstream_reply::UpstreamReply;

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
    /// Nothing more comes of the upstream: what the caller was asked is taken back. There is a response
    /// after that, unless the caller cancelled its request.
    Ending(VecDeque<Outgoing>),
    Done,
}

impl Reply {
    /// Begins the way back of a request.
    pub(super) fn new(source: ReplySource, record: Record) -> Self {
        let state = match source {
            ReplySource::Result(_) | ReplySource::Refusal(_) | ReplySource::ToolError(..) => {
                State::Ready(source, record)
            }
            ReplySource::Upstream(sent, lease) => {
                State::Upstream(UpstreamReply::new(sent, record, lease))
            }
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
        if let State::Ending(rest) = &mut self.state {
            return rest.pop_front();
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
            State::Ready(ReplySource::Upstream(..), _)
            | State::Upstream(_)
            | State::Ending(_)
            | State::Done => None,
        }
    }

    /// Ends a reply whose caller is gone, because others wait for its place.
    pub fn give_way(&mut self) -> Option<Outgoing> {
        let State::Upstream(reply) = &self.state else {
            return None;
        };
        let fault = reply.gave_way();
        self.abandon(&fault)
    }

    /// Ends a reply that its upstream has not completed, and cancels the request there. Its last message
    /// is an error response now; returns the first, which may take back what the caller was asked. Other
    /// replies need none, because their response is ready at once.
    pub fn abandon(&mut self, fault: &Fault) -> Option<Outgoing> {
        let mut rest = match std::mem::replace(&mut self.state, State::Done) {
            State::Upstream(mut reply) => {
                let mut rest = reply.take_back();
                rest.push_back(reply.refuse(fault));
                rest
            }
            State::Ending(rest) => rest,
            State::Ready(..) | State::Done => return None,
        };
        let first = rest.pop_front();
        self.state = State::Ending(rest);
        first
    }

    /// Ends a reply whose caller cancelled its request. It has no response; what is left of it takes
    /// back what the caller was asked.
    pub fn cancel(&mut self) {
        if let State::Upstream(mut reply) = std::mem::replace(&mut self.state, State::Done) {
            self.state = State::Ending(reply.take_back());
        }
    }
}
