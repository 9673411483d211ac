//! Circuits and times, as operators see them.

use std::time::Duration;

use serde_json::json;

use crate::upstream::circuit::CircuitState;

/// Describes the circuit as JSON: `closed`; `open`, when calls fail at once for the `reason` of earlier
/// failures; `half-open`, when one call is let through.
pub(super) fn describe_circuit(position: CircuitState) -> serde_json::Value {
    let (state, reason, since, again) = match position {
        CircuitState::Closed => ("closed", None, None, None),
        CircuitState::Open {
            reason,
            since,
            again,
        } => ("open", Some(reason), Some(since), Some(again)),
        CircuitState::HalfOpen { reason, since } => ("half-open", Some(reason), Some(since), None),
    };
    json!({
        "state": state,
        "reason": reason,
        "open_for_seconds": since.map(|since| since.elapsed().as_secs()),
        "next_try_in_seconds": again.map(round_to_tenths),
    })
}

/// Returns a time in seconds, rounded to tenths.
pub(super) fn round_to_tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}
