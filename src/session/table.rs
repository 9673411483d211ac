//! All legacy sessions of this weir: which ids are valid, and the state of the sessions in use.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use foldhash::HashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::caller::{Occupant, PrincipalKey, Rest, Room, ShareKey};
use crate::memory::MemoryBudget;
use crate::replicas::{ReplicaTag, SharedStore};
use crate::seal::{KeyRing, NoRandom, Sealer};
use crate::session::caller_session::CallerSession;
use crate::session::lives::{DamagedSessions, LifeChange, SessionLives};
use crate::session::shared_lives::SharedLives;
use crate::session::token::{self, NewSession, SessionToken};
use crate::upstream::probe::SessionProfile;

/// At most this many bytes of opened tokens are cached: a client's capabilities make one up to 5 KiB
/// large. When the cache is full, it is emptied: opening a token again costs a few microseconds.
const SEEN_BYTES: usize = 4 << 20;

/// The bytes that a cached token takes besides its texts.
const SEEN_EACH: usize = 128;

/// At most this many sessions have a state in memory. The one that was idle for longest, of the
/// caller that has most, makes room for a new one. Its id stays valid.
const STATES: usize = 50_000;

/// How long the state of an idle session is kept. Its sessions at upstreams end with it. The
/// session itself stays valid, and opens others when it calls again.
pub const IDLE: Duration = Duration::from_secs(30 * 60);

/// The state of a session that was used within this time is not dropped for want of memory: its caller
/// is about to ask something else.
const JUST_USED: Duration = Duration::from_secs(1);

/// At least this many states are dropped at once for want of memory.
const FEWEST: usize = 64;

/// The most: more would take another look at all states, which others wait for.
const MOST: usize = 256;

/// All legacy sessions.
#[derive(Debug)]
pub struct SessionTable {
    sealer: Sealer,
    memory: Arc<MemoryBudget>,
    inner: Mutex<Inner>,
    /// Told when ends or renewals are to be stored.
    changed: Notify,
    /// Where replicas share them, if they do.
    shared: OnceLock<Arc<SharedLives>>,
    /// The mark of this replica in the numbers of sessions, where others forward to it.
    tag: OnceLock<ReplicaTag>,
}

#[derive(Debug)]
struct Inner {
    /// Recently opened tokens. Opening one costs more than all other checks of a request.
    seen: HashMap<Box<str>, SessionToken>,
    seen_bytes: usize,
    /// Which were ended or renewed.
    lives: SessionLives,
    states: Room<[u8; 16], Arc<CallerSession>>,
}

impl Inner {
    /// Returns a session from the cache if it lives, and whether something is to be stored.
    fn admit_seen(
        &mut self,
        id: &str,
        owner: Option<PrincipalKey>,
    ) -> Option<(Option<SessionToken>, bool)> {
        let session = self.seen.get(id)?;
        if session.owner != owner {
            return Some((None, false));
        }
        let in_use = || self.states.get(&session.key).is_some();
        let (lives, changed) = self.lives.admit(session, token::now(), in_use);
        Some((lives.then(|| session.clone()), changed))
    }

    fn remember(&mut self, id: &str, session: &SessionToken) {
        let bytes = id.len() + session.capabilities.len() + SEEN_EACH;
        if self.seen_bytes + bytes > SEEN_BYTES {
            self.seen.clear();
            self.seen_bytes = 0;
        }
        self.seen_bytes += bytes;
        self.seen.insert(id.into(), session.clone());
    }
}

impl Occupant for Arc<CallerSession> {
    fn rest(&self) -> Rest {
        self.usage().rest()
    }
}

impl SessionTable {
    /// Makes an empty table whose sessions are sealed with this key.
    ///
    /// # Errors
    /// The keys cannot be derived.
    pub fn new(keys: &KeyRing, memory: Arc<MemoryBudget>) -> Result<Self, NoRandom> {
        let sealer = keys.sealer(token::PURPOSE).ok_or(NoRandom)?;
        Ok(Self::with_states(sealer, memory, STATES))
    }

    fn with_states(sealer: Sealer, memory: Arc<MemoryBudget>, states: usize) -> Self {
        Self {
            sealer,
            memory,
            inner: Mutex::new(Inner {
                seen: HashMap::default(),
                seen_bytes: 0,
                lives: SessionLives::default(),
                states: Room::new(states),
            }),
            changed: Notify::new(),
            shared: OnceLock::new(),
            tag: OnceLock::new(),
        }
    }

