//! The messages that come back for one request: notifications in order, then the response.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::json;
use crate::memory::{MemoryShare, OverBudget};
use crate::protocol::message;
use crate::protocol::sse::{Events, SseError};
use crate::upstream::client::TransferError;
use crate::upstream::error::LinkError;
use crate::upstream::stdio::{ChildClosed, ChildReplies, ChildReply};

/// The longest event id that is remembered, in bytes.
const LONGEST_EVENT_ID: usize = 1024;

/// The messages that an upstream sends for one request. Dropping it stops reading, which over
/// modern HTTP cancels the request (`patterns/cancellation.mdx`).
pub struct Exchange {
    source: Source,
    deadline: Option<Instant>,
    resume_point: ResumePoint,
    /// Whether an array is several messages. Otherwise it is none.
    takes_batches: bool,
    /// The messages of an array that are still to come.
    batch: VecDeque<Bytes>,
}

/// Where an event stream can be resumed (2025-11-25
/// `basic/transports.mdx#resumability-and-redelivery`).
#[derive(Clone, Debug, Default)]
pub struct ResumePoint {
    /// The id of the last event that had one.
    pub last: Option<String>,
    /// The pause that the upstream asks for before the stream is resumed.
    pub retry: Option<Duration>,
}

enum Source {
    Whole(Option<Bytes>),
    Events(Box<EventSource>),
    Child(ChildReplies),
    Relayed(mpsc::Receiver<RelayedMessage>, bool),
}

/// A message of a call that a task of its own reads, because it may outlast the request that began it.
#[derive(Debug)]
pub enum RelayedMessage {
    /// A message of the upstream.
    Message(Bytes),
    /// A response of weir's own, which says what the upstream has to know first. It is of the modern
    /// era.
    Question(Bytes),
    /// Why no more messages come.
    Failed(LinkError),
}

/// An event stream, and the share that pays for its messages.
struct EventSource {
    events: Events<BodyReadError>,
    memory: MemoryShare,
}

/// Why reading a body failed.
#[derive(Debug, thiserror::Error)]
pub enum BodyReadError {
    /// The connection broke.
    #[error("the connection broke off")]
    Broken(#[source] TransferError),
    /// The event does not fit into what is left of `limits.memory`.
    #[error(transparent)]
    NoMemory(#[from] OverBudget),
    /// Nothing came for too long.
    #[error("silent for too long")]
    Idle,
}

impl Exchange {
    /// Wraps a JSON answer.
    #[must_use]
    pub fn from_body(body: Bytes) -> Self {
        Self {
            source: Source::Whole(Some(json::cut_bom(body))),
            deadline: None,
            resume_point: ResumePoint::default(),
            takes_batches: false,
            batch: VecDeque::new(),
        }
    }

    /// Wraps an event stream, read until `deadline` if there is one.
    #[must_use]
    pub fn from_events(
        events: Events<BodyReadError>,
        deadline: Option<Instant>,
        memory: MemoryShare,
    ) -> Self {
        Self {
            source: Source::Events(Box::new(EventSource { events, memory })),
            deadline,
            resume_point: ResumePoint::default(),
            takes_batches: false,
            batch: VecDeque::new(),
        }
    }

    /// Wraps a child's answers.
    #[must_use]
    pub fn from_child(replies: ChildReplies) -> Self {
        Self {
            source: Source::Child(replies),
            deadline: None,
            resume_point: ResumePoint::default(),
            takes_batches: false,
            batch: VecDeque::new(),
        }
    }

    /// Wraps the messages of a call that a task reads.
    #[must_use]
    pub fn from_relayed(messages: mpsc::Receiver<RelayedMessage>) -> Self {
        Self {
            source: Source::Relayed(messages, false),
            deadline: None,
            resume_point: ResumePoint::default(),
            takes_batches: false,
            batch: VecDeque::new(),
        }
    }

    /// Returns whether the last message was a question for the caller, in the form that the modern era
    /// has.
    #[must_use]
    pub fn is_question(&self) -> bool {
        matches!(self.source, Source::Relayed(_, true))
    }

    /// Returns the JSON answer, unless the answer is a stream or was read already.
    #[must_use]
    pub fn whole_body(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Whole(body) => body.as_ref(),
            Source::Events(_) | Source::Child(_) | Source::Relayed(..) => None,
        }
    }

    /// Takes arrays as several messages, if the peer is legacy: 2025-03-26 has them.
    #[must_use]
    pub fn with_batches(mut self, is_legacy: bool) -> Self {
        self.takes_batches = is_legacy;
        self
    }

    /// Sets the deadline, at which the exchange ends whatever is still to come.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Moves the deadline to a later time. An earlier one changes nothing.
    pub fn prolong(&mut self, deadline: Instant) {
        self.deadline = self.deadline.map(|before| before.max(deadline));
    }

    /// Sets where the stream was resumed. It can be resumed there again until an event has another
    /// id.
    #[must_use]
    pub fn continue_from(mut self, resume_point: ResumePoint) -> Self {
        self.resume_point = resume_point;
        self
    }

    /// Returns when this exchange has to be over.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns where this stream can be resumed, if the upstream gave an event id.
    #[must_use]
    pub fn resume_point(&self) -> Option<ResumePoint> {
        let is_known = self.resume_point.last.is_some();
        is_known.then(|| self.resume_point.clone())
    }

    /// Returns the next message as it arrived, `None` after the last.
    ///
    /// # Errors
    /// The time is up, the stream broke or is no event stream, or the child ended.
    pub async fn next(&mut self) -> Result<Option<Bytes>, LinkError> {
        loop {
            if let Some(message) = self.batch.pop_front() {
                return Ok(Some(message));
            }
            let Some(bytes) = self.read().await? else {
                return Ok(None);
            };
            if !self.takes_batches || bytes.trim_ascii_start().first() != Some(&b'[') {
                return Ok(Some(bytes));
            }
            let text = std::str::from_utf8(&bytes).map_err(|_| LinkError::Nonsense("not UTF-8"))?;
            let items = message::split_batch(text.trim_ascii()).map_err(LinkError::Nonsense)?;
            let items = items.into_iter().map(str::as_bytes);
            self.batch.extend(items.map(|item| bytes.slice_ref(item)));
        }
    }

    /// Reads the next body, event or message of a child.
    async fn read(&mut self) -> Result<Option<Bytes>, LinkError> {
        if let Source::Whole(body) = &mut self.source {
            return Ok(body.take());
        }
        let next = self.source.next(&mut self.resume_point);
        match self.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, next)
                .await
                .map_err(|_| LinkError::Timeout)?,
            None => next.await,
        }
    }
}

