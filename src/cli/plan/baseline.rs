//! The state with which a plan compares the new config.

use crate::admin::compare::Comparison;
use crate::admin::drift::PendingDefinition;
use crate::catalog::Side;
use crate::cli::plan::policies::PlannedPolicies;

/// The state with which the new config is compared.
pub(super) struct Baseline {
    /// The file or URL.
    pub(super) against: String,
    pub(super) side: Side,
    pub(super) compared: Comparison,
    /// The policies and callers of a config; `None` for a weir that runs, which has compared them.
    pub(super) policies: Option<PlannedPolicies>,
    /// Definitions that differ from their pins there, and wait to be accepted.
    pub(super) waiting: Vec<PendingDefinition>,
}
