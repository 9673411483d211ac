//! Joins the parts of all upstreams into one catalog.
//!
//! A merge starts from the previous catalog, the first one from an empty catalog, and does only
//! what the changed parts require: it adds and removes names, renders definitions again whose name
//! or URI is taken, and cuts pages out of what is rendered. It shares everything else with the
//! previous catalog.

mod reserving;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use foldhash::HashMap;

use crate::catalog::digest::{Digest, Hasher};
use crate::catalog::instructions::{self, Section};
use crate::catalog::names::{ExposedNames, ItemId, Rivals};
use crate::catalog::page::{Page, Pager, Pages, Rendered, RenderedKind};
use crate::catalog::parts::{Part, Parts};
use crate::catalog::prepared::{Item, digest_rendered};
use crate::catalog::resources::UriLabels;
use crate::catalog::routes::Catalog;
use crate::catalog::ui::UiResources;
use crate::catalog::{Kind, PerEra, PerKind, naming, render};
use crate::name::{Naming, UpstreamIndex};
use crate::protocol::era::Era;

impl Catalog {
    /// Joins the parts, given in the order of the config, into pages of at most `page_size`
    /// definitions.
    #[must_use]
    pub fn merge(naming: &Naming, page_size: usize, parts: &[Part]) -> Self {
        Self::empty(naming, page_size).after(parts)
    }

    /// Makes the catalog of these parts under the same config from this one. The result equals that
    /// of [`Self::merge`]; the cost depends on how many parts changed.
    #[must_use]
    pub fn after(&self, parts: &[Part]) -> Self {
        let mut merge = Merge::new(self, Parts::of(parts));
        merge.claim(Kind::Resources);
        merge.claim(Kind::Templates);
        merge.imply();
        merge.claim(Kind::Tools);
        merge.claim(Kind::Prompts);
        merge.finish()
    }

    fn empty(naming: &Naming, page_size: usize) -> Self {
        Self {
            naming: naming.clone(),
            page_size,
            parts: Parts::default(),
            names: PerKind::default(),
            shown: PerKind::default(),
            labels: Arc::default(),
            implied: Arc::default(),
            pages: Arc::new(Pages::empty(Hasher::new("catalog").finish())),
            conflicts: OnceLock::new(),
            digests: PerKind::from_fn(|kind| Hasher::new(kind.method()).finish()),
            instructions: Arc::default(),
            hidden: Box::default(),
            reserved: Arc::default(),
            overlaps: OnceLock::new(),
        }
    }
}

/// A merge under way.
struct Merge<'c> {
    before: &'c Catalog,
    parts: Parts,
    /// The upstreams whose part changed.
    changed: BTreeSet<UpstreamIndex>,
    labels: Arc<UriLabels>,
    /// The upstreams whose URIs are wrapped with another label than before.
    relabelled: BTreeSet<UpstreamIndex>,
    names: PerKind<Arc<ExposedNames>>,
    /// The upstreams in which definitions may have to be rendered again.
    moved: PerKind<BTreeSet<UpstreamIndex>>,
    implied: Arc<UiResources>,
}

impl<'c> Merge<'c> {
    fn new(before: &'c Catalog, parts: Parts) -> Self {
        let mut changed = BTreeSet::new();
        let mut renamed = false;
        for index in (0..before.parts.end().max(parts.end())).map(UpstreamIndex::new) {
            let (then, now) = (before.parts.get(index), parts.get(index));
            let part = |part: Option<&'_ Part>| part.map(|part| Arc::as_ptr(&part.prepared));
            if part(then) != part(now) {
                changed.insert(index);
                let label = |part: &Part| (part.upstream.clone(), part.prepared.namespace.clone());
                renamed |= then.map(label) != now.map(label);
            }
        }
        let (labels, relabelled) = match renamed {
            false => (Arc::clone(&before.labels), BTreeSet::new()),
            true => {
                let labels = UriLabels::of(parts.iter());
                let relabelled = labels.other_than(&before.labels);
                (Arc::new(labels), relabelled)
            }
        };
        Self {
            before,
            parts,
            changed,
            labels,
            relabelled,
            names: before.names.clone(),
            moved: PerKind::default(),
            implied: Arc::clone(&before.implied),
        }
    }

