//! Limits of what callers may ask for, applied to requests that policy allows.

use crate::config::RateAnswer;
use crate::json::Object;
use crate::limits::{LimitedRequest, RateLease, RateLimits, RateRefusal};
use crate::policy::ClassKey;
use crate::protocol::error::Fault;
use crate::protocol::message::Request;
use crate::protocol::method;
use crate::relay::back::ReplySource;
use crate::relay::call::Target;
use crate::relay::{Payload, Scope};

/// Takes what a request needs of the limits; `None` where there are none. `target` is where it goes,
/// if it goes to one upstream.
///
/// # Errors
/// It is too much now: the answer to the caller.
pub(super) async fn admit(
    scope: &Scope<'_>,
    request: &Request<'_>,
    target: Option<&Target<'_>>,
) -> Result<Option<RateLease>, RateRefusal> {
    let Some(limits) = &scope.snapshot.limits else {
        return Ok(None);
    };
    let asked = limited_request(scope, request, target);
    let lease = limits.admit(&asked, || class(scope))?;
    confirm(scope, limits, lease).await
}

/// Takes of what replicas count together, what a lease took on this one.
async fn confirm(
    scope: &Scope<'_>,
    limits: &RateLimits,
    lease: RateLease,
) -> Result<Option<RateLease>, RateRefusal> {
    match &scope.snapshot.shared_rates {
        None => Ok(Some(lease)),
        // In a box, so that the future of calls without replicas stays small.
        Some(shared) => Box::pin(limits.confirm(shared, lease)).await.map(Some),
    }
}

/// Takes what a request needs that a hook changed, since it is charged where it goes. Of the lease
/// `before`, what only the request of the caller needed is given back.
///
/// # Errors
/// It is too much now: the answer to the caller.
pub(super) async fn admit_changed(
    scope: &Scope<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    before: Option<RateLease>,
) -> Result<Option<RateLease>, RateRefusal> {
    let Some((limits, before)) = scope.snapshot.limits.as_ref().zip(before) else {
        return Ok(None);
    };
    let asked = limited_request(scope, request, Some(target));
    let lease = limits.admit_elsewhere(&asked, || class(scope), before)?;
    confirm(scope, limits, lease).await
}

fn limited_request<'r>(
    scope: &'r Scope<'_>,
    request: &'r Request<'_>,
    target: Option<&'r Target<'_>>,
) -> LimitedRequest<'r> {
    let route = target.and_then(|target| target.route.as_ref());
    LimitedRequest {
        method: &request.method,
        tool: route.map(|route| &route.exposed),
        upstream: target.and_then(|target| scope.view().upstream_id(target.upstream)),
        caller: scope.share(),
        bytes: size(&request.params),
    }
}

fn class(scope: &Scope<'_>) -> Option<ClassKey> {
    let policies = scope.snapshot.policies.as_ref()?;
    policies.class_of(&scope.caller)
}

/// Returns the answer to a request that is too much: the result of a tool where the operator wants
/// one.
///
/// # Errors
/// The fault to answer with.
pub(super) fn refuse(
    scope: &Scope<'_>,
    request: &Request<'_>,
    refusal: RateRefusal,
) -> Result<ReplySource, Fault> {
    let RateRefusal {
        limit,
        retry_after,
        answer,
    } = refusal;
    let fault = Fault::Limited { limit, retry_after };
    if answer == RateAnswer::ToolError && request.method == method::TOOLS_CALL {
        let payload = Payload::tool_error(&request.id, &fault, scope.era());
        return Ok(ReplySource::ToolError(payload, fault));
    }
    Err(fault)
}

/// Pays for an answer that is made already.
pub(super) fn charge(lease: Option<&RateLease>, answer: &ReplySource) {
    let Some(lease) = lease else {
        return;
    };
    match answer {
        ReplySource::Result(payload)
        | ReplySource::Refusal(payload)
        | ReplySource::ToolError(payload, _) => lease.charge(payload.len()),
        ReplySource::Upstream(..) => {}
    }
}

/// Returns about how many bytes params have.
fn size(params: &Object<'_>) -> usize {
    let members = params.iter();
    members
        .map(|(key, value)| key.len() + value.len() + 4)
        .sum()
}
