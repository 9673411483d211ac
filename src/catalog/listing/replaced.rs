//! A listing with other definitions in the place of some.

use crate::catalog::digest::{Digest, Hasher};
use crate::catalog::listing::{Definition, Listing};
use crate::catalog::{Kind, PerKind};
use crate::protocol::era::Era;

/// Digest of the definitions of a kind and their order.
pub(super) fn digest_of(kind: Kind, definitions: &[Definition]) -> Digest {
    let mut hasher = Hasher::new(kind.member());
    for definition in definitions {
        hasher.add(definition.raw.as_bytes());
    }
    hasher.finish()
}

/// Digest of all kinds and the era.
pub(super) fn digest(era: Era, digests: &PerKind<Digest>) -> Digest {
    let mut hasher = Hasher::new("listing");
    hasher.add(era.to_string().as_bytes());
    for kind in Kind::ALL {
        hasher.add(digests.get(kind).as_bytes());
    }
    hasher.add(digests.get(Kind::Instructions).as_bytes());
    hasher.finish()
}

impl Listing {
    /// The same listing with these definitions in the place of those of their kinds.
    pub(in crate::catalog) fn replaced(&self, kinds: Vec<(Kind, Vec<Definition>)>) -> Self {
        let (mut definitions, mut digests) = (self.definitions.clone(), self.digests.clone());
        for (kind, replacement) in kinds {
            *digests.get_mut(kind) = digest_of(kind, &replacement);
            *definitions.get_mut(kind) = replacement.into();
        }
        Self {
            quarantined: self.quarantined.clone(),
            definitions,
            digest: digest(self.era, &digests),
            digests,
            ..*self
        }
    }
}
