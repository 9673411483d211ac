//! The state of credentials that operators see.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The states of credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CredentialState {
    /// Valid, or not yet used.
    #[default]
    Ok,
    /// A new credential is being fetched. Calls wait for it unless the old one is still valid.
    Refreshing,
    /// Still valid, but about to expire, and no new one could be fetched so far.
    Expiring,
    /// Rejected by the upstream, or not available.
    Failing,
    /// A person has to run `weir login`.
    ReauthNeeded,
    /// The clocks of this machine and of the upstream differ too much.
    ClockSkew,
}

impl CredentialState {
    /// All states, for metrics.
    pub const ALL: [Self; 6] = [
        Self::Ok,
        Self::Refreshing,
        Self::Expiring,
        Self::Failing,
        Self::ReauthNeeded,
        Self::ClockSkew,
    ];

    /// Returns the name that operators read.
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

/// A state, with what is known about it.
#[derive(Clone, Debug)]
pub struct CredentialStatus {
    /// The state.
    pub state: CredentialState,
    /// The reason for it in weir's own words, if there is one.
    pub reason: Option<Box<str>>,
    /// When the state began.
    pub since: Instant,
    /// When weir tries again by itself, if it does.
    pub next_try: Option<Instant>,
    /// When the credential in use expires, if that is known.
    pub expires: Option<SystemTime>,
}

/// Counts the requests for credentials: to token endpoints, and to AWS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Requests that brought a credential.
    pub granted: u64,
    /// Requests that did not.
    pub failed: u64,
}

/// The status of one upstream's credentials, as it is now.
#[derive(Debug)]
pub struct StatusCell {
    /// Whether the state is `Ok`, so that most accepted requests need no lock.
    is_ok: AtomicBool,
    granted: AtomicU64,
    failed: AtomicU64,
    /// Is notified when there is a credential again after there was none.
    recovered: Notify,
    /// The cell in which requests are counted too.
    counted_in: Option<Arc<StatusCell>>,
    status: Mutex<CredentialStatus>,
}

impl Default for StatusCell {
    fn default() -> Self {
        let status = CredentialStatus {
            state: CredentialState::Ok,
            reason: None,
            since: Instant::now(),
            next_try: None,
            expires: None,
        };
        Self {
            is_ok: AtomicBool::new(true),
            granted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            recovered: Notify::new(),
            counted_in: None,
            status: Mutex::new(status),
        }
    }
}

impl StatusCell {
    /// Returns the cell of one of many credentials of an upstream, whose requests count in that of
    /// the upstream. Its state is not the upstream's.
    #[must_use]
    pub fn counted_in(all: &Arc<Self>) -> Self {
        Self {
            counted_in: Some(Arc::clone(all)),
            ..Self::default()
        }
    }

    /// Returns the status.
    #[must_use]
    pub fn get(&self) -> CredentialStatus {
        self.status.lock().clone()
    }

    /// Enters `Ok` because a request was accepted. The expiry stays as it is.
    pub fn confirm(&self) {
        if !self.is_ok.load(Ordering::Relaxed) {
            self.edit(CredentialState::Ok, None, None, None);
        }
    }

    /// Counts a request for a credential.
    pub fn count_request(&self, granted: bool) {
        let counter = if granted { &self.granted } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(all) = &self.counted_in {
            all.count_request(granted);
        }
    }

    /// Returns how many requests for credentials there were.
    #[must_use]
    pub fn request_counts(&self) -> RequestCounts {
        RequestCounts {
            granted: self.granted.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// Enters `Ok`, with the expiry of the credential in use, if that is known.
    pub fn set_ok(&self, expires: Option<SystemTime>) {
        let had_none = matches!(
            self.get().state,
            CredentialState::Failing | CredentialState::ReauthNeeded
        );
        self.edit(CredentialState::Ok, None, None, Some(expires));
        if had_none {
            self.recovered.notify_one();
        }
    }

    /// Waits until there is a credential again after there was none: an upstream that failed for
    /// lack of it is worth another attempt at once. Supports one waiting task.
    pub async fn wait_recovered(&self) {
        self.recovered.notified().await;
    }

    /// Enters a state other than `Ok`. The expiry of the credential in use stays as it is.
    pub fn enter(&self, state: CredentialState, reason: Option<&str>, next_try: Option<Instant>) {
        self.edit(state, reason, next_try, None);
    }

    fn edit(
        &self,
        state: CredentialState,
        reason: Option<&str>,
        next_try: Option<Instant>,
        expires: Option<Option<SystemTime>>,
    ) {
        let mut status = self.status.lock();
        if status.state != state {
            status.state = state;
            status.since = Instant::now();
            self.is_ok
                .store(state == CredentialState::Ok, Ordering::Relaxed);
        }
        // Most calls change nothing, and then need not allocate.
        if status.reason.as_deref() != reason {
            status.reason = reason.map(Into::into);
        }
        status.next_try = next_try;
        if let Some(expires) = expires {
            status.expires = expires;
        }
    }
}
