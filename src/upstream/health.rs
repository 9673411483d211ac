//! The health of an upstream, and the report of its last listing, for operators.

use std::fmt;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::catalog::{DroppedCounts, InvalidDefinition, Kind};
use crate::upstream::error::LinkError;

/// The health of one link: its state, since when, and the report of its last listing.
#[derive(Debug)]
pub struct Health {
    state: watch::Sender<HealthState>,
    times: RwLock<HealthTimes>,
    report: RwLock<ListingReport>,
    /// Since when a child process is being started that has not answered yet.
    starting: RwLock<Option<Instant>>,
    /// A warning for operators beside the report.
    warning: RwLock<Option<String>>,
}

/// Whether the last attempt to connect or list worked, in words for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// Not tried yet.
    Connecting,
    /// The last attempt worked.
    Up,
    /// The last attempt failed.
    Failing {
        /// The reason, for the operator.
        reason: String,
        /// The reason, for callers.
        public: &'static str,
        /// The time of the first failure in a row.
        since: Instant,
    },
}

/// When the state changed, and when the keeper tries next.
#[derive(Clone, Copy, Debug)]
pub struct HealthTimes {
    /// When the state became what it is.
    pub since: Instant,
    /// When the keeper tries next without being asked. `None` while it is trying, and where only
    /// the schedule decides.
    pub next_try: Option<Instant>,
}

/// The contents of a listing, for operators.
#[derive(Clone, Debug, Default)]
pub struct ListingReport {
    /// When the listing was last confirmed: by the clock of this process, and by the clock that
    /// people read.
    pub at: Option<(Instant, SystemTime)>,
    /// Whether it is from an earlier run of weir.
    pub stored: bool,
    /// Whether the upstream was failing already when the listing was taken over from an earlier run
    /// or from another link.
    pub stale: bool,
    /// The number of definitions of each kind, in the order of [`crate::catalog::Kind::ALL`].
    pub counts: [usize; 4],
    /// The lists that failed. Their kinds keep the definitions of an earlier listing.
    pub failed_lists: Vec<FailedList>,
    /// Definitions left out, each with the reason.
    pub quarantined: Vec<InvalidDefinition>,
    /// Rules of the config that match nothing.
    pub warnings: Vec<String>,
    /// Definitions dropped because they came from this weir, or through too many hops.
    pub dropped: DroppedCounts,
}

/// A list of an upstream that failed while others came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedList {
    /// The kind that it lists.
    pub kind: Kind,
    /// The reason, for the operator.
    pub reason: String,
}

impl fmt::Display for FailedList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fails: {}", self.kind.method(), self.reason)
    }
}

impl ListingReport {
    /// Returns the time since the listing was last confirmed.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.at.map(|(at, _)| at.elapsed())
    }

    /// Returns whether the list of a kind failed.
    #[must_use]
    pub fn is_failed(&self, kind: Kind) -> bool {
        self.failed_lists.iter().any(|list| list.kind == kind)
    }

    /// Returns whether it has definitions of a kind whose list failed.
    fn keeps_some(&self) -> bool {
        let mut counts = Kind::ALL.into_iter().zip(self.counts);
        counts.any(|(kind, count)| count > 0 && self.is_failed(kind))
    }
}

impl Health {
    /// Returns the health of a link that was not tried yet.
    pub(super) fn new() -> Self {
        Self {
            state: watch::Sender::new(HealthState::Connecting),
            times: RwLock::new(HealthTimes {
                since: Instant::now(),
                next_try: None,
            }),
            report: RwLock::default(),
            starting: RwLock::default(),
            warning: RwLock::default(),
        }
    }

    /// Returns whether the last attempt to connect or list worked.
    #[must_use]
    pub fn state(&self) -> HealthState {
        self.state.borrow().clone()
    }

