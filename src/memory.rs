//! The bytes that weir keeps for others: one budget for all of them, and a share of it for each
//! that has something kept.
//!
//! A share may hold at most as much as is free. So a single one gets half of the budget, two get a
//! third each, and however many take all they can, there is room for one more that wants little.
//! That is the dynamic threshold of shared buffers in switches (Choudhury and Hahne, "Dynamic queue
//! length thresholds for shared-memory packet switches", 1998).
//!
//! The bytes kept are not all that the process has: there are states of sessions, buffers of connections,
//! copies that live for a moment, and memory that the allocator has not given back yet.
//! [`MemoryBudget::heed_process`] makes the budget smaller by as much as they have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use tokio::sync::Notify;

/// At most this many bytes of a message are not counted by [`MemoryShare::keep`]. What a request or
/// a stream has reserved anyway covers them.
pub const SMALL: usize = 8 << 10;

/// The bytes that the process may have besides those kept, before less may be kept. A process without
/// much to do has fewer.
const BESIDES: usize = 8 << 20;

/// A share of at most this many bytes is refused nothing as long as fifteen sixteenths of the budget are
/// not used up, however much memory the process has: what callers do usually needs no more.
const LITTLE: usize = 128 << 10;

/// A share of at most this many bytes is refused nothing as long as the whole budget is not used up: a
/// connection with a small request needs no more. The last sixteenth is for those only, so that many
/// that take a little each leave room for one more.
const LEAST: usize = 64 << 10;

/// The budget does not allow to keep these bytes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the budget of `limits.memory` is used up")]
pub struct OverBudget;

/// The budget that all shares draw on, in bytes.
#[derive(Debug)]
pub struct MemoryBudget {
    /// `limits.memory`
    configured: AtomicUsize,
    /// The same, or less while the process has too much memory.
    limit: AtomicUsize,
    used: AtomicUsize,
    /// Notified when something large is kept.
    grows: Notify,
}

impl MemoryBudget {
    /// Makes a budget of this many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            configured: AtomicUsize::new(limit),
            limit: AtomicUsize::new(limit),
            used: AtomicUsize::new(0),
            grows: Notify::new(),
        })
    }

    /// Changes the budget. What is kept already stays.
    pub fn set_limit(&self, limit: usize) {
        self.configured.store(limit, Relaxed);
        self.limit.store(limit, Relaxed);
    }

    /// Waits until something large is kept.
    pub async fn wait_growth(&self) {
        self.grows.notified().await;
    }

    /// Makes the budget smaller by what the process has besides the bytes kept, so that both together
    /// stay within the budget; at least a quarter of it stays. `anonymous`: the bytes of the process that
    /// no file has, which leaves out those of the program. To be called many times a second while they are
    /// many.
    pub fn heed_process(&self, anonymous: usize) {
        let configured = self.configured.load(Relaxed);
        let besides = anonymous.saturating_sub(self.used());
        let next = configured.saturating_sub(besides.saturating_sub(BESIDES));
        self.limit.store(next.max(configured / 4), Relaxed);
    }

    /// Returns how many bytes are kept.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Returns how many bytes may be kept.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.configured.load(Relaxed)
    }

    /// Opens the share of a connection, a session or an upstream.
    #[must_use]
    pub fn share(self: &Arc<Self>) -> MemoryShare {
        MemoryShare(Arc::new(Share {
            budget: Arc::clone(self),
            held: AtomicUsize::new(0),
        }))
    }
}

/// The part of the budget that is used for one connection, session or upstream. Clones are the same
/// share.
#[derive(Clone, Debug)]
pub struct MemoryShare(Arc<Share>);

#[derive(Debug)]
struct Share {
    budget: Arc<MemoryBudget>,
    held: AtomicUsize,
}

impl Share {
    fn take(&self, bytes: usize) -> Result<(), OverBudget> {
        if bytes > LITTLE {
            self.budget.grows.notify_one();
        }
        let held = self.held.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let (limit, configured) = (self.budget.limit.load(Relaxed), self.budget.limit());
        let take = |used: usize| {
            let used = used.saturating_add(bytes);
            let fits = match held <= LEAST {
                true => used <= configured,
                false => {
                    let leaves_rest = used <= configured - configured / 16;
                    leaves_rest && (held <= LITTLE || held <= limit.saturating_sub(used))
                }
            };
            fits.then_some(used)
        };
        // Nothing is added that does not fit, not even for a moment, in which others would be refused.
        let taken = self.budget.used.fetch_update(Relaxed, Relaxed, take);
        if taken.is_ok() {
            return Ok(());
        }
        self.held.fetch_sub(bytes, Relaxed);
        Err(OverBudget)
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Relaxed);
        self.budget.used.fetch_sub(bytes, Relaxed);
    }
}

impl MemoryShare {
    /// Makes a share of a budget that nothing exhausts, for what runs once: commands and tests.
    #[must_use]
    pub fn unlimited() -> Self {
        MemoryBudget::new(usize::MAX).share()
    }

    /// Reserves this many bytes until the reservation is dropped.
    ///
    /// # Errors
    /// The share would hold more than is free.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation, OverBudget> {
        self.0.take(bytes)?;
        Ok(Reservation {
            share: self.clone(),
            bytes,
        })
    }

    /// Counts this many bytes until the reservation is dropped, also if the share would hold more
    /// than is free: for what is small, and cannot be refused where it is made.
    #[must_use]
    pub fn count(&self, bytes: usize) -> Reservation {
        self.0.held.fetch_add(bytes, Relaxed);
        self.0.budget.used.fetch_add(bytes, Relaxed);
        Reservation {
            share: self.clone(),
            bytes,
        }
    }

    /// Counts these bytes for as long as any part of them is in use. Few bytes are not counted: what
    /// holds them has its own part of the budget ([`SMALL`]).
    ///
    /// # Errors
    /// The share would hold more than is free.
    pub fn keep(&self, bytes: Bytes) -> Result<Bytes, OverBudget> {
        if bytes.len() <= SMALL {
            return Ok(bytes);
        }
        Ok(self.reserve(bytes.len())?.attach(bytes))
    }

    /// Returns how many bytes this share holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Relaxed)
    }
}