    /// Has the numbers of sessions name this replica from now on.
    pub fn name_replica(&self, tag: ReplicaTag) {
        let _ = self.tag.set(tag);
    }

    /// Has ends and renewals told to other replicas from now on.
    pub(super) fn share_with(&self, store: Arc<SharedStore>) -> Arc<SharedLives> {
        let shared = || Arc::new(SharedLives::new(store));
        Arc::clone(self.shared.get_or_init(shared))
    }

    /// Returns all ends and renewals.
    pub(super) fn life_changes(&self) -> Vec<LifeChange> {
        self.lock().lives.changes()
    }

    /// Applies an end or a renewal on another replica.
    pub(super) fn apply(&self, change: &LifeChange) {
        if !self.lock().lives.apply(change) {
            return;
        }
        self.changed.notify_one();
        if let LifeChange::Ended { key, .. } = change {
            self.drop_state_of(key);
        }
    }

    /// Has a renewal stored, and told to other replicas.
    fn note_renewal(&self, session: &SessionToken) {
        self.changed.notify_one();
        if let Some(shared) = self.shared.get()
            && let Some(renewal) = self.lock().lives.renewal(&session.key)
        {
            shared.tell(&renewal);
        }
    }

    /// Takes over the ends and renewals that [`Self::to_bytes`] gave before a restart.
    ///
    /// # Errors
    /// They are damaged. Then no session from before is known.
    pub fn restore(&self, bytes: &[u8]) -> Result<(), DamagedSessions> {
        let read = SessionLives::from_bytes(bytes);
        let damaged = read.as_ref().err().map(|_| DamagedSessions);
        self.lock().lives = read.unwrap_or_else(|_| SessionLives::after(token::now()));
        damaged.map_or(Ok(()), Err)
    }

