//! The gate of one upstream: every call needs a slot among the calls in flight, and a closed
//! circuit.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use crate::config;
use crate::upstream::circuit::{AdmittedCall, CallOutcome, Circuit, CircuitState, Transition};
use crate::upstream::error::{LinkError, Liveness};

/// The most calls that may wait for a slot, as a multiple of the slots.
const QUEUE: usize = 4;

/// The time in which an error of a platform is logged once, if it stays the same.
const REPEAT_INTERVAL: Duration = Duration::from_secs(10);

/// Guards the way to one upstream: every call passes it before anything is sent.
#[derive(Debug)]
pub struct Gate {
    config: Arc<config::Upstream>,
    slots: Arc<Semaphore>,
    /// One permit for each call that waits or is in flight.
    queue: Arc<Semaphore>,
    /// One permit for each message outside of calls that is being posted, to any session. There are
    /// as many as slots: weir has no more than twice `limits.in_flight` requests at an upstream.
    posts: Semaphore,
    /// The number of permits of `queue`.
    capacity: usize,
    circuit: Mutex<Circuit>,
    /// Tells calls that wait for a slot when the circuit opens or closes.
    is_open: watch::Sender<bool>,
    last_failure: Mutex<Option<CallFailure>>,
    /// Asks the keeper for a listing when the circuit opens. A good one closes it before the
    /// cool-down is over.
    pub circuit_opened: Notify,
}

/// The last call that failed between weir and the upstream.
#[derive(Clone, Debug)]
pub struct CallFailure {
    /// The reason, for the operator.
    pub reason: String,
    /// When it failed.
    pub at: Instant,
}

/// The number of calls at a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Calls that have a slot.
    pub in_flight: usize,
    /// Calls that wait for a slot.
    pub queued: usize,
}

impl Gate {
    /// Builds a gate with its circuit closed.
    #[must_use]
    pub fn new(config: &Arc<config::Upstream>) -> Self {
        let slots = config.limits.in_flight.get();
        let capacity = slots.saturating_mul(QUEUE + 1).min(Semaphore::MAX_PERMITS);
        Self {
            config: Arc::clone(config),
            slots: Arc::new(Semaphore::new(slots)),
            queue: Arc::new(Semaphore::new(capacity)),
            posts: Semaphore::new(slots.min(Semaphore::MAX_PERMITS)),
            capacity,
            circuit: Mutex::default(),
            is_open: watch::Sender::new(false),
            last_failure: Mutex::default(),
            circuit_opened: Notify::new(),
        }
    }

