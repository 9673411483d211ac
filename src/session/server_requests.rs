//! Requests of upstreams to a legacy caller (sampling, elicitation, roots) that it has not answered
//! yet. Towards the caller they have ids and progress tokens of weir's own.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::guard::RequestGuard;
use crate::memory::Reservation;
use crate::protocol::message::{Id, Message};
use crate::protocol::method;
use crate::session::caller_session::CallerSession;
use crate::session::stream::UnaskedMessage;
use crate::upstream::{Link, Peer, watch};

/// At most this many requests wait for one caller's answers.
const PENDING: usize = 64;

/// A request of an upstream that its caller has not answered yet.
#[derive(Clone, Debug)]
pub struct PendingServerRequest {
    /// The link it came over.
    pub link: Arc<Link>,
    /// The receiver of the answer.
    pub asker: Asker,
    /// The rules for the data of the answer; `None` if all of it passes.
    pub guard: Option<RequestGuard>,
}

/// The receiver of a caller's answer.
#[derive(Clone, Debug)]
pub enum Asker {
    /// A legacy upstream, which sent the request.
    Upstream {
        /// The sender.
        peer: Arc<Peer>,
        /// The upstream's id.
        id: Id,
        /// The upstream's progress token, as JSON text.
        token: Option<Box<str>>,
    },
    /// A call that was answered with a question, by a modern upstream.
    Call {
        /// The call. It has room for an answer to each of its questions.
        answers: mpsc::Sender<CallerAnswer>,
        /// The place of the question among those of its round.
        place: usize,
    },
}

/// A caller's answer to a question of a call.
#[derive(Debug)]
pub struct CallerAnswer {
    /// The place of the question.
    pub place: usize,
    /// The result or the error, as JSON text.
    pub outcome: Result<String, String>,
    /// The part of `limits.memory` that it takes.
    pub kept: Option<Reservation>,
}

impl PendingServerRequest {
    /// Returns the upstream's id of the request, if it has one.
    fn id(&self) -> Option<&Id> {
        match &self.asker {
            Asker::Upstream { id, .. } => Some(id),
            Asker::Call { .. } => None,
        }
    }

    /// Returns whether the answer goes to this peer.
    pub(super) fn is_of(&self, peer: &Arc<Peer>) -> bool {
        matches!(&self.asker, Asker::Upstream { peer: own, .. } if Arc::ptr_eq(own, peer))
    }
}

/// The requests that an upstream sent during one call. They end with the call.
#[derive(Debug)]
pub struct ServerRequests {
    session: Option<Arc<CallerSession>>,
    numbers: Vec<u64>,
}

impl ServerRequests {
    /// Starts without requests. Without a session, the caller cannot be asked anything.
    #[must_use]
    pub fn new(session: Option<&Arc<CallerSession>>) -> Self {
        Self {
            session: session.cloned(),
            numbers: Vec::new(),
        }
    }

    /// Returns the session whose caller can be asked.
    #[must_use]
    pub fn session(&self) -> Option<&Arc<CallerSession>> {
        self.session.as_ref()
    }

    /// Notes the number of a request of this call.
    pub fn add(&mut self, number: u64) {
        self.numbers.push(number);
    }
}

impl Drop for ServerRequests {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            for number in &self.numbers {
                session.take_pending(*number);
            }
        }
    }
}

impl CallerSession {
    /// Returns a number that no other session in memory has now.
    #[must_use]
    pub fn number(&self) -> u64 {
        std::ptr::from_ref(self).addr() as u64
    }

    /// Keeps a request of an upstream until the caller answers the one with this number. Returns
    /// false if too many wait already.
    pub fn add_pending(&self, number: u64, request: PendingServerRequest) -> bool {
        let mut inner = self.lock();
        if inner.pending.len() >= PENDING {
            return false;
        }
        inner.pending.insert(number, request);
        true
    }

    /// Returns the request with this number. It goes on waiting.
    #[must_use]
    pub fn pending(&self, number: u64) -> Option<PendingServerRequest> {
        self.lock().pending.get(&number).cloned()
    }

    /// Takes the request with this number.
    pub fn take_pending(&self, number: u64) -> Option<PendingServerRequest> {
        self.lock().pending.remove(&number)
    }

    /// Takes the request that an upstream sent under this id, and returns its number.
    pub fn withdraw(&self, link: &Arc<Link>, id: &Id) -> Option<u64> {
        let mut inner = self.lock();
        let theirs = inner.pending.iter();
        let theirs = theirs.filter(|(_, request)| Arc::ptr_eq(&request.link, link));
        // The same spelling first: an upstream may use both 7 and "7".
        let found = theirs.clone().find(|(_, one)| one.id() == Some(id));
        let is_alike = |own: &Id| own.is_alike(id);
        let found = found.or_else(|| {
            theirs
                .clone()
                .find(|(_, one)| one.id().is_some_and(is_alike))
        });
        let number = found.map(|(number, _)| *number)?;
        inner.pending.remove(&number);
        Some(number)
    }

    /// Handles a message of an upstream that cannot be put on a stream: a request is answered with
    /// an error, a cancelled request is forgotten.
    pub(super) fn refuse(&self, message: &UnaskedMessage) {
        let UnaskedMessage {
            link, peer, bytes, ..
        } = message;
        match std::str::from_utf8(bytes).map(Message::parse) {
            Ok(Ok(Message::Request(request))) => {
                watch::answer_request(link, peer, &request.id, &request.method);
            }
            Ok(Ok(Message::Notification(notification)))
                if notification.method == method::CANCELLED =>
            {
                if let Some(id) = notification.cancelled_id() {
                    self.withdraw(link, &id);
                }
            }
            Ok(Ok(Message::Notification(_) | Message::Response(_)) | Err(_)) | Err(_) => {}
        }
    }
}
