//! The result for one schema.

use std::collections::BTreeSet;
use std::fmt;

use crate::printable;

/// Most characters of a reference in a message.
const REFERENCE: usize = 100;

/// Why a reference was not replaced by its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WidenReason {
    /// The target contains the reference.
    Recursive,
    /// It leads out of the schema, or to nothing; or the place has a base of its own.
    Outside,
    /// It names no place but an anchor, which may depend on who refers to it.
    Anchor,
    /// The schema would become too large, or nested too deep.
    Large,
}

/// A place where a schema accepts more than its upstream's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Widening {
    reason: WidenReason,
    reference: String,
}

impl Widening {
    pub(super) fn new(reason: WidenReason, reference: &str) -> Self {
        let shown: String = reference.chars().take(REFERENCE).collect();
        Self {
            reason,
            reference: printable::line(&shown).into_owned(),
        }
    }
}

impl fmt::Display for Widening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.reason {
            WidenReason::Recursive => "contains itself",
            WidenReason::Outside => "is not in the schema",
            WidenReason::Anchor => "is an anchor",
            WidenReason::Large => "would make it too large",
        };
        write!(f, "`{}` {why}", self.reference)
    }
}

/// A schema without references.
#[derive(Debug)]
pub(super) struct InlinedSchema {
    pub(super) text: String,
    pub(super) widenings: BTreeSet<Widening>,
}

impl InlinedSchema {
    /// Returns the schema that accepts everything.
    pub(super) fn wide() -> Self {
        Self {
            text: "{}".to_owned(),
            widenings: BTreeSet::new(),
        }
    }
}
