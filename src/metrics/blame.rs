//! The words for who has to act on an error.

use crate::protocol::error::Blame;

/// All of them, in the order of counters.
pub(super) const BLAMES: [(Blame, &str); 3] = [
    (Blame::Caller, "caller"),
    (Blame::Upstream, "upstream"),
    (Blame::Weir, "weir"),
];

/// Returns the word for a blame in metrics and in the log.
pub(crate) fn blame_text(blame: Blame) -> &'static str {
    match blame {
        Blame::Caller => "caller",
        Blame::Upstream => "upstream",
        Blame::Weir => "weir",
    }
}
