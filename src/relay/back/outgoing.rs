//! Messages for callers.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::Notify;

use crate::limits::RateLease;
use crate::protocol::error::{Blame, Fault};
use crate::relay::Payload;
use crate::relay::send::Sent;

/// The origin of a reply.
#[derive(Debug)]
pub(in crate::relay) enum ReplySource {
    /// A result that weir has made itself.
    Result(Payload),
    /// An upstream's error, in answer to a request that weir sent on behalf of the caller.
    Refusal(Payload),
    /// A fault of weir's own in the form of a tool's result.
    ToolError(Payload, Fault),
    /// An upstream that is still answering, and what the request took of limits.
    Upstream(Box<Sent>, Option<RateLease>),
}

/// A message for the caller.
#[derive(Debug)]
pub enum Outgoing {
    /// A notification, or a request of the upstream to the caller. More messages come.
    Message(Bytes),
    /// The upstream closed its stream and will go on later (2025-11-25
    /// `basic/transports.mdx#sending-messages-to-the-server`). More messages come, but not now.
    Paused(Pause),
    /// The response: the last message.
    Response(Payload),
}

impl Outgoing {
    /// Counts its bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            Self::Paused(_) => 0,
            Self::Response(payload) => payload.len(),
        }
    }
}

/// A pause of an upstream's stream. Weir resumes the stream after the time that the upstream asked
/// for, or as soon as its caller comes back.
#[derive(Clone, Debug)]
pub struct Pause {
    /// The time that the upstream asked for, if it did.
    pub retry: Option<Duration>,
    pub(super) caller_is_back: Arc<Notify>,
}

impl Pause {
    /// Ends the pause, because the caller is back already.
    pub fn end(&self) {
        self.caller_is_back.notify_one();
    }
}

/// An upstream's answer in the caller's era.
pub(super) enum Bridged<'a> {
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
