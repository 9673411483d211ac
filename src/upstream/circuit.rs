//! The circuit of an upstream: whether calls are worth trying. Pure: no clock, no IO.
//!
//! Closed, it lets every call through. [`FAILURES`] failures in a row open it: calls fail at once. After
//! a cool-down one call is let through; its answer closes the circuit, its failure makes the cool-down
//! twice as long. What counts as a failure is for [`crate::upstream::gate`] to say.
//!
//! Listings have a say too, because the keeper goes on trying while calls do not. A failed one counts
//! like a failed call. A good one closes the circuit, but where calls had failed it vouches for them once
//! only: if they fail all the same, an upstream that lists well and answers no call would be tried for
//! ever. Its word is good again after an answered call or a failed listing.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open the circuit. One is a mishap and two are bad luck; with five, a caller that
/// tries again after each failure has lost five budgets, which is enough to know.
pub const FAILURES: u32 = 5;

/// The first cool-down; it doubles with each failure.
const FIRST: Duration = Duration::from_secs(1);

/// The longest cool-down.
const LONGEST: Duration = Duration::from_secs(30);

/// The state of one upstream's circuit.
#[derive(Debug, Default)]
pub struct Circuit {
    /// Calls failed since the last answer.
    calls: u32,
    /// Listings failed since the last good one or the last answer.
    listings: u32,
    /// When the last failed call was counted.
    last_counted: Option<Instant>,
    open: Option<Open>,
    /// How often it opened, probes that failed included, since the last answer.
    openings: u32,
    /// Whether a listing closed it and no call was answered since.
    closed_by_listing: bool,
    /// Counts openings and closings: what began before one says nothing of what is after it.
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

/// A call was let through; to be given back when it has ended.
#[derive(Clone, Copy, Debug)]
pub struct AdmittedCall {
    /// When.
    pub at: Instant,
    epoch: u64,
    probe: bool,
}

/// A call is not to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitOpen {
    /// Why calls failed before, in public words.
    pub reason: &'static str,
    /// When a call is let through again.
    pub again: Duration,
}

/// How a call ended, as far as the circuit cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// With an answer, whatever it said.
    Answered,
    /// At once: no connection, a broken one, a status, something that is not MCP. Calls that were under
    /// way together break off together, which is one failure.
    Broke(&'static str),
    /// After a whole time budget.
    Stalled(&'static str),
    /// In a way that says nothing of the upstream: the caller left, or nothing was sent.
    Unknown,
}

/// A change that operators should know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Calls fail at once from now on.
    Opened,
    /// Calls are let through again.
    Closed,
}

/// The state in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// Calls go through.
    Closed,
    /// Calls fail at once.
    Open {
        /// Why calls failed before, in public words.
        reason: &'static str,
        /// Since when.
        since: Instant,
        /// How long until a call is let through.
        again: Duration,
    },
    /// The next call is let through, or one is on its way.
    HalfOpen {
        /// Why calls failed before, in public words.
        reason: &'static str,
        /// Open since when.
        since: Instant,
    },
}

impl Circuit {
    /// Whether a call would be let through now; changes nothing.
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

    /// Lets a call through. A probe that never ends does not keep others from probing: the next one is
    /// let through after another cool-down.
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

    /// A call that was let through has ended.
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
                if let Some(open) = self.end_probe(call) {
                    open.until = now;
                }
                return None;
            }
        };
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
        if !stalled && self.last_counted.is_some_and(|counted| call.at < counted) {
            return None;
        }
        self.calls = self.calls.saturating_add(1);
        self.last_counted = Some(now);
        self.count_failure(reason, now)
    }

    /// A listing is in the catalog.
    pub fn record_listing(&mut self) -> Option<Transition> {
        self.listings = 0;
        if self.open.is_none() || self.closed_by_listing {
            return None;
        }
        if self.calls > 0 {
            self.closed_by_listing = true;
        } else {
            self.openings = 0;
        }
        self.close()
    }

    /// A listing failed for a reason that calls would fail for.
    pub fn record_listing_failure(
        &mut self,
        reason: &'static str,
        now: Instant,
    ) -> Option<Transition> {
        self.closed_by_listing = false;
        if self.open.is_some() {
            return None;
        }
        self.listings = self.listings.saturating_add(1);
        self.count_failure(reason, now)
    }

    /// The state in words.
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

    /// Opens if there were enough failures, or one after a listing closed the circuit.
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

    /// The open state, if this call was let through to probe it; from now on nobody is probing.
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
