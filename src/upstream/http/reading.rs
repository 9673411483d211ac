//! BodyReader an answer's body, within bounds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;

use crate::protocol::sse::Events;
use crate::upstream::client::Body;
use crate::upstream::error::LinkError;
use crate::upstream::exchange::BodyReadError;

/// The bounds of one upstream's answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyReader {
    /// `limits.response_bytes`
    pub(super) limit: usize,
    /// `timeouts.idle`
    pub(super) idle: Duration,
}

impl BodyReader {
    /// A whole body.
    pub(super) async fn body(
        self,
        response: Response<Body>,
        limit: usize,
    ) -> Result<Bytes, LinkError> {
        let mut incoming = response.into_body();
        let announced = incoming.announced();
        if announced.is_some_and(|length| length > limit) {
            return Err(LinkError::TooLarge { limit });
        }
        let Some(first) = incoming.chunk().await.map_err(LinkError::from_transfer)? else {
            return Ok(Bytes::new());
        };
        // Most answers are one piece, which needs no copy.
        if incoming.is_over() && first.len() <= limit {
            return Ok(first);
        }
        let mut body = BytesMut::with_capacity(announced.unwrap_or(first.len() * 2));
        let mut next = Some(first);
        while let Some(chunk) = next {
            if body.len() + chunk.len() > limit {
                return Err(LinkError::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
            // Only from the first byte on: a tool may take its time behind a head that was sent early.
            let more = tokio::time::timeout(self.idle, incoming.chunk()).await;
            let more = more.map_err(|_| LinkError::Idle)?;
            next = more.map_err(LinkError::from_transfer)?;
        }
        Ok(body.freeze())
    }

    /// Events of an answer: `timeouts.idle` between two signs of life, keep-alive comments included.
    pub(super) fn events(self, response: Response<Body>) -> Events<BodyReadError> {
        let idle = self.idle;
        let chunks =
            futures::stream::unfold(response.into_body(), move |mut response| async move {
                match tokio::time::timeout(idle, response.chunk()).await {
                    Ok(Ok(Some(chunk))) => Some((Ok(chunk), response)),
                    Ok(Ok(None)) => None,
                    Ok(Err(error)) => Some((Err(BodyReadError::Broken(error)), response)),
                    Err(_) => Some((Err(BodyReadError::Idle), response)),
                }
            });
        Events::new(chunks, self.limit)
    }

    /// Events of a stream that may stay silent for as long as nothing happens.
    pub(super) fn quiet_events(self, response: Response<Body>) -> Events<BodyReadError> {
        let chunks = futures::stream::unfold(response.into_body(), |mut response| async move {
            match response.chunk().await {
                Ok(Some(chunk)) => Some((Ok(chunk), response)),
                Ok(None) => None,
                Err(error) => Some((Err(BodyReadError::Broken(error)), response)),
            }
        });
        Events::new(chunks, self.limit)
    }
}
