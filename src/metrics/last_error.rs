//! The error with which a request ended, as it is kept for operators.

use std::time::Instant;

use crate::protocol::error::Blame;

/// The longest reason that is kept, in bytes.
pub(super) const LONGEST_REASON: usize = 200;

/// The last error of a tool or method. It has nothing of a caller, of arguments and of results, so
/// that whoever may read counters may read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// When the request was over.
    pub at: Instant,
    /// The reason, in weir's own words; of an error that the upstream answered, its code.
    pub reason: Box<str>,
    /// The party that has to act.
    pub blame: Blame,
}

impl LastError {
    /// Makes the error of a request that is over now.
    #[must_use]
    pub fn now(reason: &str, blame: Blame) -> Self {
        let end = reason.floor_char_boundary(LONGEST_REASON);
        Self {
            at: Instant::now(),
            reason: reason.get(..end).unwrap_or_default().into(),
            blame,
        }
    }
}
