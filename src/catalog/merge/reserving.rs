//! Merging while names are kept for those that have pinned them.

use std::sync::{Arc, OnceLock};

use crate::catalog::Kind;
use crate::catalog::parts::Part;
use crate::catalog::reserved::ReservedNames;
use crate::catalog::routes::Catalog;

impl Catalog {
    /// Makes the catalog of these parts like [`Self::after`], with these names kept for the upstreams
    /// that have pinned them.
    #[must_use]
    pub fn after_reserving(&self, parts: &[Part], reserved: &Arc<ReservedNames>) -> Self {
        if Arc::ptr_eq(reserved, &self.reserved) {
            return self.after(parts);
        }
        // Few pins change whose a name is; then all names are given out anew.
        let before = match self.moves_names(reserved) {
            true => Self::empty(&self.naming, self.page_size),
            false => self.like(),
        };
        let reserved = Arc::clone(reserved);
        Self { reserved, ..before }.after(parts)
    }

    /// Returns whether a name would have to change its owner if these were reserved, now or later.
    fn moves_names(&self, reserved: &ReservedNames) -> bool {
        [Kind::Tools, Kind::Prompts].into_iter().any(|kind| {
            let names = self.names.get(kind);
            let held_by_other = |name: &str| {
                let holder = names.get(name);
                holder.is_some_and(|(_, (index, _))| reserved.is_barred(kind, name, index))
            };
            // Of those that ask for a name, the next one would get it when its holder goes, though it
            // is reserved.
            let mut differing = reserved.differing(&self.reserved, kind);
            differing.any(|name| {
                names.was_barred(name) || names.is_contested(name) || held_by_other(name)
            })
        })
    }

    /// Returns the same catalog, with nothing that is computed on demand.
    fn like(&self) -> Self {
        Self {
            naming: self.naming.clone(),
            page_size: self.page_size,
            parts: self.parts.clone(),
            names: self.names.clone(),
            shown: self.shown.clone(),
            labels: Arc::clone(&self.labels),
            implied: Arc::clone(&self.implied),
            pages: Arc::clone(&self.pages),
            conflicts: OnceLock::new(),
            digests: self.digests,
            instructions: Arc::clone(&self.instructions),
            hidden: Box::default(),
            reserved: Arc::clone(&self.reserved),
            overlaps: self.overlaps.clone(),
        }
    }
}
