//! What says otherwise than what is pinned, in words, and `POST /catalog/{name}/accept`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use foldhash::HashSet;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::admin::json_response;
use crate::catalog::{self, Catalog, Change, ChangeClass, Kind, NameOrigin, Part, Rules};
use crate::config;
use crate::live::accept::AcceptHandle;
use crate::live::state::{AcceptOutcome, AcceptRequest};
use crate::live::{Live, Snapshot};
use crate::name::Naming;

/// How long an acceptance may take: most of it is a disk's time.
const PATIENCE: Duration = Duration::from_secs(30);

/// The gate of one upstream, and what waits at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamDrift {
    /// `accept`, `hold` or `quarantine`.
    pub policy: String,
    /// How far a redefinition may go that needs nobody's consent.
    pub threshold: String,
    /// What waits to be accepted.
    pub drifted: Vec<PendingDefinition>,
    /// What goes by another name since it was pinned.
    pub renamed: Vec<RenamedSincePinned>,
}

/// A definition that says otherwise than what is pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingDefinition {
    /// What it is.
    pub kind: Kind,
    /// Its exposed name, or the one it would have.
    pub name: String,
    /// Whose it is.
    pub upstream: String,
    /// What its upstream calls it.
    pub original: String,
    /// What its upstream called it when it was pinned, if that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    /// What callers see: the pinned definition, or nothing.
    pub state: DriftState,
    /// Its class: the highest of its changes.
    pub class: ChangeClass,
    /// What it says otherwise.
    pub changes: Vec<Change>,
    /// Tells it from whatever else its upstream may say.
    pub digest: String,
    /// Since when its upstream says so, as far as this process knows.
    pub since_seconds: u64,
}

/// `GET /upstreams`, as far as it is about drift.
#[derive(Debug, Deserialize)]
pub struct UpstreamsPage {
    upstreams: Vec<UpstreamRow>,
}

#[derive(Debug, Deserialize)]
struct UpstreamRow {
    /// An older weir has none.
    drift: Option<UpstreamDrift>,
}

impl UpstreamsPage {
    /// What waits of all of them.
    #[must_use]
    pub fn waiting(self) -> Vec<PendingDefinition> {
        let drifts = self.upstreams.into_iter().filter_map(|row| row.drift);
        drifts.flat_map(|drift| drift.drifted).collect()
    }
}

/// What callers see of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftState {
    /// The pinned definition.
    Held,
    /// Nothing.
    Quarantined,
}

/// A definition that goes by another name since it was pinned, and says the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenamedSincePinned {
    /// What it is.
    pub kind: Kind,
    /// Its exposed name.
    pub name: String,
    /// What its upstream calls it.
    pub original: String,
    /// What its upstream called it when it was pinned.
    pub renamed_from: String,
}

impl DriftState {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Quarantined => "quarantined",
        }
    }
}

impl UpstreamDrift {
    /// That of an upstream.
    #[must_use]
    pub fn of(upstream: &config::Upstream, naming: &Naming, catalog: &Catalog) -> Self {
        let found = drift_of(upstream, catalog);
        let named = |kind, original: &str| exposed_name(upstream, naming, catalog, kind, original);
        let drifted = found.map(|drift| drift.drifted.as_slice());
        let moved = found.map(|drift| drift.renamed.as_slice());
        Self {
            policy: upstream.drift.policy.as_str().to_owned(),
            threshold: upstream.drift.threshold.as_str().to_owned(),
            drifted: drifted
                .unwrap_or_default()
                .iter()
                .map(|drifted| PendingDefinition::of(drifted, upstream, naming, catalog))
                .collect(),
            renamed: moved
                .unwrap_or_default()
                .iter()
                .map(|moved| RenamedSincePinned {
                    kind: moved.kind,
                    name: named(moved.kind, &moved.original),
                    original: moved.original.to_string(),
                    renamed_from: moved.was.to_string(),
                })
                .collect(),
        }
    }
}

impl PendingDefinition {
    /// A drift in words.
    #[must_use]
    pub fn of(
        drifted: &catalog::DriftedDefinition,
        upstream: &config::Upstream,
        naming: &Naming,
        catalog: &Catalog,
    ) -> Self {
        Self {
            kind: drifted.kind,
            name: exposed_name(upstream, naming, catalog, drifted.kind, &drifted.original),
            upstream: upstream.id.as_str().to_owned(),
            original: drifted.original.to_string(),
            renamed_from: drifted.was.as_ref().map(ToString::to_string),
            state: match drifted.quarantined {
                true => DriftState::Quarantined,
                false => DriftState::Held,
            },
            class: drifted.class(),
            changes: drifted.changes.clone(),
            digest: drifted.digest.to_string(),
            since_seconds: drifted.since.elapsed().as_secs(),
        }
    }
}

