//! The admin listener: the state of each upstream, the catalog, resyncs and reloads on request.

mod access;
pub mod callers;
pub mod calls;
pub mod catalog;
mod circuit;
pub mod compare;
pub mod drift;
pub mod events;
pub mod explain;
mod front_gateway;
mod hooks;
mod last_errors;
mod metrics;
mod operators;
pub mod pasted;
mod records;
mod reloads;
mod response;
pub mod search;
mod sender;
mod state;
mod status;
mod token;
pub mod trial;
pub mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::json;
use tokio::time::Instant;

use crate::admin::circuit::{describe_circuit, round_to_tenths};
use crate::admin::response::json_response;
use crate::catalog::{Catalog, Kind, StaleSince};
use crate::credentials::Credentials;
use crate::live::reload::ReloadHandle;
use crate::live::{Live, Snapshot};
use crate::name::Naming;
use crate::upstream::{HealthState, Link};

pub use access::AdminAccess;
pub(crate) use front_gateway::describe_front;
pub use metrics::{add_metrics, export_metrics};
pub(crate) use records::{RecordsAnswer, find_records};
pub(crate) use reloads::reload;
pub use response::keep;
pub use sender::AdminSender;
pub use state::AdminState;
pub use status::{UpstreamCounts, WeirStatus};
pub use token::AdminToken;

/// Returns the routes of the admin listener. A
/// request without a token or role that it needs is rejected (401, or 403 if no token can be right or
/// the role is another one), and so is one that a browser sends for a web page (403).
pub fn router(operators: AdminState, access: Arc<AdminAccess>) -> Router {
    Router::new()
        .route("/status", get(status::status))
        .route("/upstreams", get(upstreams))
        .route("/upstreams/{name}/resync", post(resync))
        .route("/callers", get(callers::callers))
        .route("/calls", get(calls::calls))
        .route("/catalog", get(catalog::catalog))
        .route("/catalog/search", get(search::catalog_search))
        .route("/catalog/{name}/accept", post(drift::accept))
        .route("/catalog/{name}/drift", get(drift::texts))
        .route(
            "/compare",
            post(compare::compare).layer(DefaultBodyLimit::max(compare::MOST_BYTES)),
        )
        .route("/events", get(events::events))
        .route("/explain", get(explain::explain))
        .route("/hooks", get(hooks::hooks))
        .route("/metrics", get(metrics::metrics))
        .route("/on_publish", get(front_gateway::on_publish))
        .route(
            "/plan",
            post(pasted::plan).layer(DefaultBodyLimit::max(pasted::MOST_BYTES)),
        )
        .route("/records", get(records::records))
        .route("/reload", post(reloads::reload))
        .route(
            "/try",
            post(trial::try_tool).layer(DefaultBodyLimit::max(trial::MOST_BYTES)),
        )
        .layer(axum::middleware::from_fn(
            move |request: Request, next: Next| {
                let access = Arc::clone(&access);
                async move {
                    let (mut parts, body) = request.into_parts();
                    match access.admit(&parts).await {
                        Ok(sender) => {
                            parts.extensions.insert(sender);
                            next.run(Request::from_parts(parts, body)).await
                        }
                        Err(answer) => *answer,
                    }
                }
            },
        ))
        .with_state(operators)
}

/// Answers `GET /upstreams`: the generation, the reloads, and one object per upstream in the order of
/// the config.
async fn upstreams(State(live): State<Arc<Live>>, State(handle): State<ReloadHandle>) -> Response {
    let snapshot = live.load_full();
    work::answer_with(move || describe_all(&snapshot, &handle)).await
}

fn describe_all(snapshot: &Snapshot, handle: &ReloadHandle) -> serde_json::Value {
    let catalog = &snapshot.catalog;
    let links = snapshot.links().iter();
    let naming = &snapshot.config.naming;
    let rows: Vec<_> = links
        .map(|link| {
            let mut row = describe_with_drift(link, catalog, naming);
            if let Some(members) = row.as_object_mut() {
                let unchecked = unchecked_schemas(link, snapshot);
                members.insert("unchecked_schemas".to_owned(), json!(unchecked));
            }
            row
        })
        .collect();
    json!({
        "generation": snapshot.generation,
        "reloads": reloads::describe(handle),
        "upstreams": rows,
    })
}

/// Returns the conflicts of names and URIs that involve an upstream, in words.
fn rivalries_of(link: &Link, catalog: &Catalog) -> Vec<String> {
    let conflicts = catalog.conflicts().iter();
    let conflicts = conflicts
        .filter(|conflict| [&conflict.upstream, &conflict.kept_by].contains(&link.id()))
        .map(ToString::to_string);
    let overlaps = catalog.overlaps().iter();
    let overlaps = overlaps
        .filter(|overlap| [&overlap.upstream, &overlap.first].contains(&link.id()))
        .map(ToString::to_string);
    conflicts.chain(overlaps).collect()
}

