//! The gate of one upstream: every call needs a slot among the calls in flight, and a closed
//! circuit.
//!
//! Slots are shared out fairly: callers that wait take turns, and the last eighth of the slots is
//! not for a caller that has all others. A call that waits is dropped when its caller hangs up, in
//! the legacy era too: it has not been sent, and that a disconnect cancels nothing
//! (2025-11-25 `basic/transports.mdx`) is about requests that run. One in flight goes on without
//! its caller, until others have to wait for its slot.

mod places;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, oneshot, watch};
use tokio::time::Instant;

use crate::caller::{Presence, ShareKey, Turn};
use crate::config;
use crate::upstream::circuit::{AdmittedCall, CallOutcome, Circuit, CircuitState, Transition};
use crate::upstream::error::{LinkError, Liveness};

pub use places::Claim;
use places::{Claimed, LOOK, Places, SOON};

/// The least size of a request, in bytes, at which a server may hang up because it takes none of this
/// size. Servers that limit bodies begin at about 100 KB; headers have a limit of their own.
const LARGE: usize = 64 * 1024;

/// The time in which an error of a platform is logged once, if it stays the same.
const REPEAT_INTERVAL: Duration = Duration::from_secs(10);

/// Guards the way to one upstream: every call passes it before anything is sent.
#[derive(Debug)]
pub struct Gate {
    config: Arc<config::Upstream>,
    places: Mutex<Places>,
    /// Notified when the caller of a call in flight leaves.
    left: Arc<Notify>,
    /// One permit for each message outside of calls that is being posted, to any session. There are
    /// as many as slots: weir has no more than twice `limits.in_flight` requests at an upstream.
    posts: Semaphore,
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
        let left = Arc::new(Notify::new());
        Self {
            config: Arc::clone(config),
            places: Mutex::new(Places::new(slots, Arc::clone(&left))),
            left,
            posts: Semaphore::new(slots.min(Semaphore::MAX_PERMITS)),
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
    pub async fn enter(
        self: &Arc<Self>,
        claim: Claim<'_>,
        deadline: Instant,
    ) -> Result<InFlightSlot, LinkError> {
        let now = Instant::now();
        let claimed = self.places.lock().claim(claim, now);
        let mut slot = match claimed {
            Claimed::Slot(number) => InFlightSlot::new(self, claim.turn.share, number),
            Claimed::Ticket(ticket, hears) => {
                let mut waiting = WaitingForSlot {
                    gate: self,
                    turn: claim.turn,
                    ticket,
                    hears,
                    is_over: false,
                };
                self.circuit().check(now)?;
                self.wait_for_slot(&mut waiting, claim.presence, deadline)
                    .await?
            }
            Claimed::Full => {
                self.circuit().check(now)?;
                return Err(LinkError::Busy);
            }
        };
        // Not the time before: a call has its time from its slot on.
        slot.admitted = Some(self.circuit().admit(Instant::now())?);
        Ok(slot)
    }

    /// Waits for a slot. Gives up when the circuit opens: the calls that have the slots are not
    /// going to be answered soon.
    async fn wait_for_slot(
        self: &Arc<Self>,
        waiting: &mut WaitingForSlot<'_>,
        presence: Option<&Presence>,
        deadline: Instant,
    ) -> Result<InFlightSlot, LinkError> {
        let mut is_open = self.is_open.subscribe();
        is_open.mark_unchanged();
        let mut look = LOOK;
        loop {
            self.give_up_overdue();
            tokio::select! {
                granted = &mut waiting.hears => {
                    waiting.is_over = true;
                    let number = granted.map_err(|_| LinkError::Busy)?;
                    return Ok(InFlightSlot::new(self, waiting.turn.share, number));
                }
                () = tokio::time::sleep_until(deadline) => return Err(LinkError::Busy),
                _ = is_open.changed() => self.circuit().check(Instant::now())?,
                // One of a batch, of which other requests run: those go on.
                () = tokio::time::sleep(look) => {
                    look = LOOK;
                    if presence.is_some_and(|caller| caller.gone_for().is_some()) {
                        return Err(LinkError::Busy);
                    }
                }
                // It may have been looked just now.
                () = self.left.notified() => look = SOON,
            }
        }
    }

    /// Waits for a place among the messages outside of calls that are being posted. They have places
    /// of their own: a call that has a slot may wait for a caller's answer, which is such a message.
    pub async fn post_place(&self) -> Option<SemaphorePermit<'_>> {
        self.posts.acquire().await.ok()
    }

    /// Gives up calls whose callers are gone, because others wait for their slots.
    fn give_up_overdue(&self) {
        let overdue = self.places.lock().overdue(Instant::now());
        if overdue.is_empty() {
            return;
        }
        let (upstream, calls) = (&self.config.id, overdue.len());
        tracing::debug!(%upstream, calls, "calls without callers are given up: others wait for their places");
        for presence in overdue {
            presence.give_up();
        }
    }

