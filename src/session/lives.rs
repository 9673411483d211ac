//! How long sessions live: which were ended, and which were renewed because they are in use.
//!
//! A session's id says when it was issued, and alone is good for [`LIFE`]. Use in the second half of
//! that time renews it, up to [`MOST`] after its issue. Ends and renewals are facts of this weir; with
//! a state folder they survive a restart.

use std::collections::BTreeSet;
use std::time::Duration;

use foldhash::HashMap;

use crate::session::token::SessionToken;

/// How long a session can be used after its issue or its last renewal. An id that leaked and is not
/// used is worth nothing after a day; a client that comes back later initializes again.
pub(super) const LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long a session can be used at most, however often it is renewed. What was ended has to be
/// remembered that long.
pub(super) const MOST: Duration = Duration::from_secs(7 * 24 * 3600);
/// At most this many ended sessions are remembered one by one, some 100 bytes each. Beyond that, the
/// one issued first is forgotten, and with it every session that is not in use and was issued no later.
pub(super) const ENDED: usize = 100_000;
/// At most this many renewals are remembered. Beyond that, sessions are not renewed: they end, and
/// their clients initialize again.
const RENEWED: usize = 100_000;

/// The first bytes of the stored form.
const MAGIC: &[u8; 16] = b"weir sessions 1\n";
/// The bytes of one stored record: its kind, the session's key, two times.
const RECORD: usize = 1 + 16 + 8 + 8;

/// The key of a session.
pub(super) type SessionKey = [u8; 16];

/// Ends and renewals of sessions. Times are seconds since 1970.
#[derive(Debug, Default)]
pub(super) struct SessionLives {
    /// When each ended session was issued.
    ended: HashMap<SessionKey, u64>,
    /// The same, the one issued first at the front.
    order: BTreeSet<(u64, SessionKey)>,
    /// Sessions issued at this time or before are unknown, unless they are in use.
    floor: u64,
    /// When each renewed session was issued, and until when it lives.
    renewed: HashMap<SessionKey, (u64, u64)>,
}

/// An end or a renewal of a session. Times are seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LifeChange {
    /// It was ended.
    Ended {
        /// Its key.
        key: SessionKey,
        /// When it was issued.
        issued: u64,
    },
    /// It was renewed.
    Renewed {
        /// Its key.
        key: SessionKey,
        /// When it was issued.
        issued: u64,
        /// Until when it lives.
        until: u64,
    },
}

impl LifeChange {
    /// Returns when the session was issued.
    pub(super) fn issued(&self) -> u64 {
        match self {
            Self::Ended { issued, .. } | Self::Renewed { issued, .. } => *issued,
        }
    }
}

/// The stored form is damaged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of sessions")]
pub struct DamagedSessions;

impl SessionLives {
    /// Returns whether a session lives, and renews it if it is time. The second value is whether
    /// something changed. `in_use` says whether it has a state in memory.
    pub(super) fn admit(
        &mut self,
        session: &SessionToken,
        now: u64,
        in_use: impl FnOnce() -> bool,
    ) -> (bool, bool) {
        let half = LIFE.as_secs() / 2;
        let last = session.issued.saturating_add(MOST.as_secs());
        let mut until = session.issued.saturating_add(LIFE.as_secs());
        let mut is_renewed = false;
        if now.saturating_add(half) >= until
            && let Some((_, renewed)) = self.renewed.get(&session.key)
        {
            (until, is_renewed) = (*renewed, true);
        }
        if now >= until || now >= last || self.ended.contains_key(&session.key) {
            return (false, false);
        }
        if session.issued <= self.floor && !is_renewed && !in_use() {
            return (false, false);
        }
        let has_room = is_renewed || self.renewed.len() < RENEWED;
        let next = now.saturating_add(LIFE.as_secs()).min(last);
        // Once in a half of its life at most, so that a call costs two comparisons.
        if now.saturating_add(half) < until || next <= until || !has_room {
            return (true, false);
        }
        self.renewed.insert(session.key, (session.issued, next));
        (true, true)
    }

