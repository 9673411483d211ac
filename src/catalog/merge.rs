//! Joins what every upstream brings into one catalog.
//!
//! A merge begins with the catalog before it, at the very first with an empty one, and does what the parts that
//! changed make necessary: names that come and go, definitions whose name or URI is taken rendered anew, pages
//! cut out of what is rendered. Everything else is shared with the catalog before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use foldhash::HashMap;

use crate::catalog::digest::{Digest, Hasher};
use crate::catalog::names::{Names, Place};
use crate::catalog::page::{Page, Pager, Pages, Rendered};
use crate::catalog::prepared::{Item, seen};
use crate::catalog::resources::Labels;
use crate::catalog::routes::Catalog;
use crate::catalog::slots::{Part, Slots};
use crate::catalog::{Kind, PerEra, PerKind, naming, render};
use crate::name::Naming;
use crate::protocol::era::Era;

impl Catalog {
    /// Joins the parts, given in the order of the config and of their slots, into pages of at most `page_size` definitions.
    #[must_use]
    pub fn merge(naming: &Naming, page_size: usize, parts: &[Part]) -> Self {
        Self::empty(naming, page_size).after(parts)
    }

    /// The catalog of these parts under the same config, made of this one: equal to the one that [`Self::merge`] makes of
    /// them, and as cheap as they are few that changed.
    #[must_use]
    pub fn after(&self, parts: &[Part]) -> Self {
        let mut merge = Merge::new(self, Slots::of(parts));
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
            slots: Slots::default(),
            names: PerKind::default(),
            shown: PerKind::default(),
            labels: Arc::default(),
            implied: Arc::default(),
            pages: Arc::new(Pages::empty(Hasher::new("catalog").finish())),
            conflicts: OnceLock::new(),
            digests: PerKind::from_fn(|kind| Hasher::new(kind.method()).finish()),
            hidden: Box::default(),
        }
    }
}

/// What comes of tools that are shown with a resource.
#[derive(Debug, Default)]
pub(super) struct Implied {
    /// Resources that no upstream lists, but that a tool is shown with: whose they are, and as what.
    pub(super) resources: HashMap<Arc<str>, (u32, Arc<str>)>,
    /// Tools whose resource goes by another URI.
    moved: BTreeMap<Place, Arc<str>>,
}

impl Implied {
    /// The tools of a slot whose resource goes by another URI.
    pub(super) fn moved_of(&self, slot: u32) -> impl Iterator<Item = (u32, &Arc<str>)> {
        let of_slot = self.moved.range((slot, 0)..=(slot, u32::MAX));
        of_slot.map(|((_, item), uri)| (*item, uri))
    }
}

/// Definitions of a part, rendered anew because of other parts.
#[derive(Debug)]
pub(super) struct Shown {
    rendered: PerEra<Arc<Rendered>>,
    seen: Option<Digest>,
}

/// A merge under way.
struct Merge<'c> {
    before: &'c Catalog,
    slots: Slots,
    /// The slots whose part is another one.
    changed: BTreeSet<u32>,
    labels: Arc<Labels>,
    /// The slots whose URIs are wrapped with another label.
    relabelled: BTreeSet<u32>,
    names: PerKind<Arc<Names>>,
    /// The slots in which definitions may have to be rendered anew.
    moved: PerKind<BTreeSet<u32>>,
    implied: Arc<Implied>,
}

impl<'c> Merge<'c> {
    fn new(before: &'c Catalog, slots: Slots) -> Self {
        let mut changed = BTreeSet::new();
        let mut renamed = false;
        for slot in 0..before.slots.end().max(slots.end()) {
            let (then, now) = (before.slots.get(slot), slots.get(slot));
            let part = |part: Option<&'_ Part>| part.map(|part| Arc::as_ptr(&part.prepared));
            if part(then) != part(now) {
                changed.insert(slot);
                let label = |part: &Part| (part.upstream.clone(), part.prepared.namespace.clone());
                renamed |= then.map(label) != now.map(label);
            }
        }
        let (labels, relabelled) = match renamed {
            false => (Arc::clone(&before.labels), BTreeSet::new()),
            true => {
                let labels = Labels::of(slots.iter());
                let relabelled = labels.other_than(&before.labels);
                (Arc::new(labels), relabelled)
            }
        };
        Self {
            before,
            slots,
            changed,
            labels,
            relabelled,
            names: before.names.clone(),
            moved: PerKind::default(),
            implied: Arc::clone(&before.implied),
        }
    }

