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
    absence: Mutex<Absence>,
    /// The requests that still wait for a place or a session, with nothing sent.
    waiting: AtomicUsize,
    /// Whether a request may have been sent.
    has_begun: AtomicBool,
    is_given_up: AtomicBool,
    given_up: Notify,
}

/// Whether the caller is gone.
#[derive(Debug, Default)]
struct Absence {
    /// Since when the caller is gone; `None` while it is there.
    since: Option<Instant>,
    /// Whether nothing was sent by which it could ask for the rest of the answer.
    is_final: bool,
    /// Hears when the caller leaves: where its call holds a place.
    holder: Option<Arc<Notify>>,
}

impl PresenceState {
    fn leave(&self, is_final: bool) {
        let mut absence = self.absence.lock();
        absence.since = Some(Instant::now());
        absence.is_final = is_final;
        if let Some(holder) = &absence.holder {
            holder.notify_one();
        }
    }

    fn come_back(&self) {
        self.absence.lock().since = None;
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

    /// Notes that the caller is gone. It has the id of an event, and may come back for the rest
    /// (`Last-Event-ID`).
    pub fn leave(&self) {
        self.state().leave(false);
    }

    /// Notes that the caller is gone, and has nothing to come back with: whatever the answer is,
    /// nobody gets it.
    pub fn leave_for_good(&self) {
        self.state().leave(true);
    }

    /// Has `holder` notified when the caller leaves.
    pub fn hold(&self, holder: &Arc<Notify>) {
        self.state().absence.lock().holder = Some(Arc::clone(holder));
    }

    /// Notes that the caller is back.
    pub fn come_back(&self) {
        self.state().come_back();
    }

    /// Returns how long the caller has been gone; `None` while it is there.
    #[must_use]
    pub fn gone_for(&self) -> Option<Duration> {
        let since = self.state().absence.lock().since;
        since.map(|since| since.elapsed())
    }

    /// Returns how long the caller has been gone, if it does not come back or has been gone for
    /// longer than the grace; otherwise `None`.
    #[must_use]
    pub fn overdue_for(&self, grace: Duration) -> Option<Duration> {
        let absence = self.state().absence.lock();
        let gone_for = absence.since?.elapsed();
        (absence.is_final || gone_for >= grace).then_some(gone_for)
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
        assert_eq!(presence.overdue_for(Duration::from_secs(5)), None);
        presence.come_back();
        assert_eq!(presence.gone_for(), None);
        let mut given_up = Box::pin(presence.given_up());
        assert!(futures::poll!(&mut given_up).is_pending());
        presence.give_up();
        given_up.await;
        presence.given_up().await;
    }

    #[tokio::test]
    async fn a_caller_that_leaves_for_good_is_overdue_at_once_and_its_holder_hears() {
        let presence = Presence::new(Arc::new(Shared(PresenceState::default())));
        let holder = Arc::new(Notify::new());
        presence.hold(&holder);
        let mut hears = Box::pin(holder.notified());
        assert!(futures::poll!(&mut hears).is_pending());
        presence.leave_for_good();
        hears.await;
        assert!(presence.overdue_for(Duration::from_secs(5)).is_some());
    }
}