/// Describes one upstream as JSON. Times are in seconds; `null` means unknown or not the case.
///
/// Contains `state` (`starting`: a child process has not answered yet), the `reason` of the last
/// failure and since when; `next_try_in_seconds`, unless only the schedule
/// decides; `circuit`; era and protocol versions; `credentials`; age and counts of the listing, lists
/// that failed while others came, what was left out of it and why, rules that match nothing, name
/// conflicts that involve this upstream; calls under way and waiting, why the last call failed to
/// reach it, and the last error of each tool, of at most 20 the newest first; what became of questions to
/// callers of the other era.
#[must_use]
pub fn describe(link: &Link, catalog: &Catalog) -> serde_json::Value {
    let (reason, since) = match link.health.state() {
        HealthState::Connecting | HealthState::Up => (None, None),
        HealthState::Failing { reason, since, .. } => {
            (Some(reason), Some(since.elapsed().as_secs()))
        }
    };
    let times = link.health.times();
    let load = link.gate.load();
    let conflicts = rivalries_of(link, catalog);
    let peer = link.current_peer();
    let report = link.health.report();
    let [tools, prompts, resources, templates] = report.counts;
    let quarantined = report.quarantined.iter().map(ToString::to_string);
    let asks: BTreeMap<_, _> = link.metrics.ask_counts().into();
    let failed_lists = report.failed_lists.iter();
    let failed_lists =
        failed_lists.map(|list| json!({ "list": list.kind.method(), "reason": list.reason }));
    json!({
        "name": link.id().as_str(),
        "connector": link.config.connector.as_str(),
        "state": link.health.state_word(),
        "reason": reason,
        "failing_for_seconds": since,
        "starting_for_seconds": link.health.starting_for().map(|time| time.as_secs()),
        "since_seconds": times.since.elapsed().as_secs(),
        "next_try_in_seconds": times.next_try.map(seconds_until),
        "circuit": describe_circuit(link.gate.circuit_state()),
        "era": peer.as_ref().map(|peer| peer.era().to_string()),
        "version": peer.as_ref().map(|peer| peer.version.clone()),
        "versions": peer.as_ref().map(|peer| peer.versions.clone()),
        "server": peer.as_ref().map(|peer| peer.server.clone()),
        "credentials": link.credentials().map(describe_credentials),
        "listed_at": report.at.map(|(_, on)| StaleSince::of(on).to_string()),
        "listed_seconds_ago": report.age().map(|age| age.as_secs()),
        "stale": link.health.is_stale(),
        "listing_is_stored": report.stored,
        "tools": tools,
        "prompts": prompts,
        "resources": resources,
        "templates": templates,
        "failed_lists": failed_lists.collect::<Vec<_>>(),
        "quarantined": quarantined.collect::<Vec<_>>(),
        "warnings": report.warnings,
        "conflicts": conflicts,
        "last_failed_call": link.gate.last_failure().map(|last| json!({
            "reason": last.reason,
            "seconds_ago": last.at.elapsed().as_secs(),
        })),
        "last_errors": last_errors::of_upstream(&link.metrics),
        "calls": {
            "in_flight": load.in_flight,
            "queued": load.queued,
            "limit": link.config.limits.in_flight,
        },
        "asks": asks,
        "own_dropped": report.dropped.own,
        "far_dropped": report.dropped.far,
    })
}

/// Returns the schemas of an upstream's tools that `guard.validate` cannot apply, in words; those of
/// tools that were called.
fn unchecked_schemas(link: &Link, snapshot: &Snapshot) -> Vec<String> {
    let routes = snapshot.catalog.routes(Kind::Tools);
    let routes = routes.filter(|route| route.validate().is_some() && route.upstream == *link.id());
    let found = routes.flat_map(|route| {
        let schemas = snapshot.schemas.find(route.listed_definition());
        let problems = schemas.map(|schemas| schemas.problems());
        let problems = problems.unwrap_or_default().into_iter();
        problems.map(move |(key, reason)| format!("{} of `{}`: {reason}", key, route.exposed))
    });
    found.collect()
}

/// Describes one upstream with its [`drift::UpstreamDrift`].
#[must_use]
pub fn describe_with_drift(link: &Link, catalog: &Catalog, naming: &Naming) -> serde_json::Value {
    let mut described = describe(link, catalog);
    if let Some(members) = described.as_object_mut() {
        let drift = drift::UpstreamDrift::of(&link.config, naming, catalog);
        members.insert("drift".to_owned(), json!(drift));
    }
    described
}

/// Describes credentials as JSON: `type` as in the config; `state` (`ok`, `refreshing`, `expiring`,
/// `failing`, `reauth_needed`, `clock_skew`), its `reason` and since when; when weir tries again by
/// itself, when they expire; requests for them so far.
fn describe_credentials(credentials: &Credentials) -> serde_json::Value {
    let (status, requests) = (credentials.status(), credentials.request_counts());
    let left = |end: SystemTime| end.duration_since(SystemTime::now()).unwrap_or_default();
    json!({
        "type": credentials.name(),
        "state": status.state.as_str(),
        "reason": status.reason,
        "since_seconds": status.since.elapsed().as_secs(),
        "next_try_in_seconds": status.next_try.map(seconds_until),
        "expires_in_seconds": status.expires.map(|end| left(end).as_secs()),
        "requests": { "granted": requests.granted, "failed": requests.failed },
    })
}

/// Returns the seconds from now, rounded to tenths.
fn seconds_until(then: Instant) -> f64 {
    round_to_tenths(then.saturating_duration_since(Instant::now()))
}

/// Answers `POST /upstreams/{name}/resync`: lists the upstream again and answers when the outcome is in
/// the catalog. 200 with the upstream's description, 504 if that takes longer than its timeouts, 404 for
/// an unknown name.
pub(crate) async fn resync(State(live): State<Arc<Live>>, Path(name): Path<String>) -> Response {
    let snapshot = live.load_full();
    let Some(link) = snapshot
        .links()
        .iter()
        .find(|link| link.id().as_str() == name)
    else {
        return json_response(
            StatusCode::NOT_FOUND,
            &json!({ "error": "no such upstream" }),
        );
    };
    // A listing may be under way; the requested one comes after it.
    let deadline = link.connect_deadline() + link.config.timeouts.list * 2;
    let status = if link.rounds.resync(deadline).await {
        StatusCode::OK
    } else {
        StatusCode::GATEWAY_TIMEOUT
    };
    let now = live.load();
    json_response(
        status,
        &describe_with_drift(link, &now.catalog, &now.config.naming),
    )
}
