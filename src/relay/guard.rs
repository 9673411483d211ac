//! The guard: checks the data of a request before it is sent to an upstream, and of what comes back.

use tokio::time::Instant;

use crate::guard::coverage::{self, Shape};
use crate::guard::{Blocked, Direction, Findings, RequestGuard};
use crate::json::{self, Object};
use crate::name::UpstreamIndex;
use crate::policy::Permit;
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::headers;
use crate::protocol::message::Request;
use crate::protocol::method;
use crate::record::Record;
use crate::relay::call::Target;
use crate::relay::{Scope, back, validation};

/// A request whose data passed, with the permit to send it.
#[derive(Debug)]
pub(super) struct Guarded<'p> {
    pub(super) permit: Permit,
    pub(super) target: Target<'p>,
    /// `_meta` of the request, if it differs from what the caller sent.
    pub(super) meta: Option<Object<'static>>,
    /// The rules for the data of the request and of its answer; `None` if all of it passes.
    pub(super) guard: Option<RequestGuard>,
    /// The arguments before pseudonyms in them became values, if some did: for the record file.
    pub(super) unrestored: Option<String>,
    /// When the time of the call began, if that was before it is sent: when hooks were asked, or when
    /// it began to wait for room in the record file.
    pub(super) begun: Option<Instant>,
}

/// The outcome of the checks.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every request passes, and a box would cost it an allocation"
)]
#[derive(Debug)]
pub(super) enum GuardOutcome<'p> {
    /// The request may be sent.
    Passed(Guarded<'p>),
    /// The arguments do not fit, which is answered with a tool error (2025-11-25
    /// `server/tools.mdx#error-handling`).
    Refused(Fault),
}

/// Checks the arguments of a tool call against the HTTP headers that repeat some of them
/// (2026-07-28 `basic/transports/streamable-http.mdx`), and applies the operator's rules for hidden
/// and fixed arguments. For an upstream that is cleared, pseudonyms become the values that they
/// stand for. Then come the checks of arguments (`guard.validate`). Policy decides last, about the
/// arguments as they are then.
///
/// # Errors
/// A header differs from its argument, the operator hides an argument, the arguments are no object
/// or cannot be looked at, or policy denies the request.
pub(super) async fn check<'p>(
    scope: &Scope<'_>,
    target: Target<'p>,
    record: &mut Record,
) -> Result<GuardOutcome<'p>, Fault> {
    // First the headers: they repeat the arguments as the caller sent them.
    // Those of a legacy request repeat none.
    let headers = scope.headers.filter(|_| scope.era() == Era::Modern);
    if let (Some(route), Some(found)) = (&target.route, headers) {
        let arguments = target.params.get("arguments");
        headers::check_params(found, route.header_params(), arguments)?;
    }
    check_changed(scope, target, record).await
}

/// The same for a request that a hook has changed, which no header of the caller repeats.
///
/// # Errors
/// As [`check`].
pub(super) async fn check_changed<'p>(
    scope: &Scope<'_>,
    mut target: Target<'p>,
    record: &mut Record,
) -> Result<GuardOutcome<'p>, Fault> {
    if let Some(route) = &target.route {
        let rules = route.argument_rules();
        let changed = match rules {
            Some(rules) => rules
                .apply(target.params.get("arguments"))?
                .map(|text| text.into_owned()),
            None => None,
        };
        if let Some(changed) = changed {
            target.params.set("arguments", changed);
        }
    }
    let guard = scope.guard_of(target.upstream, target.route.as_ref());
    let unrestored = match &guard {
        // In a box: few requests have rules, and the future of every request is copied when it begins.
        Some(guard) => Box::pin(restore(guard, &mut target, record)).await?,
        None => None,
    };
    if let Some(route) = &target.route {
        let arguments = target.params.get("arguments");
        match validation::check_arguments(scope, route, arguments).await {
            Ok(None) => {}
            Ok(Some(changed)) => target.params.set("arguments", changed),
            Err(fault) => return Ok(GuardOutcome::Refused(fault)),
        }
    }
    let permit = match &target.named {
        Some(named) => {
            let arguments = target.params.get("arguments");
            scope.permit_named(target.upstream, named, arguments, Some(record))?
        }
        None => scope.permit(target.upstream)?,
    };
    Ok(GuardOutcome::Passed(Guarded {
        permit,
        target,
        meta: None,
        guard,
        unrestored,
        begun: None,
    }))
}

