//! The head of a listing in the store: what is said of it, beside the listing itself.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::replicas::{StoreLost, milliseconds};

/// How much older than it may be a listing can be by the clock of this replica: the clocks of replicas
/// differ, and the store's, which is what counts, may be somebody's who keeps old listings in it.
const CLOCKS: Duration = Duration::from_secs(60);

/// The head of a listing. The store has it for as long as the listing counts.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ListingHead {
    /// When it was published, in milliseconds since 1970.
    pub(super) at: u64,
    /// How long it counts, in milliseconds.
    pub(super) life: u64,
    /// The digest of the listing, by which its pieces are found.
    pub(super) digest: String,
    pub(super) pieces: usize,
    /// How long the upstream says that it is valid, in milliseconds.
    pub(super) ttl: Option<u64>,
}

/// Why the listing in the store is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    /// There is none that counts.
    #[error("there is none that counts")]
    Absent,
    /// The store does not answer.
    #[error(transparent)]
    Lost(#[from] StoreLost),
    /// This replica has listed the upstream since.
    #[error("it is older than the listing of this replica")]
    Outdated,
    /// The upstream speaks another era to this replica.
    #[error("the upstream speaks another era here")]
    Era,
    /// There is no room for it.
    #[error("there is no memory for it")]
    Memory,
    /// It is not to be trusted.
    #[error("{0}")]
    Refused(&'static str),
}

impl ListingHead {
    /// Checks how old the listing is, by the clock of this replica. `seen` is when the last one was
    /// published that this replica knows.
    ///
    /// # Errors
    /// It is older than it may be: somebody put it back.
    pub(super) fn check(&self, seen: Option<u64>, now: SystemTime) -> Result<(), NotTaken> {
        if seen.is_some_and(|seen| self.at < seen) {
            return Err(NotTaken::Refused("it is older than the one before it"));
        }
        let age = Duration::from_millis(since_1970(now).saturating_sub(self.at));
        match age > Duration::from_millis(self.life).saturating_add(CLOCKS) {
            true => Err(NotTaken::Refused("it is older than it may be")),
            false => Ok(()),
        }
    }
}

/// Returns a time in milliseconds since 1970.
pub(super) fn since_1970(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    milliseconds(since.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_refused_that_is_older_than_it_may_be_or_than_the_last() {
        let head = ListingHead {
            at: 1_000_000,
            life: 4_000,
            digest: String::new(),
            pieces: 1,
            ttl: None,
        };
        let at = |more: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000 + more);
        let is_good = |seen, more| head.check(seen, at(more)).is_ok();
        assert!(is_good(None, 0));
        assert!(is_good(Some(1_000_000), 64_000));
        assert!(!is_good(Some(999_999), 64_001));
        assert!(!is_good(Some(1_000_001), 1));
        // A clock that is behind.
        assert!(head.check(None, SystemTime::UNIX_EPOCH).is_ok());
    }
}
