//! How an upstream stands, and what its last listing had: for operators.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::catalog::{Defect, Dropped};

/// Whether there is somebody to talk to, in words for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not tried yet.
    Connecting,
    /// The last attempt worked.
    Up,
    /// The last attempt failed.
    Failing {
        /// Why, for the operator.
        reason: String,
        /// Why, for callers.
        public: &'static str,
        /// Since when.
        since: Instant,
    },
}

/// What operators want to know of time.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When the standing became what it is.
    pub since: Instant,
    /// When the keeper tries next without being asked; `None` while it is trying, and where only the
    /// schedule says.
    pub next_try: Option<Instant>,
}

/// What a listing had, for operators.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// When it was last found to hold, by the clock of this process and by the one that people read.
    pub at: Option<(Instant, SystemTime)>,
    /// Whether it is of an earlier run of weir.
    pub stored: bool,
    /// Whether the upstream had failed already when this was taken over: from an earlier run, or from another link.
    pub stale: bool,
    /// How many definitions of each kind, in the order of [`crate::catalog::Kind::ALL`].
    pub counts: [usize; 4],
    /// Definitions left out, each with the reason.
    pub quarantined: Vec<Defect>,
    /// Rules of the config that match nothing.
    pub warnings: Vec<String>,
    /// What it had that came from this weir, or through too many.
    pub dropped: Dropped,
}

impl Report {
    /// For how long nobody has looked, or nobody has answered.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.at.map(|(at, _)| at.elapsed())
    }
}
