//! The catalog: all routes of all upstreams, and the pages that list them. Immutable.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::catalog::arguments::ArgumentRules;
use crate::catalog::conflict::Conflict;
use crate::catalog::cut::CutCatalog;
use crate::catalog::digest::Digest;
use crate::catalog::names::{ExposedNames, ItemId};
use crate::catalog::overlap::Overlap;
use crate::catalog::page::{Page, Pages, RenderedKind};
use crate::catalog::parts::{Part, Parts};
use crate::catalog::prepared::RouteTarget;
use crate::catalog::repetition::Repetition;
use crate::catalog::reserved::ReservedNames;
use crate::catalog::resources::{self, ResourceRoute, UriLabels};
use crate::catalog::ui::UiResources;
use crate::catalog::{Kind, PerKind, listing, overlap, render};
use crate::config::{CallTimeout, ValidateSettings};
use crate::name::{Naming, UpstreamId, UpstreamIndex};
use crate::protocol::era::Era;
use crate::protocol::headers::HeaderParam;

/// All routes, and the pages that list them.
#[derive(Debug)]
pub struct Catalog {
    pub(super) naming: Naming,
    pub(super) page_size: usize,
    pub(super) parts: Parts,
    pub(super) names: PerKind<Arc<ExposedNames>>,
    /// By upstream, the definitions that are listed differently from how their part has them.
    pub(super) shown: PerKind<Arc<BTreeMap<UpstreamIndex, Arc<RenderedKind>>>>,
    pub(super) labels: Arc<UriLabels>,
    pub(super) implied: Arc<UiResources>,
    pub(super) pages: Arc<Pages>,
    pub(super) conflicts: OnceLock<Vec<Conflict>>,
    pub(super) digests: PerKind<Digest>,
    /// The instructions of the upstreams, joined and escaped.
    pub(super) instructions: Arc<str>,
    /// Parts of upstreams that are hidden as long as they fail. Not in the digest.
    pub(super) hidden: Box<[Part]>,
    /// The names that only one upstream may have, whether it lists them or not.
    pub(super) reserved: Arc<ReservedNames>,
    pub(super) overlaps: OnceLock<Vec<Overlap>>,
}

/// Where an exposed name leads. Cheap to clone, and independent of the catalog it came from.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name or URI callers know.
    pub exposed: Arc<str>,
    /// The upstream to ask.
    pub upstream: UpstreamId,
    /// Its index among the snapshot's upstreams.
    pub upstream_index: UpstreamIndex,
    target: Arc<RouteTarget>,
}

impl Route {
    /// Returns the name or URI by which the upstream knows it.
    #[must_use]
    pub fn original(&self) -> &Arc<str> {
        &self.target.original
    }

    /// Returns [`Self::original`] as a JSON string.
    #[must_use]
    pub fn original_json(&self) -> &str {
        &self.target.original_json
    }

    /// Returns the arguments that are mirrored into headers, on both sides of weir.
    #[must_use]
    pub fn header_params(&self) -> &[HeaderParam] {
        &self.target.header_params
    }

    /// Returns whether the annotations of the tool say that it may be called twice.
    #[must_use]
    pub fn repetition(&self) -> Repetition {
        self.target.repetition
    }

    /// Returns whether the tool can be called only as a task of 2025-11-25.
    #[must_use]
    pub fn requires_task(&self) -> bool {
        self.target.requires_task
    }

    /// Returns the time that a call may take, if the config gives this tool one of its own.
    #[must_use]
    pub fn timeout(&self) -> Option<CallTimeout> {
        self.target.timeout
    }

    /// Returns how the operator changes the arguments, if at all.
    #[must_use]
    pub fn argument_rules(&self) -> Option<&ArgumentRules> {
        self.target.arguments.as_deref()
    }

    /// Returns the checks of calls; `None` if there are none.
    #[must_use]
    pub fn validate(&self) -> Option<&ValidateSettings> {
        self.target.validate.as_deref()
    }

    /// Returns the definition as the upstream listed it: JSON text, the same memory for the same
    /// definition.
    #[must_use]
    pub fn listed_definition(&self) -> &Arc<str> {
        &self.target.definition
    }

    /// Returns whether the arguments of a call have to be parsed.
    #[must_use]
    pub fn needs_arguments(&self) -> bool {
        self.target.arguments.is_some() || !self.target.header_params.is_empty()
    }

    /// Returns whether the list for callers of this era has it. Callers should not be able to call
    /// what is not listed for them.
    #[must_use]
    pub fn is_listed(&self, era: Era) -> bool {
        *self.target.listed.get(era)
    }
}

impl Catalog {
    /// Returns the tool with this exposed name.
    #[must_use]
    pub fn tool(&self, exposed: &str) -> Option<Route> {
        self.route(Kind::Tools, exposed)
    }