/// What the gate says of an upstream, shown or hidden.
pub(super) fn drift_of<'c>(
    upstream: &config::Upstream,
    catalog: &'c Catalog,
) -> Option<&'c catalog::DriftReport> {
    let mut parts = catalog.parts().chain(catalog.hidden());
    let part: &Part = parts.find(|part| part.upstream == upstream.id)?;
    Some(part.prepared.drift())
}

/// The name that callers know something by, or would.
fn exposed_name(
    upstream: &config::Upstream,
    naming: &Naming,
    catalog: &Catalog,
    kind: Kind,
    original: &str,
) -> String {
    let wanted = NameOrigin::wanted_name(&Rules::from(upstream), naming, kind, original);
    let is_it = |name: &str| {
        let route = catalog.route(kind, name);
        route.is_some_and(|route| route.upstream == upstream.id && **route.original() == *original)
    };
    if is_it(&wanted) {
        return wanted;
    }
    let mut conflicts = catalog.conflicts().iter();
    let lost = conflicts.find(|conflict| {
        conflict.kind == kind && conflict.upstream == upstream.id && *conflict.original == *original
    });
    lost.map_or(wanted, |conflict| conflict.to.to_string())
}

/// Everything that waits, in the order of the config.
fn pending(snapshot: &Snapshot) -> impl Iterator<Item = (u64, PendingDefinition)> {
    snapshot.links().iter().flat_map(|link| {
        let drift = drift_of(&link.config, &snapshot.catalog);
        let drifted = drift.map(|drift| drift.drifted.as_slice());
        drifted.unwrap_or_default().iter().map(|drifted| {
            let naming = &snapshot.config.naming;
            let waiting = PendingDefinition::of(drifted, &link.config, naming, &snapshot.catalog);
            (link.link_id, waiting)
        })
    })
}

/// What is shown as it is pinned, not as its upstream says it. As a rule there is nothing.
pub(super) struct HeldNames<'s>(HashSet<(Kind, &'s str, &'s str)>);

impl<'s> HeldNames<'s> {
    /// Those of a snapshot.
    pub(super) fn of(snapshot: &'s Snapshot) -> Self {
        let parts = snapshot.catalog.parts();
        let held = parts.flat_map(|part| {
            let drifted = part.prepared.drift().drifted.iter();
            let held = drifted.filter(|drifted| !drifted.quarantined);
            held.map(|held| (held.kind, part.upstream.as_str(), &*held.original))
        });
        Self(held.collect())
    }

    /// Whether this is one.
    pub(super) fn has(&self, kind: Kind, upstream: &str, original: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&(kind, upstream, original))
    }
}

/// The two definitions between which somebody has to choose.
#[derive(Debug, Serialize, Deserialize)]
pub struct BothDefinitions {
    /// What it is about.
    pub waiting: PendingDefinition,
    /// What is pinned; nothing of a newcomer, which waits because there is no room to pin it or its name is taken.
    pub pinned: Option<Box<RawValue>>,
    /// What its upstream says.
    pub now: Option<Box<RawValue>>,
}

/// The answer of `GET /catalog/{name}/drift`.
#[derive(Debug, Serialize, Deserialize)]
pub struct DriftDetails {
    /// Of each kind one at most, as a rule; none where nothing waits.
    pub drifted: Vec<BothDefinitions>,
}

/// `GET /catalog/{name}/drift`: what waits under an exposed name, in full, under its upstream's name. 404 for a name that is none.
pub(super) async fn texts(State(live): State<Arc<Live>>, Path(name): Path<String>) -> Response {
    let snapshot = live.load_full();
    let found = pending(&snapshot).filter(|(_, waiting)| waiting.name == name);
    let raw = |text: &str| RawValue::from_string(text.to_owned()).ok();
    let drifted: Vec<_> = found
        .map(|(_, waiting)| {
            let drifted = drifted_of(&snapshot, &waiting);
            BothDefinitions {
                pinned: drifted.and_then(|drifted| raw(drifted.pinned()?)),
                now: drifted.and_then(|drifted| raw(drifted.now())),
                waiting,
            }
        })
        .collect();
    if drifted.is_empty() && !is_exposed(&snapshot, &name) {
        return no_such_name();
    }
    json_response(StatusCode::OK, &DriftDetails { drifted })
}

/// The body of an acceptance; it may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptBody {
    /// What was looked at.
    digest: Option<String>,
}

