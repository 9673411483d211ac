//! The only writer: carries out commands one by one and stores snapshots.

pub(crate) mod drift;
mod findings;
mod rivalries;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::Instant;

use self::rivalries::log_rivalries;
use crate::allowance::Allowance;
use crate::catalog::{DroppedCounts, Kind, Listing};
use crate::live::command::{AcceptResults, ListingAttempt, NewConfig, PublisherCommand};
use crate::live::state::{AcceptRequest, Effects, State, StateChange};
use crate::live::store::StoreWriter;
use crate::live::{Live, Snapshot};
use crate::upstream::health::{FailedList, ListingReport};
use crate::upstream::list::Listed;
use crate::upstream::{Link, LinkError};

/// How long an upstream that suddenly lists nothing is left alone before it is asked again:
/// endpoints that are throttled answer with empty lists.
const CONFIRM_AFTER: Duration = Duration::from_millis(500);

/// The publications that may follow each other at once. Upstreams that are listed one after the other
/// at the start, and what an operator does, come within it.
const BURST: Duration = Duration::from_secs(4);

/// The part of [`BURST`] that a publication costs, which comes back as time goes by: twenty at
/// once, and then five a second, whatever upstreams do. What comes meanwhile is merged and
/// published together.
const PUBLICATION: Duration = Duration::from_millis(200);

/// Most commands carried out before the catalog is merged. Many upstreams answer at once, above all
/// at the start: one merge serves them all.
const AT_ONCE: usize = 256;

/// Carries out commands until all senders are gone. `writer` stores listings and pins.
pub async fn run(
    live: Arc<Live>,
    mut state: State,
    mut commands: mpsc::Receiver<PublisherCommand>,
    writer: Option<Arc<StoreWriter>>,
) {
    let mut received = Vec::with_capacity(AT_ONCE);
    let mut publications = Allowance::new(BURST);
    loop {
        tokio::time::sleep(publications.debt(Instant::now())).await;
        let earlier = live.load().next_earlier_expiry();
        let expiry = state.next_expiry().into_iter().chain(earlier).min();
        let before = live.load().generation;
        tokio::select! {
            count = commands.recv_many(&mut received, AT_ONCE) => if count == 0 {
                return;
            },
            () = tokio::time::sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => {}
        }
        let batch = std::mem::replace(&mut received, Vec::with_capacity(AT_ONCE));
        let (applying, writer) = (Arc::clone(&live), writer.clone());
        // A merge may take milliseconds, in which a thread of the runtime would not serve callers.
        let done = tokio::task::spawn_blocking(move || {
            carry_out(&applying, &mut state, batch, writer.as_deref());
            state
        });
        state = match done.await {
            Ok(state) => state,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime shuts down.
                Err(_) => return,
            },
        };
        if live.load().generation > before {
            publications.spend(PUBLICATION, Instant::now());
        }
    }
}

/// Carries out commands in their order. Without any, only the time has moved on.
///
/// Listings that follow each other are applied together. Any other command is preceded by those
/// that came before it, so that it finds the state that its sender knew.
fn carry_out(
    live: &Live,
    state: &mut State,
    commands: Vec<PublisherCommand>,
    writer: Option<&StoreWriter>,
) {
    if commands.is_empty() {
        let now = Instant::now();
        let effects = state.apply([StateChange::Clock(now)]);
        publish(live, state, effects, writer);
        live.forget_earlier(now);
    }
    let mut attempts = Vec::with_capacity(commands.len());
    for command in commands {
        match command {
            PublisherCommand::ApplyListing(attempt) => attempts.push(attempt),
            PublisherCommand::ApplyPart {
                link,
                round,
                listing,
            } => {
                apply_listings(live, state, &mut attempts, writer);
                let change = StateChange::ListedPart {
                    link,
                    round,
                    at: Instant::now(),
                    on: SystemTime::now(),
                    listing,
                };
                let effects = state.apply([change]);
                store_and_publish(live, state, effects, writer);
            }
            PublisherCommand::Configure(new) => {
                apply_listings(live, state, &mut attempts, writer);
                configure(live, state, *new, writer);
            }
            PublisherCommand::Accept { requests, done } => {
                apply_listings(live, state, &mut attempts, writer);
                let results = accept(live, state, requests, writer);
                let _ = done.send(results);
            }
            PublisherCommand::Relocate { config, done } => {
                live.relocate(config);
                let _ = done.send(());
            }
        }
    }
    apply_listings(live, state, &mut attempts, writer);
}

