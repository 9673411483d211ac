//! Which legacy callers have sessions of their own at an upstream, and how many.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config;
use crate::protocol::era::Era;
use crate::upstream::error::LinkError;
use crate::upstream::peer::{Connection, Peer};

/// The most sessions that callers may have of their own at one upstream over HTTP.
const MOST_SESSIONS: usize = 10_000;

/// The same over stdio, where each session is a process.
const MOST_PROCESSES: usize = 64;

/// The sessions that callers have of their own at one upstream.
#[derive(Debug)]
pub struct UpstreamSessions {
    per_caller: bool,
    /// Whether the upstream is modern and refuses legacy sessions, as far as is known.
    modern_only: AtomicBool,
    most: usize,
    free: Arc<Semaphore>,
}

impl UpstreamSessions {
    /// Returns the sessions of a link, none of them open.
    #[must_use]
    pub fn new(config: &config::Upstream) -> Self {
        let most = match config.endpoint {
            config::Endpoint::Http(_) => MOST_SESSIONS,
            config::Endpoint::Child { .. } => MOST_PROCESSES,
        };
        Self {
            per_caller: config.sessions == config::ProcessSharing::PerCaller,
            modern_only: AtomicBool::new(false),
            most,
            free: Arc::new(Semaphore::new(most)),
        }
    }

    /// Returns whether a legacy caller gets a legacy session of its own: where the upstream keeps
    /// something for each session, and where it is modern but may speak legacy too. Over stdio a
    /// session is a process, so callers get one only if the config asks for it (`sessions:
    /// per_caller`).
    #[must_use]
    pub fn wants_own_session(&self, shared: &Peer) -> bool {
        match (&shared.connection, shared.era()) {
            (Connection::Child(_), _) => self.per_caller,
            (Connection::Http(_), Era::Legacy) => shared.is_stateful(),
            (Connection::Http(_), Era::Modern) => !self.modern_only.load(Ordering::Relaxed),
        }
    }

    /// Remembers that this modern upstream refuses legacy sessions.
    pub fn set_modern_only(&self) {
        self.modern_only.store(true, Ordering::Relaxed);
    }

    /// Forgets what was learnt: after a reconnect the upstream may be another.
    pub fn reset(&self) {
        self.modern_only.store(false, Ordering::Relaxed);
    }

    /// Returns a permit for one more session. Dropping it frees the place.
    ///
    /// # Errors
    /// There are too many sessions.
    pub fn acquire(&self) -> Result<OwnedSemaphorePermit, LinkError> {
        let permit = Arc::clone(&self.free).try_acquire_owned();
        permit.map_err(|_| LinkError::Busy)
    }

    /// Returns the number of sessions.
    #[must_use]
    pub fn count(&self) -> usize {
        self.most.saturating_sub(self.free.available_permits())
    }
}
