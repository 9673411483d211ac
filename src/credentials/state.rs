//! What credentials are worth right now: a state machine that operators see.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The states of credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Good, or not yet found otherwise.
    #[default]
    Ok,
    /// A new one is being fetched; calls wait for it, unless the old one is still valid.
    Refreshing,
    /// Valid, but near its end, and a new one could not be had so far.
    Expiring,
    /// Refused, or not to be had.
    Failing,
    /// Only a person can help: `weir login`.
    ReauthNeeded,
    /// This machine's clock and the upstream's do not agree.
    ClockSkew,
}

impl Phase {
    /// All of them, for metrics.
    pub const ALL: [Self; 6] = [
        Self::Ok,
        Self::Refreshing,
        Self::Expiring,
        Self::Failing,
        Self::ReauthNeeded,
        Self::ClockSkew,
    ];

    /// As operators read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refreshing => "refreshing",
            Self::Expiring => "expiring",
            Self::Failing => "failing",
            Self::ReauthNeeded => "reauth_needed",
            Self::ClockSkew => "clock_skew",
        }
    }
}

/// The state of one upstream's credentials.
#[derive(Clone, Debug)]
pub struct Status {
    /// The state.
    pub phase: Phase,
    /// Why, in weir's own words; `None` while there is nothing to say.
    pub reason: Option<Box<str>>,
    /// Since when.
    pub since: Instant,
    /// When it is tried again unasked.
    pub next_try: Option<Instant>,
    /// When the credential in use ends, if that is known.
    pub expires: Option<SystemTime>,
}

/// Requests for credentials that were made: to token endpoints, to AWS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Those that brought one.
    pub granted: u64,
    /// Those that did not.
    pub failed: u64,
}

/// Where the state is kept.
#[derive(Debug)]
pub struct StateCell {
    /// Whether there is nothing to note when a request was let in, so that most calls take no lock.
    well: AtomicBool,
    granted: AtomicU64,
    failed: AtomicU64,
    /// Moves when there is a credential again.
    recovered: Notify,
    status: Mutex<Status>,
}

impl Default for StateCell {
    fn default() -> Self {
        let status = Status {
            phase: Phase::Ok,
            reason: None,
            since: Instant::now(),
            next_try: None,
            expires: None,
        };
        Self {
            well: AtomicBool::new(true),
            granted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            recovered: Notify::new(),
            status: Mutex::new(status),
        }
    }
}

impl StateCell {
    /// The state.
    #[must_use]
    pub fn get(&self) -> Status {
        self.status.lock().clone()
    }

    /// A request was let in: whatever was wrong with the credential is so no more. Its end stays what it is.
    pub fn confirmed(&self) {
        if !self.well.load(Ordering::Relaxed) {
            self.edit(Phase::Ok, None, None, None);
        }
    }

    /// A request for a credential ended.
    pub fn requested(&self, granted: bool) {
        let counter = if granted { &self.granted } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn requests(&self) -> Requests {
        Requests {
            granted: self.granted.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// The credential in use is good; it ends then, if that is known.
    pub fn ok(&self, expires: Option<SystemTime>) {
        let had_none = matches!(self.get().phase, Phase::Failing | Phase::ReauthNeeded);
        self.edit(Phase::Ok, None, None, Some(expires));
        if had_none {
            self.recovered.notify_one();
        }
    }

    /// Waits until there is a credential again where there was none: an upstream that failed for that is worth
    /// another try at once. For one who waits.
    pub async fn recovered(&self) {
        self.recovered.notified().await;
    }

    /// Another state than ok. What was known of the end of the credential in use stays.
    pub fn enter(&self, phase: Phase, reason: Option<&str>, next_try: Option<Instant>) {
        self.edit(phase, reason, next_try, None);
    }

    fn edit(
        &self,
        phase: Phase,
        reason: Option<&str>,
        next_try: Option<Instant>,
        expires: Option<Option<SystemTime>>,
    ) {
        let mut status = self.status.lock();
        if status.phase != phase {
            status.phase = phase;
            status.since = Instant::now();
            self.well.store(phase == Phase::Ok, Ordering::Relaxed);
        }
        // Most requests change nothing.
        if status.reason.as_deref() != reason {
            status.reason = reason.map(Into::into);
        }
        status.next_try = next_try;
        if let Some(expires) = expires {
            status.expires = expires;
        }
    }
}
