//! The catalog: all routes of all upstreams, and the pages that list them. Immutable.
//!
//! A merge joins what is prepared. It renders only what has to change because of others: definitions
//! whose name or URI is taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::HashMap;

use crate::catalog::arguments::ArgumentRules;
use crate::catalog::digest::{Digest, Hasher};
use crate::catalog::page::{Page, Pager, Rendered};
use crate::catalog::prepared::{Item, Prepared, Target};
use crate::catalog::resources::{self, Labels, ResourceRoute};
use crate::catalog::{Kind, PerEra, PerKind, naming, render};
use crate::name::{Naming, UpstreamId};
use crate::protocol::era::Era;
use crate::protocol::headers::HeaderParam;

/// One upstream's part of a catalog.
#[derive(Clone, Debug)]
pub struct Part {
    /// The upstream.
    pub upstream: UpstreamId,
    /// Its index among the snapshot's upstreams.
    pub slot: usize,
    /// What it brings.
    pub prepared: Arc<Prepared>,
}

/// All routes, and the pages that list them.
#[derive(Debug)]
pub struct Catalog {
    parts: Box<[Part]>,
    names: PerKind<Names>,
    labels: Labels,
    /// Resources that no upstream lists, but that a tool is shown with.
    implied: HashMap<Arc<str>, (u32, Arc<str>)>,
    pages: PerKind<PerEra<Arc<[Page]>>>,
    conflicts: Vec<Conflict>,
    digests: PerKind<Digest>,
    digest: Digest,
}

/// An item by its part and its place there.
type Place = (u32, u32);

/// The exposed names of one kind.
#[derive(Debug, Default)]
struct Names {
    places: HashMap<Arc<str>, Place>,
    /// Those that are not what their item wanted.
    renamed: BTreeMap<Place, Arc<str>>,
}

/// A name that two definitions wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// What kind of name.
    pub kind: Kind,
    /// The exposed name or URI both wanted.
    pub exposed: Arc<str>,
    /// The upstream that keeps it: the earlier one in the config.
    pub kept_by: UpstreamId,
    /// The upstream whose definition has to take another name; it may be the same one.
    pub upstream: UpstreamId,
    /// What that upstream calls it.
    pub original: Arc<str>,
    /// The name it is exposed under instead.
    pub to: Arc<str>,
}

/// Where an exposed name leads. Cheap to clone, and independent of the catalog it came from.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name or URI callers know.
    pub exposed: Arc<str>,
    /// The upstream to ask.
    pub upstream: UpstreamId,
    /// Its index among the snapshot's upstreams.
    pub slot: usize,
    target: Arc<Target>,
}

impl Route {
    /// The name or URI as the upstream knows it.
    #[must_use]
    pub fn original(&self) -> &Arc<str> {
        &self.target.original
    }

    /// The same as a JSON string.
    #[must_use]
    pub fn original_json(&self) -> &str {
        &self.target.original_json
    }

    /// The arguments that are mirrored into headers, on both sides of weir.
    #[must_use]
    pub fn header_params(&self) -> &[HeaderParam] {
        &self.target.header_params
    }

    /// What the operator does to the arguments, if anything.
    #[must_use]
    pub fn argument_rules(&self) -> Option<&ArgumentRules> {
        self.target.arguments.as_ref()
    }

    /// Whether a call has to be read as far as its arguments.
    #[must_use]
    pub fn needs_arguments(&self) -> bool {
        self.target.arguments.is_some() || !self.target.header_params.is_empty()
    }

    /// The first line of the description, for tables.
    #[must_use]
    pub fn description_head(&self) -> &str {
        &self.target.head
    }

    /// Whether callers of this era find it in their list. What they do not find, they should not call.
    #[must_use]
    pub fn is_listed(&self, era: Era) -> bool {
        *self.target.listed.get(era)
    }
}

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

    /// The tool with this exposed name.
    #[must_use]
    pub fn tool(&self, exposed: &str) -> Option<Route> {
        self.route(Kind::Tools, exposed)
    }

    /// The prompt with this exposed name.
    #[must_use]
    pub fn prompt(&self, exposed: &str) -> Option<Route> {
        self.route(Kind::Prompts, exposed)
    }

    /// The resource template with this exposed text: the template itself, not a URI made from it.
    #[must_use]
    pub fn template(&self, exposed: &str) -> Option<Route> {
        self.route(Kind::Templates, exposed)
    }

    /// What is listed under an exposed name, URI or template.
    #[must_use]
    pub fn route(&self, kind: Kind, exposed: &str) -> Option<Route> {
        let (exposed, place) = self.names.get(kind).places.get_key_value(exposed)?;
        self.route_at(kind, exposed, *place)
    }

    fn route_at(&self, kind: Kind, exposed: &Arc<str>, (part, item): Place) -> Option<Route> {
        let part = self.parts.get(part as usize)?;
        let item = part.prepared.kinds.get(kind).items.get(item as usize)?;
        Some(Route {
            exposed: exposed.clone(),
            upstream: part.upstream.clone(),
            slot: part.slot,
            target: item.target.clone(),
        })
    }

    /// Where a resource is read: at the upstream that lists the URI; else the one it is wrapped for; else
    /// the one with the template that fits best; else the only one that has resources.
    #[must_use]
    pub fn resource(&self, uri: &str) -> Option<ResourceRoute> {
        if let Some(route) = self.route(Kind::Resources, uri) {
            return Some(ResourceRoute {
                uri: route.target.original.clone(),
                upstream: route.upstream,
                slot: route.slot,
            });
        }
        let implied = || self.implied.get(uri).cloned();
        let fits = || Some((resources::by_template(&self.parts, uri)?, uri.into()));
        let sole = || Some((resources::sole(&self.parts)?, uri.into()));
        let (part, uri) = implied()
            .or_else(|| self.labels.unwrap(uri, true))
            .or_else(fits)
            // A URI from when it was wrapped, which nobody else claims now.
            .or_else(|| self.labels.unwrap(uri, false))
            .or_else(sole)?;
        let part = self.parts.get(part as usize)?;
        Some(ResourceRoute {
            upstream: part.upstream.clone(),
            slot: part.slot,
            uri,
        })
    }

    /// A page of the list that callers of an era see. The first one is always there.
    #[must_use]
    pub fn page(&self, kind: Kind, era: Era, page: usize) -> Option<&Page> {
        self.pages.get(kind).get(era).get(page)
    }

    /// How many definitions of a kind there are.
    #[must_use]
    pub fn len(&self, kind: Kind) -> usize {
        self.names.get(kind).places.len()
    }

    /// Whether there is no definition of any kind.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        Kind::ALL.into_iter().all(|kind| self.len(kind) == 0)
    }

    /// The routes of a kind, in the order of the config and of each listing.
    pub fn routes(&self, kind: Kind) -> impl Iterator<Item = Route> {
        let renamed = &self.names.get(kind).renamed;
        (0_u32..).zip(&self.parts).flat_map(move |(part, value)| {
            let items = (0_u32..).zip(&value.prepared.kinds.get(kind).items);
            items.filter_map(move |(at, item)| {
                let exposed = renamed.get(&(part, at)).unwrap_or(&item.exposed);
                self.route_at(kind, exposed, (part, at))
            })
        })
    }

    /// The names that two definitions wanted, in the order of the config.
    #[must_use]
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// Digest of what callers see of a kind, of either era.
    #[must_use]
    pub const fn digest_of(&self, kind: Kind) -> Digest {
        *self.digests.get(kind)
    }

    /// Digest of what callers see and of where it leads. Equal digests need no new generation.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
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