/// `POST /catalog/{name}/accept`: pins what waits under an exposed name, and answers when callers see it and it is stored.
///
/// With `{"digest": "…"}` only what was looked at. 200 with `accepted`, which is empty where nothing waits, and `stored`, whether it
/// survives a restart (`null` without a state folder); 400 for another body, 404 for a name that is none, 409 with `drifted` where
/// its upstream says something else by now.
pub(super) async fn accept(
    State(live): State<Arc<Live>>,
    State(accepts): State<AcceptHandle>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    let wanted = match body.iter().all(u8::is_ascii_whitespace) {
        true => Ok(AcceptBody::default()),
        false => serde_json::from_slice::<AcceptBody>(&body),
    };
    let Ok(AcceptBody { digest }) = wanted else {
        let error = json!({ "error": "expected no body, or `digest`" });
        return json_response(StatusCode::BAD_REQUEST, &error);
    };
    let snapshot = live.load_full();
    let found: Vec<_> = pending(&snapshot)
        .filter(|(_, waiting)| waiting.name == name)
        .collect();
    if found.is_empty() {
        return nothing_pending(&snapshot, &name);
    }
    let looked_at = |(_, waiting): &&(u64, PendingDefinition)| match &digest {
        Some(digest) => waiting.digest == *digest,
        None => true,
    };
    let chosen: Vec<_> = found.iter().filter(looked_at).collect();
    if chosen.is_empty() {
        return conflict(found.into_iter().map(|(_, waiting)| waiting).collect());
    }
    let wishes = chosen.iter().map(|(link, waiting)| AcceptRequest {
        link: *link,
        kind: waiting.kind,
        original: waiting.original.as_str().into(),
        digest: digest
            .is_some()
            .then(|| drifted_of(&snapshot, waiting).map(|drifted| drifted.digest))
            .flatten(),
    });
    let accepting = accepts.accept(wishes.collect());
    let answer = tokio::time::timeout(PATIENCE, accepting).await;
    let Ok(Some((outcomes, stored))) = answer else {
        let error = json!({ "error": "weir stops, or its disk does not answer" });
        return json_response(StatusCode::SERVICE_UNAVAILABLE, &error);
    };
    let (mut accepted, mut drifted) = (Vec::new(), Vec::new());
    for ((_, waiting), outcome) in chosen.into_iter().zip(outcomes) {
        match outcome {
            AcceptOutcome::Accepted(done) => accepted.push(redescribe(waiting, &done)),
            AcceptOutcome::Changed(current) => drifted.push(redescribe(waiting, &current)),
            AcceptOutcome::NotFound => {}
        }
    }
    if accepted.is_empty() && !drifted.is_empty() {
        return conflict(drifted);
    }
    json_response(
        StatusCode::OK,
        &json!({ "accepted": accepted, "stored": stored }),
    )
}

/// What waits, as the gate knows it.
fn drifted_of<'s>(
    snapshot: &'s Snapshot,
    waiting: &PendingDefinition,
) -> Option<&'s catalog::DriftedDefinition> {
    let upstream = snapshot.config.upstreams.get(waiting.upstream.as_str())?;
    let drift = drift_of(upstream, &snapshot.catalog)?;
    drift.of(waiting.kind, &waiting.original)
}

/// What waited, as it was when it was decided on.
fn redescribe(
    waiting: &PendingDefinition,
    drifted: &catalog::DriftedDefinition,
) -> PendingDefinition {
    PendingDefinition {
        class: drifted.class(),
        changes: drifted.changes.clone(),
        digest: drifted.digest.to_string(),
        since_seconds: drifted.since.elapsed().as_secs(),
        ..waiting.clone()
    }
}

fn conflict(drifted: Vec<PendingDefinition>) -> Response {
    let error = "its upstream says something else than what was looked at";
    let body = json!({ "error": error, "drifted": drifted });
    json_response(StatusCode::CONFLICT, &body)
}

fn nothing_pending(snapshot: &Snapshot, name: &str) -> Response {
    if !is_exposed(snapshot, name) {
        return no_such_name();
    }
    let body = json!({ "accepted": [], "stored": null });
    json_response(StatusCode::OK, &body)
}

fn is_exposed(snapshot: &Snapshot, name: &str) -> bool {
    let mut kinds = catalog::pins::PINNED.into_iter();
    kinds.any(|kind| snapshot.catalog.route(kind, name).is_some())
}

fn no_such_name() -> Response {
    let error = json!({ "error": "no tool or prompt has this name" });
    json_response(StatusCode::NOT_FOUND, &error)
}
