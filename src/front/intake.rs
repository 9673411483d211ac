//! Reads request bodies within limits of size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::config::Listen;
use crate::large::{Pauses, take_turn};
use crate::memory::{MemoryShare, Reservation, SMALL};
use crate::protocol::error::Fault;

/// How long the rest of a refused body is read for.
const DISCARD_TIME: Duration = Duration::from_secs(2);
/// At most this much of it is read.
const DISCARD_BYTES: usize = 16 << 20;

/// The limits of a request body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intake {
    /// At most this many bytes.
    pub(super) max_bytes: usize,
    timeout: Duration,
}

impl Intake {
    /// Returns the same limits for a body of at most this many bytes.
    pub(super) fn at_most(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }

    pub(super) fn new(listen: &Listen) -> Self {
        Self {
            max_bytes: listen.request_bytes,
            timeout: listen.body_timeout,
        }
    }
}

/// Reads the whole body, which `memory` pays for. Returns it with what is reserved for it and for
/// the request that it becomes.
///
/// # Errors
/// The body is too large, too slow, or breaks off, or there is no memory left for it.
pub(super) async fn read(
    body: &mut Body,
    intake: Intake,
    memory: &MemoryShare,
) -> Result<(Bytes, Option<Reservation>), Fault> {
    // Most bodies have arrived already; then no timer is registered.
    let whole = collect(body, intake.max_bytes, memory);
    match tokio::time::timeout(intake.timeout, whole).await {
        Ok(read) => read,
        Err(_) => Err(Fault::SlowBody),
    }
}

async fn collect(
    body: &mut Body,
    limit: usize,
    memory: &MemoryShare,
) -> Result<(Bytes, Option<Reservation>), Fault> {
    let mut whole = Segments::of(body.size_hint().exact());
    let (mut first, mut kept) = (Bytes::new(), None);
    let mut pauses = Pauses::default();
    loop {
        pauses.pause().await;
        let Some(frame) = body.frame().await else {
            break;
        };
        let Ok(chunk) = frame.map_err(|_| Fault::BrokenBody)?.into_data() else {
            continue;
        };
        pauses.count(chunk.len());
        let length = first.len() + whole.length + chunk.len();
        if length > limit {
            return Err(Fault::TooLarge);
        }
        if length > SMALL {
            // Once as it came, once as it goes on to an upstream.
            let wanted = 2 * length.max(whole.capacity());
            match &mut kept {
                None => kept = Some(memory.reserve(wanted).map_err(|_| Fault::NoMemory)?),
                Some(kept) if kept.bytes() < wanted => {
                    kept.resize(wanted).map_err(|_| Fault::NoMemory)?;
                }
                Some(_) => {}
            }
        }
        // Most bodies are one chunk, which needs no copy.
        if first.is_empty() && whole.length == 0 {
            first = chunk;
        } else {
            whole.push(&std::mem::take(&mut first));
            whole.push(&chunk);
        }
    }
    Ok(match whole.length {
        0 => (first, kept),
        length => {
            let _turn = take_turn(length).await;
            (whole.join(), kept)
        }
    })
}

/// The bytes of a segment.
const SEGMENT: usize = 128 << 10;

/// A body of several chunks, copied into segments: a chunk may be a small part of a large buffer. They
/// are joined when all of it is there, so that one that never ends is not copied each time it has doubled.
struct Segments {
    /// The bytes of the whole, if they are known.
    announced: Option<u64>,
    segments: Vec<BytesMut>,
    length: usize,
}

impl Segments {
    const fn of(announced: Option<u64>) -> Self {
        Self {
            announced,
            segments: Vec::new(),
            length: 0,
        }
    }

    /// Returns the bytes that the segments have room for.
    fn capacity(&self) -> usize {
        self.segments.iter().map(BytesMut::capacity).sum()
    }

    fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = match self.segments.last() {
                Some(last) => last.capacity() - last.len(),
                None => 0,
            };
            if room == 0 {
                let left = self
                    .announced
                    .map(|all| all.saturating_sub(self.length as u64));
                let left = left.and_then(|left| usize::try_from(left).ok());
                let room = left
                    .unwrap_or(SEGMENT)
                    .clamp(bytes.len().min(SEGMENT), SEGMENT);
                self.segments.push(BytesMut::with_capacity(room));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(last) = self.segments.last_mut() {
                last.extend_from_slice(now);
            }
            self.length += now.len();
            bytes = later;
        }
    }

    fn join(self) -> Bytes {
        match <[BytesMut; 1]>::try_from(self.segments) {
            Ok([only]) => only.freeze(),
            Err(segments) => segments.concat().into(),
        }
    }
}

/// Reads and drops the rest of a body whose request has been refused. A connection that is closed
/// with unread bytes is reset, and then the caller may lose the answer that says why.
pub(super) async fn discard_rest(mut body: Body) {
    let rest = async {
        let (mut read, mut pauses) = (0, Pauses::default());
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            read += bytes;
            if read > DISCARD_BYTES {
                return;
            }
            pauses.count(bytes);
            pauses.pause().await;
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIME, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_join_to_what_was_pushed_and_have_little_room_besides() {
        for announced in [None, Some(10), Some(300 << 10), Some(u64::MAX)] {
            let mut segments = Segments::of(announced);
            let mut expected = Vec::new();
            for length in [1, 0, 9, 100_000, 100_000, 1, 99_989] {
                let chunk = vec![u8::try_from(length % 251).unwrap(); length];
                segments.push(&chunk);
                expected.extend_from_slice(&chunk);
                assert_eq!(segments.length, expected.len());
                assert!(segments.capacity() <= expected.len() + SEGMENT);
            }
            assert_eq!(segments.join(), expected);
        }
        let mut exact = Segments::of(Some(20_000));
        exact.push(&[7; 12_000]);
        exact.push(&[7; 8_000]);
        assert_eq!((exact.capacity(), exact.segments.len()), (20_000, 1));
    }
}
