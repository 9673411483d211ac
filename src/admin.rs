//! Towards the operators: what each upstream is doing, the catalog, a resync on demand.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::catalog::Kind;
use crate::config;
use crate::live::Live;
use crate::secret::Secret;
use crate::upstream::{Link, Standing};

/// The routes of the admin listener. With a token, every one of them wants it.
pub fn router(live: Arc<Live>, admin: &config::Admin) -> Router {
    let token = admin.token.clone();
    Router::new()
        .route("/upstreams", get(upstreams))
        .route("/upstreams/{name}/resync", post(resync))
        .route("/catalog", get(catalog))
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
    let rows: Vec<_> = snapshot.links.iter().map(|link| describe(link)).collect();
    axum_json(
        StatusCode::OK,
        &json!({ "generation": snapshot.generation, "upstreams": rows }),
    )
}

/// One upstream in words: state, reason and since when, era and version, age and counts of its listing.
#[must_use]
pub fn describe(link: &Link) -> serde_json::Value {
    let (state, reason, since) = match link.standing() {
        Standing::Connecting => ("connecting", None, None),
        Standing::Up => ("up", None, None),
        Standing::Failing { reason, since, .. } => {
            ("failing", Some(reason), Some(since.elapsed().as_secs()))
        }
    };
    let peer = link.current();
    let report = link.report();
    let [tools, prompts, resources, templates] = report.counts;
    json!({
        "name": link.id().as_str(),
        "connector": link.config.connector.as_str(),
        "state": state,
        "reason": reason,
        "failing_for_seconds": since,
        "era": peer.as_ref().map(|peer| peer.era().to_string()),
        "version": peer.as_ref().map(|peer| peer.version.clone()),
        "server": peer.as_ref().map(|peer| peer.server.clone()),
        "listed_seconds_ago": report.at.map(|at| at.elapsed().as_secs()),
        "tools": tools,
        "prompts": prompts,
        "resources": resources,
        "templates": templates,
        "quarantined": report.quarantined,
        "warnings": report.warnings,
        "own_dropped": report.dropped.own,
        "far_dropped": report.dropped.far,
    })
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
    axum_json(status, &describe(link))
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
