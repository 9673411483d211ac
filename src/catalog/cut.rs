//! The part of a catalog that a class of callers sees, made of slices of what is rendered.
//!
//! Nothing in it depends on what the class does not see: neither where pages end, nor a digest.

use std::sync::Arc;

use foldhash::HashSet;

use crate::catalog::digest::Digest;
use crate::catalog::page::Page;
use crate::catalog::{Kind, PerKind};
use crate::name::UpstreamIndex;

/// The part of a catalog that callers of one class and era see.
#[derive(Debug)]
pub struct CutCatalog {
    pub(super) pages: PerKind<Arc<[Page]>>,
    pub(super) digests: [Digest; 4],
    pub(super) digest: Digest,
    pub(super) instructions: Arc<str>,
    /// By upstream, whether something of a kind is seen.
    pub(super) seen: Box<[PerKind<bool>]>,
    /// The URIs of resources that no upstream lists, and only hidden tools are shown with.
    pub(super) hidden_uris: HashSet<Arc<str>>,
    pub(super) bytes: usize,
}

/// The routes that a class of callers sees.
pub trait Sight {
    /// Returns whether something of a kind may be hidden.
    fn hides(&self, kind: Kind) -> bool;
    /// Returns whether the route at this place in [`crate::catalog::Catalog::routes`] is seen.
    fn sees(&self, kind: Kind, place: usize) -> bool;
}

impl CutCatalog {
    /// Returns a page of a list. The first one is always there.
    #[must_use]
    pub fn page(&self, kind: Kind, page: usize) -> Option<&Page> {
        self.pages.get(kind).get(page)
    }

    /// Returns a digest of each kind of list, in the order of [`Kind::ALL`].
    #[must_use]
    pub const fn digests(&self) -> [Digest; 4] {
        self.digests
    }

    /// Returns the digest of all that is listed, and of the class.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns whether any list takes more than one page.
    #[must_use]
    pub fn is_paged(&self) -> bool {
        let mut kinds = Kind::ALL.into_iter();
        kinds.any(|kind| self.pages.get(kind).len() > 1)
    }

    /// Returns the instructions of the upstreams of which something is seen, as those of the catalog.
    #[must_use]
    pub fn instructions(&self) -> &str {
        &self.instructions
    }

    /// Returns whether anything of an upstream is seen.
    #[must_use]
    pub fn sees_upstream(&self, upstream: UpstreamIndex) -> bool {
        Kind::ALL
            .into_iter()
            .any(|kind| self.sees_kind(kind, upstream))
    }

    /// Returns whether something of a kind of an upstream is seen.
    pub(super) fn sees_kind(&self, kind: Kind, upstream: UpstreamIndex) -> bool {
        let seen = self.seen.get(upstream.get());
        seen.is_some_and(|seen| *seen.get(kind))
    }

    /// Returns whether only hidden tools are shown with the resource of this URI.
    pub(super) fn hides_uri(&self, uri: &str) -> bool {
        self.hidden_uris.contains(uri)
    }

    /// Returns the bytes that it takes besides the definitions, which it shares with the catalog.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}
