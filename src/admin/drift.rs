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
use crate::live::accept::{Accepts, Wish};
use crate::live::state::Accepted;
use crate::live::{Live, Snapshot};
use crate::name::Naming;

/// How long an acceptance may take: most of it is a disk's time.
const PATIENCE: Duration = Duration::from_secs(30);

/// The gate of one upstream, and what waits at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// `accept`, `hold` or `quarantine`.
    pub policy: String,
    /// How far a redefinition may go that needs nobody's consent.
    pub threshold: String,
    /// What waits to be accepted.
    pub drifted: Vec<Waiting>,
    /// What goes by another name since it was pinned.
    pub renamed: Vec<Renamed>,
}

/// A definition that says otherwise than what is pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
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
    pub state: Held,
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
pub struct Upstreams {
    upstreams: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    /// An older weir has none.
    drift: Option<Drift>,
}

impl Upstreams {
    /// What waits of all of them.
    #[must_use]
    pub fn waiting(self) -> Vec<Waiting> {
        let drifts = self.upstreams.into_iter().filter_map(|row| row.drift);
        drifts.flat_map(|drift| drift.drifted).collect()
    }
}

/// What callers see of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// The pinned definition.
    Held,
    /// Nothing.
    Quarantined,
}

/// A definition that goes by another name since it was pinned, and says the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    /// What it is.
    pub kind: Kind,
    /// Its exposed name.
    pub name: String,
    /// What its upstream calls it.
    pub original: String,
    /// What its upstream called it when it was pinned.
    pub renamed_from: String,
}

impl Held {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Quarantined => "quarantined",
        }
    }
}

impl Drift {
    /// That of an upstream.
    #[must_use]
    pub fn of(upstream: &config::Upstream, naming: &Naming, catalog: &Catalog) -> Self {
        let found = found(upstream, catalog);
        let named = |kind, original: &str| exposed(upstream, naming, catalog, kind, original);
        let drifted = found.map(|drift| drift.drifted.as_slice());
        let moved = found.map(|drift| drift.moved.as_slice());
        Self {
            policy: upstream.drift.policy.as_str().to_owned(),
            threshold: upstream.drift.threshold.as_str().to_owned(),
            drifted: drifted
                .unwrap_or_default()
                .iter()
                .map(|drifted| Waiting::of(drifted, upstream, naming, catalog))
                .collect(),
            renamed: moved
                .unwrap_or_default()
                .iter()
                .map(|moved| Renamed {
                    kind: moved.kind,
                    name: named(moved.kind, &moved.original),
                    original: moved.original.to_string(),
                    renamed_from: moved.was.to_string(),
                })
                .collect(),
        }
    }
}

impl Waiting {
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
            name: exposed(upstream, naming, catalog, drifted.kind, &drifted.original),
            upstream: upstream.id.as_str().to_owned(),
            original: drifted.original.to_string(),
            renamed_from: drifted.was.as_ref().map(ToString::to_string),
            state: match drifted.quarantined {
                true => Held::Quarantined,
                false => Held::Held,
            },
            class: drifted.class(),
            changes: drifted.changes.clone(),
            digest: drifted.digest.to_string(),
            since_seconds: drifted.since.elapsed().as_secs(),
        }
    }
}

/// What the gate says of an upstream, shown or hidden.
pub(super) fn found<'c>(
    upstream: &config::Upstream,
    catalog: &'c Catalog,
) -> Option<&'c catalog::DriftReport> {
    let mut parts = catalog.parts().chain(catalog.hidden());
    let part: &Part = parts.find(|part| part.upstream == upstream.id)?;
    Some(part.prepared.drift())
}

