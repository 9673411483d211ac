//! The stream of a session for messages that belong to no call: the GET stream over HTTP, stdout on
//! stdio.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::memory::Reservation;
use crate::session::caller_session::CallerSession;
use crate::upstream::subscriptions::Update;
use crate::upstream::{Link, Peer};

/// A message that an upstream sent in a caller's own session outside of any call, as it arrived.
///
/// It is parsed and rewritten only when the caller's stream takes it, where a check may wait.
#[derive(Debug)]
pub struct UnaskedMessage {
    /// The link it came over.
    pub link: Arc<Link>,
    /// The sender.
    pub peer: Arc<Peer>,
    /// The JSON text.
    pub bytes: Bytes,
    /// The part of `limits.memory` that it takes while it waits.
    pub kept: Option<Reservation>,
}

/// The receiving end of a session's stream. Dropping it closes the stream.
#[derive(Debug)]
pub struct SessionStream {
    pub(super) session: Arc<CallerSession>,
    pub(super) number: u64,
    /// Messages of the caller's own sessions at upstreams. They are boxed, because a channel
    /// allocates room for 32 items at once.
    pub messages: mpsc::Receiver<Box<UnaskedMessage>>,
    /// Updates of what the session subscribed to over shared connections.
    pub updates: mpsc::Receiver<Box<Update>>,
    /// Cancelled when the stream has to end.
    pub end: CancellationToken,
}

impl SessionStream {
    /// Returns the session that the stream belongs to.
    #[must_use]
    pub fn session(&self) -> &Arc<CallerSession> {
        &self.session
    }
}

impl Drop for SessionStream {
    fn drop(&mut self) {
        self.session.close_stream(self.number);
        self.messages.close();
        while let Ok(message) = self.messages.try_recv() {
            self.session.refuse(&message);
        }
    }
}
