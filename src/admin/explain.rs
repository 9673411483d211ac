//! `GET /explain?name=…`: where an exposed name comes from, or why it is not exposed.

mod answer;
mod asks;
mod hidden;
mod index;
mod near;
mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde_json::json;

use crate::admin::drift::{self, PendingDefinition};
use crate::admin::response::json_response;
use crate::admin::work::answer_with;
use crate::caller::{Caller, Identity, Principal};
use crate::catalog::{Conflict, Kind, NameOrigin, Route, Rules, StaleSince};
use crate::config::Upstream;
use crate::json::Object;
use crate::live::Live;
use crate::live::access::complete_caller;
use crate::policy::{CallerName, Policies, PolicyRequest};
use crate::protocol::bounds::EXPOSED_URI_BYTES;
use crate::protocol::era::Era;
use crate::protocol::hops;
use crate::protocol::meta::ORIGIN;

pub use answer::{
    CredentialsStatus, ExplainedAccess, Explanation, Exposed, Hidden, HiddenReason, LinkStatus,
    ListingStatus, NearMatch, Owner, UnlistedUpstream,
};
pub use index::{ExplainIndex, KnownUpstream};
pub use rules::AppliedRule;

impl ExplainIndex<'_> {
    /// Explains a name, and what policy says of a caller that uses it.
    #[must_use]
    pub fn explain(&self, name: &str, caller: Option<&Caller>) -> Explanation {
        let routes = Kind::ALL
            .into_iter()
            .filter_map(|kind| Some((kind, self.catalog.route(kind, name)?)));
        let exposed: Vec<_> = routes
            .filter_map(|(kind, route)| self.exposed(kind, &route, caller))
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

    fn exposed(&self, kind: Kind, route: &Route, caller: Option<&Caller>) -> Option<Exposed> {
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
            asks: asks::questions_of(kind, route, self.known.get(route.upstream_index.get())),
            access: caller.map(|caller| self.access(kind, route, caller)),
            upstream: self.owner(route.upstream_index, upstream),
        })
    }

    /// Returns what policy says of a caller.
    fn access(&self, kind: Kind, route: &Route, caller: &Caller) -> ExplainedAccess {
        let decision = self.policies.map(|policies| {
            let request = PolicyRequest::of_route(kind, route, Era::Modern, None);
            policies.decide(caller, &request)
        });
        let sees = |policies: &Policies| policies.sees(caller, kind, route, Era::Modern);
        let reasons = decision.as_ref();
        ExplainedAccess {
            caller: CallerName::of(caller),
            listed: self.policies.is_none_or(sees),
            decision: reasons
                .map_or("allow", |decision| decision.as_str())
                .to_owned(),
            policies: reasons
                .map(|decision| decision.policy_names())
                .unwrap_or_default(),
            errors: reasons
                .map(|decision| decision.errors.clone())
                .unwrap_or_default(),
        }
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

/// Returns the caller that a query names, if it names one: its `caller`, `kind`, `issuer`, and a `claim`
/// as `NAME=TEXT` for each claim.
pub(crate) fn asked_caller(query: &[u8]) -> Result<Option<Caller>, String> {
    let (mut subject, mut kind, mut issuer, mut tags) = (None, None, None, BTreeMap::new());
    for (key, value) in url::form_urlencoded::parse(query) {
        match &*key {
            "caller" => subject = Some(value),
            "kind" => kind = Some(value),
            "issuer" => issuer = Some(value),
            "claim" => {
                let (name, text) = value.split_once('=').unwrap_or((&value, ""));
                tags.insert(name.into(), text.into());
            }
            _ => {}
        }
    }
    let Some(subject) = subject else {
        return Ok(None);
    };
    let kind = kind.as_deref().unwrap_or(Principal::OAuthUser.as_str());
    let Some(kind) = Principal::parse(kind) else {
        let words = Principal::ALL.map(Principal::as_str).join(", ");
        return Err(format!("expected `kind` to be one of {words}"));
    };
    Ok(Some(Caller::new(Identity {
        issuer: issuer.as_deref().map(Box::from),
        tags,
        ..Identity::new(kind, &subject)
    })))
}

/// Answers `GET /explain?name=NAME`: 200 with an [`Explanation`], whether the name is exposed or not;
/// 400 without a name, and for one that is longer than any. With `caller=SUBJECT` it says what policy
/// says of that caller; `kind`, `issuer` and `claim=NAME=TEXT` say more of it.
pub(super) async fn explain(State(live): State<Arc<Live>>, uri: Uri) -> Response {
    let query = uri.query().unwrap_or_default().as_bytes();
    let mut pairs = url::form_urlencoded::parse(query);
    let reject = |error: &str| json_response(StatusCode::BAD_REQUEST, &json!({ "error": error }));
    let Some((_, name)) = pairs.find(|(key, _)| key == "name") else {
        return reject("expected `name`");
    };
    if name.len() > EXPOSED_URI_BYTES {
        let bytes = name.len();
        return reject(&format!(
            "`name` has {bytes} bytes, more than {EXPOSED_URI_BYTES}"
        ));
    }
    let caller = match asked_caller(query) {
        Ok(caller) => caller,
        Err(error) => return reject(&error),
    };
    let (name, snapshot) = (name.into_owned(), live.load_full());
    // May compare every name of the catalog, which would block a thread that calls need.
    let looking = move || {
        let caller = caller.map(|caller| complete_caller(&snapshot.config, caller));
        ExplainIndex::of(&snapshot).explain(&name, caller.as_ref())
    };
    answer_with(looking).await
}
