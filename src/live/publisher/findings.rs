//! Policies that do not fit what is listed, in the log.

use crate::live::Snapshot;

/// Most findings that are logged of one change.
const MOST: usize = 16;

/// Logs which policies do not fit what is listed: each once, as long as it stays so. Callers have the
/// snapshot already.
pub(super) fn log(before: &Snapshot, now: &Snapshot) {
    let wrong = |snapshot: &Snapshot| {
        let found = snapshot
            .policies
            .as_ref()
            .zip(snapshot.config.policy.as_ref());
        let found = found.map(|(policies, settings)| policies.findings(settings));
        let mut found = found.unwrap_or_default();
        found.retain(|finding| finding.is_error);
        found
    };
    // In this order, so that what is known of the last validation is used.
    let (known, now) = (wrong(before), wrong(now));
    for finding in now
        .iter()
        .filter(|finding| !known.contains(finding))
        .take(MOST)
    {
        tracing::warn!("a policy does not fit the tools that are listed: {finding}");
    }
}
