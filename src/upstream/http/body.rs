//! Reads the body of an answer, within limits of size and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;

use crate::protocol::sse::Events;
use crate::upstream::client::Body;
use crate::upstream::error::LinkError;
use crate::upstream::exchange::BodyReadError;

/// Reads bodies within the limits of one upstream.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyReader {
    /// `limits.response_bytes`
    pub(super) limit: usize,
    /// `timeouts.idle`
    pub(super) idle: Duration,
}

impl BodyReader {
    /// Reads a whole body of at most `limit` bytes.
    pub(super) async fn body(
        self,
        response: Response<Body>,
        limit: usize,
    ) -> Result<Bytes, LinkError> {
        let mut incoming = response.into_body();
        let announced = incoming.content_length();
        if announced.is_some_and(|length| length > limit) {
            return Err(LinkError::TooLarge { limit });
        }
        let Some(first) = incoming
            .next_chunk()
            .await
            .map_err(LinkError::from_transfer)?
        else {
            return Ok(Bytes::new());
        };
        // Most answers are one chunk, which needs no copy.
        if incoming.is_end() && first.len() <= limit {
            return Ok(first);
        }
        let mut body = BytesMut::with_capacity(announced.unwrap_or(first.len() * 2));
        let mut next = Some(first);
        while let Some(chunk) = next {
            if body.len() + chunk.len() > limit {
                return Err(LinkError::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
            // The idle timeout applies from the first byte on: a tool may run for long after the
            // server has sent the head.
            let more = tokio::time::timeout(self.idle, incoming.next_chunk()).await;
            let more = more.map_err(|_| LinkError::Idle)?;
            next = more.map_err(LinkError::from_transfer)?;
        }
        Ok(body.freeze())
    }

    /// Returns the events of an answer, with at most `timeouts.idle` between two chunks. Keep-alive
    /// comments are chunks too.
    pub(super) fn events(self, response: Response<Body>) -> Events<BodyReadError> {
        let idle = self.idle;
        let chunks =
            futures::stream::unfold(response.into_body(), move |mut response| async move {
                match tokio::time::timeout(idle, response.next_chunk()).await {
                    Ok(Ok(Some(chunk))) => Some((Ok(chunk), response)),
                    Ok(Ok(None)) => None,
                    Ok(Err(error)) => Some((Err(BodyReadError::Broken(error)), response)),
                    Err(_) => Some((Err(BodyReadError::Idle), response)),
                }
            });
        Events::new(chunks, self.limit)
    }

    /// Returns the events of a stream that may stay silent for as long as nothing happens.
    pub(super) fn silent_events(self, response: Response<Body>) -> Events<BodyReadError> {
        let chunks = futures::stream::unfold(response.into_body(), |mut response| async move {
            match response.next_chunk().await {
                Ok(Some(chunk)) => Some((Ok(chunk), response)),
                Ok(None) => None,
                Err(error) => Some((Err(BodyReadError::Broken(error)), response)),
            }
        });
        Events::new(chunks, self.limit)
    }
}
