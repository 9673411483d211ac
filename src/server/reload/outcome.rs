//! Outcomes of reloads, as they are returned and logged.

use std::sync::Arc;

use crate::catalog::{Catalog, Kind};
use crate::live::Snapshot;
use crate::live::access::access_changes;
use crate::live::reload::{ReloadOutcome, ReloadTrigger};
use crate::policy::{AccessChange, AccessItem};
use crate::printable;
use crate::server::core::Core;
use crate::server::reconfigured::Reconfigured;

/// Most changes of what callers see that are logged.
const LOGGED_CHANGES: usize = 20;
/// Most callers, and names, of each.
const LOGGED_NAMES: usize = 20;

/// Returns the outcome of a reload that was applied: what it changed of upstreams, tools, and what
/// callers see.
pub(super) async fn describe_applied(
    core: &Core,
    before: Arc<Snapshot>,
    done: Reconfigured,
) -> ReloadOutcome {
    let now = core.live().load_full();
    let (earlier, later) = (Arc::clone(&before), Arc::clone(&now));
    let comparing = tokio::task::spawn_blocking(move || access_changes(&earlier, &later));
    let access = comparing.await.unwrap_or_default();
    let missing = |of: &Catalog, from: &Catalog| {
        let routes = of.routes(Kind::Tools);
        let missing = routes.filter(|route| from.tool(&route.exposed).is_none());
        let mut names: Vec<_> = missing.map(|route| route.exposed.to_string()).collect();
        names.sort_unstable();
        names
    };
    ReloadOutcome::Applied {
        generation: now.generation,
        added: done.added,
        changed: done.changed,
        removed: done.removed,
        tools_added: missing(&now.catalog, &before.catalog),
        tools_removed: missing(&before.catalog, &now.catalog),
        access,
    }
}

/// Logs the outcome of a reload.
pub(super) fn log_outcome(trigger: ReloadTrigger, outcome: &ReloadOutcome) {
    let trigger = trigger.as_str();
    match outcome {
        ReloadOutcome::Applied {
            generation,
            added,
            changed,
            removed,
            access,
            ..
        } => {
            tracing::info!(
                trigger,
                generation,
                ?added,
                ?changed,
                ?removed,
                "config applied"
            );
            access.iter().take(LOGGED_CHANGES).for_each(log_access);
        }
        ReloadOutcome::Unchanged => tracing::info!(trigger, "the config is unchanged"),
        ReloadOutcome::Refused { errors } => {
            for error in errors {
                tracing::error!(trigger, %error, "the config is refused, the previous one stays in force");
            }
        }
    }
}

/// Logs what some callers gain and lose.
fn log_access(change: &AccessChange) {
    let list = |items: Vec<String>| match items.len() {
        0..=LOGGED_NAMES => items.join(", "),
        all => {
            let named = items.get(..LOGGED_NAMES).unwrap_or_default().join(", ");
            format!("{named} and {} more", all - LOGGED_NAMES)
        }
    };
    let names = |items: &[AccessItem]| list(items.iter().map(ToString::to_string).collect());
    let callers = list(change.callers.iter().map(ToString::to_string).collect());
    tracing::info!(
        callers = printable::line(&callers).as_ref(),
        gained = names(&change.gained),
        lost = names(&change.lost),
        "policies changed what callers see"
    );
}
