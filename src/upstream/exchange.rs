//! One request's way back: notifications in order, then the response.

use bytes::Bytes;
use tokio::time::Instant;

use crate::protocol::sse::{Events, SseError};
use crate::upstream::client::TransferError;
use crate::upstream::error::LinkError;
use crate::upstream::stdio::{ChildClosed, Replies, Reply};

/// The messages an upstream sends for one request. Dropping it stops reading; over modern HTTP that
/// is the cancellation (`patterns/cancellation.mdx`).
pub struct Exchange {
    source: Source,
    deadline: Option<Instant>,
}

enum Source {
    Whole(Option<Bytes>),
    Events(Box<Events<ReadError>>),
    Child(Replies),
}

/// Why reading a body failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The connection broke.
    #[error("the connection broke off")]
    Broken(#[source] TransferError),
    /// Nothing came for too long.
    #[error("silent for too long")]
    Idle,
}

impl Exchange {
    /// A JSON answer.
    #[must_use]
    pub fn whole(body: Bytes) -> Self {
        Self {
            source: Source::Whole(Some(body)),
            deadline: None,
        }
    }

    /// An event stream, read until `deadline` if there is one.
    #[must_use]
    pub fn events(events: Events<ReadError>, deadline: Option<Instant>) -> Self {
        Self {
            source: Source::Events(Box::new(events)),
            deadline,
        }
    }

    /// A child's answers.
    #[must_use]
    pub fn child(replies: Replies) -> Self {
        Self {
            source: Source::Child(replies),
            deadline: None,
        }
    }

    /// Ends the exchange at `deadline`, whatever still comes.
    #[must_use]
    pub fn until(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The next message as it arrived; `None` when no more comes.
    ///
    /// # Errors
    /// The time is up, the stream broke or is no event stream, or the child ended.
    pub async fn next(&mut self) -> Result<Option<Bytes>, LinkError> {
        if let Source::Whole(body) = &mut self.source {
            return Ok(body.take());
        }
        match self.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, self.source.next())
                .await
                .map_err(|_| LinkError::Timeout)?,
            None => self.source.next().await,
        }
    }
}

impl Source {
    async fn next(&mut self) -> Result<Option<Bytes>, LinkError> {
        match self {
            Self::Whole(body) => Ok(body.take()),
            Self::Events(events) => match events.message().await {
                Ok(data) => Ok(data),
                Err(SseError::TooLarge(limit)) => Err(LinkError::TooLarge { limit }),
                Err(SseError::Malformed) => Err(LinkError::Nonsense("not an event stream")),
                Err(SseError::Read(ReadError::Idle)) => Err(LinkError::Idle),
                Err(SseError::Read(ReadError::Broken(error))) => Err(LinkError::Broken(error)),
            },
            Self::Child(replies) => match replies.next().await {
                Some(Reply::Notification(message) | Reply::Response(message)) => Ok(Some(message)),
                Some(Reply::Closed(reason)) => Err(LinkError::ChildClosed(ChildClosed(reason))),
                None => Ok(None),
            },
        }
    }
}
