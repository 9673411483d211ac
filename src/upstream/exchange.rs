//! One request's way back: notifications in order, then the response.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::protocol::sse::{Events, SseError};
use crate::upstream::client::TransferError;
use crate::upstream::error::LinkError;
use crate::upstream::stdio::{ChildClosed, ChildReplies, ChildReply};

/// The longest event id that is remembered.
const LONGEST_ID: usize = 1024;

/// The messages an upstream sends for one request. Dropping it stops reading; over modern HTTP that
/// is the cancellation (`patterns/cancellation.mdx`).
pub struct Exchange {
    source: Source,
    deadline: Option<Instant>,
    position: ResumePoint,
}

/// Where an event stream can be taken up again (2025-11-25 `basic/transports.mdx#resumability-and-redelivery`).
#[derive(Clone, Debug, Default)]
pub struct ResumePoint {
    /// The id of the last event that had one.
    pub last: Option<String>,
    /// How long the upstream wants to be left alone first.
    pub retry: Option<Duration>,
}

enum Source {
    Whole(Option<Bytes>),
    Events(Box<Events<BodyReadError>>),
    Child(ChildReplies),
}

/// Why reading a body failed.
#[derive(Debug, thiserror::Error)]
pub enum BodyReadError {
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
    pub fn from_body(body: Bytes) -> Self {
        Self {
            source: Source::Whole(Some(body)),
            deadline: None,
            position: ResumePoint::default(),
        }
    }

    /// An event stream, read until `deadline` if there is one.
    #[must_use]
    pub fn from_events(events: Events<BodyReadError>, deadline: Option<Instant>) -> Self {
        Self {
            source: Source::Events(Box::new(events)),
            deadline,
            position: ResumePoint::default(),
        }
    }

    /// A child's answers.
    #[must_use]
    pub fn from_child(replies: ChildReplies) -> Self {
        Self {
            source: Source::Child(replies),
            deadline: None,
            position: ResumePoint::default(),
        }
    }

    /// The whole answer, where it is one and is still here.
    #[must_use]
    pub fn whole_body(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Whole(body) => body.as_ref(),
            Source::Events(_) | Source::Child(_) => None,
        }
    }

    /// Ends the exchange at `deadline`, whatever still comes.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Takes up a stream that ended there, and is still there until it says otherwise.
    #[must_use]
    pub fn continue_from(mut self, position: ResumePoint) -> Self {
        self.position = position;
        self
    }

    /// When this exchange has to be over.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Where this stream can be taken up again, if the upstream says so.
    #[must_use]
    pub fn resume_point(&self) -> Option<ResumePoint> {
        self.position.last.is_some().then(|| self.position.clone())
    }

    /// The next message as it arrived; `None` when no more comes.
    ///
    /// # Errors
    /// The time is up, the stream broke or is no event stream, or the child ended.
    pub async fn next(&mut self) -> Result<Option<Bytes>, LinkError> {
        if let Source::Whole(body) = &mut self.source {
            return Ok(body.take());
        }
        let next = self.source.next(&mut self.position);
        match self.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, next)
                .await
                .map_err(|_| LinkError::Timeout)?,
            None => next.await,
        }
    }
}

impl Source {
    async fn next(&mut self, position: &mut ResumePoint) -> Result<Option<Bytes>, LinkError> {
        match self {
            Self::Whole(body) => Ok(body.take()),
            Self::Events(events) => loop {
                let event = match events.next().await {
                    Ok(Some(event)) => event,
                    Ok(None) => return Ok(None),
                    Err(SseError::TooLarge(limit)) => return Err(LinkError::TooLarge { limit }),
                    Err(SseError::Malformed) => {
                        return Err(LinkError::Nonsense("not an event stream"));
                    }
                    Err(SseError::Read(BodyReadError::Idle)) => return Err(LinkError::Idle),
                    Err(SseError::Read(BodyReadError::Broken(error))) => {
                        return Err(LinkError::Broken(error));
                    }
                };
                // The empty id says that there is no position any more (WHATWG HTML §9.2.6).
                if let Some(id) = event.id.filter(|id| id.len() <= LONGEST_ID) {
                    position.last = Some(id).filter(|id| !id.is_empty());
                }
                position.retry = event.retry.or(position.retry);
                if !event.data.is_empty() {
                    return Ok(Some(event.data));
                }
            },
            Self::Child(replies) => match replies.next().await {
                Some(ChildReply::Notification(message) | ChildReply::Response(message)) => {
                    Ok(Some(message))
                }
                Some(ChildReply::Closed(reason)) => {
                    Err(LinkError::ChildClosed(ChildClosed(reason)))
                }
                None => Ok(None),
            },
        }
    }
}
