//! Encoded spans and log records that wait to be sent, within a bound.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The most items of one request.
pub(super) const BATCH_ITEMS: usize = 512;
/// The bytes at which a batch is full.
pub(super) const BATCH_BYTES: usize = 1 << 20;
/// The most bytes of one signal that wait. What comes then is dropped, and counted.
pub(super) const WAITING_BYTES: usize = 4 << 20;

/// Items that are sent together: a sequence of fields of a message, as the module `envelope` needs
/// them.
#[derive(Debug, Default)]
pub struct Batch {
    /// The encoded items.
    pub bytes: Vec<u8>,
    /// How many there are.
    pub items: u64,
}

/// Items that wait to be sent.
#[derive(Debug)]
pub struct ExportBuffer {
    waiting: Mutex<WaitingBatches>,
    /// Tells the exporter that a batch is full.
    is_full: Notify,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct WaitingBatches {
    full: VecDeque<Batch>,
    open: Batch,
    /// The bytes of full batches.
    bytes: usize,
    /// Nobody sends any more.
    is_closed: bool,
}

impl ExportBuffer {
    /// Makes an empty buffer that counts there what it drops.
    pub(super) fn new(dropped: &Arc<AtomicU64>) -> Self {
        Self {
            waiting: Mutex::default(),
            is_full: Notify::new(),
            dropped: Arc::clone(dropped),
        }
    }

    /// Adds an item that `write` encodes. Never waits; if there is no room the item is dropped.
    pub(super) fn push(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut waiting = self.waiting.lock();
        let WaitingBatches {
            full,
            open,
            bytes,
            is_closed,
        } = &mut *waiting;
        if *is_closed || *bytes + open.bytes.len() >= WAITING_BYTES {
            drop(waiting);
            self.drop_items(1);
            return;
        }
        write(&mut open.bytes);
        open.items += 1;
        if open.items >= BATCH_ITEMS as u64 || open.bytes.len() >= BATCH_BYTES {
            let room = open.bytes.len();
            let next = Batch {
                bytes: Vec::with_capacity(room.min(BATCH_BYTES)),
                items: 0,
            };
            let batch = std::mem::replace(open, next);
            *bytes += batch.bytes.len();
            full.push_back(batch);
            drop(waiting);
            self.is_full.notify_one();
        }
    }

    /// Takes the next batch that is full.
    pub fn take_full(&self) -> Option<Batch> {
        let mut waiting = self.waiting.lock();
        let batch = waiting.full.pop_front()?;
        waiting.bytes -= batch.bytes.len();
        Some(batch)
    }

    /// Takes the next batch, full or not; `None` if nothing waits.
    pub fn take(&self) -> Option<Batch> {
        if let Some(batch) = self.take_full() {
            return Some(batch);
        }
        let mut waiting = self.waiting.lock();
        let has_items = waiting.open.items > 0;
        has_items.then(|| std::mem::take(&mut waiting.open))
    }

    /// Waits until a batch is full. Supports one waiting task.
    pub async fn wait_full(&self) {
        self.is_full.notified().await;
    }

    /// Takes nothing more: what comes from now on is dropped, and counted.
    pub fn close(&self) {
        self.waiting.lock().is_closed = true;
    }

    /// Counts items that are not sent.
    pub fn drop_items(&self, items: u64) {
        self.dropped.fetch_add(items, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_and_what_is_too_much_is_counted() {
        let count = Arc::default();
        let buffer = ExportBuffer::new(&count);
        let dropped = || count.load(Ordering::Relaxed);
        let push = |size: usize| buffer.push(|out| out.resize(out.len() + size, 1));
        for _ in 0..BATCH_ITEMS {
            push(10);
        }
        assert_eq!(buffer.take_full().unwrap().items, BATCH_ITEMS as u64);
        push(BATCH_BYTES);
        assert_eq!(buffer.take_full().unwrap().items, 1);
        assert!(buffer.take().is_none());
        push(3);
        assert!(buffer.take_full().is_none());
        assert_eq!(buffer.take().unwrap().bytes.len(), 3);
        for _ in 0..10 {
            push(BATCH_BYTES / 2);
        }
        assert_eq!(dropped(), 2);
        let mut bytes = 0;
        while let Some(batch) = buffer.take() {
            bytes += batch.bytes.len();
        }
        assert_eq!(bytes, WAITING_BYTES);
        push(1);
        assert_eq!(dropped(), 2);
        buffer.close();
        push(1);
        assert_eq!(dropped(), 3);
    }
}
