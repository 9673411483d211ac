//! The circuit of an upstream: whether calls are worth trying. Pure: no clock, no IO.
//!
//! Closed, it lets every call through. [`FAILURES`] failures in a row open it, and calls fail at
//! once. After a cool-down one call is let through as a probe. Its answer closes the circuit; its
//! failure makes the cool-down twice as long. What counts as a failure is decided by
//! [`crate::upstream::gate`].
//!
//! Listings count too, because the keeper goes on listing while calls are not tried. A failed
//! listing counts like a failed call. A good listing closes the circuit, but after calls had failed
//! it does so only once: an upstream that lists well and answers no call would be tried for ever
//! otherwise. A good listing can close the circuit again after an answered call or a failed
//! listing.

use std::time::Duration;

use tokio::time::Instant;

/// The number of failures in a row that open the circuit. One or two may be chance. After five, a
/// caller that tries again after each failure has lost five time budgets, which is enough evidence.
pub const FAILURES: u32 = 5;

/// The first cool-down. It doubles with each failure.
const FIRST: Duration = Duration::from_secs(1);

/// The longest cool-down.
const LONGEST: Duration = Duration::from_secs(30);

/// The state of one upstream's circuit.
#[derive(Debug, Default)]
pub struct Circuit {
    /// The number of calls that failed since the last answer.
    calls: u32,
    /// The number of listings that failed since the last good one or the last answer.
    listings: u32,
    /// When the last failed call was counted.
    last_counted: Option<Instant>,
    open: Option<Open>,
    /// How often the circuit opened since the last answer. Failed probes count too.
    openings: u32,
    /// Whether a listing closed the circuit after calls had failed, and no call was answered since.
    closed_by_listing: bool,
    /// Counts openings and closings. A call that began before the last one is no evidence for or
    /// against the state after it.
    epoch: u64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    reason: &'static str,
    since: Instant,
    /// When the next probe is let through.
    until: Instant,
    probing: bool,
}

/// A call that was let through. To be given to [`Circuit::record_call`] when it has ended.
#[derive(Clone, Copy, Debug)]
pub struct AdmittedCall {
    /// When it was let through.
    pub at: Instant,
    epoch: u64,
    probe: bool,
}

/// The circuit is open: the call must not be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitOpen {
    /// Why calls failed before, in public words.
    pub reason: &'static str,
    /// How long until a call is let through again.
    pub again: Duration,
}

/// How a call ended, as far as the circuit is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// With an answer, whatever the answer.
    Answered,
    /// At once: no connection, a broken one, a status, something that is not MCP. Calls in flight
    /// together break off together, and are counted as one failure.
    Broke(&'static str),
    /// After a whole time budget.
    Stalled(&'static str),
    /// In a way that is no evidence about the upstream: the caller left, or nothing was sent.
    Unknown,
}

/// A change of the state that operators should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Calls fail at once from now on.
    Opened,
    /// Calls are let through again.
    Closed,
}

/// The state of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// Calls go through.
    Closed,
    /// Calls fail at once.
    Open {
        /// Why calls failed before, in public words.
        reason: &'static str,
        /// When it opened.
        since: Instant,
        /// How long until a call is let through.
        again: Duration,
    },
    /// The next call is let through, or one is on its way.
    HalfOpen {
        /// Why calls failed before, in public words.
        reason: &'static str,
        /// When it opened.
        since: Instant,
    },
}

