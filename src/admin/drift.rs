//! Definitions that differ from their pin, and `POST /catalog/{name}/accept`.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use foldhash::HashSet;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::admin::response::json_response;
use crate::admin::sender::AdminSender;
use crate::admin::work::{NoResult, work_out};
use crate::audit::AuditEvent;
use crate::catalog::{self, Catalog, Change, ChangeClass, Kind, NameOrigin, Part, Rules};
use crate::config;
use crate::live::accept::AcceptHandle;
use crate::live::state::{AcceptOutcome, AcceptRequest};
use crate::live::{Live, Snapshot};
use crate::name::Naming;

/// How long an acceptance may take; most of it is disk time.
const PATIENCE: Duration = Duration::from_secs(30);

/// The drift policy of one upstream, and what waits to be accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamDrift {
    /// `accept`, `hold` or `quarantine`.
    pub policy: String,
    /// The highest class of change that is applied without review.
    pub threshold: String,
    /// Definitions that wait to be accepted.
    pub drifted: Vec<PendingDefinition>,
    /// Definitions that were renamed since they were pinned.
    pub renamed: Vec<RenamedSincePinned>,
}

/// A definition that differs from its pin and waits to be accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingDefinition {
    /// Its kind.
    pub kind: Kind,
    /// Its exposed name, or the one that it would have.
    pub name: String,
    /// Its upstream.
    pub upstream: String,
    /// Its name at its upstream.
    pub original: String,
    /// Its name at its upstream when it was pinned, if that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    /// Whether callers see the pinned definition or nothing.
    pub state: DriftState,
    /// The highest class of its changes.
    pub class: ChangeClass,
    /// How it differs from its pin.
    pub changes: Vec<Change>,
    /// Identifies this definition; a later one has another digest.
    pub digest: String,
    /// For how long its upstream has listed it, as far as this process knows.
    pub since_seconds: u64,
}

/// The part of `GET /upstreams` that is about drift.
#[derive(Debug, Deserialize)]
pub struct UpstreamsPage {
    upstreams: Vec<UpstreamRow>,
}

#[derive(Debug, Deserialize)]
struct UpstreamRow {
    /// Missing in the answer of an older weir.
    drift: Option<UpstreamDrift>,
}

impl UpstreamsPage {
    /// Returns what waits to be accepted at all upstreams.
    #[must_use]
    pub fn waiting(self) -> Vec<PendingDefinition> {
        let drifts = self.upstreams.into_iter().filter_map(|row| row.drift);
        drifts.flat_map(|drift| drift.drifted).collect()
    }
}

/// The state of a definition that waits: how much callers see of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftState {
    /// The pinned definition.
    Held,
    /// Nothing.
    Quarantined,
}

/// A definition that is unchanged but was renamed since it was pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenamedSincePinned {
    /// Its kind.
    pub kind: Kind,
    /// Its exposed name.
    pub name: String,
    /// Its name at its upstream.
    pub original: String,
    /// Its name at its upstream when it was pinned.
    pub renamed_from: String,
}

impl DriftState {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Quarantined => "quarantined",
        }
    }
}

impl UpstreamDrift {
    /// Describes the drift of an upstream.
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
    /// Describes a definition that waits.
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

/// Returns the drift of an upstream, whether its definitions are shown or hidden.
pub(super) fn drift_of<'c>(
    upstream: &config::Upstream,
    catalog: &'c Catalog,
) -> Option<&'c catalog::DriftReport> {
    let mut parts = catalog.parts().chain(catalog.hidden());
    let part: &Part = parts.find(|part| part.upstream == upstream.id)?;
    Some(part.prepared.drift())
}

/// Returns the exposed name of a definition, or the one that it would have.
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

/// Returns everything that waits, with the id of its link, in the order of the config.
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

/// The definitions of which callers see the pinned version. Usually there are none.
pub(super) struct HeldNames<'s>(HashSet<(Kind, &'s str, &'s str)>);

impl<'s> HeldNames<'s> {
    /// Collects those of a snapshot.
    pub(super) fn of(snapshot: &'s Snapshot) -> Self {
        let parts = snapshot.catalog.parts();
        let held = parts.flat_map(|part| {
            let drifted = part.prepared.drift().drifted.iter();
            let held = drifted.filter(|drifted| !drifted.quarantined);
            held.map(|held| (held.kind, part.upstream.as_str(), &*held.original))
        });
        Self(held.collect())
    }

