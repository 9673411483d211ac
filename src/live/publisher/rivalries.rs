//! Names and URIs that two upstreams want, in the log.

use foldhash::HashSet;

use crate::catalog::Catalog;

/// Most conflicts of names and URIs that are logged of one change.
const RIVALRIES: usize = 16;

/// Logs names and URIs that two upstreams want: each once, as long as it stays so.
pub(super) fn log_rivalries(before: &Catalog, now: &Catalog) {
    let known: HashSet<String> = before.rivalries().collect();
    let mut new = now.rivalries().filter(|line| !known.contains(line));
    for line in new.by_ref().take(RIVALRIES) {
        tracing::warn!("{line}");
    }
    let more = new.count();
    if more > 0 {
        tracing::warn!(
            more,
            "more names and URIs that two upstreams want: see /catalog"
        );
    }
}