impl Circuit {
    /// Checks whether a call would be let through now. Changes nothing.
    ///
    /// # Errors
    /// The circuit is open.
    pub fn check(&self, now: Instant) -> Result<(), CircuitOpen> {
        match self.open {
            Some(open) if now < open.until => Err(CircuitOpen {
                reason: open.reason,
                again: open.until - now,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Lets a call through. If the circuit is open and its cool-down over, the call is a probe. A
    /// probe that never ends does not block the next one, which is let through after another
    /// cool-down.
    ///
    /// # Errors
    /// The circuit is open.
    pub fn admit(&mut self, now: Instant) -> Result<AdmittedCall, CircuitOpen> {
        self.check(now)?;
        let pause = self.cool_down();
        if let Some(open) = &mut self.open {
            open.probing = true;
            open.until = now + pause;
        }
        Ok(AdmittedCall {
            at: now,
            epoch: self.epoch,
            probe: self.open.is_some(),
        })
    }

    /// Records how a call ended that was let through.
    pub fn record_call(
        &mut self,
        call: AdmittedCall,
        ended: CallOutcome,
        now: Instant,
    ) -> Option<Transition> {
        let (reason, stalled) = match ended {
            CallOutcome::Answered => return self.record_answer(),
            CallOutcome::Broke(reason) => (reason, false),
            CallOutcome::Stalled(reason) => (reason, true),
            CallOutcome::Unknown => {
                // The probe proved nothing, so the next call may probe at once.
                if let Some(open) = self.end_probe(call) {
                    open.until = now;
                }
                return None;
            }
        };
        // It was let through before the circuit opened or closed. Its failure is old news.
        if call.epoch != self.epoch {
            return None;
        }
        if let Some(open) = self.end_probe(call) {
            open.reason = reason;
            self.calls = self.calls.saturating_add(1);
            self.openings = self.openings.saturating_add(1);
            let until = now + self.cool_down();
            self.open = self.open.map(|open| Open { until, ..open });
            return None;
        }
        // It was in flight when another failure was counted: one restart breaks all calls off at
        // once. Each call that stalls has waited a whole budget of its own, so each of those
        // counts.
        if !stalled && self.last_counted.is_some_and(|counted| call.at < counted) {
            return None;
        }
        self.calls = self.calls.saturating_add(1);
        self.last_counted = Some(now);
        self.count_failure(reason, now)
    }

    /// Records that a listing is in the catalog.
    pub fn record_listing(&mut self) -> Option<Transition> {
        self.listings = 0;
        if self.open.is_none() || self.closed_by_listing {
            return None;
        }
        if self.calls > 0 {
            // Calls failed, and a good listing does not prove that they work: this counts only
            // once.
            self.closed_by_listing = true;
        } else {
            self.openings = 0;
        }
        self.close()
    }

    /// Records that a listing failed for a reason that calls would fail for.
    pub fn record_listing_failure(
        &mut self,
        reason: &'static str,
        now: Instant,
    ) -> Option<Transition> {
        // From here on a good listing is a change, and may close the circuit again.
        self.closed_by_listing = false;
        if self.open.is_some() {
            return None;
        }
        self.listings = self.listings.saturating_add(1);
        self.count_failure(reason, now)
    }

    /// Returns the state.
    #[must_use]
    pub fn state(&self, now: Instant) -> CircuitState {
        match self.open {
            None => CircuitState::Closed,
            Some(open) if open.probing || now >= open.until => CircuitState::HalfOpen {
                reason: open.reason,
                since: open.since,
            },
            Some(open) => CircuitState::Open {
                reason: open.reason,
                since: open.since,
                again: open.until - now,
            },
        }
    }

    fn record_answer(&mut self) -> Option<Transition> {
        (self.openings, self.closed_by_listing) = (0, false);
        if self.open.is_none() {
            (self.calls, self.listings, self.last_counted) = (0, 0, None);
            return None;
        }
        self.close()
    }

    fn close(&mut self) -> Option<Transition> {
        (self.calls, self.listings, self.last_counted) = (0, 0, None);
        self.open = None;
        self.epoch += 1;
        Some(Transition::Closed)
    }

    /// Opens the circuit after enough failures, or after one if a listing had closed it.
    fn count_failure(&mut self, reason: &'static str, now: Instant) -> Option<Transition> {
        if !self.closed_by_listing && self.calls.saturating_add(self.listings) < FAILURES {
            return None;
        }
        self.openings = self.openings.saturating_add(1);
        self.epoch += 1;
        self.open = Some(Open {
            reason,
            since: now,
            until: now + self.cool_down(),
            probing: false,
        });
        Some(Transition::Opened)
    }

    /// Ends the probe, if this call is the probe of the present opening, and returns the open
    /// state.
    fn end_probe(&mut self, call: AdmittedCall) -> Option<&mut Open> {
        let is_probe = call.probe && call.epoch == self.epoch;
        let open = self.open.as_mut().filter(|_| is_probe)?;
        open.probing = false;
        Some(open)
    }

    fn cool_down(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.openings.saturating_sub(1));
        FIRST.saturating_mul(doubled).min(LONGEST)
    }
}

#[cfg(test)]
mod tests;