    /// Returns the number of calls at this gate.
    #[must_use]
    pub fn load(&self) -> Load {
        let places = self.places.lock();
        Load {
            in_flight: places.in_flight(),
            queued: places.waiting(),
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

/// A call that waits for a slot. Dropped, it does not wait any more.
struct WaitingForSlot<'a> {
    gate: &'a Gate,
    turn: Turn,
    ticket: u64,
    hears: oneshot::Receiver<u64>,
    is_over: bool,
}

impl Drop for WaitingForSlot<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut places = self.gate.places.lock();
        if !places.leave(self.turn, self.ticket)
            && let Ok(number) = self.hears.try_recv()
        {
            // It got a slot at the moment at which it left.
            places.release(self.turn.share, number);
        }
    }
}

/// A slot among the calls in flight, free again when dropped. Its owner records how the call ended.
/// If it does not, the circuit learns nothing from the call.
#[derive(Debug)]
pub struct InFlightSlot {
    gate: Arc<Gate>,
    admitted: Option<AdmittedCall>,
    share: ShareKey,
    number: u64,
    /// Whether the request is so large that its server may hang up because of it.
    is_large: bool,
}

impl InFlightSlot {
    fn new(gate: &Arc<Gate>, share: ShareKey, number: u64) -> Self {
        Self {
            gate: Arc::clone(gate),
            admitted: None,
            share,
            number,
            is_large: false,
        }
    }

    /// Notes the bytes of the request that is sent now.
    pub fn note_size(&mut self, bytes: usize) {
        self.is_large = bytes >= LARGE;
    }

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
            // The caller made the request as large as it is. That the server hangs up is no evidence
            // against it.
            Liveness::Broken if self.is_large && error.is_hang_up() => CallOutcome::Unknown,
            // The server was reached, and may fail at this request alone: its caller would close the
            // upstream to all others.
            Liveness::Broken if error.is_server_failure() => CallOutcome::Unknown,
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
        let mut places = self.gate.places.lock();
        places.release(self.share, self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use http::StatusCode;

    use super::places::QUEUE;
    use super::*;
    use crate::upstream::circuit::FAILURES;
    use crate::upstream::stdio::{ChildClosed, ClosedReason};

    const CLAIM: Claim<'static> = Claim {
        turn: Turn {
            share: ShareKey::Local,
            session: 0,
        },
        presence: None,
    };

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
            gate.enter(CLAIM, later()).await.ok(),
            gate.enter(CLAIM, later()).await.ok(),
        ];
        let soon = Instant::now() + Duration::from_millis(50);
        assert!(matches!(
            gate.enter(CLAIM, soon).await,
            Err(LinkError::Busy)
        ));
        assert!(Instant::now() >= soon);
        let waiting: Vec<_> = (0..2 * QUEUE)
            .map(|_| Box::pin(gate.enter(CLAIM, later())))
            .collect();
        let mut waiting = futures::future::join_all(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        let load = Load {
            in_flight: 2,
            queued: 2 * QUEUE,
        };
        assert_eq!(gate.load(), load);
        // The queue is full: one more is refused at once.
        let refused = futures::poll!(Box::pin(gate.enter(CLAIM, later())));
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
        let held = gate.enter(CLAIM, later()).await.unwrap();
        let open = async {
            for _ in 0..FAILURES {
                gate.record_listing_failure(&LinkError::Timeout);
            }
        };
        let (refused, ()) = tokio::join!(gate.enter(CLAIM, later()), open);
        let reason = LinkError::Timeout.public_text();
        let refused = refused.unwrap_err();
        assert!(matches!(refused, LinkError::CircuitOpen { .. }));
        assert_eq!(refused.public_text(), reason);
        drop(held);
        assert!(gate.enter(CLAIM, later()).await.is_err());
        gate.record_listing();
        assert!(gate.enter(CLAIM, later()).await.is_ok());
    }

    #[tokio::test]
    async fn the_fault_of_a_caller_proves_nothing() {
        let hang_up = || LinkError::ChildClosed(ChildClosed(ClosedReason::OutputClosed));
        for (bytes, opens) in [(LARGE, false), (LARGE - 1, true)] {
            let gate = gate(1, "60s");
            for _ in 0..FAILURES {
                let mut slot = gate.enter(CLAIM, later()).await.unwrap();
                slot.note_size(bytes);
                slot.record_failure(&hang_up());
            }
            assert_eq!(gate.circuit_state() != CircuitState::Closed, opens);
        }
        // Nor does it prove that the upstream works: it may be the proxy before it that refuses.
        for status in [400, 413, 414, 431] {
            let gate = gate(1, "60s");
            for at in 0..2 * FAILURES - 1 {
                let mut slot = gate.enter(CLAIM, later()).await.unwrap();
                let refusal = LinkError::Status(StatusCode::from_u16(status).unwrap());
                let error = if at % 2 == 0 { hang_up() } else { refusal };
                tokio::time::sleep(Duration::from_millis(1)).await;
                slot.record_failure(&error);
            }
            assert_ne!(gate.circuit_state(), CircuitState::Closed, "{status}");
        }
    }

    #[tokio::test]
    async fn a_short_deadline_of_a_caller_proves_nothing() {
        for (call, opens) in [("60s", false), ("1ms", true)] {
            let gate = gate(1, call);
            for _ in 0..FAILURES {
                let mut slot = gate.enter(CLAIM, later()).await.unwrap();
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
