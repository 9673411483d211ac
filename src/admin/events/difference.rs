//! The difference between two looks at weir.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use crate::admin::events::log::FoundEvent;
use crate::admin::state::AdminState;
use crate::catalog::{DriftReport, Kind};
use crate::live::Snapshot;
use crate::live::front_gateway::{FrontGatewayState, FrontGatewayStatus};
use crate::live::reload::{ReloadOutcome, ReloadRecord};
use crate::upstream::circuit::CircuitState;
use crate::upstream::{HealthState, Link};

/// The most events of one kind that one look finds.
const MOST: usize = 20;
/// The most names in one event.
const NAMES: usize = 5;

/// The state of weir at one moment.
pub(super) struct Sample {
    snapshot: Arc<Snapshot>,
    reload: Option<ReloadRecord>,
    records: u64,
    /// By the number of the link: its upstream may be another one under the same name.
    links: BTreeMap<u64, LinkSample>,
    front_gateway: FrontGatewayStatus,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct LinkSample {
    upstream: String,
    /// The state, and the reason if it fails.
    state: &'static str,
    reason: Option<String>,
    circuit: &'static str,
    credentials: Option<(&'static str, Option<String>)>,
    quarantined: Vec<String>,
    failed_lists: Vec<String>,
    /// Names that wait, each with the digest of what waits.
    waiting: BTreeSet<(String, String)>,
    /// When it was listed: no event, but seen on the page.
    listed: Option<SystemTime>,
    in_flight: usize,
}

impl LinkSample {
    fn of(link: &Link, drift: Option<&DriftReport>) -> Self {
        let reason = match link.health.state() {
            HealthState::Connecting | HealthState::Up => None,
            HealthState::Failing { reason, .. } => Some(reason),
        };
        let report = link.health.report();
        Self {
            upstream: link.id().as_str().to_owned(),
            state: link.health.state_word(),
            reason,
            circuit: match link.gate.circuit_state() {
                CircuitState::Closed => "closed",
                CircuitState::Open { .. } => "open",
                CircuitState::HalfOpen { .. } => "half-open",
            },
            credentials: link.credentials().map(|credentials| {
                let status = credentials.status();
                (status.state.as_str(), status.reason.map(String::from))
            }),
            quarantined: report.quarantined.iter().map(ToString::to_string).collect(),
            failed_lists: report
                .failed_lists
                .iter()
                .map(ToString::to_string)
                .collect(),
            waiting: drift
                .into_iter()
                .flat_map(|drift| &drift.drifted)
                .map(|drifted| (drifted.original.to_string(), drifted.digest.to_string()))
                .collect(),
            listed: report.at.map(|(_, on)| on),
            in_flight: link.gate.load().in_flight,
        }
    }

    /// Adds what is different from an earlier sample.
    fn events_since(&self, before: &Self, found: &mut Vec<FoundEvent>) {
        let mut add = |kind, is_bad, text| {
            let upstream = Some(self.upstream.clone());
            found.push(FoundEvent {
                kind,
                upstream,
                is_bad,
                text,
            });
        };
        if (self.state, &self.reason) != (before.state, &before.reason) {
            let text = match &self.reason {
                Some(reason) => format!("is {}: {reason}", self.state),
                None => format!("is {}, was {}", self.state, before.state),
            };
            add("state", self.state == "failing", text);
        }
        if self.circuit != before.circuit {
            let text = format!("the circuit is {}, was {}", self.circuit, before.circuit);
            add("circuit", self.circuit != "closed", text);
        }
        if self.credentials != before.credentials
            && let Some((state, reason)) = &self.credentials
        {
            let reason = reason.as_deref().map(|reason| format!(": {reason}"));
            let text = format!("credentials are {state}{}", reason.unwrap_or_default());
            add("credentials", !matches!(*state, "ok" | "refreshing"), text);
        }
        let new = |now: &[String], before: &[String]| {
            let new = now.iter().filter(|one| !before.contains(one));
            few(new.map(String::as_str))
        };
        if let Some(text) = new(&self.failed_lists, &before.failed_lists) {
            add("list", true, text);
        }
        if let Some(text) = new(&self.quarantined, &before.quarantined) {
            add("quarantine", true, format!("left out: {text}"));
        }
        let waiting = self.waiting.difference(&before.waiting);
        if let Some(names) = few(waiting.map(|(name, _)| name.as_str())) {
            add("drift", true, format!("waits to be accepted: {names}"));
        }
        let gone = before.waiting.difference(&self.waiting);
        let gone = gone.filter(|(name, _)| !self.waiting.iter().any(|(now, _)| now == name));
        if let Some(names) = few(gone.map(|(name, _)| name.as_str())) {
            add("drift", false, format!("waits no more: {names}"));
        }
    }
}

impl Sample {
    /// Looks at weir.
    pub(super) fn of(operators: &AdminState) -> Self {
        let snapshot = operators.live.load_full();
        // Most upstreams have none, and there may be many upstreams.
        let catalog = &snapshot.catalog;
        let parts = catalog.parts().chain(catalog.hidden());
        let drifting = parts.filter(|part| !part.prepared.drift().is_empty());
        let drifting = drifting.map(|part| (&part.upstream, part.prepared.drift()));
        let drifting: BTreeMap<_, _> = drifting.collect();
        let links = snapshot.links().iter().map(|link| {
            let drift = drifting.get(link.id()).copied();
            (link.link_id, LinkSample::of(link, drift))
        });
        let links = links.collect();
        let audit = operators.live.audit();
        Self {
            reload: operators.reloads.history().last,
            records: audit.map_or(0, |audit| audit.status().written),
            links,
            snapshot,
            front_gateway: operators.front_gateway.status(),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.snapshot.generation
    }

    pub(super) const fn records(&self) -> u64 {
        self.records
    }

    /// Returns whether everything that the view of upstreams shows is the same, but for times.
    pub(super) fn has_same_states(&self, before: &Self) -> bool {
        let at = |sample: &Self| sample.reload.as_ref().map(|reload| reload.at);
        let is_same_front = self.front_gateway.state == before.front_gateway.state;
        self.links == before.links && at(self) == at(before) && is_same_front
    }

    /// Returns what has happened since an earlier sample.
    pub(super) fn events_since(&self, before: &Self) -> Vec<FoundEvent> {
        let mut found = Vec::new();
        if let Some(reload) = &self.reload
            && before.reload.as_ref().map(|reload| reload.at) != Some(reload.at)
        {
            found.push(reload_event(reload));
        }
        if self.snapshot.generation != before.snapshot.generation {
            found.push(publication(&before.snapshot, &self.snapshot));
        }
        found.extend(synchronization(&before.front_gateway, &self.front_gateway));
        let mut of_links = Vec::new();
        for (number, link) in &self.links {
            if let Some(before) = before.links.get(number) {
                link.events_since(before, &mut of_links);
            }
        }
        let more = of_links.len().saturating_sub(MOST);
        of_links.truncate(MOST);
        found.extend(of_links);
        if more > 0 {
            found.push(FoundEvent {
                kind: "state",
                upstream: None,
                is_bad: true,
                text: format!("{more} more changes of upstreams at the same time"),
            });
        }
        found
    }
}

fn reload_event(reload: &ReloadRecord) -> FoundEvent {
    let trigger = reload.trigger.as_str();
    let (is_bad, text) = match &reload.outcome {
        ReloadOutcome::Applied {
            added,
            changed,
            removed,
            ..
        } => {
            let counts = [
                (added.len(), "added"),
                (changed.len(), "changed"),
                (removed.len(), "removed"),
            ];
            let counts = counts.map(|(count, word)| format!("{count} {word}"));
            let counts = counts.join(", ");
            (
                false,
                format!("config applied ({trigger}); upstreams: {counts}"),
            )
        }
        ReloadOutcome::Unchanged => (false, format!("config unchanged ({trigger})")),
        ReloadOutcome::Refused { errors } => {
            let errors = few(errors.iter().map(String::as_str)).unwrap_or_default();
            (true, format!("config refused ({trigger}): {errors}"))
        }
    };
    FoundEvent {
        kind: "reload",
        upstream: None,
        is_bad,
        text,
    }
}

/// Describes what became of telling a gateway in front: a failure, and that it has the catalog.
fn synchronization(
    before: &FrontGatewayStatus,
    now: &FrontGatewayStatus,
) -> impl Iterator<Item = FoundEvent> {
    let reason = if let FrontGatewayState::Failing { reason, .. } = &now.state {
        format!(": {reason}")
    } else {
        String::new()
    };
    let failed = format!("the gateway in front could not be told{reason}");
    let failed = (now.failed > before.failed).then_some((true, failed));
    let done = "the gateway in front has the catalog".to_owned();
    let done = (now.done > before.done).then_some((false, done));
    let both = failed.into_iter().chain(done);
    both.map(|(is_bad, text)| FoundEvent {
        kind: "on_publish",
        upstream: None,
        is_bad,
        text,
    })
}

/// Describes another catalog: the names that came and went. Parts that both have are not looked at.
fn publication(before: &Snapshot, now: &Snapshot) -> FoundEvent {
    let parts = |snapshot: &Snapshot| -> BTreeMap<_, _> {
        let parts = snapshot.catalog.parts();
        let parts = parts.map(|part| (part.upstream.clone(), Arc::clone(&part.prepared)));
        parts.collect()
    };
    let (earlier, later) = (parts(before), parts(now));
    let mut names: [BTreeSet<Arc<str>>; 2] = Default::default();
    for (of, other, into) in [(&earlier, &later, 0), (&later, &earlier, 1)] {
        for (upstream, part) in of {
            let is_same = other
                .get(upstream)
                .is_some_and(|other| Arc::ptr_eq(part, other));
            let kinds = Kind::ALL.into_iter().filter(|_| !is_same);
            if let Some(names) = names.get_mut(into) {
                let wanted = kinds.flat_map(|kind| part.wanted(kind));
                names.extend(wanted.map(|(_, exposed)| Arc::clone(exposed)));
            }
        }
    }
    let [gone, new] = &names;
    let list = |word: &str, names: &BTreeSet<Arc<str>>, others: &BTreeSet<Arc<str>>| {
        let names = names.difference(others).map(|name| &**name);
        few(names).map(|names| format!("; {word} {names}"))
    };
    let text = format!(
        "generation {} → {}, {} → {} tools{}{}",
        before.generation,
        now.generation,
        before.catalog.len(Kind::Tools),
        now.catalog.len(Kind::Tools),
        list("new:", new, gone).unwrap_or_default(),
        list("gone:", gone, new).unwrap_or_default(),
    );
    FoundEvent {
        kind: "publication",
        upstream: None,
        is_bad: false,
        text,
    }
}

/// Names the first few; `None` if there are none.
fn few<'t>(texts: impl Iterator<Item = &'t str>) -> Option<String> {
    let (mut named, mut more) = (Vec::new(), 0_usize);
    for text in texts {
        match named.len() {
            0..NAMES => named.push(text),
            _ => more += 1,
        }
    }
    let first = named.join(", ");
    match (named.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(first),
        (false, more) => Some(format!("{first} and {more} more")),
    }
}
