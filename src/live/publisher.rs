//! The only writer: takes changes one by one, applies them, stores snapshots.

pub(crate) mod drift;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::catalog::{DroppedCounts, Kind, Listing, Pins};
use crate::config::Config;
use crate::live::accept::{Accepting, Done};
use crate::live::state::{Accept, Change, Effects, State};
use crate::live::store::Writer;
use crate::live::{Live, Snapshot};
use crate::upstream::health::ListingReport;
use crate::upstream::{Link, LinkError};

/// How long an upstream that suddenly lists nothing is left alone before it is asked again: endpoints
/// that are throttled answer with empty lists.
const CONFIRM_AFTER: Duration = Duration::from_millis(500);

/// What the publisher is told.
#[derive(Debug)]
pub enum Word {
    /// By a keeper: a listing ended.
    Listed(Listed),
    /// There is another config.
    Configured(Box<Configured>),
    /// The config means what it meant, and is written in other places.
    Reworded {
        /// The config.
        config: Arc<Config>,
        /// Told when operators see it.
        done: oneshot::Sender<()>,
    },
    /// An operator accepts redefinitions.
    Accepting(Accepting),
}

/// A listing that ended, and what operators should know of it.
#[derive(Debug)]
pub struct Listed {
    /// The number of the link.
    pub link: u64,
    /// Counts the listings over this link.
    pub round: u64,
    /// When the listing ended.
    pub at: Instant,
    /// The same by the clock that people read.
    pub on: SystemTime,
    /// The listing, or why there is none.
    pub result: Result<Arc<Listing>, LinkError>,
}

/// Another config, and its links in its order.
#[derive(Debug)]
pub struct Configured {
    /// The config.
    pub config: Arc<Config>,
    /// A link for each of its upstreams: the one there was, where nothing has changed.
    pub links: Arc<[Arc<Link>]>,
    /// What was pinned in an earlier run, by link: for upstreams of which nothing is known.
    pub pins: Vec<(u64, Pins)>,
    /// Told when callers see it.
    pub done: oneshot::Sender<()>,
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
        let words = std::mem::replace(&mut heard, Vec::with_capacity(AT_ONCE));
        let (live, writer) = (Arc::clone(&live), writer.clone());
        // A merge may take milliseconds. A thread of the runtime would not hear of callers meanwhile.
        let taken = tokio::task::spawn_blocking(move || {
            take(&live, &mut state, words, writer.as_deref());
            state
        });
        state = match taken.await {
            Ok(state) => state,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends.
                Err(_) => return,
            },
        };
    }
}

/// Takes words in, in their order; where there are none, time alone has changed something.
fn take(live: &Live, state: &mut State, words: Vec<Word>, writer: Option<&Writer>) {
    if words.is_empty() {
        let effects = state.apply([Change::Clock(Instant::now())]);
        follow(live, state, effects, None);
    }
    let mut listed = Vec::with_capacity(words.len());
    for word in words {
        match word {
            Word::Listed(one) => listed.push(one),
            Word::Configured(configured) => {
                take_in(live, state, &mut listed, writer);
                configure(live, state, *configured, writer);
            }
            Word::Accepting(accepting) => {
                take_in(live, state, &mut listed, writer);
                accept(live, state, accepting, writer);
            }
            Word::Reworded { config, done } => {
                live.reword(config);
                let _ = done.send(());
            }
        }
    }
    take_in(live, state, &mut listed, writer);
}

/// Puts another config in the place of the one that callers see.
fn configure(live: &Live, state: &mut State, configured: Configured, writer: Option<&Writer>) {
    let Configured {
        config,
        links,
        pins,
        done,
    } = configured;
    let effects = state.apply([Change::Configured {
        config: Arc::clone(&config),
        links: links.iter().map(|link| link.link_id).collect(),
        now: Instant::now(),
    }]);
    for (link, pins) in pins {
        state.hold_to(link, pins);
    }
    held(state, &effects, writer);
    let Some(catalog) = effects.publish else {
        return;
    };
    let next = live.load().under(config, links, catalog, state.ttl());
    published(live, next);
    let _ = done.send(());
}

/// Accepts what an operator wishes, and says so once callers see it.
fn accept(live: &Live, state: &mut State, accepting: Accepting, writer: Option<&Writer>) {
    let Accepting { wishes, done } = accepting;
    let now = Instant::now();
    let links: Vec<_> = wishes.iter().map(|wish| wish.link).collect();
    let mut effects = state.apply(wishes.into_iter().map(|wish| {
        Change::Accepted(Accept {
            link: wish.link,
            kind: wish.kind,
            original: wish.original,
            digest: wish.digest,
            now,
        })
    }));
    let accepted = std::mem::take(&mut effects.accepted);
    let pinned = std::mem::take(&mut effects.pinned);
    follow(live, state, effects, writer);
    drift::log_accepted(state, &links, &accepted);
    let stored = drift::store(state, &pinned, writer);
    let _ = done.send(Done { accepted, stored });
}

