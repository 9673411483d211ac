//! A listing with other definitions in the place of some.

use crate::catalog::digest::{Digest, Hasher};
use crate::catalog::listing::{Definition, Listing};
use crate::catalog::{Kind, PerKind};
use crate::protocol::era::Era;

/// Digests of definitions by kind, and of all of them and the era.
pub(super) fn digests(
    era: Era,
    definitions: &PerKind<Box<[Definition]>>,
) -> (PerKind<Digest>, Digest) {
    let digests = PerKind::from_fn(|kind| {
        let mut hasher = Hasher::new(kind.member());
        for definition in definitions.get(kind) {
            hasher.add(definition.raw.as_bytes());
        }
        hasher.finish()
    });
    let mut hasher = Hasher::new("listing");
    hasher.add(era.to_string().as_bytes());
    for kind in Kind::ALL {
        hasher.add(digests.get(kind).as_bytes());
    }
    (digests, hasher.finish())
}

impl Listing {
    /// The same listing with these definitions in the place of those of their kinds.
    pub(in crate::catalog) fn replaced(&self, kinds: Vec<(Kind, Vec<Definition>)>) -> Self {
        let mut definitions = self.definitions.clone();
        for (kind, replacement) in kinds {
            *definitions.get_mut(kind) = replacement.into();
        }
        let (digests, digest) = digests(self.era, &definitions);
        Self {
            quarantined: self.quarantined.clone(),
            definitions,
            digests,
            digest,
            ..*self
        }
    }
}
