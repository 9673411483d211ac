//! Turns at the processors for work on large messages. Half of the processors at most parse such
//! messages at once, so that small ones do not wait behind a row of large ones.

use std::sync::LazyLock;
use std::thread::available_parallelism;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Work on a message of fewer bytes needs no turn: it takes some tens of microseconds.
const LARGE: usize = 64 << 10;

/// The turns: one for every two processors.
static TURNS: LazyLock<Semaphore> = LazyLock::new(|| {
    let processors = available_parallelism().map_or(2, usize::from);
    Semaphore::new((processors / 2).max(1))
});

/// Waits for the turn of a message of so many bytes, which lasts until what is returned is dropped.
/// It is for work that does not wait for anything.
pub async fn take_turn(bytes: usize) -> Option<SemaphorePermit<'static>> {
    if bytes < LARGE {
        return None;
    }
    TURNS.acquire().await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_messages_take_turns_and_small_ones_need_none() {
        let processors = available_parallelism().map_or(2, usize::from);
        let mut turns = Vec::new();
        for _ in 0..(processors / 2).max(1) {
            turns.push(take_turn(LARGE).await.expect("a turn"));
        }
        let mut next = Box::pin(take_turn(LARGE));
        assert!(futures::poll!(&mut next).is_pending());
        assert!(take_turn(LARGE - 1).await.is_none());
        drop(turns);
        assert!(next.await.is_some());
    }
}
