//! The only writer: takes changes one by one, applies them, stores snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::catalog::{Dropped, Kind, Listing};
use crate::live::Live;
use crate::live::state::{Change, Effects, State};
use crate::live::store::Writer;
use crate::upstream::standing::Report;
use crate::upstream::{Link, LinkError};

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
    pub result: Result<Arc<Listing>, LinkError>,
}

/// Most words taken in before the catalog is merged. Where many upstreams answer at once, at the start
/// above all, one merge serves them all.
const AT_ONCE: usize = 256;

/// Runs until every keeper has gone.
/// `writer` stores what was believed.
pub async fn publish(
    live: Arc<Live>,
    mut state: State,
    mut words: mpsc::Receiver<Word>,
    writer: Option<Arc<Writer>>,
) {
    let mut heard = Vec::with_capacity(AT_ONCE);
    loop {
        let expiry = state.next_expiry();
        tokio::select! {
            count = words.recv_many(&mut heard, AT_ONCE) => if count == 0 {
                return;
            },
            () = tokio::time::sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => {}
        }
        if heard.is_empty() {
            let effects = state.apply([Change::Clock(Instant::now())]);
            follow(&live, &state, effects);
        } else {
            take_in(&live, &mut state, &mut heard, writer.as_deref());
        }
    }
}

/// What operators are told of one word, once callers see what it led to.
struct Told {
    slot: usize,
    round: u64,
    outcome: Result<Report, LinkError>,
}

fn take_in(live: &Live, state: &mut State, heard: &mut Vec<Word>, writer: Option<&Writer>) {
    let mut listings = BTreeMap::new();
    let mut told = Vec::with_capacity(heard.len());
    let changes = heard.drain(..).map(
        |Word {
             slot,
             round,
             at,
             result,
         }| {
            let (listing, outcome) = match result {
                Ok(listing) => {
                    let report = report(&listing, at);
                    listings.insert(slot, Arc::clone(&listing));
                    (Some(listing), Ok(report))
                }
                Err(error) => (None, Err(error)),
            };
            told.push(Told {
                slot,
                round,
                outcome,
            });
            Change::Listed {
                slot,
                round,
                at,
                listing,
            }
        },
    );
    let changes: Vec<_> = changes.collect();
    let effects = state.apply(changes);
    if let Some(writer) = writer {
        store(writer, state, &effects.believed, listings);
    }
    follow(live, state, effects);
    let snapshot = live.load_full();
    // Told last: who waits for an upstream to stand finds its routes in place.
    for Told {
        slot,
        round,
        outcome,
    } in told
    {
        let Some(link) = snapshot.links.get(slot) else {
            continue;
        };
        link.metrics.resynced(outcome.is_ok());
        match outcome {
            Ok(mut report) => {
                report.warnings = state.warnings(slot);
                report.dropped = state.dropped(slot);
                tell_dropped(link, report.dropped);
                link.listed(report);
            }
            Err(error) => link.failed(&error),
        }
        link.ended(round);
    }
}

/// Has what is new stored, and what is not noted as holding still.
fn store(
    writer: &Writer,
    state: &State,
    believed: &[(usize, bool)],
    mut listings: BTreeMap<usize, Arc<Listing>>,
) {
    for (slot, is_new) in believed {
        let Some(upstream) = state.upstream(*slot) else {
            continue;
        };
        match listings.remove(slot) {
            Some(listing) if *is_new => writer.keep(*slot, upstream, listing),
            Some(_) | None => writer.confirm(*slot, upstream),
        }
    }
}

/// What operators are told of a listing.
#[must_use]
pub fn report(listing: &Listing, at: Instant) -> Report {
    Report {
        at: Some(at),
        stored: false,
        counts: Kind::ALL.map(|kind| listing.definitions(kind).len()),
        quarantined: listing
            .quarantined()
            .iter()
            .map(ToString::to_string)
            .collect(),
        warnings: Vec::new(),
        dropped: Dropped::default(),
    }
}

/// Says once that an upstream leads back here, and again when the numbers change.
fn tell_dropped(link: &Link, dropped: Dropped) {
    let Dropped { own, far } = dropped;
    if dropped != link.report().dropped && dropped != Dropped::default() {
        tracing::warn!(
            upstream = %link.id(), own, far,
            "left out what came from this weir itself, or through too many weirs"
        );
    }
}

fn follow(live: &Live, state: &State, effects: Effects) {
    let Effects {
        confirm, publish, ..
    } = effects;
    if let Some(catalog) = publish {
        let next = live.load().next(*catalog, state.ttl());
        tracing::info!(
            generation = next.generation,
            tools = next.catalog.len(Kind::Tools),
            prompts = next.catalog.len(Kind::Prompts),
            resources = next.catalog.len(Kind::Resources),
            "catalog published"
        );
        next.metrics.published();
        live.store(next);
    }
    for slot in confirm {
        let snapshot = live.load();
        let Some(link) = snapshot.links.get(slot) else {
            continue;
        };
        tracing::warn!(
            upstream = %link.id(),
            "listed nothing where there was something: listing again before believing it"
        );
        let again = Arc::clone(link);
        link.tasks().spawn(async move {
            tokio::time::sleep(CONFIRM_AFTER).await;
            again.resync.notify_one();
        });
    }
}
