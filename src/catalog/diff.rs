//! The difference between two catalogs: what comes, what goes, what has another name, what says something else.
//!
//! A definition is the same one on both sides if upstream, kind and original name are. What it says is compared as its
//! upstream and the operator's rules make it: exposed names, `_meta["weir/origin"]` and `_meta["weir/stale"]` are left out of that.

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
use crate::catalog::{Kind, Listing, Rules, render};
use crate::config;
use crate::name::{Naming, UpstreamId};
use crate::protocol::era::Era;

/// What one weir exposes.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// In the order of the config and of each listing.
    pub entries: Vec<SideEntry>,
}

/// One thing that is exposed.
#[derive(Clone, Debug)]
pub struct SideEntry {
    /// What it is.
    pub kind: Kind,
    /// Whose it is.
    pub upstream: Arc<str>,
    /// What its upstream calls it.
    pub original: Arc<str>,
    /// What callers call it.
    pub exposed: Arc<str>,
    /// How it came by that name.
    pub named: NameOrigin,
    /// The definition as JSON text, of the era that sees more of it.
    pub definition: Arc<str>,
}

impl Side {
    /// What a catalog exposes, made under these upstreams' rules and this naming.
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
        Self { entries }
    }

    /// What an upstream would have listed to be exposed like this under the same rules.
    #[must_use]
    pub fn listing(&self, upstream: &UpstreamId) -> Listing {
        // The era is known no more; what each side sees of a definition is not looked at.
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

/// What differs, by upstream: those of the later catalog in its order, then those that are only in the earlier one. Who
/// has no difference is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Upstreams with differences.
    pub upstreams: Vec<UpstreamDiff>,
}

/// What differs of one upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UpstreamDiff {
    /// Its name.
    pub upstream: String,
    /// What was not there.
    pub added: Vec<ExposedItem>,
    /// What is not there any more.
    pub removed: Vec<ExposedItem>,
    /// What has another exposed name.
    pub renamed: Vec<RenamedItem>,
    /// What says something else.
    pub redefined: Vec<RedefinedItem>,
}

/// Something exposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExposedItem {
    /// What it is.
    pub kind: Kind,
    /// Its exposed name, URI or template.
    pub name: String,
    /// What its upstream calls it.
    pub original: String,
    /// What was done to its name besides the namespace.
    pub because: Vec<NameStep>,
}

/// Something with another exposed name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RenamedItem {
    /// What it is.
    pub kind: Kind,
    /// What its upstream calls it.
    pub original: String,
    /// Its exposed name before.
    pub from: String,
    /// Its exposed name now.
    pub to: String,
    /// What of the name's origin is not as it was.
    pub causes: Vec<RenameCause>,
    /// What is done to its name now besides the namespace.
    pub because: Vec<NameStep>,
}

/// Something that says something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RedefinedItem {
    /// What it is.
    pub kind: Kind,
    /// Its exposed name now.
    pub name: String,
    /// What its upstream calls it.
    pub original: String,
    /// What it says otherwise: at least one thing.
    pub changes: Vec<Change>,
}

impl Diff {
    /// What is different in `after`.
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

    /// Whether there is no difference.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.upstreams.is_empty()
    }

    /// What differs of this upstream, if anything does.
    #[must_use]
    pub fn of(&self, upstream: &str) -> Option<&UpstreamDiff> {
        self.upstreams
            .iter()
            .find(|found| found.upstream == upstream)
    }
}

impl UpstreamDiff {
    /// Whether there is no difference.
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
