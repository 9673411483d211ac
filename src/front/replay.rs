//! Streamed answers of legacy calls. Messages are kept until they are read, so that a caller whose
//! connection broke can continue where it was (2025-11-25
//! `basic/transports.mdx#resumability-and-redelivery`).
//!
//! A task moves the messages of the call into a buffer, and the caller's current connection reads
//! the buffer. In legacy a broken connection cancels nothing, so the task goes on without a reader.

use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use foldhash::HashMap;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::caller::Presence;
use crate::front::running::Running;
use crate::front::standing::Standing;
use crate::memory::{MemoryShare, Reservation, SMALL};
use crate::protocol::sse;
use crate::relay::{Outgoing, Pause, Payload};
use crate::session::CallerSession;

/// At most this many messages and bytes are in a buffer, except for a single message that is
/// larger. A full buffer makes the call wait while it has a reader; without one, the oldest
/// messages are dropped.
const MAX_MESSAGES: usize = 64;
const MAX_BYTES: usize = 256 * 1024;
/// At most this many answers can be resumed. With more, a broken connection ends its answer.
const MAX_BUFFERS: usize = 1_000;
/// How long an answer that was not read to its end is kept.
const KEPT_UNREAD: Duration = Duration::from_secs(60);
/// How long a caller should wait before it reconnects, unless its upstream says how long.
const RETRY: Duration = Duration::from_millis(500);

/// The buffers of all answers that can be resumed, by number.
#[derive(Debug)]
pub(super) struct ReplayBuffers {
    /// `listen.keep_alive`
    keep_alive: Duration,
    numbers: AtomicU64,
    inner: Mutex<HashMap<u64, Arc<ReplayBuffer>>>,
}

/// The messages of one streamed answer that may be read again.
#[derive(Debug)]
pub(super) struct ReplayBuffer {
    number: u64,
    session: Arc<CallerSession>,
    /// Whether the caller is there: a reader.
    presence: Option<Presence>,
    /// Whether the caller knows streams that pause: events without data, retry times.
    polls: bool,
    keep_alive: Duration,
    state: Mutex<State>,
    /// Goes up whenever `state` changes.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the first message in `messages`.
    first: u64,
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// The part of `limits.memory` that the small messages among them take; the others are counted
    /// anyway.
    kept: Option<Reservation>,
    /// The number of the current reader, and of the next message it wants. An earlier reader ends.
    reader: Option<(u64, u64)>,
    readers: u64,
    /// How long the caller was told last to wait before it comes back.
    retry: Duration,
    /// The pause of the upstream that the caller may end.
    pause: Option<Pause>,
    /// Whether the current reader ends once it has read all messages.
    is_pausing: bool,
    /// Whether the call is over: no more messages come.
    done: bool,
    /// Whether the answer was read to its end.
    was_read: bool,
    /// Whether the session is over, so that no caller can resume the answer.
    is_session_over: bool,
}

/// The reason why an answer is a stream.
#[derive(Debug)]
pub(super) enum StreamTrigger {
    /// The response takes long.
    Silence,
    /// This message comes before the response.
    Message(Bytes),
    /// The upstream paused its stream.
    Paused(Pause),
    /// The response is here, and the caller prefers streams.
    Response(Payload),
}

/// The next step of a reader.
enum ReadStep {
    Message(u64, Bytes),
    /// The stream ends here for now: the number to come back with, and when to, if that is new.
    Pause(u64, Option<Duration>),
    Wait,
    End,
}

impl ReplayBuffers {
    /// Makes room for buffers, whose readers get a comment after `keep_alive` of silence.
    pub(super) fn new(keep_alive: Duration) -> Self {
        // Not from 0 on: after a restart, the id of an earlier event must find nothing.
        let seed = crate::seal::random::<4>().map_or(0, u32::from_le_bytes);
        Self {
            keep_alive,
            numbers: AtomicU64::new(u64::from(seed) << 16),
            inner: Mutex::default(),
        }
    }

    /// Streams an answer into the body that is returned, beginning with `trigger`.
    pub(super) fn stream(
        self: &Arc<Self>,
        running: Running,
        trigger: StreamTrigger,
        session: &Arc<CallerSession>,
        memory: &MemoryShare,
        standing: Standing,
        tasks: &TaskTracker,
    ) -> Body {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let retry = match &trigger {
            StreamTrigger::Paused(pause) => pause.retry.unwrap_or(RETRY),
            StreamTrigger::Silence | StreamTrigger::Message(_) | StreamTrigger::Response(_) => {
                RETRY
            }
        };
        let buffer = Arc::new(ReplayBuffer {
            number,
            session: Arc::clone(session),
            presence: running.presence().cloned(),
            polls: session.knows_polling(),
            keep_alive: self.keep_alive,
            state: Mutex::new(State {
                retry,
                kept: memory.reserve(0).ok(),
                ..State::default()
            }),
            changes: watch::Sender::new(0),
        });
        {
            let mut inner = self.inner.lock();
            if inner.len() < MAX_BUFFERS {
                inner.insert(number, Arc::clone(&buffer));
            }
        }
        let first_bytes = if buffer.polls {
            buffer.empty_event(0, retry)
        } else {
            sse::KEEP_ALIVE
        };
        let body = buffer.read(0, Some(first_bytes), standing);
        let buffers = Arc::clone(self);
        tasks.spawn(async move {
            fill(&buffer, running, trigger).await;
            let disposable = buffer.wait_until(State::is_disposable);
            let _ = tokio::time::timeout(KEPT_UNREAD, disposable).await;
            buffers.inner.lock().remove(&buffer.number);
        });
        body
    }

