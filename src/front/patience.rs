//! The time that callers wait for the headers of an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderValue;
use parking_lot::Mutex;

use crate::caller::{Presence, PresenceState};
use crate::protocol::trace::Trace;

/// The contents of the headers of an event stream whose events are not known yet.
pub(super) struct LateAnswer {
    pub(super) trace: Trace,
    pub(super) origin: Option<HeaderValue>,
}

/// How the work on an answer says that its caller has waited long enough for the headers.
#[derive(Clone, Default)]
pub(super) struct Patience(Arc<WaitingCaller>);

#[derive(Default)]
struct WaitingCaller {
    is_over: AtomicBool,
    late: Mutex<Option<LateAnswer>>,
    presence: PresenceState,
}

impl AsRef<PresenceState> for WaitingCaller {
    fn as_ref(&self) -> &PresenceState {
        &self.presence
    }
}

impl Patience {
    /// Returns the presence of the caller.
    pub(super) fn presence(&self) -> Presence {
        Presence::new(Arc::clone(&self.0))
    }

    /// Has the event stream begin now. The work is polled again by the stream.
    pub(super) fn end(&self, late: LateAnswer) {
        *self.0.late.lock() = Some(late);
        self.0.is_over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Relaxed)
    }

    /// Takes what the work left, once.
    pub(super) fn take(&self) -> Option<LateAnswer> {
        self.is_over().then(|| self.0.late.lock().take()).flatten()
    }
}
