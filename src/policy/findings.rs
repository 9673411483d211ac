//! Policies that do not fit what is listed.

use std::collections::BTreeMap;
use std::fmt;

use cedar_policy::EntityUid;

use crate::policy::input_types::InputTypes;

/// A policy that does not fit what is listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyFinding {
    /// Where the policy is written: `FILE:LINE`.
    pub origin: Box<str>,
    /// The finding, in Cedar's words or weir's.
    pub message: String,
    /// Whether the policy is wrong; else it may be right once more is listed.
    pub is_error: bool,
}

/// The last validation: what it was about, by policy, and its outcome.
#[derive(Debug)]
pub(super) struct Validated {
    pub(super) shapes: Vec<BTreeMap<InputTypes, EntityUid>>,
    pub(super) unlisted: Vec<Vec<EntityUid>>,
    pub(super) findings: Vec<PolicyFinding>,
}

impl fmt::Display for PolicyFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}
