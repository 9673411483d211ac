//! Cuts a catalog to what a class of callers sees, see [`crate::catalog::cut`].

use std::sync::Arc;

use bytes::Bytes;
use foldhash::HashSet;

use crate::catalog::cut::{CutCatalog, Sight};
use crate::catalog::digest::{Digest, Hasher};
use crate::catalog::instructions::{self, Section};
use crate::catalog::page::{Page, Pager, Rendered};
use crate::catalog::parts::Part;
use crate::catalog::routes::Catalog;
use crate::catalog::{Kind, PerEra, PerKind};
use crate::name::UpstreamIndex;
use crate::protocol::era::Era;

/// The bytes that a cut catalog takes besides what is counted.
const OWN_BYTES: usize = 1024;

impl Catalog {
    /// Cuts the catalog to what a class of callers of an era sees. It takes milliseconds.
    #[must_use]
    pub fn cut(&self, era: Era, class: &[u8], sight: &impl Sight) -> CutCatalog {
        let mut seen = vec![PerKind::<bool>::default(); self.parts.end()];
        let pages = PerKind::from_fn(|kind| match kind {
            Kind::Instructions => Arc::default(),
            Kind::Tools | Kind::Prompts | Kind::Resources | Kind::Templates => {
                self.cut_pages(kind, era, sight, &mut seen)
            }
        });
        let digests = Kind::ALL.map(|kind| match sight.hides(kind) {
            true => digest_pages(kind, pages.get(kind)),
            false => self.digest_of(kind),
        });
        let mut hasher = Hasher::new("view");
        hasher.add(class);
        hasher.add(&self.page_size.to_be_bytes());
        digests
            .iter()
            .for_each(|digest| hasher.add(digest.as_bytes()));
        let mut cut = CutCatalog {
            pages,
            digests,
            digest: hasher.finish(),
            instructions: Arc::clone(&self.instructions),
            seen: seen.into(),
            hidden_uris: self.hidden_uris(sight),
            bytes: 0,
        };
        if self
            .parts
            .iter()
            .any(|(index, _)| !cut.sees_upstream(index))
        {
            cut.instructions = self.instructions_of(&cut).into();
        }
        cut.bytes = cut.weigh(sight);
        cut
    }

    fn cut_pages(
        &self,
        kind: Kind,
        era: Era,
        sight: &impl Sight,
        seen: &mut [PerKind<bool>],
    ) -> Arc<[Page]> {
        let hides = sight.hides(kind);
        let mut pager = Pager::new(self.page_size);
        let mut first = 0;
        for (index, part) in self.parts.iter() {
            let items = part.prepared.kinds.get(kind).items.len();
            let sees = |item: usize| !hides || sight.sees(kind, first + item);
            if let Some(seen) = seen.get_mut(index.get()) {
                *seen.get_mut(kind) = (0..items).any(sees);
            }
            if hides {
                let rendered = self.rendered(kind, index, part).get(era);
                pager.add_some(rendered, |item| sees(item as usize));
            }
            first += items;
        }
        match hides {
            true => pager.finish(),
            false => Arc::clone(self.pages.pages.get(kind).get(era)),
        }
    }

    /// Returns the definitions of a part as they are listed.
    fn rendered<'c>(
        &'c self,
        kind: Kind,
        index: UpstreamIndex,
        part: &'c Part,
    ) -> &'c PerEra<Arc<Rendered>> {
        match self.shown.get(kind).get(&index) {
            Some(shown) => &shown.rendered,
            None => &part.prepared.kinds.get(kind).rendered,
        }
    }

    fn instructions_of(&self, cut: &CutCatalog) -> String {
        let parts = self.parts.iter();
        let seen = parts.filter(|(index, _)| cut.sees_upstream(*index));
        let sections = seen.filter_map(|(_, part)| {
            Some(Section {
                upstream: &part.upstream,
                namespace: &part.prepared.namespace,
                text: part.shown_instructions()?,
            })
        });
        instructions::join(&self.naming, sections)
    }

    /// Returns the URIs of resources that no upstream lists, and only hidden tools are shown with.
    fn hidden_uris(&self, sight: &impl Sight) -> HashSet<Arc<str>> {
        if !sight.hides(Kind::Tools) || self.implied.resources.is_empty() {
            return HashSet::default();
        }
        let (mut shown, mut first) = (HashSet::default(), 0);
        for (index, part) in self.parts.iter() {
            let tools = part.prepared.ui.iter();
            let tools = tools.filter(|ui| sight.sees(Kind::Tools, first + ui.tool as usize));
            shown.extend(tools.map(|ui| (index, &ui.uri)));
            first += part.prepared.kinds.get(Kind::Tools).items.len();
        }
        let implied = self.implied.resources.iter();
        let hidden = implied.filter(|(_, (index, uri))| !shown.contains(&(*index, uri)));
        hidden.map(|(uri, _)| Arc::clone(uri)).collect()
    }
}

impl CutCatalog {
    fn weigh(&self, sight: &impl Sight) -> usize {
        let kinds = Kind::ALL.into_iter().filter(|kind| sight.hides(*kind));
        let pages = kinds.flat_map(|kind| self.pages.get(kind).iter());
        let pages =
            pages.map(|page| size_of::<Page>() + page.chunks.capacity() * size_of::<Bytes>());
        let uris = self.hidden_uris.iter();
        let uris = uris.map(|uri| size_of::<Arc<str>>() + uri.len());
        OWN_BYTES
            + pages.sum::<usize>()
            + uris.sum::<usize>()
            + self.instructions.len()
            + size_of_val(&*self.seen)
    }
}

/// Computes the digest of pages: of their content, not of the slices that it comes in.
fn digest_pages(kind: Kind, pages: &[Page]) -> Digest {
    let mut hasher = Hasher::new(kind.method());
    for page in pages {
        hasher.add_joined(page.chunks.iter().map(|chunk| &**chunk));
    }
    hasher.finish()
}
