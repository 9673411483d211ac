//! The two steps in which a front stops.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};

use tokio_util::sync::CancellationToken;

/// The two steps in which a front stops.
#[derive(Clone, Debug, Default)]
pub struct Draining {
    /// Nobody is let in any more, what has no end of its own ends, and what is under way goes on.
    pub begun: CancellationToken,
    /// What is still under way is answered with an error.
    pub given_up: GivenUp,
}

/// A token that every call waits for beside its answer. Each look at a `CancellationToken` takes two locks, which all
/// calls share; here only the first does.
#[derive(Clone, Debug, Default)]
pub struct GivenUp {
    is_over: Arc<AtomicBool>,
    token: CancellationToken,
}

impl GivenUp {
    /// Calls under way have had their time.
    pub fn cancel(&self) {
        // Before anybody is woken to look at it.
        self.is_over.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Waits for that.
    pub async fn cancelled(&self) {
        let mut cancelled = pin!(self.token.cancelled());
        let mut waits: Option<Waker> = None;
        poll_fn(|context| {
            let waker = context.waker();
            let is_known = waits.as_ref().is_some_and(|known| known.will_wake(waker));
            if is_known && !self.is_over.load(Ordering::Acquire) {
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
    async fn whoever_waits_is_told_whenever_it_looks() {
        let given_up = GivenUp::default();
        let waits = given_up.clone();
        let waiting = async move {
            // Looks again and again beside something else, and moves to another task in between.
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
        let told = tokio::time::timeout(Duration::from_secs(5), both).await;
        told.unwrap().unwrap();
        given_up.cancelled().await;
    }
}