    /// Ends a session for good.
    pub(super) fn end(&mut self, session: &SessionToken) {
        self.end_key(session.key, session.issued);
    }

    /// Applies a change of another replica. Returns whether it changes anything here.
    pub(super) fn apply(&mut self, change: &LifeChange) -> bool {
        match *change {
            LifeChange::Ended { key, issued } => {
                let is_new = !self.ended.contains_key(&key);
                self.end_key(key, issued);
                is_new
            }
            LifeChange::Renewed { key, issued, until } => {
                let known = self.renewed.get(&key).map_or(0, |(_, known)| *known);
                let has_room = known > 0 || self.renewed.len() < RENEWED;
                let is_new = known < until && has_room && !self.ended.contains_key(&key);
                if is_new {
                    self.renewed.insert(key, (issued, until));
                }
                is_new
            }
        }
    }

    /// Returns all ends and renewals.
    pub(super) fn changes(&self) -> Vec<LifeChange> {
        let ended = self.ended.iter();
        let ended = ended.map(|(key, issued)| LifeChange::Ended {
            key: *key,
            issued: *issued,
        });
        let renewed = self.renewed.iter();
        let renewed = renewed.map(|(key, (issued, until))| LifeChange::Renewed {
            key: *key,
            issued: *issued,
            until: *until,
        });
        ended.chain(renewed).collect()
    }

    /// Returns the renewal of a session, if it was renewed.
    pub(super) fn renewal(&self, key: &SessionKey) -> Option<LifeChange> {
        let (issued, until) = *self.renewed.get(key)?;
        Some(LifeChange::Renewed {
            key: *key,
            issued,
            until,
        })
    }

    fn end_key(&mut self, key: SessionKey, issued: u64) {
        self.renewed.remove(&key);
        if self.ended.insert(key, issued).is_none() {
            self.order.insert((issued, key));
        }
        while self.order.len() > ENDED
            && let Some((issued, key)) = self.order.pop_first()
        {
            self.ended.remove(&key);
            // It must not come back to life, so nothing of its age does.
            self.floor = self.floor.max(issued);
        }
    }

    /// Returns whether a session was ended.
    pub(super) fn is_ended(&self, key: &SessionKey) -> bool {
        self.ended.contains_key(key)
    }

    /// Forgets what is over by its age alone.
    pub(super) fn sweep(&mut self, now: u64) {
        while let Some((issued, key)) = self.order.first().copied()
            && issued.saturating_add(MOST.as_secs()) <= now
        {
            self.order.remove(&(issued, key));
            self.ended.remove(&key);
        }
        self.renewed.retain(|_, (_, until)| *until > now);
    }

