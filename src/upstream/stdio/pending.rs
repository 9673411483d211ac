//! Who waits for what: the requests a child has not answered, and the way of each incoming message.

use parking_lot::{Mutex, MutexGuard};
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::HashMap;
use tokio::sync::mpsc::{self, OwnedPermit, error::TrySendError};
use tokio::sync::watch;

use super::ClosedReason;
use super::log::is_milestone;
use crate::json::{self, Object};
use crate::name::UpstreamId;
use crate::protocol::error::Refusal;
use crate::protocol::message::{Message, Notification};
use crate::protocol::{meta, method};

/// Notifications of one request that wait for its caller. More are dropped; the response never is.
const NOTIFICATIONS: usize = 64;

/// What comes back for a request: any number of notifications, then one of the others.
///
/// The bytes are one message without its line end. They share a read buffer with their neighbours: copy
/// what is kept for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildReply {
    /// A notification that names this request: progress, or a message of its subscription.
    Notification(Bytes),
    /// The response. It may still be one that [`Message::parse`] refuses.
    Response(Bytes),
    /// The child closed before it answered.
    Closed(ClosedReason),
}

/// The replies to one request. Dropping it forgets the request; what comes for it later is dropped.
#[derive(Debug)]
pub struct ChildReplies {
    id: u64,
    pending: Arc<Pending>,
    incoming: mpsc::Receiver<ChildReply>,
}

impl ChildReplies {
    /// The next reply, `None` after the last.
    pub async fn next(&mut self) -> Option<ChildReply> {
        self.incoming.recv().await
    }
}

impl Drop for ChildReplies {
    fn drop(&mut self) {
        if let State::Open(waiting) = &mut *self.pending.lock() {
            waiting.remove(&self.id);
        }
    }
}

/// All requests that wait for a response of one child. Once closed, it stays so.
pub(super) struct Pending {
    state: Mutex<State>,
    /// The reason once more, for those who wait for it.
    closed: watch::Sender<Option<ClosedReason>>,
}

enum State {
    Open(HashMap<u64, Waiting>),
    Closed(ClosedReason),
}

struct Waiting {
    notifications: mpsc::Sender<ChildReply>,
    /// A place in the same queue, kept for the last reply.
    last: OwnedPermit<ChildReply>,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State::Open(HashMap::default())),
            closed: watch::Sender::new(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock leaves the state half changed.
        self.state.lock()
    }

    pub(super) fn register(this: &Arc<Self>, id: u64) -> Result<ChildReplies, ClosedReason> {
        let (notifications, incoming) = mpsc::channel(NOTIFICATIONS + 1);
        match &mut *this.lock() {
            State::Closed(reason) => return Err(reason.clone()),
            State::Open(waiting) => {
                // The queue is new: there is a place in it.
                if let Ok(last) = notifications.clone().try_reserve_owned() {
                    waiting.insert(
                        id,
                        Waiting {
                            notifications,
                            last,
                        },
                    );
                }
            }
        }
        Ok(ChildReplies {
            id,
            pending: Arc::clone(this),
            incoming,
        })
    }

    /// Ends all that wait. Only the first reason counts.
    pub(super) fn close(&self, reason: &ClosedReason) {
        let state = &mut *self.lock();
        if let State::Open(waiting) = state {
            for (_, request) in waiting.drain() {
                request.last.send(ChildReply::Closed(reason.clone()));
            }
            *state = State::Closed(reason.clone());
            self.closed.send_replace(Some(reason.clone()));
        }
    }

    pub(super) fn closed(&self) -> Option<ClosedReason> {
        self.closed.borrow().clone()
    }

    pub(super) async fn wait_closed(&self) -> ClosedReason {
        let mut closed = self.closed.subscribe();
        // The sender is ours, so waiting cannot fail.
        closed
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|reason| reason.clone())
            .unwrap_or(ClosedReason::Stopped)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        match &*self.lock() {
            State::Open(waiting) => waiting.len(),
            State::Closed(_) => 0,
        }
    }

    /// Whether somebody waited for it.
    fn answer(&self, id: u64, message: Bytes) -> bool {
        match &mut *self.lock() {
            State::Open(waiting) => match waiting.entry(id) {
                Entry::Occupied(request) => {
                    request.remove().last.send(ChildReply::Response(message));
                    true
                }
                Entry::Vacant(_) => false,
            },
            State::Closed(_) => false,
        }
    }

    fn is_waiting(&self, id: u64) -> bool {
        matches!(&*self.lock(), State::Open(waiting) if waiting.contains_key(&id))
    }

    /// Whether there was somebody to notify, and place.
    fn notify(&self, id: u64, message: Bytes) -> bool {
        match &*self.lock() {
            State::Open(waiting) => waiting.get(&id).is_some_and(|request| {
                let reply = ChildReply::Notification(message);
                request.notifications.try_send(reply).is_ok()
            }),
            State::Closed(_) => false,
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("closed", &self.closed())
            .finish_non_exhaustive()
    }
}