    /// Returns whether this is one of them.
    pub(super) fn has(&self, kind: Kind, upstream: &str, original: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&(kind, upstream, original))
    }
}

/// The pinned and the current version of a definition that waits.
#[derive(Debug, Serialize, Deserialize)]
pub struct BothDefinitions {
    /// The description of what waits.
    pub waiting: PendingDefinition,
    /// The pinned version. `None` for a new definition, which waits because there is no room to pin it or
    /// its name is taken.
    pub pinned: Option<Box<RawValue>>,
    /// The current version.
    pub now: Option<Box<RawValue>>,
}

impl BothDefinitions {
    /// Returns both versions of a definition that waits.
    #[must_use]
    pub fn of(snapshot: &Snapshot, waiting: PendingDefinition) -> Self {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).ok();
        let drifted = drifted_of(snapshot, &waiting);
        Self {
            pinned: drifted.and_then(|drifted| raw(drifted.pinned()?)),
            now: drifted.and_then(|drifted| raw(drifted.now())),
            waiting,
        }
    }
}

/// Returns everything that waits to be accepted, in the order of the config.
pub fn all_pending(snapshot: &Snapshot) -> impl Iterator<Item = PendingDefinition> {
    pending(snapshot).map(|(_, waiting)| waiting)
}

/// The answer of `GET /catalog/{name}/drift`.
#[derive(Debug, Serialize, Deserialize)]
pub struct DriftDetails {
    /// The definitions that wait under the name: usually at most one per kind.
    pub drifted: Vec<BothDefinitions>,
}

/// Answers `GET /catalog/{name}/drift`: the definitions that wait under an exposed name, in full, with
/// their names at the upstream. 404 for an unknown name.
pub(super) async fn texts(State(live): State<Arc<Live>>, Path(name): Path<String>) -> Response {
    let snapshot = live.load_full();
    let looking = move || {
        let found = all_pending(&snapshot).filter(|waiting| waiting.name == name);
        let drifted: Vec<_> = found
            .map(|waiting| BothDefinitions::of(&snapshot, waiting))
            .collect();
        if drifted.is_empty() && !is_exposed(&snapshot, &name) {
            return no_such_name();
        }
        json_response(StatusCode::OK, &DriftDetails { drifted })
    };
    let answered = work_out(looking).await;
    answered.unwrap_or_else(|NoResult| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// The body of an acceptance; may be empty.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptBody {
    /// The digest of the definition that was looked at.
    digest: Option<String>,
}

/// Answers `POST /catalog/{name}/accept`: pins what waits under an exposed name, and answers when
/// callers see it and it is stored.
///
/// With `{"digest": "…"}` accepts only the definition with this digest. 200 with `accepted`, which is
/// empty if nothing waits, and `stored`: whether it survives a restart (`null` without a state folder).
/// 400 for another body, 404 for an unknown name, 409 with `drifted` if the upstream has changed the
/// definition since.
pub(crate) async fn accept(
    State(live): State<Arc<Live>>,
    State(accepts): State<AcceptHandle>,
    Extension(sender): Extension<AdminSender>,
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
    let details = json!({ "name": name, "accepted": accepted, "stored": stored });
    record_acceptance(&live, &sender, details);
    json_response(
        StatusCode::OK,
        &json!({ "accepted": accepted, "stored": stored }),
    )
}

/// Leaves a line in the record file, if there is one.
fn record_acceptance(live: &Live, sender: &AdminSender, details: serde_json::Value) {
    if let Some(audit) = live.audit() {
        audit.write_event(&AuditEvent {
            subject: sender.subject.as_deref(),
            ..AuditEvent::new(AuditEvent::ACCEPT, details)
        });
    }
}

/// Returns the catalog's entry of what waits.
fn drifted_of<'s>(
    snapshot: &'s Snapshot,
    waiting: &PendingDefinition,
) -> Option<&'s catalog::DriftedDefinition> {
    let upstream = snapshot.config.upstreams.get(waiting.upstream.as_str())?;
    let drift = drift_of(upstream, &snapshot.catalog)?;
    drift.of(waiting.kind, &waiting.original)
}

/// Describes what waited, as it was when it was decided.
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
    let error = "its upstream has changed it since it was looked at";
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
    // The instructions of an upstream go by its name.
    kinds.any(|kind| snapshot.catalog.route(kind, name).is_some())
        || snapshot.config.upstreams.contains_key(name)
}

fn no_such_name() -> Response {
    let error = json!({ "error": "no tool or prompt has this name" });
    json_response(StatusCode::NOT_FOUND, &error)
}
