//! The stream of a session for what is not part of an answer: the GET stream over HTTP, stdout on stdio.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::session::caller_session::CallerSession;
use crate::upstream::subscriptions::Update;
use crate::upstream::{Link, Peer};

/// A message that an upstream sent in a caller's own session outside of any answer, as it arrived.
///
/// It is read and rendered when the caller's stream takes it, so that a check of it may wait.
#[derive(Debug)]
pub struct UnaskedMessage {
    /// The link it came over.
    pub link: Arc<Link>,
    /// The sender.
    pub peer: Arc<Peer>,
    /// The JSON text.
    pub bytes: Bytes,
}

/// A session's stream, at the end that is read. Dropping it closes the stream.
#[derive(Debug)]
pub struct SessionStream {
    pub(super) session: Arc<CallerSession>,
    pub(super) number: u64,
    /// Messages of the caller's own upstream sessions. In boxes: a channel takes the room for 32 of what it carries.
    pub messages: mpsc::Receiver<Box<UnaskedMessage>>,
    /// News of what the session subscribed to over shared connections.
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
