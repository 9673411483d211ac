//! Reads request bodies within limits of size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use crate::config::Listen;
use crate::large::Pauses;
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
    let mut first = Bytes::new();
    let (mut whole, mut kept) = (BytesMut::new(), None);
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
        let length = first.len() + whole.len() + chunk.len();
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
        if first.is_empty() && whole.is_empty() {
            first = chunk;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&chunk);
        }
    }
    Ok(match whole.is_empty() {
        true => (first, kept),
        false => (whole.freeze(), kept),
    })
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