    /// Takes a slot among the calls in flight. Waits for one until `deadline`, in a bounded queue.
    ///
    /// # Errors
    /// The circuit is open or opens, the queue is full, or no slot came free in time.
    pub async fn enter(self: &Arc<Self>, deadline: Instant) -> Result<InFlightSlot, LinkError> {
        let Ok(queued) = Arc::clone(&self.queue).try_acquire_owned() else {
            self.circuit().check(Instant::now())?;
            return Err(LinkError::Busy);
        };
        let slot = match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => {
                self.circuit().check(Instant::now())?;
                self.wait_for_slot(deadline).await?
            }
        };
        let admitted = self.circuit().admit(Instant::now())?;
        Ok(InFlightSlot {
            gate: Arc::clone(self),
            admitted: Some(admitted),
            _queue_permit: queued,
            _slot: slot,
        })
    }

    /// Waits for a slot. Gives up when the circuit opens: the calls that have the slots are not
    /// going to be answered soon.
    async fn wait_for_slot(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, LinkError> {
        let mut is_open = self.is_open.subscribe();
        is_open.mark_unchanged();
        loop {
            tokio::select! {
                slot = Arc::clone(&self.slots).acquire_owned() => return slot.map_err(|_| LinkError::Busy),
                () = tokio::time::sleep_until(deadline) => return Err(LinkError::Busy),
                _ = is_open.changed() => self.circuit().check(Instant::now())?,
            }
        }
    }

    /// Waits for a place among the messages outside of calls that are being posted. They have places
    /// of their own: a call that has a slot may wait for a caller's answer, which is such a message.
    pub async fn post_place(&self) -> Option<SemaphorePermit<'_>> {
        self.posts.acquire().await.ok()
    }

    /// Returns the number of calls at this gate.
    #[must_use]
    pub fn load(&self) -> Load {
        let slots = self.config.limits.in_flight.get();
        let in_flight = slots.saturating_sub(self.slots.available_permits());
        let all = self.capacity.saturating_sub(self.queue.available_permits());
        Load {
            in_flight,
            queued: all.saturating_sub(in_flight),
        }
    }

    /// Returns the last call that failed, for operators.
    #[must_use]
    pub fn last_failure(&self) -> Option<CallFailure> {
        let last = self.last_failure.lock();
        last.clone()
    }

    /// Returns the state of the circuit.
    #[must_use]
    pub fn circuit_state(&self) -> CircuitState {
        self.circuit().state(Instant::now())
    }

    /// Records that a listing is in the catalog.
    pub fn record_listing(&self) {
        let transition = self.circuit().record_listing();
        self.report_transition(transition, "it was listed");
    }

    /// Records that a listing failed.
    pub fn record_listing_failure(&self, error: &LinkError) {
        if let Liveness::Broken | Liveness::Stalled = error.liveness() {
            let reason = error.public_text();
            let transition = self
                .circuit()
                .record_listing_failure(reason, Instant::now());
            self.report_transition(transition, reason);
        }
    }

    fn report_transition(&self, transition: Option<Transition>, reason: &'static str) {
        let upstream = &self.config.id;
        match transition {
            Some(Transition::Opened) => {
                tracing::warn!(%upstream, reason, "circuit opens: calls fail at once until the upstream answers");
                self.is_open.send_replace(true);
                self.circuit_opened.notify_one();
            }
            Some(Transition::Closed) => {
                tracing::info!(%upstream, reason, "circuit closes: calls are let through again");
                self.is_open.send_replace(false);
            }
            None => {}
        }
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock()
    }
}

/// A slot among the calls in flight, free again when dropped. Its owner records how the call ended.
/// If it does not, the circuit learns nothing from the call.
#[derive(Debug)]
pub struct InFlightSlot {
    gate: Arc<Gate>,
    admitted: Option<AdmittedCall>,
    _queue_permit: OwnedSemaphorePermit,
    _slot: OwnedSemaphorePermit,
}

impl InFlightSlot {
    /// Records that the upstream answered, whatever the answer.
    pub fn record_answer(&mut self) {
        self.end(CallOutcome::Answered, "a call was answered");
    }

    /// Records that the platform in front of the upstream answered in its place. Operators see this
    /// as the last call that failed. Returns whether it is worth logging: the same was not recorded
    /// just before.
    pub fn record_rejection(&mut self, reason: &str) -> bool {
        self.record_answer();
        let last = self.gate.last_failure();
        self.set_last_failure(reason.to_owned());
        !last.is_some_and(|last| last.reason == reason && last.at.elapsed() < REPEAT_INTERVAL)
    }

    fn set_last_failure(&self, reason: String) {
        let last = CallFailure {
            reason,
            at: Instant::now(),
        };
        *self.gate.last_failure.lock() = Some(last);
    }

    /// Records that the call failed between weir and the upstream.
    pub fn record_failure(&mut self, error: &LinkError) {
        self.set_last_failure(error.full_text());
        let reason = error.public_text();
        let ended = match error.liveness() {
            Liveness::Alive => CallOutcome::Answered,
            Liveness::Broken => CallOutcome::Broke(reason),
            // A caller may set a deadline much shorter than `timeouts.call`. That such a call ran
            // out of time is no evidence against the upstream.
            Liveness::Stalled
                if self.had_half_its_budget() || !matches!(error, LinkError::Timeout) =>
            {
                CallOutcome::Stalled(reason)
            }
            Liveness::Stalled | Liveness::Unknown => CallOutcome::Unknown,
        };
        self.end(ended, reason);
    }

