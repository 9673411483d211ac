//! Verdicts on tokens that were seen before, so that a signature is verified once and not per
//! request.

use std::mem;
use std::time::Duration;

use foldhash::HashMap;
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use tokio::time::Instant;

use crate::authentication::refusal::Refusal;
use crate::caller::Caller;
use crate::lookups::LookupCounts;
use crate::memory::{MemoryShare, Reservation};

/// The longest that a token is accepted without another look: a key that its issuer withdraws, and a
/// rule that a reload changes, work at the latest then.
pub(super) const ACCEPTED: Duration = Duration::from_secs(60);
/// The longest that a token is refused without another look.
pub(super) const REFUSED: Duration = Duration::from_secs(10);

/// The most verdicts that are remembered: acceptances and refusals apart, so that wrong tokens do not
/// replace right ones.
const MAX_ACCEPTED: usize = 10_000;
const MAX_REFUSED: usize = 2_000;
/// The most bytes of what is remembered of accepted tokens.
const MAX_BYTES: usize = 32 << 20;

/// Tells tokens apart without keeping them: their SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenDigest([u8; 32]);

/// A verdict on a token.
pub(super) type Verdict = Result<Caller, Refusal>;

/// Verdicts, for as long as they hold.
#[derive(Debug)]
pub(super) struct VerdictCache {
    share: MemoryShare,
    accepted: Mutex<Generations<Caller>>,
    refused: Mutex<Generations<Refusal>>,
    lookups: LookupCounts,
}

/// Entries in the order of their use, roughly: when the young half is full, the old half is
/// forgotten. What is used moves to the young one.
#[derive(Debug)]
struct Generations<T> {
    young: Generation<T>,
    old: Generation<T>,
    most: usize,
    most_bytes: usize,
}

#[derive(Debug)]
struct Generation<T> {
    entries: HashMap<TokenDigest, Remembered<T>>,
    bytes: usize,
}

#[derive(Debug)]
struct Remembered<T> {
    value: T,
    until: Instant,
    reservation: Reservation,
}

impl TokenDigest {
    pub(super) fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        let digest = digest(&SHA256, token.as_bytes());
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenDigest")
    }
}

impl VerdictCache {
    /// Makes an empty cache that counts in a share of `limits.memory`.
    pub(super) fn new(share: MemoryShare) -> Self {
        Self {
            share,
            accepted: Mutex::new(Generations::new(MAX_ACCEPTED, MAX_BYTES)),
            refused: Mutex::new(Generations::new(MAX_REFUSED, MAX_BYTES)),
            lookups: LookupCounts::default(),
        }
    }

    /// Returns the verdict on a token, if it still holds.
    pub(super) fn get(&self, digest: TokenDigest) -> Option<Verdict> {
        let found = self.find(digest, Instant::now());
        self.lookups.count(found.is_some());
        found
    }

    fn find(&self, digest: TokenDigest, now: Instant) -> Option<Verdict> {
        if let Some(caller) = self.accepted.lock().get(digest, now) {
            return Some(Ok(caller));
        }
        self.refused.lock().get(digest, now).map(Err)
    }

    /// Returns how many look-ups found a verdict, and how many did not.
    pub(super) fn lookups(&self) -> (u64, u64) {
        self.lookups.counts()
    }

    /// Remembers a verdict for a time, if there is memory for it. `bytes` is its size, roughly.
    pub(super) fn remember(
        &self,
        digest: TokenDigest,
        verdict: &Verdict,
        bytes: usize,
        time: Duration,
    ) {
        let Ok(reservation) = self.share.reserve(bytes) else {
            return;
        };
        let until = Instant::now() + time;
        match verdict {
            Ok(caller) => self.accepted.lock().insert(
                digest,
                Remembered {
                    value: caller.clone(),
                    until,
                    reservation,
                },
            ),
            Err(refusal) => self.refused.lock().insert(
                digest,
                Remembered {
                    value: refusal.clone(),
                    until,
                    reservation,
                },
            ),
        }
    }
}

impl<T: Clone> Generations<T> {
    fn new(most: usize, most_bytes: usize) -> Self {
        Self {
            young: Generation::default(),
            old: Generation::default(),
            most,
            most_bytes,
        }
    }

    fn get(&mut self, digest: TokenDigest, now: Instant) -> Option<T> {
        if let Some(found) = self.young.entries.get(&digest) {
            return (now < found.until).then(|| found.value.clone());
        }
        let found = self.old.remove(digest).filter(|found| now < found.until)?;
        let value = found.value.clone();
        self.insert(digest, found);
        Some(value)
    }

    fn insert(&mut self, digest: TokenDigest, entry: Remembered<T>) {
        self.old.remove(digest);
        self.young.insert(digest, entry);
        if self.young.entries.len() > self.most / 2 || self.young.bytes > self.most_bytes / 2 {
            self.old = mem::take(&mut self.young);
        }
    }
}

impl<T> Default for Generation<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::default(),
            bytes: 0,
        }
    }
}

impl<T> Generation<T> {
    fn insert(&mut self, digest: TokenDigest, entry: Remembered<T>) {
        self.bytes += entry.reservation.bytes();
        if let Some(earlier) = self.entries.insert(digest, entry) {
            self.bytes -= earlier.reservation.bytes();
        }
    }

    fn remove(&mut self, digest: TokenDigest) -> Option<Remembered<T>> {
        let found = self.entries.remove(&digest)?;
        self.bytes -= found.reservation.bytes();
        Some(found)
    }
}