/// Takes each line of the child where it belongs. Never waits: one slow receiver must not stop the others.
pub(super) struct Router {
    name: UpstreamId,
    pending: Arc<Pending>,
    events: mpsc::Sender<Bytes>,
    garbage: u64,
    dropped: u64,
    late: u64,
}

impl Router {
    pub(super) fn new(
        name: UpstreamId,
        pending: Arc<Pending>,
        events: mpsc::Sender<Bytes>,
    ) -> Self {
        Self {
            name,
            pending,
            events,
            garbage: 0,
            dropped: 0,
            late: 0,
        }
    }

    /// One line, without its end.
    pub(super) fn line(&mut self, line: &Bytes) {
        let Ok(text) = std::str::from_utf8(line) else {
            return self.garbage("not UTF-8", line);
        };
        let text = text.trim_matches([' ', '\t', '\r']);
        if text.is_empty() {
            return;
        }
        // A legacy server may send several messages as one array (2025-03-26, `basic/index.mdx`).
        match text.strip_prefix('[').map(|_| json::array(text)) {
            Some(Ok(items)) => {
                for item in items {
                    self.message(item, line.slice_ref(item.as_bytes()));
                }
            }
            Some(Err(_)) => self.garbage("not JSON", line),
            None => self.message(text, line.slice_ref(text.as_bytes())),
        }
    }

    fn message(&mut self, text: &str, bytes: Bytes) {
        match Message::parse(text) {
            Ok(Message::Response(response)) => {
                if response.id.is_none() {
                    // It may belong to any request, so to none.
                    return self.garbage("a response without an id", &bytes);
                }
                let id = response.id.and_then(|id| id.parse().ok());
                if !id.is_some_and(|id| self.pending.answer(id, bytes)) {
                    self.late("a response to no request of ours");
                }
            }
            Ok(Message::Notification(notification)) => match self.addressee(&notification) {
                To::Request(id) => {
                    if !self.pending.notify(id, bytes) {
                        self.late("a notification of a request that is over or slow");
                    }
                }
                To::Nobody => self.late("progress without a token of ours"),
                To::Everybody => self.event(&notification.method, bytes, false),
            },
            Ok(Message::Request(request)) => self.event(&request.method, bytes, true),
            Err(refusal) => self.refused(text, bytes, &refusal),
        }
    }

    /// Which request a notification names: by progress token, or by the subscription it belongs to.
    fn addressee(&self, notification: &Notification<'_>) -> To {
        let params = notification.envelope.get("params");
        let params = params.and_then(|params| Object::parse(params).ok());
        let number = |text: &str| text.parse::<u64>().ok();
        if notification.method == method::PROGRESS {
            let token = params.as_ref().and_then(|p| p.get(meta::PROGRESS_TOKEN));
            return token.and_then(number).map_or(To::Nobody, To::Request);
        }
        let meta = params.as_ref().and_then(|params| params.get("_meta"));
        let meta = meta.and_then(|meta| Object::parse(meta).ok());
        let subscription = meta.as_ref().and_then(|m| m.get(meta::SUBSCRIPTION_ID));
        match subscription.and_then(number) {
            Some(id) if self.pending.is_waiting(id) => To::Request(id),
            _ => To::Everybody,
        }
    }

    fn event(&mut self, method: &str, bytes: Bytes, wants_response: bool) {
        match self.events.try_send(bytes) {
            Ok(()) => {}
            // Nobody listens any more: weir is done with this child.
            Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.dropped += 1;
                let (name, dropped) = (&self.name, self.dropped);
                if wants_response {
                    tracing::warn!(target: "upstream", upstream = %name, method, dropped,
                        "the process sends faster than weir can look: a request of it is dropped and stays unanswered");
                } else if is_milestone(dropped) {
                    tracing::info!(target: "upstream", upstream = %name, method, dropped,
                        "the process sends faster than weir can look: a notification is dropped");
                }
            }
        }
    }

    /// A message that JSON-RPC does not allow. If it was meant as the response to a request, its caller gets
    /// it, and fails at once instead of waiting for a better one.
    fn refused(&mut self, text: &str, bytes: Bytes, refusal: &Refusal) {
        let id = refusal.id.as_ref().and_then(|id| id.as_json().parse().ok());
        let response = Object::parse(text).is_ok_and(|object| !object.contains("method"));
        self.garbage(&refusal.fault.to_string(), &bytes);
        if let (Some(id), true) = (id, response) {
            self.pending.answer(id, bytes);
        }
    }

    /// Servers print banners and debug output to stdout; that is wrong, common, and harmless.
    fn garbage(&mut self, why: &str, line: &[u8]) {
        self.garbage += 1;
        if is_milestone(self.garbage) {
            let line = super::log::printable(line.get(..200).unwrap_or(line));
            tracing::warn!(target: "upstream", upstream = %self.name, lines = self.garbage,
                "a line on stdout is skipped ({why}): {line}");
        }
    }

    fn late(&mut self, what: &str) {
        self.late += 1;
        if is_milestone(self.late) {
            tracing::debug!(target: "upstream", upstream = %self.name, messages = self.late, "dropped {what}");
        }
    }
}

enum To {
    Request(u64),
    Everybody,
    Nobody,
}