    /// Returns whether the last attempt to connect or list failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        matches!(*self.state.borrow(), HealthState::Failing { .. })
    }

    /// Returns the state in one word, as operators read it everywhere: `failing` from a failure to
    /// the next listing; `starting` while a child process has not answered yet; `connecting`, `up`.
    #[must_use]
    pub fn state_word(&self) -> &'static str {
        match &*self.state.borrow() {
            HealthState::Failing { .. } => "failing",
            HealthState::Connecting | HealthState::Up if self.is_starting() => "starting",
            HealthState::Connecting => "connecting",
            HealthState::Up => "up",
        }
    }

    /// Returns whether a child process is being started that has not answered yet.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.starting.read().is_some()
    }

    /// Returns for how long a child process has been starting.
    #[must_use]
    pub fn starting_for(&self) -> Option<Duration> {
        self.starting.read().map(|since| since.elapsed())
    }

    /// Marks the upstream as starting until the guard is dropped.
    pub(super) fn begin_start(&self) -> StartGuard<'_> {
        *self.starting.write() = Some(Instant::now());
        StartGuard(self)
    }

    /// Returns why the upstream cannot be used, in public words; `None` if it can.
    #[must_use]
    pub fn down_reason(&self) -> Option<&'static str> {
        match &*self.state.borrow() {
            HealthState::Up => None,
            HealthState::Connecting => Some("no answer yet"),
            HealthState::Failing { public, .. } => Some(public),
        }
    }

    /// Returns the reason why there is no connection, in public words.
    pub(super) fn failure_reason(&self) -> &'static str {
        match &*self.state.borrow() {
            HealthState::Failing { public, .. } => public,
            HealthState::Up | HealthState::Connecting => "the connection was lost",
        }
    }

    /// Returns a receiver that sees each change of the state.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<HealthState> {
        self.state.subscribe()
    }

    /// Returns when the state changed, and when the keeper tries next.
    #[must_use]
    pub fn times(&self) -> HealthTimes {
        *self.times.read()
    }

    /// Sets when the keeper tries next without being asked.
    pub fn set_next_try(&self, next_try: Option<Instant>) {
        self.times.write().next_try = next_try;
    }

    /// Records a failed attempt. The time of the first failure in a row stays.
    pub(super) fn record_failure(&self, error: &LinkError) {
        self.state.send_modify(|state| {
            let since = match state {
                HealthState::Failing { since, .. } => *since,
                HealthState::Connecting | HealthState::Up => Instant::now(),
            };
            self.times.write().since = since;
            *state = HealthState::Failing {
                reason: error.full_text(),
                public: error.public_text(),
                since,
            };
        });
    }

    /// Records a good listing.
    pub(super) fn record_listing(&self, report: ListingReport) {
        *self.report.write() = report;
        if self.state.send_replace(HealthState::Up) != HealthState::Up {
            self.times.write().since = Instant::now();
        }
    }

    /// Sets the report of a listing that an earlier run or an earlier link made. The state stays:
    /// this link has listed nothing yet.
    pub fn restore_report(&self, report: ListingReport) {
        *self.report.write() = report;
    }

    /// Returns the report of the last good listing, with the warning that was set beside it.
    #[must_use]
    pub fn report(&self) -> ListingReport {
        let mut report = self.report.read().clone();
        report.warnings.extend(self.warning.read().clone());
        report
    }

    /// Returns whether there is a listing that weir fails to renew, in whole or in part, or one from
    /// an earlier run that it has not renewed yet.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let report = self.report.read();
        report.at.is_some() && (report.stale || self.is_failing() || report.keeps_some())
    }

    /// Sets or clears what operators have to know beside the report.
    pub fn set_warning(&self, warning: Option<String>) {
        *self.warning.write() = warning;
    }
}

/// A start of a child process under way. Only one is, because only the keeper connects a link.
pub(super) struct StartGuard<'h>(&'h Health);

impl Drop for StartGuard<'_> {
    fn drop(&mut self) {
        *self.0.starting.write() = None;
    }
}