/// The name that callers know something by, or would.
fn exposed(
    upstream: &config::Upstream,
    naming: &Naming,
    catalog: &Catalog,
    kind: Kind,
    original: &str,
) -> String {
    let wanted = NameOrigin::wanted(&Rules::from(upstream), naming, kind, original);
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
fn waiting(snapshot: &Snapshot) -> impl Iterator<Item = (u64, Waiting)> {
    snapshot.links.iter().flat_map(|link| {
        let drift = found(&link.config, &snapshot.catalog);
        let drifted = drift.map(|drift| drift.drifted.as_slice());
        drifted.unwrap_or_default().iter().map(|drifted| {
            let naming = &snapshot.config.naming;
            let waiting = Waiting::of(drifted, &link.config, naming, &snapshot.catalog);
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
pub struct Texts {
    /// What it is about.
    pub waiting: Waiting,
    /// What is pinned; nothing of a newcomer, which waits because there is no room to pin it or its name is taken.
    pub pinned: Option<Box<RawValue>>,
    /// What its upstream says.
    pub now: Option<Box<RawValue>>,
}

/// The answer of `GET /catalog/{name}/drift`.
#[derive(Debug, Serialize, Deserialize)]
pub struct AllTexts {
    /// Of each kind one at most, as a rule; none where nothing waits.
    pub drifted: Vec<Texts>,
}

/// `GET /catalog/{name}/drift`: what waits under an exposed name, in full, under its upstream's name. 404 for a name that is none.
pub(super) async fn texts(State(live): State<Arc<Live>>, Path(name): Path<String>) -> Response {
    let snapshot = live.load_full();
    let found = waiting(&snapshot).filter(|(_, waiting)| waiting.name == name);
    let raw = |text: &str| RawValue::from_string(text.to_owned()).ok();
    let drifted: Vec<_> = found
        .map(|(_, waiting)| {
            let drifted = drifted_of(&snapshot, &waiting);
            Texts {
                pinned: drifted.and_then(|drifted| raw(drifted.pinned()?)),
                now: drifted.and_then(|drifted| raw(drifted.now())),
                waiting,
            }
        })
        .collect();
    if drifted.is_empty() && !is_exposed(&snapshot, &name) {
        return no_such_name();
    }
    json_response(StatusCode::OK, &AllTexts { drifted })
}

/// The body of an acceptance; it may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
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
    State(accepts): State<Accepts>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    let wanted = match body.iter().all(u8::is_ascii_whitespace) {
        true => Ok(Wanted::default()),
        false => serde_json::from_slice::<Wanted>(&body),
    };
    let Ok(Wanted { digest }) = wanted else {
        let error = json!({ "error": "expected no body, or `digest`" });
        return json_response(StatusCode::BAD_REQUEST, &error);
    };
    let snapshot = live.load_full();
    let found: Vec<_> = waiting(&snapshot)
        .filter(|(_, waiting)| waiting.name == name)
        .collect();
    if found.is_empty() {
        return nothing(&snapshot, &name);
    }
    let looked_at = |(_, waiting): &&(u64, Waiting)| match &digest {
        Some(digest) => waiting.digest == *digest,
        None => true,
    };
    let chosen: Vec<_> = found.iter().filter(looked_at).collect();
    if chosen.is_empty() {
        return other(found.into_iter().map(|(_, waiting)| waiting).collect());
    }
    let wishes = chosen.iter().map(|(link, waiting)| Wish {
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
            Accepted::Done(done) => accepted.push(now(waiting, &done)),
            Accepted::Other(now_said) => drifted.push(now(waiting, &now_said)),
            Accepted::Nothing => {}
        }
    }
    if accepted.is_empty() && !drifted.is_empty() {
        return other(drifted);
    }
    json_response(
        StatusCode::OK,
        &json!({ "accepted": accepted, "stored": stored }),
    )
}

/// What waits, as the gate knows it.
fn drifted_of<'s>(
    snapshot: &'s Snapshot,
    waiting: &Waiting,
) -> Option<&'s catalog::DriftedDefinition> {
    let upstream = snapshot.config.upstreams.get(waiting.upstream.as_str())?;
    let drift = found(upstream, &snapshot.catalog)?;
    drift.of(waiting.kind, &waiting.original)
}

/// What waited, as it was when it was decided on.
fn now(waiting: &Waiting, drifted: &catalog::DriftedDefinition) -> Waiting {
    Waiting {
        class: drifted.class(),
        changes: drifted.changes.clone(),
        digest: drifted.digest.to_string(),
        since_seconds: drifted.since.elapsed().as_secs(),
        ..waiting.clone()
    }
}

fn other(drifted: Vec<Waiting>) -> Response {
    let error = "its upstream says something else than what was looked at";
    let body = json!({ "error": error, "drifted": drifted });
    json_response(StatusCode::CONFLICT, &body)
}

fn nothing(snapshot: &Snapshot, name: &str) -> Response {
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
