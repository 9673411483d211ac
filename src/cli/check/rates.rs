//! `weir check --online`: rules of `limits.rates` that are about no tool.

use std::collections::BTreeSet;

use crate::catalog::Kind;
use crate::cli::output::{Output, make_safe};
use crate::live::Snapshot;

/// Prints the patterns of rules that no listed tool fits. They may be about tools to come, so they
/// are no error.
pub(super) fn print_idle(snapshot: &Snapshot, output: &mut Output) {
    for (index, rule) in snapshot.config.rates.iter().enumerate() {
        let Some(tools) = &rule.tools else {
            continue;
        };
        let routes = snapshot.catalog.routes(Kind::Tools);
        let matched = routes.flat_map(|route| tools.matches(&*route.exposed));
        let matched: BTreeSet<_> = matched.collect();
        let patterns = rule.tool_patterns.iter().enumerate();
        for (place, pattern) in patterns.filter(|(place, _)| !matched.contains(place)) {
            output.out.print_line(&make_safe(&format!(
                "limits.rates[{index}].tools[{place}]: no tool that is listed fits `{pattern}`"
            )));
        }
    }
}
