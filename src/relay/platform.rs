//! Errors of the platform in front of an upstream, such as AgentCore. The caller gets them
//! unchanged; here they are noted for operators.

use crate::protocol::error::Blame;
use crate::relay::send::CancelOnDrop;

/// Notes an error in an answer for operators and returns the party to blame, if the error is the
/// platform's. The upstream did answer, so its circuit stays closed.
pub(super) fn note(error: &str, call: &mut CancelOnDrop, request_id: &str) -> Option<Blame> {
    let CancelOnDrop { link, slot, .. } = call;
    let trouble = link.quirks().platform.read_error(error)?;
    let reason = trouble.to_string();
    if slot
        .as_mut()
        .is_some_and(|slot| slot.record_rejection(&reason))
    {
        tracing::warn!(upstream = %link.id(), reason, request_id, "call turned away");
    }
    Some(trouble.kind.blame())
}
