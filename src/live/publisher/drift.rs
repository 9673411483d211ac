//! What the publisher does about drift: it is logged once, and what is pinned is stored.

use std::collections::BTreeSet;

use tokio::sync::oneshot;

use crate::catalog::Drifted;
use crate::live::state::{Accepted, Effects, State};
use crate::live::store::Writer;

/// Has the pins of these links stored. Tells when each is, and whether it could be.
pub(crate) fn store(
    state: &State,
    links: &[u64],
    writer: Option<&Writer>,
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
            writer.pin(link, upstream, state.pins(link), Some(done));
            told
        })
        .collect()
}

/// Says what is held back since just now, and what has another name.
pub(crate) fn log(state: &State, effects: &Effects) {
    for (link, drifted) in &effects.drifted {
        let Some(upstream) = state.upstream(*link) else {
            continue;
        };
        tracing::warn!(
            upstream = %upstream.id,
            kind = %drifted.kind,
            name = %drifted.original,
            was = drifted.was.as_deref(),
            class = drifted.class().as_str(),
            changes = words(drifted),
            quarantined = drifted.quarantined,
            "an upstream says otherwise than what is pinned: `weir accept` lets it"
        );
    }
    for (link, moved) in &effects.moved {
        let Some(upstream) = state.upstream(*link) else {
            continue;
        };
        tracing::info!(
            upstream = %upstream.id,
            kind = %moved.kind,
            name = %moved.original,
            was = %moved.was,
            "what is pinned goes by another name"
        );
    }
}

/// Says what an operator accepted, over each of these links.
pub(crate) fn log_accepted(state: &State, links: &[u64], accepted: &[Accepted]) {
    for (link, accepted) in links.iter().zip(accepted) {
        if let (Accepted::Done(drifted), Some(upstream)) = (accepted, state.upstream(*link)) {
            tracing::info!(
                upstream = %upstream.id,
                kind = %drifted.kind,
                name = %drifted.original,
                changes = words(drifted),
                "a redefinition was accepted"
            );
        }
    }
}

/// The first few changes.
fn words(drifted: &Drifted) -> String {
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
