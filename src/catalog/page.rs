//! List pages, ready to be copied out: slices of what every upstream's definitions were rendered
//! to.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::catalog::{Digest, Kind, PerEra, PerKind};
use crate::protocol::era::Era;

/// Most bytes of definitions in one page.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// One page of a list answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The inside of the JSON array, commas included. Slices; nothing is copied to make a page.
    pub chunks: Vec<Bytes>,
    /// How many definitions these are.
    pub items: usize,
    /// The index of the page after this one, if there is one.
    pub next: Option<usize>,
}

impl Page {
    /// How many bytes the chunks have together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// Appends the inside of the JSON array.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes());
        for chunk in &self.chunks {
            out.extend_from_slice(chunk);
        }
    }
}

/// All pages of a catalog: what cursors need of it.
#[derive(Clone, Debug)]
pub struct Pages {
    pub(super) pages: PerKind<PerEra<Arc<[Page]>>>,
    pub(super) digest: Digest,
}

impl Pages {
    /// No definition of any kind.
    pub(super) fn empty(digest: Digest) -> Self {
        let empty: Arc<[Page]> = Pager::new(1).finish();
        let pages = PerKind::from_fn(|_| PerEra {
            legacy: Arc::clone(&empty),
            modern: Arc::clone(&empty),
        });
        Self { pages, digest }
    }

    /// A page of the list that callers of an era see. The first one is always there.
    #[must_use]
    pub fn page(&self, kind: Kind, era: Era, page: usize) -> Option<&Page> {
        self.pages.get(kind).get(era).get(page)
    }

    /// Returns the bytes of these pages that are not kept in memory by other pages anyway.
    #[must_use]
    pub fn bytes_beyond(&self, other: &Self) -> usize {
        let mut kept = other.ranges().into_iter().peekable();
        let mut beyond = 0;
        for mut range in self.ranges() {
            while range.start < range.end {
                match kept.peek() {
                    Some(held) if held.end <= range.start => {
                        kept.next();
                    }
                    Some(held) if held.start < range.end => {
                        beyond += held.start.saturating_sub(range.start);
                        range.start = held.end;
                    }
                    Some(_) | None => {
                        beyond += range.len();
                        range.start = range.end;
                    }
                }
            }
        }
        beyond
    }

    /// Returns where in memory the bytes of all pages are, in order and each once.
    fn ranges(&self) -> Vec<Range<usize>> {
        let eras = |kind| {
            let PerEra { legacy, modern } = self.pages.get(kind);
            [legacy, modern]
        };
        let pages = Kind::ALL.into_iter().flat_map(eras);
        let chunks = pages.flat_map(|pages| pages.iter().flat_map(|page| &page.chunks));
        let mut ranges: Vec<_> = chunks
            .map(|chunk| {
                let start = chunk.as_ptr().addr();
                start..start + chunk.len()
            })
            .collect();
        ranges.sort_unstable_by_key(|range| range.start);
        let mut end = 0;
        for range in &mut ranges {
            range.start = range.start.max(end);
            end = end.max(range.end);
        }
        ranges.retain(|range| range.start < range.end);
        ranges
    }

    /// Digest of the catalog they are of.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether any list takes more than one page.
    #[must_use]
    pub fn is_paged(&self) -> bool {
        let paged = |kind| {
            [Era::Legacy, Era::Modern]
                .iter()
                .any(|era| self.page(kind, *era, 1).is_some())
        };
        Kind::ALL.into_iter().any(paged)
    }
}

/// Definitions rendered one behind the other, each with a comma before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rendered {
    bytes: Bytes,
    /// Where each definition begins (at its comma), and where the last one ends.
    bounds: Box<[usize]>,
    /// Which of the upstream's items they are: ascending, with gaps where an era drops one.
    items: Box<[u32]>,
}

impl Rendered {
    pub(crate) fn new(definitions: &[(u32, impl AsRef<str>)]) -> Self {
        // Kept for long: no more room than they take.
        let sizes = definitions.iter().map(|(_, text)| text.as_ref().len() + 1);
        let mut bytes = Vec::with_capacity(sizes.sum());
        let mut bounds = Vec::with_capacity(definitions.len() + 1);
        bounds.push(0);
        for (_, text) in definitions {
            bytes.push(b',');
            bytes.extend_from_slice(text.as_ref().as_bytes());
            bounds.push(bytes.len());
        }
        Self {
            bytes: bytes.into(),
            bounds: bounds.into(),
            items: definitions.iter().map(|(item, _)| *item).collect(),
        }
    }

    /// Which items they are, and their texts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        let positions = self.items.iter().enumerate();
        positions.filter_map(|(position, item)| Some((*item, self.text(position)?)))
    }

    /// All the bytes, for digests.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where an item stands among the rendered ones, if it is one.
    pub(crate) fn position(&self, item: u32) -> Option<usize> {
        self.items.binary_search(&item).ok()
    }

    /// The text of the definition at a position.
    pub(crate) fn text(&self, position: usize) -> Option<&str> {
        let (start, end) = (self.bounds.get(position)?, self.bounds.get(position + 1)?);
        std::str::from_utf8(self.bytes.get(start + 1..*end)?).ok()
    }
}

