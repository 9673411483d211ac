//! Chains of weirs: the path and the deadline that a request carries from one weir to the next.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::CallTimeout;
use crate::protocol::error::Fault;
use crate::protocol::hops::{self, Onward};
use crate::protocol::message::Request;
use crate::protocol::meta as keys;
use crate::relay::Scope;
use crate::upstream::{Link, LinkError};

/// The most times as long as its limit that a call may take, however much progress it reports
/// (2025-11-25 `basic/lifecycle.mdx#timeouts`: a maximum is always enforced).
const MOST_EXTENSIONS: u32 = 10;

/// How progress prolongs a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadlineExtension {
    after: Duration,
    at_most: Instant,
}

impl DeadlineExtension {
    /// Returns the latest time at which the call has to be over.
    pub(super) fn latest(&self) -> Instant {
        self.at_most
    }

    /// Moves the latest time by a pause in which the time of the call stood still.
    pub(super) fn postpone(&mut self, pause: Duration) {
        self.at_most = self.at_most.checked_add(pause).unwrap_or(self.at_most);
    }

    /// Leaves the call no more than this time, from now on, however much progress it reports.
    pub(super) fn limit(&mut self, left: Duration) {
        let latest = Instant::now().checked_add(left);
        self.at_most = latest.map_or(self.at_most, |latest| latest.min(self.at_most));
    }

    /// Returns when the call has to be over if it reports progress now.
    pub(super) fn deadline(self) -> Instant {
        (Instant::now() + self.after).min(self.at_most)
    }
}

/// Refuses a request that has been through this weir already, or through too many weirs.
///
/// # Errors
/// -32600, with the path.
pub(super) fn admit(scope: &Scope<'_>, request: &Request<'_>) -> Result<(), Fault> {
    match &scope.snapshot.config.instance {
        Some(own) => hops::admit(request.meta.as_ref(), own),
        None => Ok(()),
    }
}

/// Returns when a call has to be over: at the time limit of its tool or of the upstream, or earlier if
/// the weir that sent it waits less long. `begun` is when its time began; `None` is now.
///
/// # Errors
/// Its time is up already.
pub(super) fn deadline(
    link: &Link,
    request: &Request<'_>,
    timeout: Option<CallTimeout>,
    begun: Option<Instant>,
) -> Result<Instant, LinkError> {
    let start = begun.unwrap_or_else(Instant::now);
    let own = start + timeout.map_or(link.config.timeouts.call, |timeout| timeout.after);
    let deadline = match hops::budget(request.meta.as_ref()) {
        None => own,
        Some(budget) if budget.is_zero() => return Err(LinkError::Timeout),
        Some(budget) => {
            let theirs = start.checked_add(budget);
            theirs.map_or(own, |theirs| theirs.min(own))
        }
    };
    match begun.is_some() && deadline <= Instant::now() {
        true => Err(LinkError::Timeout),
        false => Ok(deadline),
    }
}

/// Returns how progress prolongs a call whose time began at `begun`, or begins now; `None` if it does
/// not.
pub(super) fn extension(
    request: &Request<'_>,
    timeout: Option<CallTimeout>,
    begun: Option<Instant>,
) -> Option<DeadlineExtension> {
    let timeout = timeout.filter(|timeout| timeout.resets_on_progress)?;
    let begun = begun.unwrap_or_else(Instant::now);
    let own = begun.checked_add(timeout.after.saturating_mul(MOST_EXTENSIONS))?;
    let theirs = hops::budget(request.meta.as_ref()).and_then(|left| begun.checked_add(left));
    Some(DeadlineExtension {
        after: timeout.after,
        at_most: theirs.map_or(own, |theirs| theirs.min(own)),
    })
}

/// Returns the path and the remaining time for a request that is sent now and has to be over at
/// `deadline`.
pub(super) fn onward<'s>(scope: &'s Scope<'_>, deadline: Instant) -> Onward<'s> {
    Onward {
        own: scope.snapshot.config.instance.as_ref(),
        left: deadline.saturating_duration_since(Instant::now()),
    }
}

/// Makes the `_meta` of a request that weir sends on behalf of a caller with params of its own: the
/// path and the deadline, and nothing else of the caller's. It is empty for an upstream that is not
/// trusted with them.
///
/// # Errors
/// As [`admit`].
pub(super) fn meta(
    scope: &Scope<'_>,
    request: &Request<'_>,
    link: &Link,
    deadline: Instant,
) -> Result<String, Fault> {
    if !link.config.forward_meta {
        return Ok("{}".to_owned());
    }
    let mut own = request.meta.clone().unwrap_or_default();
    own.retain(|key| key == keys::PATH);
    onward(scope, deadline).mark(&mut own)?;
    Ok(own.to_text())
}
