//! Joins what every upstream brings into one catalog.
//!
//! A merge renders only what has to change because of others: definitions whose name or URI is taken.
//! Everything else is slices of what was rendered when its upstream last changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::HashMap;

use crate::catalog::digest::{Digest, Hasher};
use crate::catalog::page::{Page, Pager, Rendered};
use crate::catalog::prepared::Item;
use crate::catalog::resources::Labels;
use crate::catalog::routes::{Catalog, Conflict, Names, Part, Place};
use crate::catalog::{Kind, PerEra, PerKind, naming, render};
use crate::name::{Naming, UpstreamId};
use crate::protocol::era::Era;

impl Catalog {
    /// Joins the parts, given in the order of the config, into pages of at most `page_size` definitions.
    #[must_use]
    pub fn merge(naming: &Naming, page_size: usize, parts: &[Part]) -> Self {
        let mut merge = Merge::new(parts);
        for kind in [Kind::Resources, Kind::Templates] {
            merge.claim(kind, |labels, part, upstream, item, taken| {
                labels.wrap(part, upstream, &item.exposed, taken)
            });
        }
        merge.imply();
        for kind in [Kind::Tools, Kind::Prompts] {
            merge.claim(kind, |_, _, upstream, item, taken| {
                let original = &item.target.original;
                naming::other(naming, &item.exposed, upstream, original, taken).into()
            });
        }
        merge.finish(page_size)
    }
}

/// A definition rendered anew for a catalog, with its comma.
#[derive(Default)]
struct Patch {
    rendered: PerEra<Option<Bytes>>,
}

type Patches = BTreeMap<Place, Patch>;

/// A merge under way.
struct Merge<'p> {
    parts: &'p [Part],
    names: PerKind<Names>,
    labels: Labels,
    implied: HashMap<Arc<str>, (u32, Arc<str>)>,
    /// Tools whose resource goes by another URI.
    moved_ui: BTreeMap<Place, Arc<str>>,
    conflicts: Vec<Conflict>,
}

impl<'p> Merge<'p> {
    fn new(parts: &'p [Part]) -> Self {
        Self {
            parts,
            names: PerKind::default(),
            labels: Labels::of(parts),
            implied: HashMap::default(),
            moved_ui: BTreeMap::new(),
            conflicts: Vec::new(),
        }
    }

    /// Gives every item of a kind the name it wants, or, if that is taken, another one.
    fn claim(
        &mut self,
        kind: Kind,
        other: impl Fn(&mut Labels, u32, &UpstreamId, &Item, &dyn Fn(&str) -> bool) -> Arc<str>,
    ) {
        let items = |part: &Part| part.prepared.len(kind);
        let names = self.names.get_mut(kind);
        names.places.reserve(self.parts.iter().map(items).sum());
        for (at, part) in (0_u32..).zip(self.parts) {
            let prepared = part.prepared.kinds.get(kind);
            self.conflicts
                .extend(prepared.clashes.iter().map(|clash| Conflict {
                    kind,
                    exposed: clash.exposed.clone(),
                    kept_by: part.upstream.clone(),
                    upstream: part.upstream.clone(),
                    original: clash.original.clone(),
                    to: clash.to.clone(),
                }));
            for (item_at, item) in (0_u32..).zip(&prepared.items) {
                let place = (at, item_at);
                let Some((kept_by, _)) = names.places.get(&item.exposed) else {
                    names.places.insert(item.exposed.clone(), place);
                    continue;
                };
                let kept_by = self.parts.get(*kept_by as usize).unwrap_or(part);
                let taken = |name: &str| names.places.contains_key(name);
                let to = other(&mut self.labels, at, &part.upstream, item, &taken);
                names.places.insert(to.clone(), place);
                names.renamed.insert(place, to.clone());
                self.conflicts.push(Conflict {
                    kind,
                    exposed: item.exposed.clone(),
                    kept_by: kept_by.upstream.clone(),
                    upstream: part.upstream.clone(),
                    original: item.target.original.clone(),
                    to,
                });
            }
        }
    }

    /// Lets tools follow the resource they are shown with, and claims those that nobody lists.
    fn imply(&mut self) {
        let resources = self.names.get(Kind::Resources);
        for (at, part) in (0_u32..).zip(self.parts) {
            for ui in &part.prepared.ui {
                if let Some(listed) = ui.listed {
                    if let Some(uri) = resources.renamed.get(&(at, listed)) {
                        self.moved_ui.insert((at, ui.tool), uri.clone());
                    }
                    continue;
                }
                let owner = self.implied.get(&ui.uri).map(|(part, _)| *part);
                let owner = owner.or_else(|| resources.places.get(&ui.uri).map(|(part, _)| *part));
                let uri = match owner {
                    Some(owner) if owner == at => continue,
                    None => ui.uri.clone(),
                    Some(_) => {
                        let own = |uri: &str| {
                            let (part, original) = self.implied.get(uri)?;
                            Some(*part == at && *original == ui.uri)
                        };
                        let taken = |uri: &str| {
                            resources.places.contains_key(uri) || own(uri) == Some(false)
                        };
                        let to = self.labels.wrap(at, &part.upstream, &ui.uri, taken);
                        self.moved_ui.insert((at, ui.tool), to.clone());
                        to
                    }
                };
                self.implied.insert(uri, (at, ui.uri.clone()));
            }
        }
    }

