//! Whether the caller of a request is still there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Handle to the presence of the caller of a legacy `POST`. In the modern era none is needed:
/// the work on a request is dropped when its caller closes the stream.
#[derive(Clone)]
pub struct Presence(Arc<dyn AsRef<PresenceState> + Send + Sync>);

/// State of a presence, for structs that are shared anyway.
#[derive(Debug, Default)]
pub struct PresenceState {
    /// Since when the caller is gone; `None` while it is there.
    gone_since: Mutex<Option<Instant>>,
    /// The requests that still wait for a place or a session, with nothing sent.
    waiting: AtomicUsize,
    /// Whether a request may have been sent.
    has_begun: AtomicBool,
    is_given_up: AtomicBool,
    given_up: Notify,
}

impl PresenceState {
    fn leave(&self) {
        *self.gone_since.lock() = Some(Instant::now());
    }

    fn come_back(&self) {
        *self.gone_since.lock() = None;
    }

    fn is_only_waiting(&self) -> bool {
        self.waiting.load(Relaxed) > 0 && !self.has_begun.load(Relaxed)
    }
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.state().fmt(f)
    }
}

impl Presence {
    /// Makes a handle to a state.
    #[must_use]
    pub fn new(state: Arc<impl AsRef<PresenceState> + Send + Sync + 'static>) -> Self {
        Self(state)
    }

    fn state(&self) -> &PresenceState {
        (*self.0).as_ref()
    }

    /// Notes that the caller is gone.
    pub fn leave(&self) {
        self.state().leave();
    }

    /// Notes that the caller is back.
    pub fn come_back(&self) {
        self.state().come_back();
    }

    /// Returns how long the caller has been gone; `None` while it is there.
    #[must_use]
    pub fn gone_for(&self) -> Option<Duration> {
        let since = *self.state().gone_since.lock();
        since.map(|since| since.elapsed())
    }

    /// Returns whether all that the caller asked for still waits, so that nothing ran.
    #[must_use]
    pub fn is_only_waiting(&self) -> bool {
        self.state().is_only_waiting()
    }

    /// Notes that a request waits, until the guard is dropped.
    #[must_use]
    pub fn wait(&self) -> WaitingRequest<'_> {
        self.state().waiting.fetch_add(1, Relaxed);
        WaitingRequest(self.state())
    }

    /// Notes that something may be sent now.
    pub fn begin(&self) {
        self.state().has_begun.store(true, Relaxed);
    }

    /// Gives up what the caller asked for, because others need the place.
    pub fn give_up(&self) {
        let state = self.state();
        state.is_given_up.store(true, Relaxed);
        state.given_up.notify_waiters();
    }

    /// Waits until it is given up.
    pub async fn given_up(&self) {
        let state = self.state();
        let notified = state.given_up.notified();
        if !state.is_given_up.load(Relaxed) {
            notified.await;
        }
    }
}

/// A request that waits, with nothing sent.
#[derive(Debug)]
pub struct WaitingRequest<'a>(&'a PresenceState);

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shared(PresenceState);

    impl AsRef<PresenceState> for Shared {
        fn as_ref(&self) -> &PresenceState {
            &self.0
        }
    }

    #[tokio::test]
    async fn what_only_waits_can_be_dropped_and_what_was_sent_cannot() {
        let shared = Arc::new(Shared(PresenceState::default()));
        let presence = Presence::new(shared);
        assert!(!presence.is_only_waiting(), "it may be a list");
        let waits = presence.wait();
        assert!(presence.is_only_waiting());
        presence.begin();
        assert!(!presence.is_only_waiting());
        drop(waits);
        assert!(!presence.is_only_waiting());
    }

    #[tokio::test]
    async fn a_caller_may_leave_and_come_back_until_it_is_given_up() {
        let presence = Presence::new(Arc::new(Shared(PresenceState::default())));
        assert_eq!(presence.gone_for(), None);
        presence.leave();
        assert!(presence.gone_for().is_some());
        presence.come_back();
        assert_eq!(presence.gone_for(), None);
        let mut given_up = Box::pin(presence.given_up());
        assert!(futures::poll!(&mut given_up).is_pending());
        presence.give_up();
        given_up.await;
        presence.given_up().await;
    }
}
