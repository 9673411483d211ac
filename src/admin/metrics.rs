//! `GET /metrics`: counters, and the current state of the snapshot, for Prometheus.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};

use crate::admin::drift;
use crate::admin::work::{NoResult, work_out_metrics};
use crate::authentication::{Authenticator, CurrentAuthenticator};
use crate::catalog::{Catalog, Kind};
use crate::credentials::Credentials;
use crate::credentials::status::CredentialState;
use crate::live::reload::{ReloadHandle, ReloadHistory};
use crate::live::{Live, Snapshot};
use crate::metrics::{
    MetricsFormat, Observed, ObservedCredentials, ObservedReloads, ObservedUpstream,
};
use crate::telemetry::EmfEncoder;
use crate::upstream::{HealthState, Link};

/// The words for [`Kind::ALL`], the same as in `/upstreams`.
const KINDS: [&str; 4] = ["tools", "prompts", "resources", "templates"];

pub(super) async fn metrics(
    State(live): State<Arc<Live>>,
    State(reloads): State<ReloadHandle>,
    State(callers): State<Arc<CurrentAuthenticator>>,
    headers: HeaderMap,
) -> Response {
    let snapshot = live.load_full();
    let accept = headers.get_all(header::ACCEPT).iter();
    let accept: Vec<_> = accept.filter_map(|value| value.to_str().ok()).collect();
    let format = MetricsFormat::accepted_by(&accept.join(","));
    let written = work_out_metrics(move || {
        let observed = observe(&snapshot, &reloads, &callers);
        snapshot.metrics.text(&observed, format)
    });
    match written.await {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(NoResult) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Returns all metrics for OpenTelemetry, as items of an [`crate::telemetry::Envelope`].
#[must_use]
pub fn export_metrics(
    live: &Live,
    reloads: &ReloadHandle,
    callers: &CurrentAuthenticator,
) -> Vec<u8> {
    let snapshot = live.load_full();
    let observed = observe(&snapshot, reloads, callers);
    snapshot.metrics.export(&observed)
}

/// Adds all metrics to lines for CloudWatch.
#[must_use]
pub fn add_metrics(
    lines: EmfEncoder,
    live: &Live,
    reloads: &ReloadHandle,
    callers: &CurrentAuthenticator,
) -> EmfEncoder {
    let snapshot = live.load_full();
    let observed = observe(&snapshot, reloads, callers);
    snapshot.metrics.add_to(lines, &observed)
}

fn observe(
    snapshot: &Snapshot,
    reloads: &ReloadHandle,
    callers: &CurrentAuthenticator,
) -> Observed {
    let catalog = &snapshot.catalog;
    Observed {
        generation: snapshot.generation,
        items: by_kind(Kind::ALL.map(|kind| catalog.len(kind))),
        conflicts: catalog.conflicts().len(),
        reloads: observe_reloads(&reloads.history()),
        caches: observe_caches(snapshot, callers.load_full().as_deref()),
        upstreams: snapshot
            .links()
            .iter()
            .map(|link| observe_upstream(link, catalog))
            .collect(),
    }
}

/// Returns the look-ups in the caches that are in use.
fn observe_caches(
    snapshot: &Snapshot,
    callers: Option<&Authenticator>,
) -> Vec<(&'static str, u64, u64)> {
    let tokens = callers.and_then(Authenticator::token_lookups);
    let keys = callers.and_then(Authenticator::key_lookups);
    let policies = snapshot.policies.as_ref();
    let views = policies.map(|policies| policies.rules().view_lookups());
    let all = [("tokens", tokens), ("jwks", keys), ("views", views)];
    let in_use = all.into_iter();
    in_use
        .filter_map(|(cache, counts)| counts.map(|(hits, misses)| (cache, hits, misses)))
        .collect()
}

fn observe_reloads(history: &ReloadHistory) -> ObservedReloads {
    let good = history.good.duration_since(UNIX_EPOCH);
    ObservedReloads {
        counts: history.counts.each().collect(),
        last_is_good: history.is_good(),
        good: good.unwrap_or_default(),
    }
}

fn observe_upstream(link: &Link, catalog: &Catalog) -> ObservedUpstream {
    let report = link.health.report();
    let load = link.gate.load();
    ObservedUpstream {
        name: link.id().as_str().to_owned(),
        up: link.health.state() == HealthState::Up,
        starting: link.health.is_starting(),
        credentials: link.credentials().map(observe_credentials),
        sessions: usize::from(link.current_peer().is_some()) + link.sessions.count(),
        in_flight: load.in_flight,
        queued: load.queued,
        listing_age: report.age(),
        stale: link.health.is_stale(),
        items: by_kind(report.counts),
        failed_lists: by_kind(Kind::ALL.map(|kind| report.is_failed(kind))),
        quarantined: report.quarantined.len(),
        drifted: drift::drift_of(&link.config, catalog).map_or(0, |drift| drift.drifted.len()),
    }
}

fn observe_credentials(credentials: &Credentials) -> ObservedCredentials {
    let (status, requests) = (credentials.status(), credentials.request_counts());
    let left = |end: SystemTime| end.duration_since(SystemTime::now()).unwrap_or_default();
    let state = |state: CredentialState| (state.as_str(), state == status.state);
    ObservedCredentials {
        states: CredentialState::ALL.map(state).to_vec(),
        left: status.expires.map(left),
        requests: (requests.granted, requests.failed),
    }
}

fn by_kind<T>(values: [T; 4]) -> Vec<(&'static str, T)> {
    KINDS.into_iter().zip(values).collect()
}