    /// Returns the ends and renewals, to be stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lock().lives.to_bytes()
    }

    /// Waits until ends or renewals are to be stored.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Opens a session and returns its id, visible ASCII.
    ///
    /// # Errors
    /// No random numbers.
    pub fn open(&self, new: NewSession<'_>) -> Result<String, NoRandom> {
        SessionToken::issue(&self.sealer, new)
    }

    /// Returns the session with this id; `None` if no weir with this key opened it for this principal,
    /// if it has expired or was ended. Another principal does not use it, and so renews nothing.
    #[must_use]
    pub fn find(&self, id: &str, owner: Option<PrincipalKey>) -> Option<SessionToken> {
        let seen = self.lock().admit_seen(id, owner);
        if let Some((session, changed)) = seen {
            if let Some(session) = session.as_ref().filter(|_| changed) {
                self.note_renewal(session);
            }
            return session;
        }
        let session = SessionToken::open(&self.sealer, id)?;
        if session.owner != owner {
            return None;
        }
        let mut inner = self.lock();
        let in_use = inner.states.get(&session.key).is_some();
        let (lives, changed) = inner.lives.admit(&session, token::now(), || in_use);
        if !lives {
            return None;
        }
        inner.remember(id, &session);
        drop(inner);
        if changed {
            self.note_renewal(&session);
        }
        Some(session)
    }

    /// Returns the state of a session, and makes it if there is none, for this caller.
    #[must_use]
    pub fn state(&self, session: &SessionToken, share: ShareKey) -> Arc<CallerSession> {
        let mut inner = self.lock();
        if let Some(state) = inner.states.get(&session.key) {
            if inner.states.is_full() {
                // It is about to be used, and must not make room now.
                state.touch();
            }
            return Arc::clone(state);
        }
        let profile = SessionProfile {
            version: session.version,
            capabilities: Cow::Owned(session.capabilities.as_ref().to_owned()),
            key: Some(session.key),
        };
        let state = CallerSession::new(profile, share, self.memory.share());
        if let Some(tag) = self.tag.get() {
            state.name_replica(*tag);
        }
        let ousted = inner.states.make_room(share, Instant::now());
        // If all have calls under way, this one has a state for what it asks now, and no longer.
        if ousted.is_ok() {
            inner.states.insert(session.key, share, Arc::clone(&state));
        }
        drop(inner);
        if let Ok(Some(ousted)) = ousted {
            ousted.end();
        }
        state
    }

    /// Ends a session: its stream closes, and its id is not valid any more. Returns its state.
    pub fn end(&self, session: &SessionToken) -> Option<Arc<CallerSession>> {
        let mut inner = self.lock();
        inner.lives.end(session);
        self.changed.notify_one();
        drop(inner);
        if let Some(shared) = self.shared.get() {
            shared.tell(&LifeChange::Ended {
                key: session.key,
                issued: session.issued,
            });
        }
        self.drop_state(session)
    }

    /// Drops the state of a session: its stream closes. Its id stays valid. Returns the state.
    pub fn drop_state(&self, session: &SessionToken) -> Option<Arc<CallerSession>> {
        self.drop_state_of(&session.key)
    }

    fn drop_state_of(&self, key: &[u8; 16]) -> Option<Arc<CallerSession>> {
        let state = self.lock().states.remove(key);
        if let Some(state) = &state {
            state.end();
        }
        state
    }

    /// Counts the sessions that were used recently and are not over.
    #[must_use]
    pub fn known(&self) -> u64 {
        let inner = self.lock();
        let alive = inner.seen.values();
        let alive = alive.filter(|session| !inner.lives.is_ended(&session.key));
        alive.count() as u64
    }

    /// Drops the state of sessions that have been idle for `idle`, and ends the sessions of the
    /// others at upstreams that are not in the config any more.
    pub fn sweep(&self, idle: Duration) {
        let mut inner = self.lock();
        inner.lives.sweep(token::now());
        let gone = inner.states.extract(|state| state.is_idle_for(idle));
        let others: Vec<_> = inner.states.values().cloned().collect();
        drop(inner);
        for state in gone {
            state.end();
        }
        for state in others {
            state.leave_retired();
        }
    }

    /// Drops the states of idle sessions, because the process has too much memory: a sixteenth of all
    /// but 256 at most, of the callers that have most. Their ids stay valid. Returns how many were dropped.
    pub fn relieve(&self) -> usize {
        let now = Instant::now();
        let Some(before) = now.checked_sub(JUST_USED) else {
            return 0;
        };
        let mut inner = self.lock();
        let most = (inner.states.count() / 16).clamp(FEWEST, MOST);
        let gone = inner.states.relieve(most, before, now);
        drop(inner);
        for state in &gone {
            state.end();
        }
        gone.len()
    }

    /// Ends all sessions at upstreams, because weir stops.
    pub fn leave(&self) {
        let states = self.lock().states.extract(|_| true);
        for state in states {
            state.end();
        }
    }

    /// Counts the sessions that have a state in memory.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().states.count()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::{Caller, Identity, Principal};
    use crate::protocol::era::Version;

    fn new(version: Version, capabilities: &str) -> NewSession<'_> {
        static ANYBODY: std::sync::LazyLock<Caller> = std::sync::LazyLock::new(Caller::anonymous);
        NewSession {
            version,
            capabilities,
            caller: &ANYBODY,
        }
    }

    fn sessions(key: &str) -> SessionTable {
        let keys = KeyRing::from_texts([key]).unwrap();
        SessionTable::new(&keys, MemoryBudget::new(usize::MAX)).unwrap()
    }

    #[test]
    fn a_session_survives_a_restart_with_the_same_key() {
        let can = r#"{"sampling":{},"x":"\u0022"}"#;
        let id = sessions("k").open(new(Version::V2025_06_18, can)).unwrap();
        assert!(id.bytes().all(|byte| byte.is_ascii_graphic()));
        let found = sessions("k").find(&id, None).unwrap();
        assert_eq!(found.version, Version::V2025_06_18);
        assert_eq!(&*found.capabilities, can);
        assert!(sessions("other").find(&id, None).is_none());
    }

    #[test]
    fn a_session_is_unknown_to_another_principal() {
        let user = |subject| Caller::new(Identity::new(Principal::ApiKey, subject));
        let everybody = [user("a"), user("b"), Caller::anonymous()];
        for opener in &everybody {
            let new = NewSession {
                caller: opener,
                ..new(Version::V2025_11_25, "{}")
            };
            let (first, replica) = (sessions("k"), sessions("k"));
            let id = first.open(new).unwrap();
            // Twice: from the id, and from the cache.
            for table in [&first, &replica, &first, &replica] {
                for caller in &everybody {
                    let found = table.find(&id, caller.owner()).is_some();
                    assert_eq!(found, caller.owner() == opener.owner());
                }
            }
        }
    }

    #[test]
    fn an_ended_session_is_unknown_and_its_stream_closes() {
        let sessions = sessions("k");
        let id = sessions.open(new(Version::V2025_11_25, "{}")).unwrap();
        let session = sessions.find(&id, None).unwrap();
        let stream = sessions
            .state(&session, ShareKey::Local)
            .listen(tokio_util::sync::CancellationToken::new());
        sessions.end(&session);
        assert!(sessions.find(&id, None).is_none());
        assert!(stream.end.is_cancelled());
    }

    #[test]
    fn a_call_is_cancelled_only_in_its_own_session() {
        let sessions = sessions("k");
        let open = || {
            let id = sessions.open(new(Version::V2025_11_25, "{}")).unwrap();
            sessions.state(&sessions.find(&id, None).unwrap(), ShareKey::Local)
        };
        let (mine, other) = (open(), open());
        let id = crate::protocol::message::Id::from(1);
        let call = mine.call(&id);
        other.cancel(&id);
        assert!(!call.token.is_cancelled());
        mine.cancel(&id);
        assert!(call.token.is_cancelled());
    }

    #[test]
    fn the_state_of_a_session_that_does_nothing_is_forgotten_and_the_session_is_not() {
        let sessions = sessions("k");
        let id = sessions.open(new(Version::V2025_11_25, "{}")).unwrap();
        let session = sessions.find(&id, None).unwrap();
        let call = sessions
            .state(&session, ShareKey::Local)
            .call(&crate::protocol::message::Id::from(1));
        sessions.sweep(Duration::ZERO);
        assert_eq!(sessions.count(), 1);
        drop(call);
        sessions.sweep(Duration::ZERO);
        assert_eq!(sessions.count(), 0);
        assert!(sessions.find(&id, None).is_some());
    }

    fn at(last: u8) -> ShareKey {
        ShareKey::of(Some(std::net::Ipv4Addr::new(10, 0, 0, last).into()))
    }

    #[tokio::test(start_paused = true)]
    async fn the_state_that_was_idle_for_longest_of_the_caller_that_has_most_makes_room() {
        let sessions = SessionTable::with_states(
            KeyRing::from_texts(["k"])
                .and_then(|keys| keys.sealer("session"))
                .unwrap(),
            MemoryBudget::new(usize::MAX),
            8,
        );
        let open = || {
            let id = sessions.open(new(Version::V2025_11_25, "{}")).unwrap();
            sessions.find(&id, None).unwrap()
        };
        let mine = sessions.state(&open(), at(1));
        let mut others = Vec::new();
        for _ in 0..100 {
            tokio::time::advance(Duration::from_millis(60)).await;
            let token = open();
            others.push((token.clone(), sessions.state(&token, at(2))));
        }
        assert_eq!(sessions.count(), 8);
        assert!(!mine.lock().is_over, "of another caller");
        let over = others.iter().filter(|(_, state)| state.lock().is_over);
        assert_eq!(over.count(), 93);
        assert!(!others[99].1.lock().is_over);
        // Its id is valid, and it gets another state.
        let again = sessions.state(&others[0].0, at(2));
        assert!(!again.lock().is_over);
        assert_eq!(sessions.count(), 8);
    }

    #[test]
    fn tokens_are_cached_up_to_a_number_of_bytes() {
        let sessions = sessions("k");
        let large = format!("{{\"x\":\"{}\"}}", "x".repeat(2_000));
        let mut most = 0;
        for _ in 0..3_000 {
            let id = sessions.open(new(Version::V2025_11_25, &large)).unwrap();
            assert!(sessions.find(&id, None).is_some());
            let inner = sessions.lock();
            let seen = inner.seen.iter();
            most = most.max(
                seen.map(|(id, one)| id.len() + one.capabilities.len())
                    .sum(),
            );
        }
        assert!((SEEN_BYTES / 2..=SEEN_BYTES).contains(&most), "{most}");
    }
}
