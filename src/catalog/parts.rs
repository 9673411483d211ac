//! The parts of a catalog: the definitions of each upstream, found by the index of the upstream.

use crate::catalog::Kind;
use crate::catalog::names::ItemId;
use crate::catalog::prepared::{Item, Prepared};
use crate::name::{UpstreamId, UpstreamIndex};
use std::sync::Arc;

/// One upstream's part of a catalog.
#[derive(Clone, Debug)]
pub struct Part {
    /// The upstream.
    pub upstream: UpstreamId,
    /// Its index among the snapshot's upstreams: no two parts of a catalog have the same.
    pub upstream_index: UpstreamIndex,
    /// The prepared definitions of the upstream.
    pub prepared: Arc<Prepared>,
}

impl Part {
    /// Returns the instructions that callers see: `None` where nothing else of the upstream is
    /// exposed to them.
    #[must_use]
    pub fn shown_instructions(&self) -> Option<&str> {
        let has_more = !self.prepared.is_empty();
        self.prepared.instructions().filter(|_| has_more)
    }
}

/// The parts of a catalog by upstream. An upstream without definitions has no entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts(Box<[Option<Part>]>);

impl Parts {
    pub(super) fn of(parts: &[Part]) -> Self {
        let ends = parts.iter().map(|part| part.upstream_index.get() + 1);
        let mut by_index = vec![None; ends.max().unwrap_or(0)];
        for part in parts {
            if let Some(entry) = by_index.get_mut(part.upstream_index.get()) {
                *entry = Some(part.clone());
            }
        }
        Self(by_index.into())
    }

    pub(super) fn get(&self, index: UpstreamIndex) -> Option<&Part> {
        self.0.get(index.get())?.as_ref()
    }

    /// Returns one more than the highest index of a part.
    pub(super) fn end(&self) -> usize {
        self.0.len()
    }

    /// Iterates over the parts and the indices of their upstreams, in the order of the config.
    pub(super) fn iter(&self) -> impl Iterator<Item = (UpstreamIndex, &Part)> {
        let all = self.0.iter().enumerate();
        all.filter_map(|(index, part)| Some((UpstreamIndex::new(index), part.as_ref()?)))
    }

    /// Returns the items of a kind that an upstream has listed.
    pub(super) fn items(&self, kind: Kind, index: UpstreamIndex) -> &[Item] {
        let part = self.get(index);
        part.map_or(&[], |part| &part.prepared.kinds.get(kind).items)
    }

    pub(super) fn item(&self, kind: Kind, (index, item): ItemId) -> Option<&Item> {
        self.items(kind, index).get(item as usize)
    }
}
