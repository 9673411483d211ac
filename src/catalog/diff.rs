//! The difference between two catalogs: what is added, removed, renamed or redefined.
//!
//! A definition is the same one on both sides if upstream, kind and original name are equal.
//! Definitions are compared as the rules of the operator leave them, without exposed names,
//! `_meta["weir/origin"]` and `_meta["weir/stale"]`.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use foldhash::HashMap;
use indexmap::IndexMap;
use serde::Serialize;

use crate::catalog::conflict::Conflict;
use crate::catalog::named::{NameOrigin, NameStep, RenameCause};
use crate::catalog::redefinition::{Change, compare_definitions};
use crate::catalog::routes::Catalog;
use crate::catalog::{Kind, Listing, Rules, instructions, render};
use crate::config;
use crate::name::{Naming, UpstreamId};
use crate::protocol::era::Era;

/// One side of a comparison: all that a weir exposes.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// In the order of the config and of each listing.
    pub entries: Vec<SideEntry>,
}

/// An exposed definition.
#[derive(Clone, Debug)]
pub struct SideEntry {
    /// The kind.
    pub kind: Kind,
    /// The name of its upstream.
    pub upstream: Arc<str>,
    /// The original name.
    pub original: Arc<str>,
    /// The exposed name.
    pub exposed: Arc<str>,
    /// How the exposed name was made.
    pub named: NameOrigin,
    /// The definition as JSON text, of the era that sees more of it.
    pub definition: Arc<str>,
}

impl Side {
    /// Collects what a catalog exposes. `upstreams` and `naming` are those that it was made under.
    #[must_use]
    pub fn of(upstreams: &UpstreamConfigs, naming: &Naming, catalog: &Catalog) -> Self {
        let mut lost: HashMap<(Kind, &str, &str), &Conflict> = HashMap::default();
        for conflict in catalog.conflicts() {
            let key = (
                conflict.kind,
                conflict.upstream.as_str(),
                &*conflict.original,
            );
            lost.entry(key).or_insert(conflict);
        }
        let mut entries = Vec::new();
        for kind in Kind::ALL {
            for route in catalog.routes(kind) {
                let Some(upstream) = upstreams.get(&route.upstream) else {
                    continue;
                };
                let conflict = lost.get(&(kind, route.upstream.as_str(), route.original()));
                let rules = Rules::from(upstream.as_ref());
                let original = route.original();
                entries.push(SideEntry {
                    kind,
                    upstream: route.upstream.as_str().into(),
                    named: NameOrigin::of(&rules, naming, kind, original, conflict.copied()),
                    definition: catalog.definition(kind, &route.exposed).unwrap_or_default(),
                    original: Arc::clone(original),
                    exposed: route.exposed,
                });
            }
        }
        for part in catalog.parts() {
            let shown = part.shown_instructions().and_then(instructions::define);
            entries.extend(shown.map(|definition| SideEntry {
                kind: Kind::Instructions,
                upstream: part.upstream.as_str().into(),
                original: instructions::KEY.into(),
                exposed: part.upstream.as_str().into(),
                named: NameOrigin::default(),
                definition: definition.into(),
            }));
        }
        Self { entries }
    }

    /// Makes the listing that the upstream must have had to be exposed like this under the same
    /// rules.
    #[must_use]
    pub fn listing(&self, upstream: &UpstreamId) -> Listing {
        // The era is not known any more, and does not matter here.
        let mut listing = Listing::of(Era::Modern);
        for entry in &self.entries {
            if *entry.upstream == *upstream.as_str() {
                let (kind, original) = (entry.kind, Some(&*entry.original));
                if let Some(text) = render::rerender(kind, &entry.definition, original, None) {
                    listing.add(kind, &text);
                }
            }
        }
        listing.finish()
    }
}

/// The upstreams of a config.
pub type UpstreamConfigs = IndexMap<UpstreamId, Arc<config::Upstream>>;

/// The differences by upstream: upstreams of the later catalog in its order, then those of the
/// earlier one only. Upstreams without differences are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Upstreams with differences.
    pub upstreams: Vec<UpstreamDiff>,
}

