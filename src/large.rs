//! Turns at the processors for work on large messages, so that small ones do not wait behind a row of
//! large ones: half of the processors at most parse them at once, and those that read them pause in turn.

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

/// The bytes that a task reads before others have their turn.
const READ: usize = 128 << 10;

/// The pauses of a task that reads something large. What has arrived already could be read without
/// one, and small messages would wait for all of it.
#[derive(Debug, Default)]
pub struct Pauses {
    read: usize,
}

impl Pauses {
    /// Counts bytes that were read.
    pub const fn count(&mut self, bytes: usize) {
        self.read += bytes;
    }

    /// Lets others have their turn, if much was read since they had it. To be called before more is
    /// read. However many read something large, few of them are ready to go on at a time; the others
    /// wait here, and not before those who have little to do.
    pub async fn pause(&mut self) {
        if self.read >= READ {
            self.read = 0;
            let _turn = TURNS.acquire().await;
            tokio::task::yield_now().await;
        }
    }
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

    #[tokio::test]
    async fn a_reader_pauses_after_many_bytes_and_not_after_few() {
        let mut pauses = Pauses::default();
        for _ in 0..3 {
            pauses.count(READ - 1);
            assert!(futures::poll!(Box::pin(pauses.pause())).is_ready());
            pauses.count(1);
            let mut pause = Box::pin(pauses.pause());
            assert!(futures::poll!(&mut pause).is_pending());
            pause.await;
        }
    }

    #[tokio::test]
    async fn of_many_readers_few_go_on_at_a_time() {
        let processors = available_parallelism().map_or(2, usize::from);
        let turns = (processors / 2).max(1);
        let _others: Vec<_> = (1..turns).map(|_| TURNS.try_acquire()).collect();
        let mut readers = [Pauses { read: READ }, Pauses { read: READ }];
        let [first, second] = &mut readers;
        let (mut first, mut second) = (Box::pin(first.pause()), Box::pin(second.pause()));
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        tokio::task::yield_now().await;
        assert!(
            futures::poll!(&mut second).is_pending(),
            "not before the first"
        );
        first.await;
        second.await;
    }
}
