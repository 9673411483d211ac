//! Which legacy callers have sessions of their own at an upstream, and how many there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config;
use crate::protocol::era::Era;
use crate::upstream::error::LinkError;
use crate::upstream::peer::{Connection, Peer};

/// Most sessions that callers may have of their own at one upstream, and most processes.
const SESSIONS: (usize, usize) = (10_000, 64);

/// The sessions that callers have of their own at one upstream.
#[derive(Debug)]
pub struct UpstreamSessions {
    per_caller: bool,
    /// A modern upstream that has no legacy sessions, as far as is known.
    modern_only: AtomicBool,
    most: usize,
    places: Arc<Semaphore>,
}

impl UpstreamSessions {
    /// As the config wants it; none is open.
    #[must_use]
    pub fn new(config: &config::Upstream) -> Self {
        let most = match config.endpoint {
            config::Endpoint::Http(_) => SESSIONS.0,
            config::Endpoint::Child { .. } => SESSIONS.1,
        };
        Self {
            per_caller: config.sessions == config::ProcessSharing::PerCaller,
            modern_only: AtomicBool::new(false),
            most,
            places: Arc::new(Semaphore::new(most)),
        }
    }

    /// Whether a legacy caller is served by a legacy session of its own: where the upstream keeps something for
    /// each session, or speaks the other era but may speak this one too. Over stdio a session is a process, which is
    /// had by asking only (`sessions: per_caller`).
    #[must_use]
    pub fn wants_own_session(&self, shared: &Peer) -> bool {
        match (&shared.connection, shared.era()) {
            (Connection::Child(_), _) => self.per_caller,
            (Connection::Http(_), Era::Legacy) => shared.is_stateful(),
            (Connection::Http(_), Era::Modern) => !self.modern_only.load(Ordering::Relaxed),
        }
    }

    /// Notes that this modern upstream refuses legacy sessions.
    pub fn set_modern_only(&self) {
        self.modern_only.store(true, Ordering::Relaxed);
    }

    /// The upstream was connected anew, and may be another.
    pub fn reset(&self) {
        self.modern_only.store(false, Ordering::Relaxed);
    }

    /// A place for one more, free again when dropped.
    ///
    /// # Errors
    /// There are too many.
    pub fn acquire(&self) -> Result<OwnedSemaphorePermit, LinkError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| LinkError::Busy)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.most.saturating_sub(self.places.available_permits())
    }
}