/// Puts values in place of the pseudonyms that the upstream is cleared for. Returns the arguments as
/// they were, if they change.
async fn restore(
    guard: &RequestGuard,
    target: &mut Target<'_>,
    record: &mut Record,
) -> Result<Option<String>, Fault> {
    let shape = coverage::params(target.method);
    let mut findings = Findings::default();
    let (mut changed, mut unrestored) = (Vec::new(), None);
    for (key, value) in target.params.iter().filter(|(key, _)| *key != "_meta") {
        let direction = Direction::TowardsUpstream;
        let restored = guard.restore(direction, shape.member(key), value, &mut findings);
        if let Some(restored) = restored.await.map_err(blocked)? {
            if key == "arguments" {
                unrestored = Some(value.to_owned());
            }
            changed.push((key.to_owned(), restored));
        }
    }
    apply(target, changed);
    record.add_findings(findings);
    Ok(unrestored)
}

/// Replaces what may not pass to the upstream in a request that is permitted: the last step before
/// it is sent. The headers that repeat arguments are made of what is left.
///
/// # Errors
/// A rule refuses the request, or its data cannot be looked at.
pub(super) async fn redact<'p>(
    request: &Request<'_>,
    mut guarded: Guarded<'p>,
    record: &mut Record,
) -> Result<Guarded<'p>, Fault> {
    let Some(guard) = &guarded.guard else {
        return Ok(guarded);
    };
    let target = &mut guarded.target;
    let mut findings = Findings::default();
    let redacted = redact_params(guard, target, &mut findings).await;
    let redacted = match redacted {
        Ok(changed) => match &request.meta {
            Some(own) => redact_meta(guard, own, &mut findings)
                .await
                .map(|own| (changed, own)),
            None => Ok((changed, None)),
        },
        Err(blocked) => Err(blocked),
    };
    record.add_findings(findings);
    let (changed, meta) = redacted.map_err(blocked)?;
    apply(target, changed);
    guarded.meta = meta;
    Ok(guarded)
}

/// Returns the members of params that change, with their new values.
async fn redact_params(
    guard: &RequestGuard,
    target: &Target<'_>,
    findings: &mut Findings,
) -> Result<Vec<(String, String)>, Blocked> {
    let (direction, shape) = (Direction::TowardsUpstream, coverage::params(target.method));
    let mut changed = Vec::new();
    for (key, value) in target.params.iter().filter(|(key, _)| *key != "_meta") {
        guard.check_name(direction, key, findings)?;
        let redacted = guard.redact(direction, shape.member(key), value, findings);
        if let Some(redacted) = redacted.await? {
            changed.push((key.to_owned(), redacted));
        }
    }
    Ok(changed)
}

/// Returns `_meta` of a request without what may not pass; `None` if it stays as it is.
async fn redact_meta(
    guard: &RequestGuard,
    own: &Object<'_>,
    findings: &mut Findings,
) -> Result<Option<Object<'static>>, Blocked> {
    let text = own.to_text();
    let redacted = guard.redact(Direction::TowardsUpstream, &coverage::META, &text, findings);
    let Some(redacted) = redacted.await? else {
        return Ok(None);
    };
    let parsed = Object::parse(&redacted).map_err(|_| Blocked::unreadable())?;
    Ok(Some(parsed.into_owned()))
}

/// Refuses a URI of a caller's for an upstream that may not get it. Subscriptions are known by their
/// URIs, so none is sent that differs.
///
/// # Errors
/// It has something in it that may not pass.
pub(super) async fn check_uri(
    scope: &Scope<'_>,
    upstream: UpstreamIndex,
    uri: &str,
) -> Result<(), Fault> {
    let Some(guard) = scope.guard_of(upstream, None) else {
        return Ok(());
    };
    let (direction, text) = (Direction::TowardsUpstream, json::quote(uri));
    let mut findings = Findings::default();
    let redacted = guard.redact(direction, &Shape::Text, &text, &mut findings);
    match redacted.await.map_err(blocked)? {
        Some(_) => Err(Fault::Blocked {
            rule: direction.as_str().into(),
        }),
        None => Ok(()),
    }
}

/// Returns a page of an upstream's own list as it may pass to the caller.
///
/// # Errors
/// It may not pass.
pub(super) async fn check_page(
    scope: &Scope<'_>,
    upstream: UpstreamIndex,
    page: String,
) -> Result<String, Fault> {
    let Some(guard) = scope.guard_of(upstream, None) else {
        return Ok(page);
    };
    let mut findings = Findings::default();
    let changed = back::towards_caller(&guard, &coverage::RESULT, &page, &mut findings).await;
    let changed = changed.map_err(|blocked| Fault::BlockedAnswer { rule: blocked.rule })?;
    Ok(changed.map_or(page, |changed| changed.text))
}

fn apply(target: &mut Target<'_>, changed: Vec<(String, String)>) {
    for (key, value) in changed {
        target.params.replace(&key, value);
    }
    if target.method == method::RESOURCES_READ {
        // The header `Mcp-Name` repeats it.
        target.name = target.params.string("uri").map(|uri| uri.as_ref().into());
    }
}

fn blocked(blocked: Blocked) -> Fault {
    Fault::Blocked { rule: blocked.rule }
}