    /// Resumes an answer after the event with the id `last`; `None` if this session has no such
    /// answer.
    pub(super) fn resume(
        &self,
        session: &Arc<CallerSession>,
        last: &str,
        standing: impl FnOnce() -> Standing,
    ) -> Option<Body> {
        let (number, event) = last.split_once('-')?;
        let (number, event): (u64, u64) = (number.parse().ok()?, event.parse().ok()?);
        let buffer = self.inner.lock().get(&number).cloned();
        let buffer = buffer.filter(|buffer| Arc::ptr_eq(&buffer.session, session))?;
        let body = buffer.read(event, None, standing());
        buffer.end_pause();
        Some(body)
    }

    /// Drops the answers of a session that is over, each as soon as its call has ended.
    pub(super) fn discard(&self, session: &Arc<CallerSession>) {
        for buffer in self.inner.lock().values() {
            if Arc::ptr_eq(&buffer.session, session) {
                buffer.change(|state| state.is_session_over = true);
            }
        }
    }
}

/// Moves the messages of a call into its buffer until the call is over.
async fn fill(buffer: &ReplayBuffer, mut running: Running, trigger: StreamTrigger) {
    let mut next = match trigger {
        StreamTrigger::Message(message) => Some(Outgoing::Message(message)),
        StreamTrigger::Paused(pause) => Some(Outgoing::Paused(pause)),
        StreamTrigger::Response(payload) => Some(Outgoing::Response(payload)),
        StreamTrigger::Silence => None,
    };
    loop {
        let outgoing = match next.take() {
            Some(outgoing) => Some(outgoing),
            None => running.next_in_time().await,
        };
        match outgoing {
            Some(Outgoing::Message(message)) => buffer.put(message, false).await,
            Some(Outgoing::Response(payload)) => return buffer.put(payload.concat(), true).await,
            Some(Outgoing::Paused(pause)) => buffer.pause(pause),
            // The caller cancelled its request: it gets no response.
            None => return buffer.change(|state| state.done = true),
        }
    }
}

impl ReplayBuffer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Waits until the state satisfies `holds`.
    async fn wait_until(&self, holds: impl Fn(&State) -> bool) {
        let mut changes = self.changes.subscribe();
        while !holds(&self.state()) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Adds a message. Waits while the buffer is full and its reader is behind: a slow reader slows
    /// its own call, and nothing is lost.
    async fn put(&self, message: Bytes, is_last: bool) {
        self.wait_until(|state| !state.is_full() || !state.is_behind())
            .await;
        let fits = self.state().reserve_for(&message);
        if !fits {
            // Messages that were read are kept for a reader that comes back. This message is in
            // memory anyway.
            self.wait_until(|state| !state.is_behind()).await;
        }
        self.change(|state| {
            while !fits && !state.messages.is_empty() {
                state.drop_oldest();
            }
            state.bytes += message.len();
            state.messages.push_back(message);
            while state.exceeds_limits() && state.messages.len() > 1 {
                state.drop_oldest();
            }
            state.done = is_last;
        });
    }

    /// Ends the caller's stream because the upstream paused its own, if the caller knows how to
    /// come back.
    fn pause(&self, pause: Pause) {
        self.change(|state| {
            state.is_pausing = self.polls;
            state.pause = Some(pause);
        });
    }

    /// Makes an event without a message, but with an id to come back with, and when to.
    fn empty_event(&self, after: u64, retry: Duration) -> Bytes {
        let (number, retry) = (self.number, retry.as_millis());
        format!("id: {number}-{after}\nretry: {retry}\ndata: \n\n").into()
    }

    /// Resumes the upstream's stream now: the caller is back, and need not wait as long as weir would.
    fn end_pause(&self) {
        if let Some(pause) = self.state().pause.take() {
            pause.end();
        }
    }

    /// Makes a body of the messages after the first `after`, and takes the place of an earlier
    /// reader. `first` is sent before them.
    fn read(self: &Arc<Self>, after: u64, first: Option<Bytes>, standing: Standing) -> Body {
        let mut reader = 0;
        if let Some(presence) = &self.presence {
            presence.come_back();
        }
        self.change(|state| {
            state.readers += 1;
            reader = state.readers;
            state.reader = Some((reader, after));
            state.is_pausing = false;
        });
        let reader = BufferReader {
            buffer: Arc::clone(self),
            reader,
            first,
            standing,
        };
        Body::from_stream(futures::stream::unfold(reader, |mut reader| async move {
            let bytes = reader.next().await?;
            Some((Ok::<_, Infallible>(bytes), reader))
        }))
    }

    /// Takes the next message for a reader.
    fn next_step(&self, reader: u64) -> ReadStep {
        let state = &mut *self.state();
        let Some((_, next)) = state.reader.filter(|(current, _)| *current == reader) else {
            return ReadStep::End;
        };
        let next = next.max(state.first);
        let at = usize::try_from(next - state.first).unwrap_or(usize::MAX);
        match state.messages.get(at).cloned() {
            Some(message) => {
                state.reader = Some((reader, next + 1));
                ReadStep::Message(next + 1, message)
            }
            None if state.done => ReadStep::End,
            None if state.is_pausing => {
                state.reader = None;
                let retry = state.pause.as_ref().and_then(|pause| pause.retry);
                let retry = retry.filter(|retry| *retry != state.retry);
                state.retry = retry.unwrap_or(state.retry);
                ReadStep::Pause(next, retry)
            }
            None => ReadStep::Wait,
        }
    }
}