/// Replaces the config that callers see.
fn configure(live: &Live, state: &mut State, new: NewConfig, writer: Option<&StoreWriter>) {
    let NewConfig {
        hooks,
        config,
        links,
        pins,
        guard,
        done,
    } = new;
    let effects = state.apply([StateChange::Configured {
        config: Arc::clone(&config),
        links: links.iter().map(|link| link.link_id).collect(),
        now: Instant::now(),
    }]);
    for (link, pins) in pins {
        state.restore_pins(link, pins);
    }
    store_pins(state, &effects, writer);
    let Some(catalog) = effects.publish else {
        return;
    };
    let now = Instant::now();
    let next = live.load().under(config, links, catalog, state.ttl(), now);
    let next = next.with_guard(guard).with_hooks(hooks);
    store_snapshot(live, next);
    let _ = done.send(());
}

/// Accepts redefinitions, and publishes what follows.
fn accept(
    live: &Live,
    state: &mut State,
    requests: Vec<AcceptRequest>,
    writer: Option<&StoreWriter>,
) -> AcceptResults {
    let now = Instant::now();
    let links: Vec<_> = requests.iter().map(|request| request.link).collect();
    let changes = requests.into_iter();
    let changes = changes.map(|request| StateChange::Accepted { request, now });
    let mut effects = state.apply(changes);
    let outcomes = std::mem::take(&mut effects.accepted);
    // Taken out, so that publishing does not store them: the operator waits for the receivers.
    let pins_changed = std::mem::take(&mut effects.pins_changed);
    publish(live, state, effects, writer);
    drift::log_accepted(state, &links, &outcomes);
    let stored = drift::store_pins(state, &pins_changed, writer);
    AcceptResults { outcomes, stored }
}

/// Logs what the drift filter newly found, and has changed pins stored.
fn store_pins(state: &State, effects: &Effects, writer: Option<&StoreWriter>) {
    drift::log(state, effects);
    drop(drift::store_pins(state, &effects.pins_changed, writer));
}

/// A report to a link about an attempt to list it.
struct AttemptReport {
    link: u64,
    round: u64,
    outcome: Result<ListingReport, LinkError>,
}

/// Applies the listings that ended, publishes what follows, and reports to their links.
fn apply_listings(
    live: &Live,
    state: &mut State,
    attempts: &mut Vec<ListingAttempt>,
    writer: Option<&StoreWriter>,
) {
    if attempts.is_empty() {
        return;
    }
    let mut reports = Vec::with_capacity(attempts.len());
    let changes = attempts.drain(..).map(|attempt| {
        let ListingAttempt {
            link,
            round,
            at,
            on,
            result,
        } = attempt;
        let (listing, outcome) = match result {
            Ok(Listed {
                listing, failed, ..
            }) => {
                let report = ListingReport {
                    failed_lists: failed,
                    ..make_report(&listing, at, on)
                };
                (Some(listing), Ok(report))
            }
            Err(error) => (None, Err(error)),
        };
        reports.push(AttemptReport {
            link,
            round,
            outcome,
        });
        StateChange::Listed {
            link,
            round,
            at,
            on,
            listing,
        }
    });
    let changes: Vec<_> = changes.collect();
    let effects = state.apply(changes);
    store_and_publish(live, state, effects, writer);
    report(&live.load_full(), state, reports);
}

/// Has listings that are believed stored, and publishes what follows from them.
fn store_and_publish(live: &Live, state: &State, effects: Effects, writer: Option<&StoreWriter>) {
    if let Some(writer) = writer {
        store_listings(writer, state, &effects.believed);
    }
    publish(live, state, effects, writer);
}

/// Reports the attempts to their links. Comes last: tasks that wait for an upstream to be up find
/// its routes in place.
fn report(snapshot: &Snapshot, state: &State, reports: Vec<AttemptReport>) {
    for AttemptReport {
        link: link_id,
        round,
        outcome,
    } in reports
    {
        // The upstream of a link may be gone from the config by now.
        let Some(link) = snapshot.link_with_id(link_id) else {
            continue;
        };
        link.metrics.resynced(outcome.is_ok());
        match outcome {
            Ok(mut report) => {
                report.warnings = state.warnings(link_id);
                report.dropped = state.dropped(link_id);
                log_dropped(link, report.dropped);
                note_missing_tools(link, &mut report);
                log_failed_lists(link, &report.failed_lists);
                if let Some(listing) = state.listing(link_id) {
                    link.rounds.set_listing(listing);
                    count_kept(&mut report, listing);
                }
                link.record_listing(report);
            }
            Err(error) => link.record_failure(&error),
        }
        link.rounds.end(round);
    }
}

