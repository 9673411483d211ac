//! Whether a session is in use. What shares out places asks without a lock of the session.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::caller::{Occupant, Rest};

/// The use of a session.
#[derive(Debug)]
pub(super) struct SessionUsage {
    started: Instant,
    /// When it was last used, in milliseconds after `started`.
    used: AtomicU64,
    /// The calls under way.
    calls: AtomicUsize,
    has_stream: AtomicBool,
}

impl SessionUsage {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            used: AtomicU64::default(),
            calls: AtomicUsize::default(),
            has_stream: AtomicBool::default(),
        }
    }

    /// Notes that the session is used now.
    pub(super) fn touch(&self) {
        let since = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used.store(since, Relaxed);
    }

    /// Notes that a call begins.
    pub(super) fn begin_call(&self) {
        self.calls.fetch_add(1, Relaxed);
        self.touch();
    }

    /// Notes that a call is over.
    pub(super) fn end_call(&self) {
        self.calls.fetch_sub(1, Relaxed);
        self.touch();
    }

    /// Notes whether there is a stream.
    pub(super) fn set_stream(&self, has_stream: bool) {
        self.has_stream.store(has_stream, Relaxed);
        self.touch();
    }

    /// Returns whether the session has done nothing for `idle` and has nothing under way.
    pub(super) fn is_idle_for(&self, idle: Duration) -> bool {
        match self.rest() {
            Rest::Idle(since) => since.elapsed() >= idle,
            Rest::Standing(_) | Rest::Busy(_) => false,
        }
    }
}

impl Occupant for SessionUsage {
    fn rest(&self) -> Rest {
        let since = self.started + Duration::from_millis(self.used.load(Relaxed));
        if self.calls.load(Relaxed) > 0 {
            Rest::Busy(since)
        } else if self.has_stream.load(Relaxed) {
            Rest::Standing(since)
        } else {
            Rest::Idle(since)
        }
    }
}
