//! The upstream's side of a call: the request that is being sent, and the messages that answer it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::upstream::{Exchange, Link, LinkError, Peer};

/// The pause before a stream is opened again if the upstream names none, and the longest pause.
const RESUME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The origin of the messages of a call.
pub(super) enum CallSource {
    /// The request is being sent, or its stream opened again.
    Sending(BoxFuture<'static, Result<Exchange, LinkError>>),
    Reading(Exchange),
    /// Nothing more comes.
    Over,
}

/// An event of a source.
pub(super) enum Sourced {
    /// The upstream begins to answer.
    Begun,
    Message(Bytes),
    /// Why there is no answer.
    Ended(LinkError),
}

impl CallSource {
    /// Waits for what comes next. It may be dropped and made again at any time.
    pub(super) async fn next(&mut self) -> Sourced {
        match self {
            Self::Sending(sending) => match sending.await {
                Ok(exchange) => {
                    *self = Self::Reading(exchange);
                    Sourced::Begun
                }
                Err(error) => {
                    *self = Self::Over;
                    Sourced::Ended(error)
                }
            },
            Self::Reading(exchange) => match exchange.next().await {
                Ok(Some(bytes)) => Sourced::Message(bytes),
                Ok(None) => Sourced::Ended(LinkError::Nonsense("ended without an answer")),
                Err(error) => Sourced::Ended(error),
            },
            Self::Over => std::future::pending().await,
        }
    }

    /// Returns the source that reads on where the stream ended; `None` if its events had no ids, or it
    /// ended for another reason than that the connection did.
    pub(super) fn resumed(
        &self,
        link: &Arc<Link>,
        peer: &Arc<Peer>,
        error: &LinkError,
    ) -> Option<Self> {
        let Self::Reading(exchange) = self else {
            return None;
        };
        if !matches!(error, LinkError::Broken(_) | LinkError::Nonsense(_)) {
            return None;
        }
        let position = exchange.resume_point()?;
        let last = position.last.clone()?;
        let pause = position.retry.unwrap_or(RESUME.0).min(RESUME.1);
        let (link, peer) = (Arc::clone(link), Arc::clone(peer));
        let resuming = async move {
            tokio::time::sleep(pause).await;
            let resumed = link.resume(&peer, &last).await?;
            Ok(resumed.continue_from(position))
        };
        Some(Self::Sending(resuming.boxed()))
    }
}
