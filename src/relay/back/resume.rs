//! Opens the stream of an upstream again that paused or broke before its response (2025-11-25
//! `basic/transports.mdx#resumability-and-redelivery`).

use std::sync::Arc;
use std::time::Duration;

use crate::protocol::era::Era;
use crate::relay::back::outgoing::Pause;
use crate::relay::send::{CancelOnDrop, UpstreamStream};
use crate::upstream::{Exchange, LinkError};
use futures::FutureExt as _;
use futures::future::BoxFuture;

/// A stream that is being opened again.
pub(super) type Resuming = BoxFuture<'static, Result<Exchange, LinkError>>;

/// The pause before a stream is opened again if the upstream names none, and the longest pause.
const RESUME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Begins to open an upstream's stream again after its last event. Returns `None` if that is not
/// possible: only legacy has it, and only for streams whose events have ids.
///
/// It does not wait: the caller's stream may have to pause first. The call's deadline stays as it
/// was.
pub(super) fn begin(stream: &UpstreamStream) -> Option<(Resuming, Pause)> {
    let position = stream.exchange.resume_point()?;
    let CancelOnDrop { link, peer, .. } = &stream.cancel;
    let (Era::Legacy, Some(last)) = (peer.era(), position.last.clone()) else {
        return None;
    };
    let pause = Pause {
        retry: position.retry,
        caller_is_back: Arc::default(),
    };
    let caller_is_back = Arc::clone(&pause.caller_is_back);
    let longest = position.retry.unwrap_or(RESUME.0).min(RESUME.1);
    let (link, peer) = (Arc::clone(link), Arc::clone(peer));
    let deadline = stream.exchange.deadline();
    let resuming = async move {
        let resumed = async {
            // Whichever comes first: the upstream's time is over, or the caller is back.
            let _ = tokio::time::timeout(longest, caller_is_back.notified()).await;
            let resumed = link.resume(&peer, &last).await?;
            Ok(resumed.continue_from(position))
        };
        match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, resumed)
                .await
                .map_err(|_| LinkError::Timeout)?
                .map(|exchange| exchange.with_deadline(deadline)),
            None => resumed.await,
        }
    };
    Some((resuming.boxed(), pause))
}
