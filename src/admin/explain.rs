//! `GET /explain?name=…`: where an exposed name comes from, or why it is not exposed.

mod hidden;
mod index;
mod near;
mod rules;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::drift::{self, PendingDefinition};
use crate::admin::json_response;
use crate::catalog::{Conflict, Kind, NameOrigin, Route, Rules, StaleSince};
use crate::config::Upstream;
use crate::json::Object;
use crate::live::Live;
use crate::protocol::era::Era;
use crate::protocol::hops;
use crate::protocol::meta::ORIGIN;

pub use index::{CredentialsStatus, ExplainIndex, KnownUpstream, LinkStatus, ListingStatus};
pub use near::NearMatch;
pub use rules::AppliedRule;

/// Everything that is known about a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The name that was asked for.
    pub name: String,
    /// Everything that is exposed under it: at most one of each kind.
    pub exposed: Vec<Exposed>,
    /// Hidden definitions that would be exposed under the name, or have it at their upstream.
    pub hidden: Vec<Hidden>,
    /// Other names that may have been meant, if nothing known has the name.
    pub near: Vec<NearMatch>,
    /// Upstreams without a listing, if nothing known has the name: it may be theirs.
    pub unlisted: Vec<UnlistedUpstream>,
}

/// Something exposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposed {
    /// Its kind.
    pub kind: Kind,
    /// Its name at its upstream.
    pub original: String,
    /// How its name was made.
    pub named: NameOrigin,
    /// The rules of the config that affected it.
    pub rules: Vec<AppliedRule>,
    /// Name conflicts that involve it, each described in a sentence.
    pub conflicts: Vec<String>,
    /// The eras in whose lists it is.
    pub eras: Vec<String>,
    /// The weirs through which it came, nearest first.
    pub through: Vec<String>,
    /// The time in `_meta["weir/stale"]`: when it was last confirmed, here or at a weir before this one.
    #[serde(default)]
    pub stamped: Option<String>,
    /// How the upstream's definition differs, if the pinned one is shown instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<PendingDefinition>,
    /// Its upstream.
    pub upstream: Owner,
}

/// An upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// Its place in the config: `file:line`.
    pub at: String,
    /// Its kind.
    pub connector: String,
    /// Its listing, if there is one.
    pub listed: Option<ListingStatus>,
    /// Its link; `None` if upstreams are not asked.
    #[serde(rename = "way")]
    pub link: Option<LinkStatus>,
}

/// Something that is known and not exposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden {
    /// Its kind.
    pub kind: Kind,
    /// Its name at its upstream.
    pub original: String,
    /// The name that it would be exposed under.
    pub wanted: String,
    /// Why it is not exposed.
    pub why: HiddenReason,
    /// The same as a sentence.
    pub because: String,
    /// The rules of the config that hide it.
    pub rules: Vec<AppliedRule>,
    /// How it differs from its pin, if that is why it is hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<PendingDefinition>,
    /// Its upstream.
    pub upstream: Owner,
}

/// Why something is not exposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenReason {
    /// `tools.deny` matches it.
    Denied,
    /// `tools.allow` does not match it.
    NotAllowed,
    /// Its definition cannot be used.
    Quarantined,
    /// It differs from its pin.
    Drifted,
    /// It came from this weir.
    Own,
    /// It came through too many weirs.
    Far,
    /// Its upstream fails, and `stale` hides what it listed.
    Stale,
}

/// An upstream without a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlistedUpstream {
    /// Its name.
    pub upstream: String,
    /// Why.
    pub because: String,
}

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
/// 400 without a name.
pub(super) async fn explain(State(live): State<Arc<Live>>, uri: Uri) -> Response {
    let query = uri.query().unwrap_or_default().as_bytes();
    let mut pairs = url::form_urlencoded::parse(query);
    let Some((_, name)) = pairs.find(|(key, _)| key == "name") else {
        let error = json!({ "error": "expected `name`" });
        return json_response(StatusCode::BAD_REQUEST, &error);
    };
    let (name, snapshot) = (name.into_owned(), live.load_full());
    // May compare every name of the catalog, which would block a thread that calls need.
    let looking = move || ExplainIndex::of(&snapshot).explain(&name);
    match tokio::task::spawn_blocking(looking).await {
        Ok(explanation) => json_response(StatusCode::OK, &explanation),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
