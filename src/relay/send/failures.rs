//! Requests that got no answer.

use crate::protocol::error::Fault;
use crate::upstream::{Link, LinkError};

/// Logs for the operator why a request failed, and returns the fault for the caller.
pub(super) fn log_failure(
    link: &Link,
    method: &'static str,
    request_id: &str,
    error: &LinkError,
) -> Fault {
    if matches!(
        error,
        LinkError::CircuitOpen { .. } | LinkError::CallerIdentity
    ) {
        // There may be many of these. The failures that opened the circuit have been logged, and a
        // caller without a token is told so.
        tracing::debug!(upstream = %link.id(), method, reason = %error, request_id, "call refused");
    } else {
        tracing::warn!(upstream = %link.id(), method, reason = %error.full_text(), request_id, "call failed");
    }
    error.to_fault(link.id())
}
