//! Errors of the platform in front of an upstream: they go on to the caller as they are, and operators hear of them.

use crate::protocol::error::Blame;
use crate::upstream::{InFlightSlot, Link};

/// Notes the error of an answer for operators and returns whom it blames, if it is the platform's. The upstream is there, so
/// its circuit stays closed.
pub(super) fn note(
    error: &str,
    link: &Link,
    slot: &mut InFlightSlot,
    request_id: &str,
) -> Option<Blame> {
    let trouble = link.quirks().platform.read_error(error)?;
    let reason = trouble.to_string();
    if slot.record_rejection(&reason) {
        tracing::warn!(upstream = %link.id(), reason, request_id, "call turned away");
    }
    Some(trouble.kind.blame())
}
