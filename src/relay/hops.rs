//! Chains of weirs: a request that comes in from one, or goes out to one.

use tokio::time::Instant;

use crate::protocol::error::Fault;
use crate::protocol::hops::{self, Onward};
use crate::protocol::message::Request;
use crate::protocol::meta as keys;
use crate::relay::Scope;
use crate::upstream::{Link, LinkError};

/// Refuses a request that has been through this weir already, or through too many, before anything of it
/// goes upstream.
///
/// # Errors
/// -32600, with the path.
pub(super) fn admit(scope: &Scope<'_>, request: &Request<'_>) -> Result<(), Fault> {
    match &scope.snapshot.config.instance {
        Some(own) => hops::admit(request.meta.as_ref(), own),
        None => Ok(()),
    }
}

/// When a call that starts now has to be over: by the upstream's own budget, or sooner, where the sender waits no longer.
///
/// # Errors
/// The sender's time is up already.
pub(super) fn deadline(link: &Link, request: &Request<'_>) -> Result<Instant, LinkError> {
    let own = link.call_deadline();
    match hops::budget(request.meta.as_ref()) {
        None => Ok(own),
        Some(budget) if budget.is_zero() => Err(LinkError::Timeout),
        Some(budget) => {
            let theirs = Instant::now().checked_add(budget);
            Ok(theirs.map_or(own, |theirs| theirs.min(own)))
        }
    }
}

/// What a request that has to be over at `deadline` says of its chain, sent now.
pub(super) fn onward<'s>(scope: &'s Scope<'_>, deadline: Instant) -> Onward<'s> {
    Onward {
        own: scope.snapshot.config.instance.as_ref(),
        left: deadline.saturating_duration_since(Instant::now()),
    }
}

/// `_meta` of a request that weir makes itself because of the caller's: all there is in it is the chain.
///
/// # Errors
/// As [`admit`].
pub(super) fn meta(
    scope: &Scope<'_>,
    request: &Request<'_>,
    deadline: Instant,
) -> Result<String, Fault> {
    let mut own = request.meta.clone().unwrap_or_default();
    own.retain(|key| key == keys::PATH);
    onward(scope, deadline).mark(&mut own)?;
    Ok(own.to_text())
}
