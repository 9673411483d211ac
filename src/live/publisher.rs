//! The only writer: takes changes one by one, applies them, stores snapshots.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::catalog::Kind;
use crate::live::Live;
use crate::live::state::{Change, Effect, State};
use crate::upstream::LinkError;
use crate::upstream::link::Report;

/// How long an upstream that suddenly lists nothing is left alone before it is asked again: endpoints
/// that are throttled answer with empty lists.
const CONFIRM_AFTER: Duration = Duration::from_millis(500);

/// What a keeper tells the publisher: the change, and what operators should know of it.
#[derive(Debug)]
pub struct Word {
    /// The upstream's place in the config.
    pub slot: usize,
    /// Counts this upstream's listings.
    pub round: u64,
    /// When the listing ended.
    pub at: Instant,
    /// The listing, or why there is none.
    pub result: Result<Box<crate::catalog::Listing>, LinkError>,
}

/// Runs until every keeper has gone.
pub async fn publish(live: Arc<Live>, mut state: State, mut words: mpsc::Receiver<Word>) {
    loop {
        let expiry = state.next_expiry();
        let word = tokio::select! {
            word = words.recv() => match word {
                Some(word) => Some(word),
                None => return,
            },
            () = tokio::time::sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => None,
        };
        match word {
            Some(word) => heard(&live, &mut state, word),
            None => {
                let effect = state.apply(Change::Clock(Instant::now()));
                follow(&live, &state, effect);
            }
        }
    }
}

fn heard(live: &Live, state: &mut State, word: Word) {
    let Word {
        slot,
        round,
        at,
        result,
    } = word;
    let snapshot = live.load_full();
    let Some(link) = snapshot.links.get(slot) else {
        return;
    };
    let (listing, outcome) = match result {
        Ok(listing) => {
            let counts = Kind::ALL.map(|kind| listing.definitions(kind).len());
            let quarantined = listing
                .quarantined()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>();
            (
                Some(listing),
                Ok(Report {
                    at: Some(at),
                    counts,
                    quarantined,
                    warnings: Vec::new(),
                }),
            )
        }
        Err(error) => (None, Err(error)),
    };
    let effect = state.apply(Change::Listed {
        slot,
        round,
        at,
        listing,
    });
    follow(live, state, effect);
    // Told last: who waits for an upstream to stand finds its routes in place.
    match outcome {
        Ok(mut report) => {
            report.warnings = state.warnings(slot);
            link.listed(report);
        }
        Err(error) => link.failed(&error),
    }
    link.ended(round);
}

fn follow(live: &Live, state: &State, effect: Effect) {
    match effect {
        Effect::Nothing => {}
        Effect::Confirm { slot } => {
            let snapshot = live.load();
            if let Some(link) = snapshot.links.get(slot) {
                tracing::warn!(upstream = %link.id(), "listed nothing where there was something: listing again before believing it");
                let again = std::sync::Arc::clone(link);
                link.tasks().spawn(async move {
                    tokio::time::sleep(CONFIRM_AFTER).await;
                    again.resync.notify_one();
                });
            }
        }
        Effect::Publish(catalog) => {
            let next = live.load().next(*catalog, state.ttl());
            tracing::info!(
                generation = next.generation,
                tools = next.catalog.len(Kind::Tools),
                prompts = next.catalog.len(Kind::Prompts),
                resources = next.catalog.len(Kind::Resources),
                "catalog published"
            );
            live.store(next);
        }
    }
}
