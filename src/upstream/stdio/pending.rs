//! The requests that a child has not answered yet, and the routing of each message that it writes.

use parking_lot::{Mutex, MutexGuard};
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::HashMap;
use tokio::sync::mpsc::{self, OwnedPermit, error::TrySendError};
use tokio::sync::watch;

use super::broken;
use super::closed::ClosedReason;
use super::stderr::{is_milestone, printable};
use crate::json::{self, Object};
use crate::memory::{self, MemoryShare, OverBudget};
use crate::name::UpstreamId;
use crate::protocol::message::{self, Id, Message, MessageError, Notification, read_number};
use crate::protocol::{meta, method};

/// The most notifications of one request that wait for its caller. More are dropped; the response
/// never is.
const NOTIFICATIONS: usize = 64;

/// A reply to a request: any number of notifications, then one of the others.
///
/// The bytes are one message without its line end. They share a read buffer with the messages
/// beside them, so copy what is kept for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildReply {
    /// A notification that names this request: progress, or a message of its subscription.
    Notification(Bytes),
    /// The response. [`Message::parse`] may still refuse it.
    Response(Bytes),
    /// The response does not fit into what is left of `limits.memory`.
    NoMemory(OverBudget),
    /// The child closed before it answered.
    Closed(ClosedReason),
}

/// The replies to one request. Dropping it forgets the request, and drops what comes for it later.
#[derive(Debug)]
pub struct ChildReplies {
    id: u64,
    pending: Arc<PendingRequests>,
    incoming: mpsc::Receiver<ChildReply>,
}

impl ChildReplies {
    /// Returns the next reply, `None` after the last.
    pub async fn next(&mut self) -> Option<ChildReply> {
        self.incoming.recv().await
    }
}

impl Drop for ChildReplies {
    fn drop(&mut self) {
        if let PendingState::Open(waiting) = &mut *self.pending.lock() {
            waiting.remove(&self.id);
        }
    }
}

/// All requests that wait for a response of one child. Once closed, it stays closed.
pub(super) struct PendingRequests {
    state: Mutex<PendingState>,
    /// The reason once more, for [`PendingRequests::wait_closed`].
    closed: watch::Sender<Option<ClosedReason>>,
}

enum PendingState {
    Open(HashMap<u64, WaitingRequest>),
    Closed(ClosedReason),
}

struct WaitingRequest {
    notifications: mpsc::Sender<ChildReply>,
    /// A reserved place in the same queue, so that the last reply always fits.
    last: OwnedPermit<ChildReply>,
    /// The share that pays for the replies.
    memory: MemoryShare,
}

