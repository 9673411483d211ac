//! Reads the body of an answer, within limits of size and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;

use crate::memory::{MemoryShare, Reservation};
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
    /// Reads a whole body of at most `limit` bytes, which `memory` pays for.
    pub(super) async fn body(
        self,
        response: Response<Body>,
        limit: usize,
        memory: &MemoryShare,
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
            return Ok(memory.keep(first)?);
        }
        let mut kept = memory.reserve(0)?;
        let mut body = BytesMut::with_capacity(announced.unwrap_or(first.len() * 2));
        let (mut next, mut begun) = (Some(first), false);
        while let Some(chunk) = next {
            if body.len() + chunk.len() > limit {
                return Err(LinkError::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
            kept.resize(announced.map_or(body.capacity(), |_| body.len()))?;
            begun |= !chunk.trim_ascii_start().is_empty();
            let more = if begun {
                let more = tokio::time::timeout(self.idle, incoming.next_chunk()).await;
                more.map_err(|_| LinkError::Idle)?
            } else {
                // Nothing of the JSON text has come yet, only white space, which some servers send
                // to keep the connection. The tool may run for long.
                incoming.next_chunk().await
            };
            next = more.map_err(LinkError::from_transfer)?;
        }
        Ok(kept.attach(body.freeze()))
    }

    /// Returns the events of an answer or of a stream of changes. Between two events it may be
    /// silent for as long as its reader waits: a call has a deadline of its own, which covers every
    /// wait. Only an event that stops in the middle is given up after `timeouts.idle`.
    pub(super) fn events(
        self,
        response: Response<Body>,
        memory: &MemoryShare,
    ) -> Events<BodyReadError> {
        let idle = self.idle;
        let kept = memory.reserve(0).ok();
        Events::unfold(
            (response.into_body(), kept),
            self.limit,
            move |(mut body, mut kept), is_within_event| async move {
                let next = body.next_chunk();
                let next = if is_within_event {
                    tokio::time::timeout(idle, next).await
                } else {
                    Ok(next.await)
                };
                match next {
                    Ok(Ok(Some(chunk))) => {
                        let read = keep_event(&mut kept, chunk, is_within_event);
                        Some((read, (body, kept)))
                    }
                    Ok(Ok(None)) => None,
                    Ok(Err(error)) => Some((Err(BodyReadError::Broken(error)), (body, kept))),
                    Err(_) => Some((Err(BodyReadError::Idle), (body, kept))),
                }
            },
        )
    }
}

/// Counts the bytes of the event that is being read: those of the chunk, and what came of the event
/// before. Few are not counted.
///
/// # Errors
/// They are more than the budget allows.
fn keep_event(
    kept: &mut Option<Reservation>,
    chunk: Bytes,
    is_within_event: bool,
) -> Result<Bytes, BodyReadError> {
    let Some(kept) = kept else {
        return Ok(chunk);
    };
    let before = if is_within_event { kept.bytes() } else { 0 };
    // The decoder holds what it has read of an event, and then its data.
    kept.resize(before + 2 * chunk.len())?;
    Ok(chunk)
}
