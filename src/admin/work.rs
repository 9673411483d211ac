//! Work for operators that may take its time: on threads that may block, a few at once.

use std::sync::LazyLock;
use std::thread::available_parallelism;

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::admin::response::json_response;

/// The places: one for every two processors, so that calls have the others, whoever asks for what.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| {
    let processors = available_parallelism().map_or(2, usize::from);
    Semaphore::new((processors / 2).max(1))
});

/// The place of metrics: whoever scrapes them waits for no other work, which may take seconds.
static METRICS: Semaphore = Semaphore::const_new(1);

/// The work ended without a result: it panicked, or weir stops.
#[derive(Debug)]
pub struct NoResult;

/// Works something out on a thread that may block. Waits for a place first. The place is taken until the
/// work has ended, also when nobody waits for it any more.
///
/// # Errors
/// There is no result.
pub async fn work_out<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoResult> {
    work_out_in(&PLACES, work).await
}

/// Does the same for metrics, in a place of their own.
///
/// # Errors
/// There is no result.
pub(super) async fn work_out_metrics<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoResult> {
    work_out_in(&METRICS, work).await
}

async fn work_out_in<T: Send + 'static>(
    places: &'static Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoResult> {
    let place = places.acquire().await.map_err(|_| NoResult)?;
    let working = tokio::task::spawn_blocking(move || {
        let _place = place;
        work()
    });
    working.await.map_err(|_| NoResult)
}

/// Answers with the JSON of what is worked out: 200, or 500 if there is no result.
pub(super) async fn answer_with<T: Serialize + Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Response {
    // Large answers are written there too.
    let answered = work_out(move || json_response(StatusCode::OK, &work())).await;
    answered.unwrap_or_else(|NoResult| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use parking_lot::{Condvar, Mutex};

    use super::*;

    #[tokio::test]
    async fn whoever_hangs_up_has_no_more_work_done_at_once() {
        const AT_ONCE: usize = 2;
        static OWN: Semaphore = Semaphore::const_new(AT_ONCE);
        let (begun, gate) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        for _ in 0..AT_ONCE + 3 {
            let (begun, gate): (_, Arc<(Mutex<bool>, Condvar)>) =
                (Arc::clone(&begun), Arc::clone(&gate));
            let work = work_out_in(&OWN, move || {
                begun.fetch_add(1, Ordering::SeqCst);
                let mut is_open = gate.0.lock();
                gate.1.wait_while(&mut is_open, |is_open| !*is_open);
            });
            let mut asked = Box::pin(work);
            assert!(futures::poll!(&mut asked).is_pending());
            // They hang up.
        }
        assert_eq!(OWN.available_permits(), 0);
        *gate.0.lock() = true;
        gate.1.notify_all();
        assert_eq!(work_out_in(&OWN, || 7).await.unwrap(), 7);
        assert_eq!(begun.load(Ordering::SeqCst), AT_ONCE);
    }

    #[tokio::test]
    async fn metrics_wait_for_no_other_work() {
        let places = PLACES.available_permits();
        let taken = PLACES.acquire_many(u32::try_from(places).unwrap()).await;
        let mut other = Box::pin(work_out(|| 7));
        assert!(futures::poll!(&mut other).is_pending());
        assert_eq!(work_out_metrics(|| 8).await.unwrap(), 8);
        drop(taken);
        assert_eq!(other.await.unwrap(), 7);
    }
}
