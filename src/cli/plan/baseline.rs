//! The state with which a plan compares the new config.

use crate::admin::compare::Comparison;
use crate::admin::drift::PendingDefinition;
use crate::catalog::Side;

/// The state with which the new config is compared.
pub(super) struct Baseline {
    /// The file or URL.
    pub(super) against: String,
    pub(super) side: Side,
    pub(super) compared: Comparison,
    /// Definitions that differ from their pins there, and wait to be accepted.
    pub(super) waiting: Vec<PendingDefinition>,
}