    fn finish(self, page_size: usize) -> Catalog {
        let patches = PerKind::from_fn(|kind| self.patches(kind));
        let digests = PerKind::from_fn(|kind| self.seen(kind, patches.get(kind)));
        let pages = PerKind::from_fn(|kind| {
            let patches = patches.get(kind);
            let shared = self.parts.iter().all(|part| {
                let rendered = &part.prepared.kinds.get(kind).rendered;
                Arc::ptr_eq(&rendered.legacy, &rendered.modern)
            });
            let legacy = self.pages(kind, Era::Legacy, page_size, patches);
            let modern = if shared {
                legacy.clone()
            } else {
                self.pages(kind, Era::Modern, page_size, patches)
            };
            PerEra { legacy, modern }
        });
        let mut hasher = Hasher::new("catalog");
        hasher.add(&page_size.to_be_bytes());
        for part in self.parts {
            hasher.add(&part.slot.to_be_bytes());
            hasher.add(part.prepared.digest().as_bytes());
        }
        for kind in Kind::ALL {
            hasher.add(digests.get(kind).as_bytes());
        }
        Catalog {
            parts: self.parts.into(),
            names: self.names,
            labels: self.labels,
            implied: self.implied,
            pages,
            conflicts: self.conflicts,
            digest: hasher.finish(),
            digests,
            hidden: Box::default(),
        }
    }

    /// Renders the definitions that others changed.
    fn patches(&self, kind: Kind) -> Patches {
        let renamed = &self.names.get(kind).renamed;
        let no_ui = BTreeMap::new();
        let moved = match kind {
            Kind::Tools => &self.moved_ui,
            Kind::Prompts | Kind::Resources | Kind::Templates => &no_ui,
        };
        let mut patches = Patches::new();
        for place in renamed.keys().chain(moved.keys()) {
            patches.entry(*place).or_insert_with(|| {
                let name = renamed.get(place).map(AsRef::as_ref);
                let ui = moved.get(place).map(AsRef::as_ref);
                self.patch(kind, *place, name, ui)
            });
        }
        patches
    }

    fn patch(&self, kind: Kind, place: Place, name: Option<&str>, ui: Option<&str>) -> Patch {
        let Some(part) = self.parts.get(place.0 as usize) else {
            return Patch::default();
        };
        let rendered = &part.prepared.kinds.get(kind).rendered;
        let again = |rendered: &Rendered| {
            let text = rendered.text(rendered.position(place.1)?)?;
            let text = render::again(kind, text, name, ui)?;
            Some(Bytes::from(format!(",{text}")))
        };
        let legacy = again(&rendered.legacy);
        let modern = if Arc::ptr_eq(&rendered.legacy, &rendered.modern) {
            legacy.clone()
        } else {
            again(&rendered.modern)
        };
        Patch {
            rendered: PerEra { legacy, modern },
        }
    }

    /// Digest of what callers see of a kind.
    fn seen(&self, kind: Kind, patches: &Patches) -> Digest {
        let mut hasher = Hasher::new(kind.method());
        for (at, part) in (0_u32..).zip(self.parts) {
            let Some(seen) = part.prepared.kinds.get(kind).seen else {
                continue;
            };
            hasher.add(seen.as_bytes());
            for ((_, item), patch) in of_part(patches, at) {
                hasher.add(&item.to_be_bytes());
                for era in [&patch.rendered.legacy, &patch.rendered.modern] {
                    hasher.add(era.as_deref().unwrap_or_default());
                }
            }
        }
        hasher.finish()
    }

    fn pages(&self, kind: Kind, era: Era, size: usize, patches: &Patches) -> Arc<[Page]> {
        let mut pager = Pager::new(size);
        for (at, part) in (0_u32..).zip(self.parts) {
            let rendered = part.prepared.kinds.get(kind).rendered.get(era);
            let mut from = 0;
            for ((_, item), patch) in of_part(patches, at) {
                let (Some(position), Some(bytes)) =
                    (rendered.position(*item), patch.rendered.get(era))
                else {
                    continue;
                };
                pager.run(rendered, from, position);
                pager.single(bytes.clone());
                from = position + 1;
            }
            pager.run(rendered, from, rendered.len());
        }
        pager.finish()
    }
}

fn of_part(patches: &Patches, part: u32) -> impl Iterator<Item = (&Place, &Patch)> {
    patches.range((part, 0)..=(part, u32::MAX))
}