impl Source {
    async fn next(&mut self, resume_point: &mut ResumePoint) -> Result<Option<Bytes>, LinkError> {
        match self {
            Self::Whole(body) => Ok(body.take()),
            Self::Events(source) => loop {
                let event = match source.events.next().await {
                    Ok(Some(event)) => event,
                    Ok(None) => return Ok(None),
                    Err(SseError::TooLarge(limit)) => return Err(LinkError::TooLarge { limit }),
                    Err(SseError::Malformed) => {
                        return Err(LinkError::Nonsense("not an event stream"));
                    }
                    Err(SseError::Read(BodyReadError::Idle)) => return Err(LinkError::Idle),
                    Err(SseError::Read(BodyReadError::NoMemory(over))) => return Err(over.into()),
                    Err(SseError::Read(BodyReadError::Broken(error))) => {
                        return Err(LinkError::from_transfer(error));
                    }
                };
                // An empty id resets the last event id (WHATWG HTML §9.2.6).
                if let Some(id) = event.id.filter(|id| id.len() <= LONGEST_EVENT_ID) {
                    resume_point.last = Some(id).filter(|id| !id.is_empty());
                }
                resume_point.retry = event.retry.or(resume_point.retry);
                if !event.data.is_empty() {
                    return Ok(Some(source.memory.keep(json::cut_bom(event.data))?));
                }
            },
            Self::Relayed(messages, is_question) => match messages.recv().await {
                Some(RelayedMessage::Message(message)) => Ok(Some(message)),
                Some(RelayedMessage::Question(message)) => {
                    *is_question = true;
                    Ok(Some(message))
                }
                Some(RelayedMessage::Failed(error)) => Err(error),
                None => Ok(None),
            },
            Self::Child(replies) => match replies.next().await {
                Some(ChildReply::Notification(message) | ChildReply::Response(message)) => {
                    Ok(Some(message))
                }
                Some(ChildReply::Closed(reason)) => {
                    Err(LinkError::ChildClosed(ChildClosed(reason)))
                }
                Some(ChildReply::NoMemory(over)) => Err(over.into()),
                None => Ok(None),
            },
        }
    }
}
