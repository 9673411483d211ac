//! `GET /explain?name=…`: where an exposed name comes from, or why it is not exposed.

mod answer;
mod hidden;
mod index;
mod near;
mod rules;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, Uri};
use serde_json::json;

use crate::admin::drift::{self, PendingDefinition};
use crate::admin::response::json_response;
use crate::catalog::{Conflict, Kind, NameOrigin, Route, Rules, StaleSince};
use crate::config::Upstream;
use crate::json::Object;
use crate::live::Live;
use crate::protocol::bounds::EXPOSED_URI_BYTES;
use crate::protocol::era::Era;
use crate::protocol::hops;
use crate::protocol::meta::ORIGIN;

pub use answer::{
    CredentialsStatus, Explanation, Exposed, Hidden, HiddenReason, LinkStatus, ListingStatus,
    NearMatch, Owner, UnlistedUpstream,
};
pub use index::{ExplainIndex, KnownUpstream};
pub use rules::AppliedRule;

impl ExplainIndex<'_> {
    /// Explains a name.
    #[must_use]
    pub fn explain(&self, name: &str) -> Explanation {
        let routes = Kind::ALL
            .into_iter()
            .filter_map(|kind| Some((kind, self.catalog.route(kind, name)?)));
        let exposed: Vec<_> = routes
            .filter_map(|(kind, route)| self.exposed(kind, &route))
            .collect();
        let is_there = !exposed.is_empty();
        let mut hidden = self.hidden();
        hidden.retain(|found| found.wanted == name || (!is_there && found.original == name));
        let (mut near, mut unlisted) = (Vec::new(), Vec::new());
        if !is_there && !hidden.iter().any(|found| found.wanted == name) {
            near = self.near(name);
            unlisted = self.unlisted();
        }
        Explanation {
            name: name.to_owned(),
            exposed,
            hidden,
            near,
            unlisted,
        }
    }

    fn exposed(&self, kind: Kind, route: &Route) -> Option<Exposed> {
        let upstream = self.upstreams.get(&route.upstream)?;
        let original = &**route.original();
        let conflicts = self.catalog.conflicts().iter();
        let conflicts = conflicts.filter(|conflict| conflict.kind == kind);
        let lost = |conflict: &&Conflict| {
            conflict.upstream == route.upstream && *conflict.original == *original
        };
        let named = NameOrigin::of(
            &Rules::from(upstream.as_ref()),
            self.naming,
            kind,
            original,
            conflicts.clone().find(lost),
        );
        let definition = self.catalog.definition(kind, &route.exposed);
        let definition = definition.as_deref().unwrap_or_default();
        let won = |conflict: &&Conflict| *conflict.exposed == *route.exposed;
        let eras = [Era::Legacy, Era::Modern].into_iter();
        Some(Exposed {
            kind,
            original: original.to_owned(),
            rules: rules::rules_for(upstream, kind, original, &named),
            named,
            conflicts: conflicts
                .filter(|conflict| lost(conflict) || won(conflict))
                .map(ToString::to_string)
                .collect(),
            eras: eras
                .filter(|era| route.is_listed(*era))
                .map(|era| era.to_string())
                .collect(),
            through: self.through(definition),
            stamped: StaleSince::on(definition).map(|stamp| stamp.to_string()),
            drift: self.drift(upstream, kind, original),
            upstream: self.owner(route.upstream_index, upstream),
        })
    }

    /// Returns how a definition differs from its pin.
    fn drift(&self, upstream: &Upstream, kind: Kind, original: &str) -> Option<PendingDefinition> {
        let drifted = drift::drift_of(upstream, self.catalog)?.of(kind, original)?;
        Some(PendingDefinition::of(
            drifted,
            upstream,
            self.naming,
            self.catalog,
        ))
    }

    /// Returns the weirs before this one through which a definition came.
    fn through(&self, definition: &str) -> Vec<String> {
        let hops = Object::parse(definition).ok().and_then(|definition| {
            let meta = definition.borrowed("_meta")?;
            let meta = Object::parse(meta).ok()?;
            let hops = hops::instances(meta.get(ORIGIN)?)?;
            Some(hops.into_iter().map(|hop| hop.to_string()).collect())
        });
        let mut hops: Vec<String> = hops.unwrap_or_default();
        hops.retain(|hop| self.instance.is_none_or(|own| own.as_str() != hop));
        hops
    }

    fn unlisted(&self) -> Vec<UnlistedUpstream> {
        let known = self.upstreams.keys().zip(&self.known);
        let unlisted = known.filter(|(_, known)| known.listed.is_none());
        unlisted
            .map(|(id, known)| UnlistedUpstream {
                upstream: id.as_str().to_owned(),
                because: known.unlisted(),
            })
            .collect()
    }
}

/// Answers `GET /explain?name=NAME`: 200 with an [`Explanation`], whether the name is exposed or not;
/// 400 without a name, and for one that is longer than any.
pub(super) async fn explain(State(live): State<Arc<Live>>, uri: Uri) -> Response {
    let query = uri.query().unwrap_or_default().as_bytes();
    let mut pairs = url::form_urlencoded::parse(query);
    let Some((_, name)) = pairs.find(|(key, _)| key == "name") else {
        let error = json!({ "error": "expected `name`" });
        return json_response(StatusCode::BAD_REQUEST, &error);
    };
    if name.len() > EXPOSED_URI_BYTES {
        let error = format!(
            "`name` has {} bytes, more than {EXPOSED_URI_BYTES}",
            name.len()
        );
        return json_response(StatusCode::BAD_REQUEST, &json!({ "error": error }));
    }
    let (name, snapshot) = (name.into_owned(), live.load_full());
    // May compare every name of the catalog, which would block a thread that calls need.
    let looking = move || ExplainIndex::of(&snapshot).explain(&name);
    match tokio::task::spawn_blocking(looking).await {
        Ok(explanation) => json_response(StatusCode::OK, &explanation),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