    /// Records that the caller left, so that the call is no evidence about the upstream. The slot
    /// stays taken.
    pub fn record_leave(&mut self) {
        self.end(CallOutcome::Unknown, "");
    }

    /// Returns whether the upstream had at least half of `timeouts.call`.
    fn had_half_its_budget(&self) -> bool {
        let budget = self.gate.config.timeouts.call;
        self.admitted
            .is_some_and(|admitted| admitted.at.elapsed() >= budget / 2)
    }

    fn end(&mut self, ended: CallOutcome, reason: &'static str) {
        if let Some(admitted) = self.admitted.take() {
            let transition = self
                .gate
                .circuit()
                .record_call(admitted, ended, Instant::now());
            self.gate.report_transition(transition, reason);
        }
    }
}

impl Drop for InFlightSlot {
    fn drop(&mut self) {
        self.end(CallOutcome::Unknown, "");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::upstream::circuit::FAILURES;

    /// Returns a gate with this many slots and this `timeouts.call`.
    fn gate(slots: usize, call: &str) -> Arc<Gate> {
        let yaml = format!(
            "version: 1\nupstreams:\n  ann:\n    url: http://127.0.0.1:1/mcp\n    limits: {{ in_flight: {slots} }}\n    timeouts: {{ call: {call} }}\n"
        );
        let config = config::parse(&yaml, Path::new("weir.yaml"), &|_| None).unwrap();
        Arc::new(Gate::new(config.upstreams.first().unwrap().1))
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn calls_wait_in_a_bounded_queue_until_their_deadline() {
        let gate = gate(2, "60s");
        let mut slots = [
            gate.enter(later()).await.ok(),
            gate.enter(later()).await.ok(),
        ];
        let soon = Instant::now() + Duration::from_millis(50);
        assert!(matches!(gate.enter(soon).await, Err(LinkError::Busy)));
        assert!(Instant::now() >= soon);
        let waiting: Vec<_> = (0..2 * QUEUE)
            .map(|_| Box::pin(gate.enter(later())))
            .collect();
        let mut waiting = futures::future::join_all(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        let load = Load {
            in_flight: 2,
            queued: 2 * QUEUE,
        };
        assert_eq!(gate.load(), load);
        // The queue is full: one more is refused at once.
        let refused = futures::poll!(Box::pin(gate.enter(later())));
        assert!(matches!(
            refused,
            std::task::Poll::Ready(Err(LinkError::Busy))
        ));
        slots[0] = None;
        assert!(futures::poll!(&mut waiting).is_pending());
        assert_eq!(gate.load().queued, 2 * QUEUE - 1);
    }

    #[tokio::test]
    async fn calls_that_wait_are_refused_when_the_circuit_opens() {
        let gate = gate(1, "60s");
        let held = gate.enter(later()).await.unwrap();
        let open = async {
            for _ in 0..FAILURES {
                gate.record_listing_failure(&LinkError::Timeout);
            }
        };
        let (refused, ()) = tokio::join!(gate.enter(later()), open);
        let reason = LinkError::Timeout.public_text();
        let refused = refused.unwrap_err();
        assert!(matches!(refused, LinkError::CircuitOpen { .. }));
        assert_eq!(refused.public_text(), reason);
        drop(held);
        assert!(gate.enter(later()).await.is_err());
        gate.record_listing();
        assert!(gate.enter(later()).await.is_ok());
    }

    #[tokio::test]
    async fn a_short_deadline_of_a_caller_proves_nothing() {
        for (call, opens) in [("60s", false), ("1ms", true)] {
            let gate = gate(1, call);
            for _ in 0..FAILURES {
                let mut slot = gate.enter(later()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
                slot.record_failure(&LinkError::Timeout);
            }
            assert_eq!(
                gate.circuit_state() != CircuitState::Closed,
                opens,
                "{call}"
            );
            let last = gate.last_failure().unwrap();
            assert!(last.reason.contains("time budget"), "{last:?}");
        }
    }
}
