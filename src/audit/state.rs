//! The state that a log shares with its writer.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::audit::recent::RecentRecords;

/// The state that a log shares with its writer.
#[derive(Debug)]
pub(super) struct LogState {
    pub(super) instance: Box<str>,
    pub(super) recent: RecentRecords,
    pub(super) stop: CancellationToken,
    is_failing: AtomicBool,
    /// Why it fails.
    error: Mutex<Option<String>>,
    written: AtomicU64,
    /// Lines that were left out, in all and since the last gap line.
    missing: AtomicU64,
    untold: AtomicU64,
}

impl LogState {
    pub(super) fn new(instance: &str) -> Self {
        Self {
            instance: instance.into(),
            recent: RecentRecords::default(),
            stop: CancellationToken::new(),
            is_failing: AtomicBool::new(false),
            error: Mutex::new(None),
            written: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            untold: AtomicU64::new(0),
        }
    }

    /// Returns how many lines were left out since it was asked the last time.
    pub(super) fn take_missing(&self) -> u64 {
        self.untold.swap(0, Ordering::Relaxed)
    }

    /// Notes that lines cannot be written. It is logged once.
    pub(super) fn fail(&self, error: &std::io::Error, file: &Path) {
        *self.error.lock() = Some(error.to_string());
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::error!(
                %error,
                file = %file.display(),
                "records cannot be written: see `audit.on_failure` for what becomes of calls"
            );
        }
    }

    /// Notes that lines were written.
    pub(super) fn succeed(&self, lines: usize, file: &Path) {
        self.written.fetch_add(lines as u64, Ordering::Relaxed);
        if self.is_failing.swap(false, Ordering::Relaxed) {
            *self.error.lock() = None;
            let missing = self.untold.load(Ordering::Relaxed);
            tracing::warn!(file = %file.display(), missing, "records are written again");
        }
    }

    /// Counts a line that is left out.
    pub(super) fn leave_out(&self) {
        self.missing.fetch_add(1, Ordering::Relaxed);
        self.untold.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    pub(super) fn error(&self) -> Option<String> {
        self.error.lock().clone()
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }
}
