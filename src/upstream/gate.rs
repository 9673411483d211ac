//! The way in to one upstream: a place among the calls under way, past the circuit.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::config;
use crate::upstream::circuit::{AdmittedCall, CallOutcome, Circuit, CircuitState, Transition};
use crate::upstream::error::{LinkError, Liveness};

/// How many calls may wait for a place, as a multiple of the slots.
const QUEUE: usize = 4;

/// For how long the log is spared the same again.
const REPEAT_INTERVAL: Duration = Duration::from_secs(10);

/// What a call goes through before anything is sent.
#[derive(Debug)]
pub struct Gate {
    config: Arc<config::Upstream>,
    slots: Arc<Semaphore>,
    /// One permit for each call that waits or is under way.
    queue: Arc<Semaphore>,
    capacity: usize,
    circuit: Mutex<Circuit>,
    is_open: watch::Sender<bool>,
    last_failure: Mutex<Option<CallFailure>>,
    /// Asks the keeper for an attempt: calls fail, and it may find out first that they need not.
    pub circuit_opened: Notify,
}

/// The last call that failed between weir and the upstream.
#[derive(Clone, Debug)]
pub struct CallFailure {
    /// Why, for the operator.
    pub reason: String,
    /// When.
    pub at: Instant,
}

/// How many calls there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Under way.
    pub in_flight: usize,
    /// Waiting for a place.
    pub queued: usize,
}

impl Gate {
    /// A gate with its circuit closed.
    #[must_use]
    pub fn new(config: &Arc<config::Upstream>) -> Self {
        let slots = config.limits.in_flight.get();
        let capacity = slots.saturating_mul(QUEUE + 1).min(Semaphore::MAX_PERMITS);
        Self {
            config: Arc::clone(config),
            slots: Arc::new(Semaphore::new(slots)),
            queue: Arc::new(Semaphore::new(capacity)),
            capacity,
            circuit: Mutex::default(),
            is_open: watch::Sender::new(false),
            last_failure: Mutex::default(),
            circuit_opened: Notify::new(),
        }
    }

    /// Takes a place among the calls under way, waiting in a bounded queue until `deadline`.
    ///
    /// # Errors
    /// The circuit is open or opens, the queue is full, or no place came free in time.
    pub async fn enter(self: &Arc<Self>, deadline: Instant) -> Result<InFlightSlot, LinkError> {
        let Ok(queued) = Arc::clone(&self.queue).try_acquire_owned() else {
            self.circuit().check(Instant::now())?;
            return Err(LinkError::Busy);
        };
        let place = match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(place) => place,
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
            _slot: place,
        })
    }

    /// Waits for a place, but not behind calls that are not going to be answered.
    async fn wait_for_slot(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, LinkError> {
        let mut is_open = self.is_open.subscribe();
        is_open.mark_unchanged();
        loop {
            tokio::select! {
                place = Arc::clone(&self.slots).acquire_owned() => return place.map_err(|_| LinkError::Busy),
                () = tokio::time::sleep_until(deadline) => return Err(LinkError::Busy),
                _ = is_open.changed() => self.circuit().check(Instant::now())?,
            }
        }
    }

    /// How many calls there are.
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

    /// The last call that failed, for operators.
    #[must_use]
    pub fn last_failure(&self) -> Option<CallFailure> {
        let last = self.last_failure.lock();
        last.clone()
    }

    /// The state of the circuit.
    #[must_use]
    pub fn circuit_state(&self) -> CircuitState {
        self.circuit().state(Instant::now())
    }

    /// A listing is in the catalog.
    pub fn record_listing(&self) {
        let transition = self.circuit().record_listing();
        self.report_transition(transition, "it was listed");
    }

    /// A listing failed.
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

/// A place among the calls under way; free again when dropped. Whoever holds it says how the call ended;
/// dropped without a word, it says nothing of the upstream.
#[derive(Debug)]
pub struct InFlightSlot {
    gate: Arc<Gate>,
    admitted: Option<AdmittedCall>,
    _queue_permit: OwnedSemaphorePermit,
    _slot: OwnedSemaphorePermit,
}

impl InFlightSlot {
    /// The upstream answered, whatever it said.
    pub fn record_answer(&mut self) {
        self.end(CallOutcome::Answered, "a call was answered");
    }

    /// The platform in front of the upstream answered in its place. Operators see it as the last call that failed;
    /// `true` if they have not been last of one like it lately.
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

    /// The call failed between weir and the upstream.
    pub fn record_failure(&mut self, error: &LinkError) {
        self.set_last_failure(error.full_text());
        let reason = error.public_text();
        let ended = match error.liveness() {
            Liveness::Alive => CallOutcome::Answered,
            Liveness::Broken => CallOutcome::Broke(reason),
            // A caller may allow less time than the upstream is due.
            Liveness::Stalled
                if self.had_half_its_budget() || !matches!(error, LinkError::Timeout) =>
            {
                CallOutcome::Stalled(reason)
            }
            Liveness::Stalled | Liveness::Unknown => CallOutcome::Unknown,
        };
        self.end(ended, reason);
    }

    /// Whether the upstream had the greater part of its own budget.
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

    /// A gate with this many slots, and calls that have so long.
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
        // One more is one too many, and is last so at once.
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
    async fn who_waits_is_sent_away_when_the_circuit_opens() {
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
    async fn a_caller_who_allows_little_time_proves_nothing() {
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
