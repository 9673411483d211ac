//! Messages for callers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::relay::Payload;

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
