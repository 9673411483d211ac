//! Content hashes that mean the same in every process, today and after an update.

use std::fmt;

/// 128 bits of SHA-256. Equal content gives equal digests, in any process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 16]);

impl Digest {
    /// The bytes, to be stored or compared.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The first 8 bytes: enough for a cursor to say what it was made for.
    #[must_use]
    pub const fn prefix(&self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        [a, b, c, d, e, f, g, h]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Digests what is added to it, each piece with its length, so that pieces cannot run into each
/// other.
pub(crate) struct Hasher(ring::digest::Context);

impl Hasher {
    /// `purpose` keeps digests of different things apart.
    pub(crate) fn new(purpose: &str) -> Self {
        let mut hasher = Self(ring::digest::Context::new(&ring::digest::SHA256));
        hasher.add(purpose.as_bytes());
        hasher
    }

    pub(crate) fn add(&mut self, piece: &[u8]) {
        self.0.update(&(piece.len() as u64).to_be_bytes());
        self.0.update(piece);
    }

    /// Adds pieces that are one: how it is cut makes no difference.
    pub(crate) fn add_joined<'p>(&mut self, pieces: impl Iterator<Item = &'p [u8]> + Clone) {
        let length: usize = pieces.clone().map(<[u8]>::len).sum();
        self.0.update(&(length as u64).to_be_bytes());
        pieces.for_each(|piece| self.0.update(piece));
    }

    pub(crate) fn finish(self) -> Digest {
        let mut first = [0; 16];
        let digest = self.0.finish();
        first
            .iter_mut()
            .zip(digest.as_ref())
            .for_each(|(to, from)| *to = *from);
        Digest(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_same_in_every_process() {
        let mut hasher = Hasher::new("test");
        hasher.add(b"a");
        hasher.add(b"bc");
        // printf '\0\0\0\0\0\0\0\4test\0\0\0\0\0\0\0\1a\0\0\0\0\0\0\0\2bc' | sha256sum | cut -c1-32
        assert_eq!(
            hasher.finish().to_string(),
            "8c8268c17a1a637185d0b5f8d297c3eb"
        );
    }

    #[test]
    fn pieces_do_not_run_into_each_other() {
        let digest = |pieces: &[&[u8]]| {
            let mut hasher = Hasher::new("test");
            pieces.iter().for_each(|piece| hasher.add(piece));
            hasher.finish()
        };
        assert_ne!(digest(&[b"a", b"bc"]), digest(&[b"ab", b"c"]));
        assert_ne!(digest(&[b"abc"]), digest(&[b"abc", b""]));
    }
}
