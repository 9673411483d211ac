//! Digests that tell parts of two configs apart.

use std::fmt;

use crate::hex;

/// A digest of all that was written of a part of the config, literal secrets and defaults included.
/// The contents of a secret's file are not in it; such files are watched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Computes the digest. `Debug` of `written` has to show everything, as the serde mirror does.
    pub(super) fn of(written: &dyn fmt::Debug) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, format!("{written:?}").as_bytes());
        let mut bytes = [0; 32];
        bytes
            .iter_mut()
            .zip(digest.as_ref())
            .for_each(|(to, from)| *to = *from);
        Self(bytes)
    }

    /// Returns it as hex, for comparison by another weir. It is made of secrets too, so it can
    /// confirm a guess.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::text(&self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It is made of secrets too.
        f.write_str("Fingerprint(…)")
    }
}