    /// Gives every item of a kind the name it wants, or, if that is taken, another one.
    fn claim(&mut self, kind: Kind) {
        let nobody = BTreeSet::new();
        let relabelled = match kind {
            Kind::Tools | Kind::Prompts => &nobody,
            Kind::Resources | Kind::Templates => &self.relabelled,
        };
        let names = self.names.get_mut(kind);
        let (mut going, mut coming) = (Vec::new(), Vec::new());
        for slot in self.changed.union(relabelled) {
            let (then, now) = (
                self.before.slots.items(kind, *slot),
                self.slots.items(kind, *slot),
            );
            let relabelled = relabelled.contains(slot);
            let upstream = |slots: &Slots| Some(slots.get(*slot)?.upstream.clone());
            let same = upstream(&self.before.slots) == upstream(&self.slots);
            for at in 0..then.len().max(now.len()) {
                let (then, now) = (then.get(at), now.get(at));
                let place = (*slot, u32::try_from(at).unwrap_or(u32::MAX));
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
        let (slots, labels, naming) = (&self.slots, &self.labels, &self.before.naming);
        let other = |place: Place, before: u32| -> Arc<str> {
            let (Some(part), Some(item)) = (slots.get(place.0), slots.item(kind, place)) else {
                return Arc::default();
            };
            match kind {
                Kind::Tools | Kind::Prompts => {
                    let original = &item.target.original;
                    naming::another(naming, &item.exposed, &part.upstream, original, before).into()
                }
                Kind::Resources | Kind::Templates => {
                    labels.wrap(place.0, &part.upstream, &item.exposed, before)
                }
            }
        };
        let (names, moved) = (Arc::make_mut(names), self.moved.get_mut(kind));
        for (place, item) in going {
            names.go(place, &item.exposed, moved);
        }
        for (place, item) in coming {
            names.come(place, &item.exposed, &other, moved);
        }
    }

    /// Lets tools follow the resource they are shown with, and claims those that nobody lists.
    fn imply(&mut self) {
        let resources = self.names.get(Kind::Resources);
        let shows = |slots: &Slots, slot| {
            let part = slots.get(slot);
            part.is_some_and(|part| !part.prepared.ui.is_empty())
        };
        let mut changed = self.changed.iter();
        let same = Arc::ptr_eq(resources, self.before.names.get(Kind::Resources))
            && Arc::ptr_eq(&self.labels, &self.before.labels)
            && !changed.any(|slot| shows(&self.slots, *slot) || shows(&self.before.slots, *slot));
        if same {
            return;
        }
        let mut implied = Implied::default();
        for (slot, part) in self.slots.iter() {
            for ui in &part.prepared.ui {
                if let Some(listed) = ui.listed {
                    if let Some(uri) = resources.renamed((slot, listed)) {
                        implied.moved.insert((slot, ui.tool), uri.clone());
                    }
                    continue;
                }
                let owner = implied.resources.get(&ui.uri).map(|(slot, _)| *slot);
                let owner = owner.or_else(|| resources.get(&ui.uri).map(|(_, place)| place.0));
                let uri = match owner {
                    Some(owner) if owner == slot => continue,
                    None => ui.uri.clone(),
                    Some(_) => {
                        let own = |uri: &str| {
                            let (owner, original) = implied.resources.get(uri)?;
                            Some(*owner == slot && *original == ui.uri)
                        };
                        let free =
                            |uri: &str| resources.get(uri).is_none() && own(uri) != Some(false);
                        let mut others = (0..)
                            .map(|before| self.labels.wrap(slot, &part.upstream, &ui.uri, before));
                        let to = others.find(|uri| free(uri)).unwrap_or_default();
                        implied.moved.insert((slot, ui.tool), to.clone());
                        to
                    }
                };
                implied.resources.insert(uri, (slot, ui.uri.clone()));
            }
        }
        let then = &self.before.implied.moved;
        let moved = self.moved.get_mut(Kind::Tools);
        let differ = |(place, uri): &(&Place, &Arc<str>), other: &BTreeMap<Place, Arc<str>>| {
            other.get(place) != Some(uri)
        };
        let new = implied.moved.iter().filter(|moved| differ(moved, then));
        let gone = then.iter().filter(|moved| differ(moved, &implied.moved));
        moved.extend(new.chain(gone).map(|((slot, _), _)| *slot));
        self.implied = Arc::new(implied);
    }

    fn finish(mut self) -> Catalog {
        let mut shown = self.before.shown.clone();
        let mut digests = self.before.digests.clone();
        let mut pages = Pages::clone(&self.before.pages);
        for kind in Kind::ALL {
            let mut anew = std::mem::take(self.moved.get_mut(kind));
            let has_some = |slot: &&u32| {
                !self.slots.items(kind, **slot).is_empty()
                    || !self.before.slots.items(kind, **slot).is_empty()
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
        for (slot, part) in self.slots.iter() {
            hasher.add(&slot.to_be_bytes());
            hasher.add(part.prepared.digest().as_bytes());
        }
        for kind in Kind::ALL {
            hasher.add(digests.get(kind).as_bytes());
        }
        pages.digest = hasher.finish();
        Catalog {
            naming: self.before.naming.clone(),
            page_size: self.before.page_size,
            slots: self.slots,
            names: self.names,
            shown,
            labels: self.labels,
            implied: self.implied,
            pages: Arc::new(pages),
            conflicts: OnceLock::new(),
            digests,
            hidden: Box::default(),
        }
    }

    /// Renders what others changed in these slots.
    fn show(&self, kind: Kind, slots: &BTreeSet<u32>, shown: &mut Arc<BTreeMap<u32, Arc<Shown>>>) {
        for slot in slots {
            match self.shown(kind, *slot) {
                Some(anew) => {
                    Arc::make_mut(shown).insert(*slot, Arc::new(anew));
                }
                None if shown.contains_key(slot) => {
                    Arc::make_mut(shown).remove(slot);
                }
                None => {}
            }
        }
    }

    fn shown(&self, kind: Kind, slot: u32) -> Option<Shown> {
        let part = self.slots.get(slot)?;
        let names: HashMap<u32, &Arc<str>> = self.names.get(kind).renamed_of(slot).collect();
        let uis: HashMap<u32, &Arc<str>> = match kind {
            Kind::Tools => self.implied.moved_of(slot).collect(),
            Kind::Prompts | Kind::Resources | Kind::Templates => HashMap::default(),
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
                    (name, ui) => render::again(kind, text, name, ui).unwrap_or_default(),
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
        Some(Shown {
            seen: seen(kind, &rendered, false),
            rendered,
        })
    }

    /// Digest of what callers see of a kind.
    fn digest_of(&self, kind: Kind, shown: &BTreeMap<u32, Arc<Shown>>) -> Digest {
        let mut hasher = Hasher::new(kind.method());
        for (slot, part) in self.slots.iter() {
            let seen = match shown.get(&slot) {
                Some(shown) => shown.seen,
                None => part.prepared.kinds.get(kind).seen,
            };
            if let Some(seen) = seen {
                hasher.add(seen.as_bytes());
            }
        }
        hasher.finish()
    }

    fn pages(&self, kind: Kind, shown: &BTreeMap<u32, Arc<Shown>>) -> PerEra<Arc<[Page]>> {
        let rendered = || {
            self.slots
                .iter()
                .map(|(slot, part)| match shown.get(&slot) {
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
    /// Whether another one asks for the same names in the same order, if it stands in the same place.
    fn asks_like(&self, other: &Self) -> bool {
        self.exposed == other.exposed && self.target.original == other.target.original
    }
}

#[cfg(test)]
mod tests;