    /// Gives every item of a kind the name it wants or, if that is taken, an alternative.
    fn claim(&mut self, kind: Kind) {
        let nobody = BTreeSet::new();
        let relabelled = match kind {
            Kind::Tools | Kind::Prompts | Kind::Instructions => &nobody,
            Kind::Resources | Kind::Templates => &self.relabelled,
        };
        let names = self.names.get_mut(kind);
        let (mut going, mut coming) = (Vec::new(), Vec::new());
        for index in self.changed.union(relabelled) {
            let then = self.before.parts.items(kind, *index);
            let now = self.parts.items(kind, *index);
            let relabelled = relabelled.contains(index);
            let upstream = |parts: &Parts| Some(parts.get(*index)?.upstream.clone());
            let same = upstream(&self.before.parts) == upstream(&self.parts);
            for at in 0..then.len().max(now.len()) {
                let (then, now) = (then.get(at), now.get(at));
                let place = (*index, u32::try_from(at).unwrap_or(u32::MAX));
                let stays = same
                    && then.zip(now).is_some_and(|(then, now)| then.asks_like(now))
                    && !(relabelled && names.renamed(place).is_some());
                if !stays {
                    going.extend(then.map(|item| (place, item)));
                    coming.extend(now.map(|item| (place, item)));
                }
            }
        }
        if going.is_empty() && coming.is_empty() {
            return;
        }
        let (parts, labels, naming) = (&self.parts, &self.labels, &self.before.naming);
        let other = |place: ItemId, before: u32| -> Arc<str> {
            let found = parts.get(place.0).zip(parts.item(kind, place));
            debug_assert!(found.is_some(), "only items of the new parts ask for names");
            let Some((part, item)) = found else {
                return Arc::default();
            };
            match kind {
                Kind::Tools | Kind::Prompts | Kind::Instructions => {
                    let (wanted, original) = (&item.exposed, &item.target.original);
                    let upstream = &part.upstream;
                    naming::make_alternative(naming, wanted, upstream, original, before).into()
                }
                Kind::Resources | Kind::Templates => {
                    labels.wrap(place.0, &part.upstream, &item.exposed, before)
                }
            }
        };
        let reserved = &self.before.reserved;
        let rivals = Rivals {
            other: &other,
            is_barred: &|name, index| reserved.is_barred(kind, name, index),
        };
        let (names, moved) = (Arc::make_mut(names), self.moved.get_mut(kind));
        for (place, item) in going {
            names.go(place, &item.exposed, moved);
        }
        names.make_room(coming.len());
        for (place, item) in coming {
            names.come(place, &item.exposed, &rivals, moved);
        }
    }