/// Bytes that a share holds, until it is dropped.
#[derive(Debug)]
pub struct Reservation {
    share: MemoryShare,
    bytes: usize,
}

impl Reservation {
    /// Changes how much is reserved. To reserve less always succeeds.
    ///
    /// # Errors
    /// The share would hold more than is free. Then nothing has changed.
    pub fn resize(&mut self, bytes: usize) -> Result<(), OverBudget> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.share.0.take(more)?,
            None => self.share.0.give_back(self.bytes - bytes),
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Returns how much is reserved.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the bytes with this reservation, which lasts as long as any part of them.
    #[must_use]
    pub fn attach(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Reserved {
            bytes,
            _reservation: self,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.share.0.give_back(self.bytes);
    }
}

/// Bytes that are counted while they are in use.
struct Reserved {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Reserved {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_holds_at_most_as_much_as_is_free() {
        let budget = MemoryBudget::new(1200 * LITTLE);
        let (one, two, three) = (budget.share(), budget.share(), budget.share());
        let mut first = one.reserve(600 * LITTLE).unwrap();
        assert_eq!(one.reserve(LITTLE).unwrap_err(), OverBudget);
        let second = two.reserve(300 * LITTLE).unwrap();
        assert!(two.reserve(LITTLE).is_err(), "300 are free");
        let third = three.reserve(100 * LITTLE).unwrap();
        assert_eq!((budget.used(), one.held()), (1000 * LITTLE, 600 * LITTLE));
        // The first has more than it would get now, and keeps it.
        assert!(first.resize(601 * LITTLE).is_err());
        first.resize(100 * LITTLE).unwrap();
        assert_eq!(budget.used(), 500 * LITTLE);
        drop((first, second, third));
        assert_eq!((budget.used(), one.held()), (0, 0));
        assert!(one.reserve(601 * LITTLE).is_err());
        assert!(one.reserve(600 * LITTLE).is_ok());
    }

    #[test]
    fn a_process_with_too_much_memory_keeps_less_but_refuses_nobody_a_little() {
        let (mib, limit) = (1 << 20, 64 << 20);
        let budget = MemoryBudget::new(limit);
        let (large, small) = (budget.share(), budget.share());
        let kept = large.reserve(20 * mib).unwrap();
        // It has what it keeps, and as much besides as is always allowed.
        budget.heed_process(20 * mib + BESIDES);
        drop(budget.share().reserve(22 * mib).unwrap());
        // Freed memory is not given back yet: 24 MiB less may be kept.
        budget.heed_process(20 * mib + BESIDES + 24 * mib);
        assert!(budget.share().reserve(10 * mib + 1).is_err());
        drop(budget.share().reserve(10 * mib).unwrap());
        budget.heed_process(limit + BESIDES + 20 * mib);
        assert!(
            budget.share().reserve(mib).is_err(),
            "less is left than kept"
        );
        let few = small.reserve(LITTLE).unwrap();
        assert!(small.reserve(1).is_err());
        drop((kept, few));
        budget.heed_process(usize::MAX);
        assert!(large.reserve(limit / 8).is_ok(), "a quarter is left");
        assert!(large.reserve(limit / 8 + 1).is_err());
        budget.heed_process(BESIDES);
        assert!(large.reserve(limit / 2).is_ok());
    }

    #[test]
    fn what_is_refused_takes_nothing_from_others_meanwhile() {
        let budget = MemoryBudget::new(64 << 20);
        let kept = budget.share().reserve(20 << 20).unwrap();
        let ends = std::time::Instant::now() + std::time::Duration::from_millis(300);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let share = budget.share();
                scope.spawn(move || {
                    while std::time::Instant::now() < ends {
                        assert!(share.reserve(60 << 20).is_err());
                    }
                });
            }
            let share = budget.share();
            while std::time::Instant::now() < ends {
                assert!(share.reserve(LEAST).is_ok());
            }
        });
        drop(kept);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn those_that_take_a_little_each_leave_room_for_small_requests() {
        let budget = MemoryBudget::new(16 << 20);
        let many: Vec<_> = (0..1000).map(|_| budget.share().reserve(LITTLE)).collect();
        assert_eq!(many.iter().flatten().count(), (15 << 20) / LITTLE);
        assert!(budget.share().reserve(LITTLE).is_err());
        let few = (0..1000).map(|_| budget.share().reserve(LEAST));
        let few: Vec<_> = few.collect();
        assert_eq!(few.iter().flatten().count(), (1 << 20) / LEAST);
    }

    #[test]
    fn bytes_are_counted_until_their_last_part_is_gone() {
        let budget = MemoryBudget::new(1000);
        let share = budget.share();
        let whole = share
            .reserve(10)
            .unwrap()
            .attach(Bytes::from_static(b"0123456789"));
        let part = whole.slice(2..4);
        drop(whole);
        assert_eq!((&part[..], budget.used()), (&b"23"[..], 10));
        drop(part);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn nothing_overflows_whatever_is_asked_for() {
        let budget = MemoryBudget::new(usize::MAX);
        let share = budget.share();
        let first = share.reserve(usize::MAX / 2).unwrap();
        assert!(share.reserve(usize::MAX).is_err());
        assert_eq!(budget.used(), usize::MAX / 2);
        drop(first);
        assert_eq!(budget.used(), 0);
    }
}