/// The differences of one upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UpstreamDiff {
    /// The name of the upstream.
    pub upstream: String,
    /// Definitions that are new.
    pub added: Vec<ExposedItem>,
    /// Definitions that are gone.
    pub removed: Vec<ExposedItem>,
    /// Definitions with another exposed name.
    pub renamed: Vec<RenamedItem>,
    /// Definitions with another content.
    pub redefined: Vec<RedefinedItem>,
}

/// An exposed definition that is new or gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExposedItem {
    /// The kind.
    pub kind: Kind,
    /// Its exposed name, URI or template.
    pub name: String,
    /// The original name.
    pub original: String,
    /// The steps that made its name, besides the namespace.
    pub because: Vec<NameStep>,
}

/// A definition with another exposed name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RenamedItem {
    /// The kind.
    pub kind: Kind,
    /// The original name.
    pub original: String,
    /// Its exposed name before.
    pub from: String,
    /// Its exposed name now.
    pub to: String,
    /// Why the name changed.
    pub causes: Vec<RenameCause>,
    /// The steps that make its name now, besides the namespace.
    pub because: Vec<NameStep>,
}

/// A definition with another content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RedefinedItem {
    /// The kind.
    pub kind: Kind,
    /// Its exposed name now.
    pub name: String,
    /// The original name.
    pub original: String,
    /// The changes: at least one.
    pub changes: Vec<Change>,
}

impl Diff {
    /// Compares two sides.
    #[must_use]
    pub fn between(before: &Side, after: &Side) -> Self {
        let mut upstreams: IndexMap<&str, [Vec<&SideEntry>; 2]> = IndexMap::new();
        for entry in &after.entries {
            let [_, after] = upstreams.entry(&entry.upstream).or_default();
            after.push(entry);
        }
        for entry in &before.entries {
            let [before, _] = upstreams.entry(&entry.upstream).or_default();
            before.push(entry);
        }
        let upstreams = upstreams.into_iter();
        let upstreams = upstreams.map(|(name, [before, after])| upstream(name, &before, &after));
        Self {
            upstreams: upstreams.filter(|found| !found.is_empty()).collect(),
        }
    }

    /// Returns whether there is no difference.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.upstreams.is_empty()
    }

    /// Returns the differences of this upstream, if there are any.
    #[must_use]
    pub fn of(&self, upstream: &str) -> Option<&UpstreamDiff> {
        self.upstreams
            .iter()
            .find(|found| found.upstream == upstream)
    }
}

impl UpstreamDiff {
    /// Returns whether there is no difference.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.renamed.is_empty()
            && self.redefined.is_empty()
    }
}

fn upstream(name: &str, before: &[&SideEntry], after: &[&SideEntry]) -> UpstreamDiff {
    let mut diff = UpstreamDiff {
        upstream: name.to_owned(),
        ..UpstreamDiff::default()
    };
    let key = |entry: &SideEntry| (entry.kind, Arc::clone(&entry.original));
    let mut known: HashMap<_, &SideEntry> =
        before.iter().map(|entry| (key(entry), *entry)).collect();
    for now in after {
        let Some(then) = known.remove(&key(now)) else {
            diff.added.push(item(now));
            continue;
        };
        if then.exposed != now.exposed {
            diff.renamed.push(RenamedItem {
                kind: now.kind,
                original: now.original.to_string(),
                from: then.exposed.to_string(),
                to: now.exposed.to_string(),
                causes: RenameCause::between(&then.named, &now.named),
                because: now.named.steps.clone(),
            });
        }
        let changes = compare_definitions(now.kind, &then.definition, &now.definition);
        if !changes.is_empty() {
            diff.redefined.push(RedefinedItem {
                kind: now.kind,
                name: now.exposed.to_string(),
                original: now.original.to_string(),
                changes,
            });
        }
    }
    let gone = before
        .iter()
        .filter(|entry| known.contains_key(&key(entry)));
    diff.removed = gone.map(|entry| item(entry)).collect();
    diff
}

fn item(entry: &SideEntry) -> ExposedItem {
    ExposedItem {
        kind: entry.kind,
        name: entry.exposed.to_string(),
        original: entry.original.to_string(),
        because: entry.named.steps.clone(),
    }
}