    /// Points tools to the exposed URI of the resource they are shown with, and claims the URIs of
    /// such resources that no upstream lists.
    fn imply(&mut self) {
        let resources = self.names.get(Kind::Resources);
        let shows = |parts: &Parts, index| {
            let part = parts.get(index);
            part.is_some_and(|part| !part.prepared.ui.is_empty())
        };
        let mut changed = self.changed.iter();
        let same = Arc::ptr_eq(resources, self.before.names.get(Kind::Resources))
            && Arc::ptr_eq(&self.labels, &self.before.labels)
            && !changed
                .any(|index| shows(&self.parts, *index) || shows(&self.before.parts, *index));
        if same {
            return;
        }
        let mut implied = UiResources::default();
        for (index, part) in self.parts.iter() {
            // Many tools may be shown with one resource.
            let mut wrapped: HashMap<&Arc<str>, Arc<str>> = HashMap::default();
            for ui in &part.prepared.ui {
                if let Some(listed) = ui.listed {
                    if let Some(uri) = resources.renamed((index, listed)) {
                        implied.moved.insert((index, ui.tool), uri.clone());
                    }
                    continue;
                }
                let owner = implied.resources.get(&ui.uri).map(|(index, _)| *index);
                let owner = owner.or_else(|| resources.get(&ui.uri).map(|(_, place)| place.0));
                let uri = match (owner, wrapped.get(&ui.uri)) {
                    (Some(owner), _) if owner == index => continue,
                    (None, _) => ui.uri.clone(),
                    (Some(_), Some(to)) => {
                        implied.moved.insert((index, ui.tool), to.clone());
                        continue;
                    }
                    (Some(_), None) => {
                        let own = |uri: &str| {
                            let (owner, original) = implied.resources.get(uri)?;
                            Some(*owner == index && *original == ui.uri)
                        };
                        let free =
                            |uri: &str| resources.get(uri).is_none() && own(uri) != Some(false);
                        let mut others = (0..)
                            .map(|before| self.labels.wrap(index, &part.upstream, &ui.uri, before));
                        let to = others.find(|uri| free(uri)).unwrap_or_default();
                        implied.moved.insert((index, ui.tool), to.clone());
                        wrapped.insert(&ui.uri, to.clone());
                        to
                    }
                };
                implied.resources.insert(uri, (index, ui.uri.clone()));
            }
        }
        let then = &self.before.implied.moved;
        let moved = self.moved.get_mut(Kind::Tools);
        let differ = |(place, uri): &(&ItemId, &Arc<str>), other: &BTreeMap<ItemId, Arc<str>>| {
            other.get(place) != Some(uri)
        };
        let new = implied.moved.iter().filter(|moved| differ(moved, then));
        let gone = then.iter().filter(|moved| differ(moved, &implied.moved));
        moved.extend(new.chain(gone).map(|((index, _), _)| *index));
        self.implied = Arc::new(implied);
    }

    fn finish(mut self) -> Catalog {
        let mut shown = self.before.shown.clone();
        let mut digests = self.before.digests;
        let mut pages = Pages::clone(&self.before.pages);
        for kind in Kind::ALL {
            let mut anew = std::mem::take(self.moved.get_mut(kind));
            let has_some = |index: &&UpstreamIndex| {
                !self.parts.items(kind, **index).is_empty()
                    || !self.before.parts.items(kind, **index).is_empty()
            };
            anew.extend(self.changed.iter().filter(has_some));
            if anew.is_empty() {
                continue;
            }
            self.show(kind, &anew, shown.get_mut(kind));
            let shown = shown.get(kind);
            *digests.get_mut(kind) = self.digest_of(kind, shown);
            *pages.pages.get_mut(kind) = self.pages(kind, shown);
        }
        let mut hasher = Hasher::new("catalog");
        hasher.add(&self.before.page_size.to_be_bytes());
        for (index, part) in self.parts.iter() {
            hasher.add(&index.to_be_bytes());
            hasher.add(part.prepared.digest().as_bytes());
        }
        for kind in Kind::ALL {
            hasher.add(digests.get(kind).as_bytes());
        }
        pages.digest = hasher.finish();
        let instructions = match self.changed.is_empty() {
            true => Arc::clone(&self.before.instructions),
            false => self.join_instructions().into(),
        };
        let has_uris = |index: &UpstreamIndex| {
            let any = |parts: &Parts, kind| !parts.items(kind, *index).is_empty();
            let [then, now] = [&self.before.parts, &self.parts];
            let kinds = [Kind::Resources, Kind::Templates].into_iter();
            kinds
                .into_iter()
                .any(|kind| any(then, kind) || any(now, kind))
        };
        let overlaps = match self.changed.iter().any(has_uris) {
            true => OnceLock::new(),
            false => self.before.overlaps.clone(),
        };
        Catalog {
            naming: self.before.naming.clone(),
            page_size: self.before.page_size,
            parts: self.parts,
            names: self.names,
            shown,
            labels: self.labels,
            implied: self.implied,
            pages: Arc::new(pages),
            conflicts: OnceLock::new(),
            digests,
            instructions,
            hidden: Box::default(),
            reserved: Arc::clone(&self.before.reserved),
            overlaps,
        }
    }