/// Definitions of a part, rendered anew because of other parts.
#[derive(Debug)]
pub(super) struct RenderedKind {
    pub(super) rendered: PerEra<Arc<Rendered>>,
    pub(super) seen: Option<Digest>,
}

/// Fills pages with definitions in order. Where a page ends depends on the definitions alone, not
/// on the pieces they come in.
pub(crate) struct Pager {
    size: usize,
    pages: Vec<Page>,
    page: Page,
    bytes: usize,
}

impl Pager {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size: size.max(1),
            pages: Vec::new(),
            page: Page::default(),
            bytes: 0,
        }
    }

    /// Adds rendered definitions.
    pub(crate) fn add(&mut self, rendered: &Rendered) {
        self.add_range(rendered, 0, rendered.items.len());
    }

    /// Adds those rendered definitions whose items are wanted.
    pub(crate) fn add_some(&mut self, rendered: &Rendered, wanted: impl Fn(u32) -> bool) {
        let mut from = 0;
        for run in rendered.items.chunk_by(|a, b| wanted(*a) == wanted(*b)) {
            let to = from + run.len();
            if run.first().is_some_and(|item| wanted(*item)) {
                self.add_range(rendered, from, to);
            }
            from = to;
        }
    }

    /// Adds the rendered definitions from one position up to another.
    fn add_range(&mut self, rendered: &Rendered, mut from: usize, to: usize) {
        while from < to {
            let Some(start) = rendered.bounds.get(from) else {
                return;
            };
            let room = start.saturating_add(PAGE_BYTES - self.bytes);
            let ends = rendered.bounds.get(from + 1..=to).unwrap_or_default();
            let fit = ends
                .partition_point(|end| *end <= room)
                .min(self.size - self.page.items);
            if fit == 0 && self.page.items > 0 {
                self.turn();
                continue;
            }
            let fit = fit.max(1);
            let Some(end) = rendered.bounds.get(from + fit) else {
                return;
            };
            self.push(rendered.bytes.slice(start..end), fit);
            from += fit;
        }
    }

    fn push(&mut self, mut chunk: Bytes, items: usize) {
        // The first definition of a page has no comma; counting it all the same keeps the sums
        // simple.
        self.bytes = self.bytes.saturating_add(chunk.len()).min(PAGE_BYTES);
        if self.page.items == 0 {
            chunk = chunk.slice(1..);
        }
        self.page.chunks.push(chunk);
        self.page.items += items;
    }

    fn turn(&mut self) {
        let mut page = std::mem::take(&mut self.page);
        page.next = Some(self.pages.len() + 1);
        self.pages.push(page);
        self.bytes = 0;
    }

    /// The pages: at least one, which may be empty.
    pub(crate) fn finish(mut self) -> Arc<[Page]> {
        self.pages.push(self.page);
        self.pages.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(texts: &[String]) -> Rendered {
        let texts: Vec<_> = (0..).zip(texts).collect();
        Rendered::new(&texts)
    }

    fn text(page: &Page) -> String {
        let mut out = Vec::new();
        page.write(&mut out);
        assert_eq!(out.len(), page.bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pages_hold_at_most_so_many_items() {
        let texts: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        let mut pager = Pager::new(3);
        for texts in [&texts[..2], &[], &["x".to_owned()], &texts[3..]] {
            pager.add(&rendered(texts));
        }
        let pages = pager.finish();
        let shown: Vec<_> = pages
            .iter()
            .map(|page| (text(page), page.items, page.next))
            .collect();
        assert_eq!(
            shown,
            [
                ("0,1,x".to_owned(), 3, Some(1)),
                ("3,4,5".to_owned(), 3, Some(2)),
                ("6".to_owned(), 1, None)
            ]
        );
    }

    #[test]
    fn pages_hold_at_most_so_many_bytes_but_always_one_item() {
        let texts: Vec<String> = [3, 1, 2, 9, 1]
            .map(|mib: usize| "x".repeat(mib << 20))
            .into();
        let mut pager = Pager::new(100);
        pager.add(&rendered(&texts));
        let sizes: Vec<_> = pager
            .finish()
            .iter()
            .map(|page| (page.bytes() >> 20, page.items))
            .collect();
        assert_eq!(sizes, [(3, 1), (3, 2), (9, 1), (1, 1)]);
        let mut singly = Pager::new(100);
        for text in &texts {
            singly.add(&rendered(std::slice::from_ref(text)));
        }
        let singly: Vec<_> = singly
            .finish()
            .iter()
            .map(|page| (page.bytes() >> 20, page.items))
            .collect();
        assert_eq!(singly, sizes);
    }

    #[test]
    fn nothing_is_one_empty_page() {
        let pages = Pager::new(3).finish();
        assert_eq!(pages.as_ref(), [Page::default()]);
    }
}
