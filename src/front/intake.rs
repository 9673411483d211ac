//! Reads request bodies within limits of size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::config::Listen;
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
    pub(super) fn new(listen: &Listen) -> Self {
        Self {
            max_bytes: listen.request_bytes,
            timeout: listen.body_timeout,
        }
    }
}

/// Reads the whole body.
///
/// # Errors
/// The body is too large, too slow, or breaks off.
pub(super) async fn read(body: &mut Body, intake: Intake) -> Result<Bytes, Fault> {
    // Most bodies have arrived already; then no timer is registered.
    let whole = Limited::new(body, intake.max_bytes).collect();
    match tokio::time::timeout(intake.timeout, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Fault::TooLarge),
        Ok(Err(_)) => Err(Fault::BrokenBody),
        Err(_) => Err(Fault::SlowBody),
    }
}

/// Reads and drops the rest of a body whose request has been refused. A connection that is closed
/// with unread bytes is reset, and then the caller may lose the answer that says why.
pub(super) async fn discard_rest(mut body: Body) {
    let rest = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > DISCARD_BYTES {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIME, rest).await;
}