    /// Returns the prompt with this exposed name.
    #[must_use]
    pub fn prompt(&self, exposed: &str) -> Option<Route> {
        self.route(Kind::Prompts, exposed)
    }

    /// Returns the resource template with this exposed text: the template itself, not a URI made
    /// from it.
    #[must_use]
    pub fn template(&self, exposed: &str) -> Option<Route> {
        self.route(Kind::Templates, exposed)
    }

    /// Returns the route of an exposed name, URI or template.
    #[must_use]
    pub fn route(&self, kind: Kind, exposed: &str) -> Option<Route> {
        let (exposed, place) = self.names.get(kind).get(exposed)?;
        self.route_at(kind, exposed, place)
    }

    pub(super) fn route_at(
        &self,
        kind: Kind,
        exposed: &Arc<str>,
        (index, item): ItemId,
    ) -> Option<Route> {
        let part = self.parts.get(index)?;
        let item = part.prepared.kinds.get(kind).items.get(item as usize)?;
        Some(Route {
            exposed: exposed.clone(),
            upstream: part.upstream.clone(),
            upstream_index: part.upstream_index,
            target: item.target.clone(),
        })
    }

    /// Returns where a resource is read that no result has named.
    #[must_use]
    pub fn resource(&self, uri: &str) -> Option<ResourceRoute> {
        self.resource_named(uri, None, || None)
    }

    /// Returns where a resource is read: at the upstream that lists the URI; else at the one that
    /// the URI is wrapped for; else at the one that `named` it in a result; else at the first one
    /// that has a template which fits; else at the only one that has resources.
    ///
    /// Routes that a class of callers does not see count for nothing, but for listed URIs: about those
    /// policy decides.
    #[must_use]
    pub fn resource_named(
        &self,
        uri: &str,
        cut: Option<&CutCatalog>,
        named: impl FnOnce() -> Option<UpstreamId>,
    ) -> Option<ResourceRoute> {
        if let Some(route) = self.route(Kind::Resources, uri) {
            return Some(ResourceRoute {
                uri: route.target.original.clone(),
                upstream: route.upstream,
                upstream_index: route.upstream_index,
            });
        }
        let implied = || {
            let implied = self.implied.resources.get(uri);
            let is_seen = |_: &&_| cut.is_none_or(|cut| !cut.hides_uri(uri));
            implied.filter(is_seen).cloned()
        };
        let named = || Some((self.index_of(&named()?)?, uri.into()));
        let fits = || Some((resources::by_template(&self.parts, uri, cut)?, uri.into()));
        let sole = || Some((resources::sole(&self.parts, cut)?, uri.into()));
        let (index, uri) = implied()
            .or_else(|| self.labels.unwrap(uri, |index| self.wraps(index)))
            .or_else(named)
            .or_else(fits)
            // The URI was wrapped in an earlier catalog, and no other upstream claims it now.
            .or_else(|| self.labels.unwrap(uri, |_| true))
            .or_else(sole)?;
        let part = self.parts.get(index)?;
        Some(ResourceRoute {
            upstream: part.upstream.clone(),
            upstream_index: part.upstream_index,
            uri,
        })
    }

    fn index_of(&self, upstream: &UpstreamId) -> Option<UpstreamIndex> {
        let mut parts = self.parts.iter();
        parts.find_map(|(index, part)| (part.upstream == *upstream).then_some(index))
    }

    /// Returns whether a URI that only results name leads to this upstream by itself.
    #[must_use]
    pub fn is_only_one_with_resources(
        &self,
        upstream: UpstreamIndex,
        cut: Option<&CutCatalog>,
    ) -> bool {
        resources::sole(&self.parts, cut) == Some(upstream)
    }

    /// Returns whether any URI of an upstream is wrapped.
    fn wraps(&self, index: UpstreamIndex) -> bool {
        let renamed = |kind| self.names.get(kind).renamed_of(index).next().is_some();
        renamed(Kind::Resources)
            || renamed(Kind::Templates)
            || self.implied.moved_of(index).next().is_some()
    }

    /// Returns a page of the list for callers of an era. Page 0 always exists.
    #[must_use]
    pub fn page(&self, kind: Kind, era: Era, page: usize) -> Option<&Page> {
        self.pages.page(kind, era, page)
    }