/// Has new listings stored, and the stored ones that were confirmed marked so. Where several of a
/// link were believed at once, the state has the last one.
fn store_listings(writer: &StoreWriter, state: &State, believed: &[(u64, bool)]) {
    let mut links = BTreeMap::new();
    for (link, is_new) in believed {
        *links.entry(*link).or_insert(false) |= is_new;
    }
    for (link, is_new) in links {
        let Some(upstream) = state.upstream(link) else {
            continue;
        };
        if let Some(listing) = state.listing(link) {
            writer.share_listing(link, listing);
        }
        match state.listing(link) {
            Some(listing) if is_new => writer.queue_listing(link, upstream, Arc::clone(listing)),
            Some(_) | None => writer.queue_confirmation(link, upstream),
        }
    }
}

/// Makes the report for operators of a listing that was made `at` one moment, and `on` the same by
/// the wall clock. Warnings and dropped definitions are known only once the state has applied it.
#[must_use]
pub fn make_report(listing: &Listing, at: Instant, on: SystemTime) -> ListingReport {
    ListingReport {
        at: Some((at, on)),
        stored: false,
        stale: false,
        counts: Kind::ALL.map(|kind| listing.definitions(kind).len()),
        failed_lists: Vec::new(),
        quarantined: listing.invalid().to_vec(),
        warnings: Vec::new(),
        dropped: DroppedCounts::default(),
    }
}

/// Warns operators of an upstream that works but has no tools: in the report, and once in the log.
fn note_missing_tools(link: &Link, report: &mut ListingReport) {
    let [tools, ..] = report.counts;
    let Some(peer) = link.current_peer() else {
        return;
    };
    if tools > 0 || report.is_failed(Kind::Tools) {
        return;
    }
    let warning = match peer.capabilities.tools {
        true => "lists no tools, though it announces the capability `tools`",
        false => {
            "has no tools: it does not announce the capability `tools`, so they are not listed"
        }
    };
    if !link
        .health
        .report()
        .warnings
        .iter()
        .any(|known| known == warning)
    {
        tracing::warn!(upstream = %link.id(), "{warning}");
    }
    report.warnings.push(warning.to_owned());
}

/// Counts the definitions that kinds keep because their list failed.
fn count_kept(report: &mut ListingReport, listing: &Listing) {
    let failed = Kind::ALL.map(|kind| report.is_failed(kind));
    let kinds = Kind::ALL.into_iter().zip(failed);
    for ((kind, failed), count) in kinds.zip(&mut report.counts) {
        if failed {
            *count = listing.definitions(kind).len();
        }
    }
}

/// Logs which lists of an upstream fail while others come, and which do so no more: once, and again
/// when the reason changes.
fn log_failed_lists(link: &Link, failed: &[FailedList]) {
    let before = link.health.report().failed_lists;
    if before.is_empty() && failed.is_empty() {
        return;
    }
    for list in failed.iter().filter(|list| !before.contains(list)) {
        tracing::warn!(
            upstream = %link.id(), list = list.kind.method(), reason = list.reason,
            "one list fails: what it had before stays, the other lists are used"
        );
    }
    let still_fails = |kind| failed.iter().any(|list| list.kind == kind);
    for list in before.iter().filter(|list| !still_fails(list.kind)) {
        tracing::info!(
            upstream = %link.id(), list = list.kind.method(), "the list that failed comes again"
        );
    }
}

/// Logs that an upstream leads back to this weir: once, and again when the counts change.
fn log_dropped(link: &Link, dropped: DroppedCounts) {
    let DroppedCounts { own, far } = dropped;
    if dropped != link.health.report().dropped && dropped != DroppedCounts::default() {
        tracing::warn!(
            upstream = %link.id(), own, far,
            "left out what came from this weir itself, or through too many weirs"
        );
    }
}

/// Publishes what follows from changes: pins, the catalog, and listings that have to be confirmed.
fn publish(live: &Live, state: &State, effects: Effects, writer: Option<&StoreWriter>) {
    store_pins(state, &effects, writer);
    if let Some(catalog) = effects.publish {
        let next = live.load().next(catalog, state.ttl(), Instant::now());
        store_snapshot(live, next);
    }
    for link_id in effects.confirm {
        let snapshot = live.load();
        let Some(link) = snapshot.link_with_id(link_id) else {
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

fn store_snapshot(live: &Live, next: Snapshot) {
    log_rivalries(&live.load().catalog, &next.catalog);
    tracing::info!(
        generation = next.generation,
        tools = next.catalog.len(Kind::Tools),
        prompts = next.catalog.len(Kind::Prompts),
        resources = next.catalog.len(Kind::Resources),
        "catalog published"
    );
    next.metrics.published();
    let before = live.load_full();
    live.store(next);
    findings::log(&before, &live.load());
}

#[cfg(test)]
mod tests;
