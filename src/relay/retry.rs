//! Requests that continue a call: their `requestState` (2026-07-28 `basic/patterns/mrtr.mdx`) is the
//! upstream's own, or that of a call that weir has parked.

use crate::bridge::{open_asks, request_state};
use crate::protocol::era::Era;
use crate::protocol::error::{Fault, StateProblem};
use crate::protocol::message::Request;
use crate::protocol::method;
use crate::relay::Scope;
use crate::relay::call::{Continued, Target};
use crate::session::{RequestDigest, StateCheck, request_digest};

/// The methods whose requests may be answered with questions (2026-07-28 `basic/patterns/mrtr.mdx`).
pub const MAY_ASK: [&str; 3] = [
    method::TOOLS_CALL,
    method::PROMPTS_GET,
    method::RESOURCES_READ,
];

/// Returns the digest of what a state is bound to in a request, as its caller sent it.
pub(super) fn digest_of(request: &Request<'_>) -> RequestDigest {
    let params = &request.params;
    let name = params.string("name").or_else(|| params.string("uri"));
    let arguments = params.get("arguments");
    request_digest(&request.method, &name.unwrap_or_default(), arguments)
}

/// Reads the state of a modern request, if it has one. One of the upstream's own becomes what the
/// upstream knows; one of weir's is taken out, and the target continues the call.
///
/// # Errors
/// The state continues nothing, or the answers are no answers.
pub(super) fn read_state(
    scope: &Scope<'_>,
    request: &Request<'_>,
    target: &mut Target<'_>,
) -> Result<(), Fault> {
    let invalid = Fault::RequestState(StateProblem::Invalid);
    let view = scope.view();
    let Some(upstream) = view.upstream_id(target.upstream) else {
        return Ok(());
    };
    if !request_state::unbind(&mut target.params, upstream, &scope.caller) {
        return Err(invalid);
    }
    if !target.params.has_value("requestState") {
        return Ok(());
    }
    let state = target.params.string("requestState");
    let state = state.map(std::borrow::Cow::into_owned).unwrap_or_default();
    let digest = digest_of(request);
    let check = scope.crossings.map_or(StateCheck::Foreign, |crossings| {
        crossings.check(&state, scope.caller.key(), &digest)
    });
    let ticket = match check {
        StateCheck::Good(ticket) => ticket,
        StateCheck::Bad(problem) => return Err(Fault::RequestState(problem)),
        // A legacy server gives no states.
        StateCheck::Foreign => {
            let peer = view.peer(target.upstream);
            return match peer.is_some_and(|peer| peer.era() == Era::Legacy) {
                true => Err(invalid),
                false => Ok(()),
            };
        }
    };
    let answers = target.params.value("inputResponses");
    open_asks::check_answers(&ticket.keys, answers)
        .map_err(|error| Fault::Params(error.to_string()))?;
    target.params.remove("requestState");
    target.continued = Some(Box::new(Continued {
        digest,
        ticket: Some(ticket),
    }));
    Ok(())
}

/// Does the same for a request that a hook has changed. A state is bound to what the caller sent, which
/// is `original`; `earlier` is what that continues, as far as it is known.
///
/// # Errors
/// As [`read_state`].
pub(super) fn read_changed_state(
    scope: &Scope<'_>,
    original: &Request<'_>,
    earlier: Option<Box<Continued>>,
    target: &mut Target<'_>,
) -> Result<(), Fault> {
    if scope.era() != Era::Modern {
        return Ok(());
    }
    if earlier.is_some() {
        target.params.remove("requestState");
        target.continued = earlier;
        return Ok(());
    }
    read_state(scope, original, target)?;
    if target.continued.is_none() && scope.crossings.is_some() {
        target.continued = Some(Box::new(Continued {
            digest: digest_of(original),
            ticket: None,
        }));
    }
    Ok(())
}
