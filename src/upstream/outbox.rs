//! The outbox of one peer: the messages that weir sends it outside of calls, and that nobody waits
//! for. It is bounded, and one task posts what is in it ([`Link::post_later`]).
//!
//! Peers decide how many such messages there are: an upstream by its own requests, callers by their
//! notifications and by the calls they leave. So a message costs no task and no connection of its
//! own. What a newer message replaces is sent once. A peer that fills its outbox all the same sends
//! requests and does not take the answers, and its session is given up.
//!
//! [`Link::post_later`]: crate::upstream::Link::post_later

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::memory::Reservation;
use crate::upstream::request::OutboundRequest;

/// The most messages that wait for one peer. A peer sends few requests before it has read an
/// answer: 64 requests to a caller wait at most, and pings come one at a time.
pub const MESSAGES: usize = 256;

/// The most bytes that wait for one peer. One message is taken whatever it weighs: it may be a
/// caller's answer, whose size has been checked.
pub const BYTES: usize = 4 * 1024 * 1024;

/// The most messages that are posted to one peer at once: one that hangs does not hold up the rest.
pub const AT_ONCE: usize = 8;

/// A message for a peer that nobody waits for.
pub struct OutboxMessage {
    /// The JSON text.
    pub body: Bytes,
    /// The request in place of the text, if the message is one: its answer is read, and says nothing.
    pub request: Option<Box<OutboundRequest>>,
    /// The name of the message in weir's log.
    pub what: &'static str,
    /// The moment after which it is of no use, and is not posted any more.
    pub until: Instant,
    /// The state that it tells of, if a newer message about the same takes its place.
    pub state: Option<OutboxState>,
    /// The part of `limits.memory` that it takes.
    pub kept: Option<Reservation>,
    /// Dropped when the message was posted or given up. A message that holds a slot of the gate is
    /// bounded by the gate, and does not count here.
    pub held: Option<Box<dyn Any + Send>>,
}

/// A state of which only the newest message counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxState {
    /// That the caller's roots have changed.
    Roots,
    /// The caller's progress with the request that has this number.
    Progress(u64),
}

/// The place of a message that was put into an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits for the task that posts.
    Queued,
    /// It waits, and there is no such task yet: the caller starts it.
    First,
    /// It was the one too many, so the outbox is closed.
    Overflowed,
    /// The outbox was closed before. The message is dropped.
    Closed,
}

/// The messages that wait to be posted to one peer.
#[derive(Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    /// Tells the task that posts of another message.
    added: Notify,
    /// Told when nothing waits any more.
    emptied: Notify,
    overflowed: AtomicBool,
    overflow: Notify,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<OutboxMessage>,
    /// The messages among them that count, and their bytes.
    counted: usize,
    bytes: usize,
    /// The states that are being told right now: a newer message waits until that is over, so that
    /// they arrive in order.
    posting: Vec<OutboxState>,
    has_task: bool,
}

impl OutboxMessage {
    /// Returns whether it counts against the bounds of the outbox.
    fn is_counted(&self) -> bool {
        self.held.is_none()
    }
}

impl Queue {
    fn add(&mut self, message: OutboxMessage) {
        let older = message.state.and_then(|state| {
            let mut waiting = self.messages.iter_mut();
            waiting.find(|older| older.state == Some(state))
        });
        if message.is_counted() {
            self.bytes += message.body.len();
        }
        if let Some(older) = older {
            self.bytes = self.bytes.saturating_sub(older.body.len());
            *older = message;
            return;
        }
        self.counted += usize::from(message.is_counted());
        self.messages.push_back(message);
    }

    fn is_over(&self) -> bool {
        self.counted > MESSAGES || (self.counted > 1 && self.bytes > BYTES)
    }

    /// Takes the first message that tells of no state that is being told.
    fn take(&mut self) -> Option<OutboxMessage> {
        let is_free = |message: &OutboxMessage| {
            let state = message.state;
            state.is_none_or(|state| !self.posting.contains(&state))
        };
        let at = self.messages.iter().position(is_free)?;
        let message = self.messages.remove(at)?;
        if message.is_counted() {
            self.counted = self.counted.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(message.body.len());
        }
        self.posting.extend(message.state);
        Some(message)
    }
}

impl Outbox {
    /// Puts a message in. It takes the place of one that tells of the same state.
    pub fn push(&self, message: OutboxMessage) -> Pushed {
        if self.has_overflowed() {
            return Pushed::Closed;
        }
        let mut queue = self.queue.lock();
        queue.add(message);
        if queue.is_over() {
            (queue.counted, queue.bytes) = (0, 0);
            let dropped = std::mem::take(&mut queue.messages);
            drop(queue);
            drop(dropped);
            self.overflowed.store(true, Ordering::Release);
            self.overflow.notify_waiters();
            self.added.notify_one();
            return Pushed::Overflowed;
        }
        let is_first = !std::mem::replace(&mut queue.has_task, true);
        drop(queue);
        if is_first {
            return Pushed::First;
        }
        self.added.notify_one();
        Pushed::Queued
    }

