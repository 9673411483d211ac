//! Errors of the platform in front of an upstream: they go on to the caller as they are, and operators hear of them.

use crate::metrics::Measured;
use crate::upstream::{InFlightSlot, Link};

/// Notes what the error of an answer says, if it is the platform's. The upstream is there, so its circuit stays closed.
pub(super) fn note(
    error: &str,
    link: &Link,
    slot: &mut InFlightSlot,
    measured: Option<&mut Measured>,
) {
    let Some(trouble) = link.quirks().platform.read_error(error) else {
        return;
    };
    let reason = trouble.to_string();
    let request_id = measured
        .as_ref()
        .map_or("-", |measured| measured.request_id());
    if slot.record_rejection(&reason) {
        tracing::warn!(upstream = %link.id(), reason, request_id, "call turned away");
    }
    if let Some(measured) = measured {
        measured.blame(trouble.kind.blame());
    }
}