impl PendingRequests {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(PendingState::Open(HashMap::default())),
            closed: watch::Sender::new(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, PendingState> {
        // Nothing under this lock leaves the state half changed.
        self.state.lock()
    }

    /// Registers a request, before it is sent.
    pub(super) fn register(
        this: &Arc<Self>,
        id: u64,
        memory: MemoryShare,
    ) -> Result<ChildReplies, ClosedReason> {
        let (notifications, incoming) = mpsc::channel(NOTIFICATIONS + 1);
        match &mut *this.lock() {
            PendingState::Closed(reason) => return Err(reason.clone()),
            PendingState::Open(waiting) => {
                // The queue is new and empty, so there is a place in it.
                if let Ok(last) = notifications.clone().try_reserve_owned() {
                    waiting.insert(
                        id,
                        WaitingRequest {
                            notifications,
                            last,
                            memory,
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

    /// Ends all requests that wait. Only the first reason counts.
    pub(super) fn close(&self, reason: &ClosedReason) {
        let state = &mut *self.lock();
        if let PendingState::Open(waiting) = state {
            for (_, request) in waiting.drain() {
                request.last.send(ChildReply::Closed(reason.clone()));
            }
            *state = PendingState::Closed(reason.clone());
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
            PendingState::Open(waiting) => waiting.len(),
            PendingState::Closed(_) => 0,
        }
    }

    /// Delivers a response. Returns whether its request was waiting.
    fn answer(&self, id: u64, message: Bytes) -> bool {
        match &mut *self.lock() {
            PendingState::Open(waiting) => match waiting.entry(id) {
                Entry::Occupied(request) => {
                    let WaitingRequest { last, memory, .. } = request.remove();
                    last.send(match memory.keep(message) {
                        Ok(kept) => ChildReply::Response(kept),
                        Err(over) => ChildReply::NoMemory(over),
                    });
                    true
                }
                Entry::Vacant(_) => false,
            },
            PendingState::Closed(_) => false,
        }
    }

    fn is_waiting(&self, id: u64) -> bool {
        matches!(&*self.lock(), PendingState::Open(waiting) if waiting.contains_key(&id))
    }

    /// Delivers a notification. Returns whether its request was waiting and had room for it.
    fn notify(&self, id: u64, message: Bytes) -> bool {
        match &*self.lock() {
            PendingState::Open(waiting) => waiting.get(&id).is_some_and(|request| {
                let kept = request.memory.keep(message);
                kept.is_ok_and(|kept| {
                    let reply = ChildReply::Notification(kept);
                    request.notifications.try_send(reply).is_ok()
                })
            }),
            PendingState::Closed(_) => false,
        }
    }
}

impl fmt::Debug for PendingRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingRequests")
            .field("closed", &self.closed())
            .finish_non_exhaustive()
    }
}

/// Delivers each line of the child to its request. Never waits: one slow receiver must not stop the
/// others.
pub(super) struct LineRouter {
    name: UpstreamId,
    pending: Arc<PendingRequests>,
    events: mpsc::Sender<Bytes>,
    /// The share that pays for messages of the child's own.
    memory: MemoryShare,
    skipped: u64,
    dropped: u64,
    late: u64,
}

impl LineRouter {
    pub(super) fn new(
        name: UpstreamId,
        pending: Arc<PendingRequests>,
        events: mpsc::Sender<Bytes>,
        memory: MemoryShare,
    ) -> Self {
        Self {
            name,
            pending,
            events,
            memory,
            skipped: 0,
            dropped: 0,
            late: 0,
        }
    }

    /// Routes one line, given without its end.
    pub(super) fn route(&mut self, line: &Bytes) {
        let Ok(text) = std::str::from_utf8(line) else {
            return self.handle_broken("not UTF-8", line);
        };
        let text = json::without_bom(text).trim_matches([' ', '\t', '\r']);
        if text.is_empty() {
            return;
        }
        // A legacy server may send several messages as one array (2025-03-26, `basic/index.mdx`).
        match text.strip_prefix('[').map(|_| message::split_batch(text)) {
            Some(Ok(items)) => {
                for item in items {
                    self.route_message(item, line.slice_ref(item.as_bytes()));
                }
            }
            Some(Err(wrong)) => self.skip_line(wrong, line),
            None => self.route_message(text, line.slice_ref(text.as_bytes())),
        }
    }

    fn route_message(&mut self, text: &str, bytes: Bytes) {
        match Message::parse(text) {
            Ok(Message::Response(response)) => {
                if response.id.is_none() {
                    // It may belong to any request, so it is given to none.
                    return self.skip_line("a response without an id", &bytes);
                }
                let id = response.id.and_then(read_number);
                if !id.is_some_and(|id| self.pending.answer(id, bytes)) {
                    self.drop_late("a response to no request of ours");
                }
            }
            Ok(Message::Notification(notification)) => match self.find_addressee(&notification) {
                Addressee::Request(id) => {
                    if !self.pending.notify(id, bytes) {
                        self.drop_late("a notification of a request that is over or slow");
                    }
                }
                Addressee::Nobody => self.drop_late("progress without a token of ours"),
                Addressee::Everybody => self.queue_event(&notification.method, bytes, false),
            },
            Ok(Message::Request(request)) => self.queue_event(&request.method, bytes, true),
            Err(refusal) => self.handle_invalid(text, bytes, &refusal),
        }
    }

    /// Finds the request that a notification names: by progress token, or by the subscription it
    /// belongs to.
    fn find_addressee(&self, notification: &Notification<'_>) -> Addressee {
        let params = notification.envelope.get("params");
        let params = params.and_then(|params| Object::parse(params).ok());
        if notification.method == method::PROGRESS {
            let token = params.as_ref().and_then(|p| p.get(meta::PROGRESS_TOKEN));
            return token
                .and_then(read_number)
                .map_or(Addressee::Nobody, Addressee::Request);
        }
        let meta = params.as_ref().and_then(|params| params.get("_meta"));
        let meta = meta.and_then(|meta| Object::parse(meta).ok());
        let subscription = meta.as_ref().and_then(|m| m.get(meta::SUBSCRIPTION_ID));
        match subscription.and_then(read_number) {
            Some(id) if self.pending.is_waiting(id) => Addressee::Request(id),
            _ => Addressee::Everybody,
        }
    }

    fn queue_event(&mut self, method: &str, bytes: Bytes, wants_response: bool) {
        // A small message keeps the whole buffer that it was read into, so it is copied.
        let kept = match bytes.len() {
            ..=memory::SMALL => Ok(Bytes::copy_from_slice(&bytes)),
            _ => self.memory.keep(bytes),
        };
        match kept.map(|kept| self.events.try_send(kept)) {
            Ok(Ok(())) => {}
            // The receiver is gone: weir does not use this child any more.
            Ok(Err(TrySendError::Closed(_))) => {}
            Ok(Err(TrySendError::Full(_))) | Err(_) => {
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

    /// Handles a message that JSON-RPC does not allow. If it was meant as the response to a
    /// request, that request gets it, and fails at once instead of waiting for its deadline.
    fn handle_invalid(&mut self, text: &str, bytes: Bytes, refusal: &MessageError) {
        let why = refusal.fault.to_string();
        let Ok(object) = Object::parse(text) else {
            return self.handle_broken(&why, &bytes);
        };
        self.skip_line(&why, &bytes);
        let id = refusal.id.as_ref().map(Id::as_json).and_then(read_number);
        if let (Some(id), false) = (id, object.contains("method")) {
            self.pending.answer(id, bytes);
        }
    }

    /// Handles a line that is not JSON, or not even text, in the same way.
    fn handle_broken(&mut self, why: &str, line: &Bytes) {
        self.skip_line(why, line);
        if let Some(id) = broken::answered_id(line) {
            self.pending.answer(id, line.clone());
        }
    }

    /// Skips a line that is no message, and logs it now and then. Servers print banners and debug
    /// output to stdout: that is wrong, common, and harmless.
    fn skip_line(&mut self, why: &str, line: &[u8]) {
        self.skipped += 1;
        if is_milestone(self.skipped) {
            let line = printable(line.get(..200).unwrap_or(line));
            tracing::warn!(target: "upstream", upstream = %self.name, lines = self.skipped,
                "a line on stdout is skipped ({why}): {line}");
        }
    }

    fn drop_late(&mut self, what: &str) {
        self.late += 1;
        if is_milestone(self.late) {
            tracing::debug!(target: "upstream", upstream = %self.name, messages = self.late, "dropped {what}");
        }
    }
}

/// The receiver of a notification.
enum Addressee {
    Request(u64),
    Everybody,
    Nobody,
}
