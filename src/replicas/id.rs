//! The ids of replicas.

use crate::seal::{self, NoRandom};

/// The bits of a tag.
const TAG_BITS: u32 = 20;
/// The bits below a tag in a number.
const NUMBER_BITS: u32 = 32;

/// A process among the replicas: none before or after has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaId([u8; 16]);

/// A short name for a replica, which fits into a number that JavaScript takes (53 bits) beside the number
/// of something that the replica has. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaTag(u32);

impl ReplicaId {
    /// Makes the id of this process.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn random() -> Result<Self, NoRandom> {
        seal::random().map(Self)
    }

    /// Returns the id with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Returns the short name.
    #[must_use]
    pub fn tag(self) -> ReplicaTag {
        let [a, b, c, d, ..] = self.0;
        let tag = u32::from_be_bytes([a, b, c, d]) >> (u32::BITS - TAG_BITS);
        ReplicaTag(tag.max(1))
    }
}

impl ReplicaTag {
    /// Returns the tag in a number that [`Self::number`] gave; `None` if there is none.
    #[must_use]
    pub fn of_number(number: u64) -> Option<Self> {
        let tag = u32::try_from(number >> NUMBER_BITS).ok()?;
        (tag != 0 && tag >> TAG_BITS == 0).then_some(Self(tag))
    }

    /// Returns the number of something that the replica has.
    #[must_use]
    pub fn number(self, own: u32) -> u64 {
        (u64::from(self.0) << NUMBER_BITS) | u64::from(own)
    }
}

impl From<ReplicaTag> for u32 {
    fn from(tag: ReplicaTag) -> Self {
        tag.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_the_numbers_of_its_replica_which_every_client_can_send_back() {
        for id in [[0; 16], [0xff; 16], [7; 16], *b"0123456789abcdef"] {
            let tag = ReplicaId::from_bytes(id).tag();
            for own in [0, 1, u32::MAX] {
                let number = tag.number(own);
                assert!(number < 1 << 53);
                assert_eq!(ReplicaTag::of_number(number), Some(tag));
            }
        }
        for number in [0, 1, u64::from(u32::MAX), u64::MAX, 1 << 52] {
            assert_eq!(ReplicaTag::of_number(number), None, "{number}");
        }
    }
}
