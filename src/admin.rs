//! Towards the operators: what each upstream is doing, the catalog, a resync on demand.

mod metrics;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::time::Instant;

use crate::auth::Credentials;
use crate::catalog::{Catalog, Kind};
use crate::config;
use crate::live::Live;
use crate::secret::Secret;
use crate::upstream::circuit::Position;
use crate::upstream::{Link, Standing};

/// The routes of the admin listener. With a token, every one of them wants it.
pub fn router(live: Arc<Live>, admin: &config::Admin) -> Router {
    let token = admin.token.clone();
    Router::new()
        .route("/upstreams", get(upstreams))
        .route("/upstreams/{name}/resync", post(resync))
        .route("/catalog", get(catalog))
        .route("/metrics", get(metrics::metrics))
        .layer(axum::middleware::from_fn(
            move |request: Request, next: Next| {
                let token = token.clone();
                async move {
                    if token.is_some_and(|token| !carries(&request, &token)) {
                        let challenge =
                            (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                        return (StatusCode::UNAUTHORIZED, [challenge]).into_response();
                    }
                    next.run(request).await
                }
            },
        ))
        .with_state(live)
}

fn carries(request: &Request, token: &Secret) -> bool {
    let sent = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let sent = sent
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    // Digests are compared, so that the time taken says nothing about the token.
    let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest(sent).as_ref() == digest(token.expose()).as_ref()
}

/// `GET /upstreams`: an array, one object per upstream in the order of the config.
async fn upstreams(State(live): State<Arc<Live>>) -> Response {
    let snapshot = live.load_full();
    let catalog = &snapshot.catalog;
    let links = snapshot.links.iter();
    let rows: Vec<_> = links.map(|link| describe(link, catalog)).collect();
    axum_json(
        StatusCode::OK,
        &json!({ "generation": snapshot.generation, "upstreams": rows }),
    )
}

/// One upstream in words. Times are in seconds; what is `null` is not known or not so.
///
/// `state`, its `reason` and since when; `next_try_in_seconds` unless only the schedule says; `circuit`;
/// era and protocol versions; `credentials`; age and counts of the listing, what was left out of it and why, rules that
/// match nothing, name conflicts in which this upstream has a part; calls under way and waiting,
/// and why the last call that failed did.
#[must_use]
pub fn describe(link: &Link, catalog: &Catalog) -> serde_json::Value {
    let (state, reason, since) = match link.standing() {
        Standing::Connecting => ("connecting", None, None),
        Standing::Up => ("up", None, None),
        Standing::Failing { reason, since, .. } => {
            ("failing", Some(reason), Some(since.elapsed().as_secs()))
        }
    };
    let times = link.times();
    let load = link.gate.load();
    let conflicts = catalog.conflicts().iter();
    let conflicts = conflicts
        .filter(|conflict| [&conflict.upstream, &conflict.kept_by].contains(&link.id()))
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    let peer = link.current();
    let report = link.report();
    let [tools, prompts, resources, templates] = report.counts;
    json!({
        "name": link.id().as_str(),
        "connector": link.config.connector.as_str(),
        "state": state,
        "reason": reason,
        "failing_for_seconds": since,
        "since_seconds": times.since.elapsed().as_secs(),
        "next_try_in_seconds": times.next_try.map(until),
        "circuit": circuit(link.gate.position()),
        "era": peer.as_ref().map(|peer| peer.era().to_string()),
        "version": peer.as_ref().map(|peer| peer.version.clone()),
        "versions": peer.as_ref().map(|peer| peer.versions.clone()),
        "server": peer.as_ref().map(|peer| peer.server.clone()),
        "credentials": link.credentials().map(credentials),
        "listed_seconds_ago": report.at.map(|at| at.elapsed().as_secs()),
        "tools": tools,
        "prompts": prompts,
        "resources": resources,
        "templates": templates,
        "quarantined": report.quarantined,
        "warnings": report.warnings,
        "conflicts": conflicts,
        "last_failed_call": link.gate.last_failure().map(|last| json!({
            "reason": last.reason,
            "seconds_ago": last.at.elapsed().as_secs(),
        })),
        "calls": {
            "in_flight": load.in_flight,
            "queued": load.queued,
            "limit": link.config.limits.in_flight,
        },
        "own_dropped": report.dropped.own,
        "far_dropped": report.dropped.far,
    })
}

/// Credentials in words: `type` as the config says it; `state` (`ok`, `refreshing`, `expiring`, `failing`,
/// `reauth_needed`, `clock_skew`), its `reason` and since when; when they are tried again unasked, when they end;
/// requests for them so far.
fn credentials(credentials: &Credentials) -> serde_json::Value {
    let (status, requests) = (credentials.status(), credentials.requests());
    let left = |end: SystemTime| end.duration_since(SystemTime::now()).unwrap_or_default();
    json!({
        "type": credentials.name(),
        "state": status.phase.as_str(),
        "reason": status.reason,
        "since_seconds": status.since.elapsed().as_secs(),
        "next_try_in_seconds": status.next_try.map(until),
        "expires_in_seconds": status.expires.map(|end| left(end).as_secs()),
        "requests": { "granted": requests.granted, "failed": requests.failed },
    })
}

/// The circuit in words: `closed`; `open`, where calls fail at once for the `reason` that calls before them
/// failed for; `half-open`, where one call is let through.
fn circuit(position: Position) -> serde_json::Value {
    let (state, reason, since, again) = match position {
        Position::Closed => ("closed", None, None, None),
        Position::Open {
            reason,
            since,
            again,
        } => ("open", Some(reason), Some(since), Some(again)),
        Position::HalfOpen { reason, since } => ("half-open", Some(reason), Some(since), None),
    };
    json!({
        "state": state,
        "reason": reason,
        "open_for_seconds": since.map(|since| since.elapsed().as_secs()),
        "next_try_in_seconds": again.map(tenths),
    })
}

/// Seconds from now, to a tenth.
fn until(then: Instant) -> f64 {
    tenths(then.saturating_duration_since(Instant::now()))
}

fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

/// `POST /upstreams/{name}/resync`: lists the upstream again and answers when the outcome is in the
/// catalog: 200 with the upstream in words, 504 if that takes longer than its budgets, 404 for a name
/// that is none.
async fn resync(State(live): State<Arc<Live>>, Path(name): Path<String>) -> Response {
    let snapshot = live.load_full();
    let Some(link) = snapshot
        .links
        .iter()
        .find(|link| link.id().as_str() == name)
    else {
        return axum_json(
            StatusCode::NOT_FOUND,
            &json!({ "error": "no such upstream" }),
        );
    };
    // One listing may be under way, and the one asked for comes after it.
    let deadline = link.connect_deadline() + link.config.timeouts.list * 2;
    let status = if link.resynced(deadline).await {
        StatusCode::OK
    } else {
        StatusCode::GATEWAY_TIMEOUT
    };
    axum_json(status, &describe(link, &live.load().catalog))
}

/// `GET /catalog`: generation, all routes, the name conflicts.
async fn catalog(State(live): State<Arc<Live>>) -> Response {
    let snapshot = live.load_full();
    let catalog = &snapshot.catalog;
    let routes = |kind| {
        let rows = catalog.routes(kind).map(|row| {
            json!({ "name": row.exposed.as_ref(), "upstream": row.upstream.as_str(), "original": row.original().as_ref() })
        });
        rows.collect::<Vec<_>>()
    };
    let conflicts: Vec<_> = catalog
        .conflicts()
        .iter()
        .map(ToString::to_string)
        .collect();
    let body = json!({
        "generation": snapshot.generation,
        "tools": routes(Kind::Tools),
        "prompts": routes(Kind::Prompts),
        "resources": routes(Kind::Resources),
        "templates": routes(Kind::Templates),
        "conflicts": conflicts,
    });
    axum_json(StatusCode::OK, &body)
}

fn axum_json(status: StatusCode, body: &serde_json::Value) -> Response {
    (
        status,
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )],
        body.to_string(),
    )
        .into_response()
}
