//! Receives the messages of an upstream for one reply, and opens a stream again that broke off.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::protocol::era::Era;
use crate::relay::back::outgoing::Pause;
use crate::relay::send::{CancelOnDrop, UpstreamStream};
use crate::upstream::{Exchange, LinkError};

/// The upstream's stream that is being opened again.
pub(super) type Resuming = BoxFuture<'static, Result<Exchange, LinkError>>;

/// The pause before a stream is opened again if the upstream names none, and the longest pause.
const RESUME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The next thing that came from an upstream for a reply.
pub(super) enum Received {
    Message(Bytes),
    Paused(Pause),
    Failed(LinkError),
}

/// Waits for the next message of the upstream. A stream that ended or broke before the response
/// is opened again if that is possible.
pub(super) async fn receive(
    stream: &mut UpstreamStream,
    resuming: &mut Option<Resuming>,
) -> Received {
    if let Some(begun) = resuming {
        // Awaited in place: when `next` is dropped, the future stays there and goes on later.
        let resumed = begun.await;
        *resuming = None;
        match resumed {
            Ok(exchange) => stream.exchange = exchange,
            Err(error) => return Received::Failed(error),
        }
    }
    match stream.exchange.next().await {
        Ok(Some(bytes)) => Received::Message(bytes),
        Ok(None) => resume(stream, resuming).unwrap_or(Received::Failed(LinkError::Nonsense(
            "ended without an answer",
        ))),
        Err(error @ LinkError::Broken(_)) => {
            resume(stream, resuming).unwrap_or(Received::Failed(error))
        }
        Err(error) => Received::Failed(error),
    }
}

/// Begins to open the upstream's stream again after its last event. Returns `None` if that is
/// not possible: only legacy has it, and only for streams whose events have ids.
///
/// It does not wait: the caller's stream may have to pause first, and the next call of
/// [`receive`] waits. The call's deadline stays as it was.
fn resume(stream: &UpstreamStream, slot: &mut Option<Resuming>) -> Option<Received> {
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
    *slot = Some(resuming.boxed());
    Some(Received::Paused(pause))
}
