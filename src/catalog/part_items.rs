//! The items of one upstream, for those who look for some of a large catalog.

use memchr::memmem::{self, Finder};

use crate::catalog::parts::Part;
use crate::catalog::routes::{Catalog, Route};
use crate::catalog::{DriftReport, Kind};
use crate::name::{UpstreamId, UpstreamIndex};

/// The items of one kind that one upstream brings into a catalog.
#[derive(Clone, Copy, Debug)]
pub struct PartItems<'c> {
    catalog: &'c Catalog,
    kind: Kind,
    index: UpstreamIndex,
    part: &'c Part,
}

impl Catalog {
    /// Iterates over the items of a kind by upstream: together they are [`Self::routes`], in the same
    /// order.
    pub fn items_by_upstream(&self, kind: Kind) -> impl Iterator<Item = PartItems<'_>> {
        self.parts.iter().map(move |(index, part)| PartItems {
            catalog: self,
            kind,
            index,
            part,
        })
    }
}

impl<'c> PartItems<'c> {
    /// Returns the upstream.
    #[must_use]
    pub const fn upstream(&self) -> &'c UpstreamId {
        &self.part.upstream
    }

    /// Returns what the drift filter found at the upstream.
    #[must_use]
    pub fn drift(&self) -> &'c DriftReport {
        self.part.prepared.drift()
    }

    /// Returns the number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.part.prepared.len(self.kind)
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the route of the item at a position.
    #[must_use]
    pub fn route(&self, at: usize) -> Option<Route> {
        let item = self.part.prepared.kinds.get(self.kind).items.get(at)?;
        let place = (self.index, u32::try_from(at).ok()?);
        let names = self.catalog.names.get(self.kind);
        let exposed = names.renamed(place).unwrap_or(&item.exposed);
        self.catalog.route_at(self.kind, exposed, place)
    }

    /// Returns the positions of the items that have a text, in lower case (of ASCII), in the name that
    /// they have or wanted, in their original name or in their description, in order.
    #[must_use]
    pub fn containing(&self, text: &Finder<'_>) -> Vec<usize> {
        let texts = self.part.prepared.kinds.get(self.kind).search_texts();
        let mut found: Vec<_> = texts.containing(text).collect();
        let names = self.catalog.names.get(self.kind);
        for (at, exposed) in names.renamed_of(self.index) {
            let has = memmem::find(exposed.to_ascii_lowercase().as_bytes(), text.needle());
            let at = at as usize;
            if has.is_some()
                && let Err(place) = found.binary_search(&at)
            {
                found.insert(place, at);
            }
        }
        found
    }
}