    /// Takes the next message that may be posted now. For the task that posts.
    pub fn take(&self) -> Option<OutboxMessage> {
        self.queue.lock().take()
    }

    /// Notes that the message that told of a state was posted. For the task that posts.
    pub fn note_posted(&self, state: Option<OutboxState>) {
        if let Some(state) = state {
            self.queue.lock().posting.retain(|other| *other != state);
        }
    }

    /// Waits for another message. For the task that posts.
    pub async fn wait_added(&self) {
        self.added.notified().await;
    }

    /// Lets the task end that posts, if nothing waits. Returns whether it may.
    pub fn finish(&self) -> bool {
        let mut queue = self.queue.lock();
        let is_empty = queue.messages.is_empty();
        queue.has_task = !is_empty;
        drop(queue);
        if is_empty {
            self.emptied.notify_waiters();
        }
        is_empty
    }

    /// Returns whether nothing waits, and nothing is being posted.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.queue.lock().has_task
    }

    /// Waits until that is so.
    pub async fn wait_idle(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.is_idle() {
                return;
            }
            emptied.await;
        }
    }

    /// Returns whether there were too many messages.
    #[must_use]
    pub fn has_overflowed(&self) -> bool {
        self.overflowed.load(Ordering::Acquire)
    }

    /// Waits until there are too many messages.
    pub async fn wait_overflow(&self) {
        let overflow = self.overflow.notified();
        let mut overflow = std::pin::pin!(overflow);
        overflow.as_mut().enable();
        if !self.has_overflowed() {
            overflow.await;
        }
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("overflowed", &self.has_overflowed())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OutboxMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxMessage")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &'static str, state: Option<OutboxState>) -> OutboxMessage {
        OutboxMessage {
            body: Bytes::from_static(body.as_bytes()),
            request: None,
            what: "a test",
            until: Instant::now(),
            state,
            kept: None,
            held: None,
        }
    }

    fn bodies(outbox: &Outbox) -> Vec<Bytes> {
        std::iter::from_fn(|| outbox.take())
            .map(|message| message.body)
            .collect()
    }

    #[test]
    fn one_task_posts_all_messages_and_ends_when_there_are_none() {
        let outbox = Outbox::default();
        assert_eq!(outbox.push(message("1", None)), Pushed::First);
        assert_eq!(outbox.push(message("2", None)), Pushed::Queued);
        assert!(!outbox.finish());
        assert_eq!(bodies(&outbox), ["1", "2"]);
        assert!(outbox.finish());
        assert_eq!(outbox.push(message("3", None)), Pushed::First);
    }

    #[test]
    fn a_newer_message_about_the_same_state_takes_the_place_of_the_older() {
        let outbox = Outbox::default();
        let progress = OutboxState::Progress;
        for _ in 0..10 * MESSAGES {
            outbox.push(message("roots", Some(OutboxState::Roots)));
            outbox.push(message("one", Some(progress(1))));
            outbox.push(message("two", Some(progress(2))));
        }
        assert_eq!(bodies(&outbox), ["roots", "one", "two"]);
        // One is being posted: the next waits for it.
        outbox.push(message("later", Some(progress(1))));
        outbox.push(message("other", None));
        assert_eq!(bodies(&outbox), ["other"]);
        outbox.note_posted(Some(progress(1)));
        assert_eq!(bodies(&outbox), ["later"]);
    }

    #[test]
    fn one_message_too_many_closes_the_outbox() {
        let outbox = Outbox::default();
        for _ in 0..MESSAGES {
            assert_ne!(outbox.push(message("x", None)), Pushed::Overflowed);
        }
        assert_eq!(outbox.push(message("x", None)), Pushed::Overflowed);
        assert_eq!(outbox.push(message("x", None)), Pushed::Closed);
        assert!(outbox.has_overflowed() && outbox.take().is_none());
    }

    #[test]
    fn bytes_count_but_one_message_always_fits() {
        let large = || OutboxMessage {
            body: vec![0; BYTES + 1].into(),
            ..message("", None)
        };
        let outbox = Outbox::default();
        assert_eq!(outbox.push(large()), Pushed::First);
        assert_eq!(outbox.take().unwrap().body.len(), BYTES + 1);
        outbox.push(large());
        assert_eq!(outbox.push(message("x", None)), Pushed::Overflowed);
    }

    #[test]
    fn messages_that_hold_a_slot_are_counted_by_the_gate() {
        let outbox = Outbox::default();
        for _ in 0..10 * MESSAGES {
            let held: Option<Box<dyn Any + Send>> = Some(Box::new(()));
            outbox.push(OutboxMessage {
                held,
                ..message("x", None)
            });
        }
        assert!(!outbox.has_overflowed());
        assert_eq!(bodies(&outbox).len(), 10 * MESSAGES);
    }

    #[tokio::test]
    async fn an_overflow_is_heard_before_and_after() {
        let outbox = Outbox::default();
        let mut early = std::pin::pin!(outbox.wait_overflow());
        assert!(futures::poll!(early.as_mut()).is_pending());
        for _ in 0..=MESSAGES {
            outbox.push(message("x", None));
        }
        early.await;
        outbox.wait_overflow().await;
    }
}
