//! The two steps in which a listener stops.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};

use tokio_util::sync::CancellationToken;

/// The two steps in which a listener stops.
#[derive(Clone, Debug, Default)]
pub struct Draining {
    /// Cancelled first: no more connections are accepted and streams of changes end. Calls under
    /// way go on.
    pub begun: CancellationToken,
    /// Cancelled second: calls still under way are answered with an error.
    pub given_up: GivenUp,
}

/// A token that every call waits for beside its answer. Each poll of a `CancellationToken` takes
/// two locks, which all calls share; here only the first poll does.
#[derive(Clone, Debug, Default)]
pub struct GivenUp(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_over: AtomicBool,
    token: CancellationToken,
}

impl GivenUp {
    /// Ends the time that calls under way have.
    pub fn cancel(&self) {
        // Before the token: a call that the token wakes has to find this true.
        self.0.is_over.store(true, Ordering::Release);
        self.0.token.cancel();
    }

    /// Waits until the time of calls under way is over.
    pub async fn cancelled(&self) {
        let mut cancelled = pin!(self.0.token.cancelled());
        let mut waits: Option<Waker> = None;
        poll_fn(|context| {
            let waker = context.waker();
            // The token knows this waker from an earlier poll, and will wake it.
            let is_known = waits.as_ref().is_some_and(|known| known.will_wake(waker));
            if is_known && !self.0.is_over.load(Ordering::Acquire) {
                return Poll::Pending;
            }
            waits = Some(waker.clone());
            cancelled.as_mut().poll(context)
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_waiting_call_is_woken_however_often_it_was_polled() {
        let given_up = GivenUp::default();
        let waits = given_up.clone();
        let waiting = async move {
            // Polls several times beside another future, then moves to another task.
            let mut cancelled = Box::pin(async move { waits.cancelled().await });
            for _ in 0..3 {
                tokio::select! {
                    biased;
                    () = cancelled.as_mut() => panic!("too early"),
                    () = tokio::task::yield_now() => {}
                }
            }
            let tasks = tokio_util::task::TaskTracker::new();
            tasks.spawn(cancelled).await
        };
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            given_up.cancel();
        };
        let both = async { tokio::join!(waiting, cancel).0 };
        let woken = tokio::time::timeout(Duration::from_secs(5), both).await;
        woken.unwrap().unwrap();
        given_up.cancelled().await;
    }
}