    fn join_instructions(&self) -> String {
        let sections = self.parts.iter().filter_map(|(_, part)| {
            Some(Section {
                upstream: &part.upstream,
                namespace: &part.prepared.namespace,
                text: part.shown_instructions()?,
            })
        });
        instructions::join(&self.before.naming, sections)
    }

    /// Renders the definitions again that other upstreams have changed in these ones.
    fn show(
        &self,
        kind: Kind,
        upstreams: &BTreeSet<UpstreamIndex>,
        shown: &mut Arc<BTreeMap<UpstreamIndex, Arc<RenderedKind>>>,
    ) {
        for index in upstreams {
            match self.shown(kind, *index) {
                Some(anew) => {
                    Arc::make_mut(shown).insert(*index, Arc::new(anew));
                }
                None if shown.contains_key(index) => {
                    Arc::make_mut(shown).remove(index);
                }
                None => {}
            }
        }
    }

    fn shown(&self, kind: Kind, index: UpstreamIndex) -> Option<RenderedKind> {
        let part = self.parts.get(index)?;
        let names: HashMap<u32, &Arc<str>> = self.names.get(kind).renamed_of(index).collect();
        let uis: HashMap<u32, &Arc<str>> = match kind {
            Kind::Tools => self.implied.moved_of(index).collect(),
            Kind::Prompts | Kind::Resources | Kind::Templates | Kind::Instructions => {
                HashMap::default()
            }
        };
        if names.is_empty() && uis.is_empty() {
            return None;
        }
        let again = |rendered: &Rendered| {
            let texts = rendered.iter().map(|(item, text)| {
                let name = names.get(&item).map(|name| &***name);
                let ui = uis.get(&item).map(|uri| &***uri);
                let text = match (name, ui) {
                    (None, None) => text.to_owned(),
                    (name, ui) => render::rerender(kind, text, name, ui).unwrap_or_default(),
                };
                (item, text)
            });
            Arc::new(Rendered::new(&texts.collect::<Vec<_>>()))
        };
        let PerEra { legacy, modern } = &part.prepared.kinds.get(kind).rendered;
        let anew = again(legacy);
        let rendered = PerEra {
            modern: match Arc::ptr_eq(legacy, modern) {
                true => Arc::clone(&anew),
                false => again(modern),
            },
            legacy: anew,
        };
        Some(RenderedKind {
            seen: digest_rendered(kind, &rendered, false),
            rendered,
        })
    }

    /// Computes the digest of what callers see of a kind.
    fn digest_of(&self, kind: Kind, shown: &BTreeMap<UpstreamIndex, Arc<RenderedKind>>) -> Digest {
        let mut hasher = Hasher::new(kind.method());
        for (index, part) in self.parts.iter() {
            let seen = match shown.get(&index) {
                Some(shown) => shown.seen,
                None => part.prepared.kinds.get(kind).seen,
            };
            if let Some(seen) = seen {
                hasher.add(seen.as_bytes());
            }
        }
        hasher.finish()
    }

    fn pages(
        &self,
        kind: Kind,
        shown: &BTreeMap<UpstreamIndex, Arc<RenderedKind>>,
    ) -> PerEra<Arc<[Page]>> {
        let rendered = || {
            self.parts
                .iter()
                .map(|(index, part)| match shown.get(&index) {
                    Some(shown) => &shown.rendered,
                    None => &part.prepared.kinds.get(kind).rendered,
                })
        };
        let cut = |era| {
            let mut pager = Pager::new(self.before.page_size);
            rendered().for_each(|rendered| pager.add(rendered.get(era)));
            pager.finish()
        };
        let legacy = cut(Era::Legacy);
        let shared = rendered().all(|rendered| Arc::ptr_eq(&rendered.legacy, &rendered.modern));
        PerEra {
            modern: match shared {
                true => Arc::clone(&legacy),
                false => cut(Era::Modern),
            },
            legacy,
        }
    }
}

impl Item {
    /// Returns whether another item at the same position asks for the same names in the same order.
    fn asks_like(&self, other: &Self) -> bool {
        self.exposed == other.exposed && self.target.original == other.target.original
    }
}

#[cfg(test)]
mod tests;