    /// Returns all pages. They outlive the catalog while callers page through them.
    #[must_use]
    pub const fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }

    /// Returns the number of definitions of a kind.
    #[must_use]
    pub fn len(&self, kind: Kind) -> usize {
        self.names.get(kind).len()
    }

    /// Returns whether there is no definition of any kind.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        Kind::ALL.into_iter().all(|kind| self.len(kind) == 0)
    }

    /// Iterates over the routes of a kind, in the order of the config and of each listing.
    pub fn routes(&self, kind: Kind) -> impl Iterator<Item = Route> {
        let names = self.names.get(kind);
        self.parts.iter().flat_map(move |(index, part)| {
            let items = (0_u32..).zip(&part.prepared.kinds.get(kind).items);
            items.filter_map(move |(at, item)| {
                let exposed = names.renamed((index, at)).unwrap_or(&item.exposed);
                self.route_at(kind, exposed, (index, at))
            })
        })
    }

    /// Iterates over the parts, in the order of the config.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().map(|(_, part)| part)
    }

    /// Adds the parts of upstreams that are hidden as long as they fail.
    #[must_use]
    pub fn hiding(self, hidden: Vec<Part>) -> Self {
        Self {
            hidden: hidden.into(),
            ..self
        }
    }

    /// Returns the parts of upstreams that are hidden as long as they fail.
    #[must_use]
    pub fn hidden(&self) -> &[Part] {
        &self.hidden
    }

    /// Returns a definition as JSON text under its exposed name, as the era sees it that sees more
    /// of it. A changed URI in `_meta.ui` is not applied.
    #[must_use]
    pub fn definition(&self, kind: Kind, exposed: &str) -> Option<Arc<str>> {
        let (_, (index, item)) = self.names.get(kind).get(exposed)?;
        let text = self
            .parts
            .get(index)?
            .prepared
            .kinds
            .get(kind)
            .definition(item)?;
        let moved = self.names.get(kind).renamed((index, item)).is_some();
        let again = moved.then(|| render::rerender(kind, text, Some(exposed), None));
        Some(again.flatten().map_or_else(|| text.into(), Into::into))
    }

    /// Returns the first line of a description, for tables.
    #[must_use]
    pub fn head(&self, kind: Kind, exposed: &str) -> String {
        let definition = self.definition(kind, exposed);
        definition.map_or_else(String::new, |text| listing::head(&text))
    }

    /// Returns the names that two definitions wanted, in the order of the config.
    #[must_use]
    pub fn conflicts(&self) -> &[Conflict] {
        self.conflicts.get_or_init(|| self.all_conflicts())
    }

    fn all_conflicts(&self) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        for kind in [Kind::Resources, Kind::Templates, Kind::Tools, Kind::Prompts] {
            let names = self.names.get(kind);
            for (index, part) in self.parts.iter() {
                let prepared = part.prepared.kinds.get(kind);
                conflicts.extend(prepared.clashes.iter().map(|clash| Conflict {
                    kind,
                    exposed: clash.exposed.clone(),
                    kept_by: part.upstream.clone(),
                    is_pinned: false,
                    upstream: part.upstream.clone(),
                    original: clash.original.clone(),
                    to: clash.to.clone(),
                }));
                for (at, to) in names.renamed_of(index) {
                    let Some(item) = prepared.items.get(at as usize) else {
                        continue;
                    };
                    let reserved = self.reserved.owner(kind, &item.exposed);
                    let reserved = reserved.filter(|owner| owner.index != index);
                    let keeps = names.get(&item.exposed);
                    let keeps = keeps.and_then(|(_, (index, _))| self.parts.get(index));
                    let keeps = &keeps.unwrap_or(part).upstream;
                    conflicts.push(Conflict {
                        kind,
                        exposed: item.exposed.clone(),
                        kept_by: reserved.map_or(keeps, |owner| &owner.upstream).clone(),
                        is_pinned: reserved.is_some(),
                        upstream: part.upstream.clone(),
                        original: item.target.original.clone(),
                        to: to.clone(),
                    });
                }
            }
        }
        conflicts
    }

    /// Returns URIs of an upstream's templates and resources that another one's templates fit too.
    #[must_use]
    pub fn overlaps(&self) -> &[Overlap] {
        self.overlaps.get_or_init(|| overlap::find(&self.parts))
    }

    /// Returns all conflicts and overlaps, in words.
    pub fn rivalries(&self) -> impl Iterator<Item = String> {
        let conflicts = self.conflicts().iter().map(ToString::to_string);
        conflicts.chain(self.overlaps().iter().map(ToString::to_string))
    }

    /// Returns the names that are reserved for upstreams which have pinned them.
    #[must_use]
    pub fn reserved(&self) -> &Arc<ReservedNames> {
        &self.reserved
    }

    /// Returns the instructions of the upstreams, joined under headings and escaped like the inside
    /// of a JSON string; empty if there are none.
    #[must_use]
    pub fn instructions(&self) -> &str {
        &self.instructions
    }

    /// Returns the digest of what callers of either era see of a kind.
    #[must_use]
    pub const fn digest_of(&self, kind: Kind) -> Digest {
        *self.digests.get(kind)
    }

    /// Returns the digest of what callers see and where it leads. Catalogs with equal digests need
    /// no new generation.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.pages.digest()
    }
}