impl State {
    /// Returns whether a new message has to wait.
    fn is_full(&self) -> bool {
        self.messages.len() >= MAX_MESSAGES || self.bytes >= MAX_BYTES
    }

    /// Reserves memory for one more message. Returns `false` if there is none left for it.
    fn reserve_for(&mut self, message: &Bytes) -> bool {
        match &mut self.kept {
            Some(kept) if message.len() <= SMALL => {
                kept.resize(kept.bytes() + message.len()).is_ok()
            }
            Some(_) | None => true,
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self.messages.pop_front().unwrap_or_default();
        self.bytes -= oldest.len();
        self.first += 1;
        if let Some(kept) = self.kept.as_mut().filter(|_| oldest.len() <= SMALL) {
            // Never fails: it becomes less.
            let _ = kept.resize(kept.bytes().saturating_sub(oldest.len()));
        }
    }

    /// Returns whether the oldest message has to go.
    fn exceeds_limits(&self) -> bool {
        self.messages.len() > MAX_MESSAGES || self.bytes > MAX_BYTES
    }

    /// Returns whether the answer need not be kept: it was read, its session is over, or it is too
    /// large to be kept without a reader.
    fn is_disposable(&self) -> bool {
        self.was_read || self.is_session_over || (self.reader.is_none() && self.bytes > MAX_BYTES)
    }

    /// Returns whether there is a reader that has not read all messages.
    fn is_behind(&self) -> bool {
        let end = self.first + self.messages.len() as u64;
        self.reader.is_some_and(|(_, next)| next < end)
    }
}

/// A connection that reads a buffer.
struct BufferReader {
    buffer: Arc<ReplayBuffer>,
    reader: u64,
    first: Option<Bytes>,
    /// It reads no more than its credential allows. The call goes on, and another credential of the
    /// same principal reads on.
    standing: Standing,
}

impl BufferReader {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let mut changes = self.buffer.changes.subscribe();
        loop {
            if !self.standing.holds() {
                return None;
            }
            match self.buffer.next_step(self.reader) {
                ReadStep::Message(number, message) => {
                    // There may be room for the message that `put` waits with.
                    self.buffer.changes.send_modify(|changes| *changes += 1);
                    let id = format!("{}-{number}", self.buffer.number);
                    return Some(sse::event_with_id(&id, &message));
                }
                ReadStep::Pause(after, Some(retry)) => {
                    return Some(self.buffer.empty_event(after, retry));
                }
                ReadStep::Pause(_, None) | ReadStep::End => return None,
                ReadStep::Wait => {}
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    return None;
                },
                () = tokio::time::sleep(self.standing.silence(self.buffer.keep_alive)) => {
                    return self.standing.holds().then_some(sse::KEEP_ALIVE);
                }
            }
        }
    }
}

impl Drop for BufferReader {
    fn drop(&mut self) {
        let reader = self.reader;
        self.buffer.change(|state| {
            let is_it = state.reader.is_some_and(|(current, _)| current == reader);
            let end = state.first + state.messages.len() as u64;
            if is_it {
                state.was_read = state.done && state.reader.is_some_and(|(_, next)| next >= end);
                state.reader = None;
                if let Some(presence) = &self.buffer.presence {
                    presence.leave();
                }
            }
        });
    }
}