/// Says what is held back, and has stored what it is held to.
fn held(state: &State, effects: &Effects, writer: Option<&Writer>) {
    drift::log(state, effects);
    drop(drift::store(state, &effects.pinned, writer));
}

/// What operators are told of one word, once callers see what it led to.
struct Told {
    link: u64,
    round: u64,
    outcome: Result<ListingReport, LinkError>,
}

fn take_in(live: &Live, state: &mut State, heard: &mut Vec<Listed>, writer: Option<&Writer>) {
    if heard.is_empty() {
        return;
    }
    let mut told = Vec::with_capacity(heard.len());
    let changes = heard.drain(..).map(
        |Listed {
             link,
             round,
             at,
             on,
             result,
         }| {
            let (listing, outcome) = match result {
                Ok(listing) => {
                    let report = report(&listing, at, on);
                    (Some(listing), Ok(report))
                }
                Err(error) => (None, Err(error)),
            };
            told.push(Told {
                link,
                round,
                outcome,
            });
            Change::Listed {
                link,
                round,
                at,
                on,
                listing,
            }
        },
    );
    let changes: Vec<_> = changes.collect();
    let effects = state.apply(changes);
    if let Some(writer) = writer {
        store(writer, state, &effects.believed);
    }
    follow(live, state, effects, writer);
    tell(&live.load_full(), state, told);
}

/// Told last: who waits for an upstream to stand finds its routes in place.
fn tell(snapshot: &Snapshot, state: &State, told: Vec<Told>) {
    for Told {
        link: number,
        round,
        outcome,
    } in told
    {
        // One that was configured away meanwhile has nobody who would want to know.
        let Some(link) = snapshot.link(number) else {
            continue;
        };
        link.metrics.resynced(outcome.is_ok());
        match outcome {
            Ok(mut report) => {
                report.warnings = state.warnings(number);
                report.dropped = state.dropped(number);
                tell_dropped(link, report.dropped);
                if let Some(listing) = state.listing(number) {
                    link.rounds.set_listing(listing);
                }
                link.record_listing(report);
            }
            Err(error) => link.record_failure(&error),
        }
        link.rounds.end(round);
    }
}

/// Has what is new stored, and what is not noted as holding still. Of several listings over a link it is the one that is
/// believed now.
fn store(writer: &Writer, state: &State, believed: &[(u64, bool)]) {
    let mut links = BTreeMap::new();
    for (link, is_new) in believed {
        *links.entry(*link).or_insert(false) |= is_new;
    }
    for (link, is_new) in links {
        let Some(upstream) = state.upstream(link) else {
            continue;
        };
        match state.listing(link) {
            Some(listing) if is_new => writer.keep(link, upstream, Arc::clone(listing)),
            Some(_) | None => writer.confirm(link, upstream),
        }
    }
}

/// What operators are told of a listing.
#[must_use]
pub fn report(listing: &Listing, at: Instant, on: SystemTime) -> ListingReport {
    ListingReport {
        at: Some((at, on)),
        stored: false,
        stale: false,
        counts: Kind::ALL.map(|kind| listing.definitions(kind).len()),
        quarantined: listing.quarantined().to_vec(),
        warnings: Vec::new(),
        dropped: DroppedCounts::default(),
    }
}

/// Says once that an upstream leads back here, and again when the numbers change.
fn tell_dropped(link: &Link, dropped: DroppedCounts) {
    let DroppedCounts { own, far } = dropped;
    if dropped != link.health.report().dropped && dropped != DroppedCounts::default() {
        tracing::warn!(
            upstream = %link.id(), own, far,
            "left out what came from this weir itself, or through too many weirs"
        );
    }
}

fn follow(live: &Live, state: &State, effects: Effects, writer: Option<&Writer>) {
    held(state, &effects, writer);
    let Effects {
        confirm, publish, ..
    } = effects;
    if let Some(catalog) = publish {
        let next = live.load().next(catalog, state.ttl());
        published(live, next);
    }
    for number in confirm {
        let snapshot = live.load();
        let Some(link) = snapshot.link(number) else {
            continue;
        };
        tracing::warn!(
            upstream = %link.id(),
            "listed nothing where there was something: listing again before believing it"
        );
        let again = Arc::clone(link);
        link.tasks().spawn(async move {
            tokio::time::sleep(CONFIRM_AFTER).await;
            again.rounds.request_resync();
        });
    }
}

fn published(live: &Live, next: Snapshot) {
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

#[cfg(test)]
mod tests;
