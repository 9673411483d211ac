//! A listing with other definitions in the place of some.

use std::sync::Arc;

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
    /// Returns the same listing, where each kind whose list did not come has the definitions of an
    /// earlier listing.
    #[must_use]
    pub fn completed_from(&self, earlier: &Self) -> Self {
        let (mut definitions, mut digests) = (self.definitions.clone(), self.digests);
        let kinds = Kind::ALL.into_iter().chain([Kind::Instructions]);
        for kind in kinds.filter(|kind| !self.is_listed(*kind)) {
            *definitions.get_mut(kind) = earlier.definitions.get(kind).clone();
            *digests.get_mut(kind) = earlier.digest_of(kind);
        }
        self.with(definitions, digests)
    }

    /// The same listing with other definitions, whose digests by kind are `digests`.
    fn with(&self, definitions: PerKind<Arc<[Definition]>>, digests: PerKind<Digest>) -> Self {
        Self {
            quarantined: self.quarantined.clone(),
            definitions,
            digest: digest(self.era, &digests),
            digests,
            ..*self
        }
    }

    /// The same listing with these definitions in the place of those of their kinds.
    pub(crate) fn replaced(&self, kinds: Vec<(Kind, Vec<Definition>)>) -> Self {
        let (mut definitions, mut digests) = (self.definitions.clone(), self.digests);
        for (kind, replacement) in kinds {
            *digests.get_mut(kind) = digest_of(kind, &replacement);
            *definitions.get_mut(kind) = replacement.into();
        }
        self.with(definitions, digests)
    }
}