    /// Returns the stored form.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let records = self.ended.len() + self.renewed.len();
        let mut bytes = Vec::with_capacity(MAGIC.len() + 8 + records * RECORD);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.floor.to_le_bytes());
        let mut push = |kind: u8, key: &SessionKey, issued: u64, until: u64| {
            bytes.push(kind);
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(&issued.to_le_bytes());
            bytes.extend_from_slice(&until.to_le_bytes());
        };
        for (key, issued) in &self.ended {
            push(b'e', key, *issued, 0);
        }
        for (key, (issued, until)) in &self.renewed {
            push(b'r', key, *issued, *until);
        }
        bytes
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// It is damaged.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, DamagedSessions> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(DamagedSessions)?;
        let (floor, rest) = rest.split_first_chunk::<8>().ok_or(DamagedSessions)?;
        let mut lives = Self {
            floor: u64::from_le_bytes(*floor),
            ..Self::default()
        };
        let records = rest.chunks_exact(RECORD);
        if !records.remainder().is_empty() || records.len() > ENDED + RENEWED {
            return Err(DamagedSessions);
        }
        for record in records {
            let (kind, rest) = record.split_first().ok_or(DamagedSessions)?;
            let (key, rest) = rest.split_first_chunk::<16>().ok_or(DamagedSessions)?;
            let (issued, rest) = rest.split_first_chunk::<8>().ok_or(DamagedSessions)?;
            let (until, _) = rest.split_first_chunk::<8>().ok_or(DamagedSessions)?;
            let (issued, until) = (u64::from_le_bytes(*issued), u64::from_le_bytes(*until));
            match kind {
                b'e' => {
                    lives.ended.insert(*key, issued);
                    lives.order.insert((issued, *key));
                }
                b'r' => {
                    lives.renewed.insert(*key, (issued, until));
                }
                _ => return Err(DamagedSessions),
            }
        }
        Ok(lives)
    }

    /// Returns lives in which no session from before this time is known: for when what was ended
    /// cannot be read.
    pub(super) fn after(floor: u64) -> Self {
        Self {
            floor,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::era::Version;

    const HOUR: u64 = 3600;

    fn session(number: u64, issued: u64) -> SessionToken {
        SessionToken {
            key: u128::from(number).to_le_bytes(),
            mark: [0; 8],
            version: Version::V2025_11_25,
            capabilities: "{}".into(),
            owner: None,
            agent: None,
            issued,
        }
    }

    fn lives(lives: &mut SessionLives, session: &SessionToken, now: u64) -> bool {
        lives.admit(session, now, || false).0
    }

    #[test]
    fn an_unused_session_lives_a_day_and_a_used_one_seven() {
        let mut all = SessionLives::default();
        let unused = session(1, 1);
        assert!(lives(&mut all, &unused, 2));
        assert!(!lives(&mut all, &unused, 1 + 24 * HOUR));
        let used = session(2, 1);
        let last = (0..24 * 30).map(|hours| 1 + hours * HOUR);
        let last = last.take_while(|now| lives(&mut all, &used, *now)).last();
        assert_eq!(last, Some(1 + (7 * 24 - 1) * HOUR));
    }

    #[test]
    fn a_call_renews_nothing_in_the_first_half() {
        let mut all = SessionLives::default();
        let one = session(1, 1);
        assert_eq!(all.admit(&one, 11 * HOUR, || false), (true, false));
        assert_eq!(all.admit(&one, 13 * HOUR, || false), (true, true));
        assert_eq!(all.admit(&one, 14 * HOUR, || false), (true, false));
        assert_eq!(all.admit(&one, 26 * HOUR, || false), (true, true));
    }

    #[test]
    fn however_many_are_ended_none_comes_back() {
        let mut all = SessionLives::default();
        let first = session(0, 100);
        all.end(&first);
        let (old, young) = (session(1, 100), session(2, 5000));
        for number in 0..u64::try_from(ENDED).unwrap() + 10 {
            all.end(&session(1000 + number, 101 + number / 1000));
        }
        assert!(all.ended.len() <= ENDED && all.order.len() <= ENDED);
        assert!(!lives(&mut all, &first, 6000));
        // A session as old as the forgotten ones goes with them, unless it is in use.
        assert!(!lives(&mut all, &old, 6000));
        assert!(all.admit(&old, 6000, || true).0);
        assert!(lives(&mut all, &young, 6000));
        let mut again = SessionLives::from_bytes(&all.to_bytes()).unwrap();
        assert!(!lives(&mut again, &first, 6000) && lives(&mut again, &young, 6000));
    }

    #[test]
    fn what_is_stored_is_read_again_or_refused_whole() {
        let mut all = SessionLives::default();
        all.end(&session(1, 5));
        all.admit(&session(2, 5), 5 + 13 * HOUR, || false);
        let bytes = all.to_bytes();
        let mut read = SessionLives::from_bytes(&bytes).unwrap();
        assert!(read.is_ended(&session(1, 5).key));
        assert!(lives(&mut read, &session(2, 5), 5 + 30 * HOUR));
        read.sweep(5 + MOST.as_secs());
        assert_eq!(
            (read.ended.len(), read.order.len(), read.renewed.len()),
            (0, 0, 0)
        );
        for cut in 0..bytes.len() {
            let read = SessionLives::from_bytes(&bytes[..cut]);
            assert!(read.is_err() || (cut - 24) % RECORD == 0, "{cut}");
        }
    }
}
