//! What each upstream brings, at the slot that is the upstream's.

use crate::catalog::Kind;
use crate::catalog::names::Place;
use crate::catalog::prepared::{Item, Prepared};
use crate::name::UpstreamId;
use std::sync::Arc;

/// One upstream's part of a catalog.
#[derive(Clone, Debug)]
pub struct Part {
    /// The upstream.
    pub upstream: UpstreamId,
    /// Its index among the snapshot's upstreams: no two parts of a catalog have the same.
    pub slot: usize,
    /// What it brings.
    pub prepared: Arc<Prepared>,
}

/// The parts of a catalog. An upstream that brings nothing leaves its slot empty, so that the others keep theirs.
#[derive(Debug, Default)]
pub(super) struct Slots(Box<[Option<Part>]>);

impl Slots {
    pub(super) fn of(parts: &[Part]) -> Self {
        let end = parts.iter().map(|part| part.slot + 1).max().unwrap_or(0);
        let mut slots = vec![None; end];
        for part in parts {
            if let Some(slot) = slots.get_mut(part.slot) {
                *slot = Some(part.clone());
            }
        }
        Self(slots.into())
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Part> {
        self.0.get(slot as usize)?.as_ref()
    }

    /// One more than the last slot.
    pub(super) fn end(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// The parts and their slots, in the order of the config.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Part)> {
        let slots = (0..).zip(&self.0);
        slots.filter_map(|(slot, part)| Some((slot, part.as_ref()?)))
    }

    /// The items of a kind at a slot.
    pub(super) fn items(&self, kind: Kind, slot: u32) -> &[Item] {
        let part = self.get(slot);
        part.map_or(&[], |part| &part.prepared.kinds.get(kind).items)
    }

    pub(super) fn item(&self, kind: Kind, (slot, item): Place) -> Option<&Item> {
        self.items(kind, slot).get(item as usize)
    }
}
