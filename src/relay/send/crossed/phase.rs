//! The caller's side of a call: there, or away with questions.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::session::Resumption;
use crate::upstream::{LinkError, RelayedMessage};

/// The caller's side of a call.
pub(super) enum CallPhase {
    /// A request of the caller waits for the call.
    Running(mpsc::Sender<RelayedMessage>),
    /// The caller was asked, and has not come back.
    Parked(ParkedPhase),
}

/// The part of a call that waits for its caller.
pub(super) struct ParkedPhase {
    pub(super) resumed: oneshot::Receiver<Resumption>,
    /// When the caller was asked.
    pub(super) since: Instant,
    /// When it is not waited for any more; `None` once it is about to come back.
    pub(super) expires: Option<Instant>,
    /// When the upstream is told next that its questions still wait.
    pub(super) next_sign: Instant,
    /// The end of the call, if it came meanwhile.
    pub(super) answer: Option<Result<Bytes, LinkError>>,
    /// The newest progress meanwhile.
    pub(super) progress: Option<Bytes>,
}

/// An event of the caller's side.
pub(super) enum CallerEvent {
    /// It left while its request waited.
    Left,
    /// It is back with answers.
    Resumed(Resumption),
    /// It was about to come back, and left.
    Gone,
    /// Its time is over.
    Expired,
    /// It is time to tell the upstream that its questions still wait.
    StillWaits,
}

impl CallPhase {
    pub(super) fn is_parked(&self) -> bool {
        matches!(self, Self::Parked(_))
    }

    /// Waits for the caller without an end: it is about to come back.
    pub(super) fn await_resumption(&mut self) {
        if let Self::Parked(parked) = self {
            parked.expires = None;
        }
    }

    /// Waits for what the caller does next. It may be dropped and made again at any time.
    pub(super) async fn next(&mut self) -> CallerEvent {
        match self {
            Self::Running(out) => {
                out.closed().await;
                CallerEvent::Left
            }
            Self::Parked(parked) => {
                let expires = parked.expires;
                let expired = async {
                    match expires {
                        Some(expires) => sleep_until(expires).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    resumed = &mut parked.resumed => match resumed {
                        Ok(resumption) => CallerEvent::Resumed(resumption),
                        Err(_) => CallerEvent::Gone,
                    },
                    () = expired => CallerEvent::Expired,
                    () = sleep_until(parked.next_sign) => CallerEvent::StillWaits,
                }
            }
        }
    }
}
