//! Logs drift once, and has pins stored.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::oneshot;

use crate::catalog::{DriftedDefinition, RenamedDefinition};
use crate::live::state::{AcceptOutcome, Effects, State};
use crate::live::store::StoreWriter;

/// Most definitions of a link that are logged one by one: a listing may have thousands that drift.
const LOGGED: usize = 20;

/// Has the pins of these links stored. Returns a receiver for each, which gets whether they could
/// be.
pub(crate) fn store_pins(
    state: &State,
    links: &[u64],
    writer: Option<&StoreWriter>,
) -> Vec<oneshot::Receiver<bool>> {
    let Some(writer) = writer else {
        return Vec::new();
    };
    let links: BTreeSet<_> = links.iter().collect();
    let known = links.into_iter();
    let known = known.filter_map(|link| Some((*link, state.upstream(*link)?)));
    known
        .map(|(link, upstream)| {
            let (done, told) = oneshot::channel();
            writer.queue_pins(link, upstream, state.pins(link), Some(done));
            told
        })
        .filter(|_| writer.has_folder())
        .collect()
}

/// Logs what is newly held back or renamed. Names come from the upstream: they are quoted, so that
/// none can forge a line of its own.
pub(crate) fn log(state: &State, effects: &Effects) {
    let more = few(&effects.drifted, |link, drifted| {
        log_drifted(state, link, drifted);
    });
    for (link, more) in more {
        let Some(upstream) = state.upstream(link) else {
            continue;
        };
        tracing::warn!(
            upstream = %upstream.id, more,
            "and more that its upstream says otherwise than what is pinned"
        );
    }
    let more = few(&effects.renamed, |link, moved| {
        log_renamed(state, link, moved)
    });
    for (link, more) in more {
        let Some(upstream) = state.upstream(link) else {
            continue;
        };
        tracing::info!(
            upstream = %upstream.id, more,
            "and more that is pinned goes by another name"
        );
    }
}

/// Calls `say` for the first few of each link. Returns by link how many more there are.
fn few<T>(all: &[(u64, T)], mut say: impl FnMut(u64, &T)) -> BTreeMap<u64, usize> {
    let (mut said, mut more) = (BTreeMap::new(), BTreeMap::new());
    for (link, one) in all {
        let said: &mut usize = said.entry(*link).or_default();
        if *said < LOGGED {
            *said += 1;
            say(*link, one);
        } else {
            *more.entry(*link).or_default() += 1;
        }
    }
    more
}

fn log_drifted(state: &State, link: u64, drifted: &DriftedDefinition) {
    let Some(upstream) = state.upstream(link) else {
        return;
    };
    tracing::warn!(
        upstream = %upstream.id,
        kind = %drifted.kind,
        name = &*drifted.original,
        was = drifted.was.as_deref(),
        class = drifted.class().as_str(),
        changes = describe_changes(drifted),
        quarantined = drifted.quarantined,
        "an upstream says otherwise than what is pinned: `weir accept` lets it"
    );
}

fn log_renamed(state: &State, link: u64, moved: &RenamedDefinition) {
    let Some(upstream) = state.upstream(link) else {
        return;
    };
    tracing::info!(
        upstream = %upstream.id,
        kind = %moved.kind,
        name = &*moved.original,
        was = &*moved.was,
        "what is pinned goes by another name"
    );
}

/// Logs the redefinitions that an operator accepted, each over its link.
pub(crate) fn log_accepted(state: &State, links: &[u64], accepted: &[AcceptOutcome]) {
    for (link, accepted) in links.iter().zip(accepted) {
        if let (AcceptOutcome::Accepted(drifted), Some(upstream)) =
            (accepted, state.upstream(*link))
        {
            tracing::info!(
                upstream = %upstream.id,
                kind = %drifted.kind,
                name = &*drifted.original,
                changes = describe_changes(drifted),
                "a redefinition was accepted"
            );
        }
    }
}

/// Describes the first few changes.
fn describe_changes(drifted: &DriftedDefinition) -> String {
    const MOST: usize = 4;
    let mut words: Vec<_> = drifted.changes.iter().take(MOST).collect();
    words.sort_by_key(|change| std::cmp::Reverse(change.class));
    let words = words.into_iter().map(|change| change.what.as_str());
    let mut text = words.collect::<Vec<_>>().join("; ");
    if drifted.changes.len() > MOST {
        text.push_str(&format!("; and {} more", drifted.changes.len() - MOST));
    }
    text
}
