//! All legacy sessions of this weir: which ids are valid, and the state of the sessions in use.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use parking_lot::{Mutex, MutexGuard};

use crate::protocol::era::Version;
use crate::seal::{NoRandom, Sealer};
use crate::session::caller_session::CallerSession;
use crate::session::token::SessionToken;
use crate::upstream::probe::SessionProfile;

/// At most this many opened tokens are cached. When the cache is full, it is emptied.
const SEEN: usize = 10_000;

/// At most this many ended sessions are remembered. The oldest is forgotten first.
const ENDED: usize = 100_000;

/// At this many states in memory, one of an idle session makes room for a new one.
const STATES: usize = 50_000;

/// How long the state of an idle session is kept. Its sessions at upstreams end with it. The
/// session itself stays valid, and opens others when it calls again.
pub const IDLE: Duration = Duration::from_secs(30 * 60);

/// All legacy sessions.
#[derive(Debug)]
pub struct SessionTable {
    sealer: Sealer,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Recently opened tokens. Opening one costs more than all other checks of a request.
    seen: HashMap<Box<str>, SessionToken>,
    ended: HashSet<[u8; 16]>,
    /// The keys in `ended`, the oldest first.
    order: VecDeque<[u8; 16]>,
    states: HashMap<[u8; 16], Arc<CallerSession>>,
}

impl Inner {
    fn is_alive(&self, session: &SessionToken) -> bool {
        !session.is_expired() && !self.ended.contains(&session.key)
    }
}

impl SessionTable {
    /// Makes an empty table whose sessions are sealed with this key.
    #[must_use]
    pub fn new(sealer: Sealer) -> Self {
        Self {
            sealer,
            inner: Mutex::default(),
        }
    }

    /// Opens a session and returns its id, visible ASCII.
    ///
    /// # Errors
    /// No random numbers.
    pub fn open(&self, version: Version, capabilities: &str) -> Result<String, NoRandom> {
        SessionToken::issue(&self.sealer, version, capabilities)
    }

    /// Returns the session with this id; `None` if no weir with this key opened it, if it has
    /// expired or was ended.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<SessionToken> {
        {
            let inner = self.lock();
            if let Some(session) = inner.seen.get(id) {
                return inner.is_alive(session).then(|| session.clone());
            }
        }
        let session = SessionToken::open(&self.sealer, id)?;
        let mut inner = self.lock();
        if !inner.is_alive(&session) {
            return None;
        }
        if inner.seen.len() >= SEEN {
            inner.seen.clear();
        }
        inner.seen.insert(id.into(), session.clone());
        Some(session)
    }

    /// Returns the state of a session, and makes it if there is none.
    #[must_use]
    pub fn state(&self, session: &SessionToken) -> Arc<CallerSession> {
        let mut inner = self.lock();
        if let Some(state) = inner.states.get(&session.key) {
            return Arc::clone(state);
        }
        let ousted = if inner.states.len() >= STATES {
            let idle = |(key, state): (&[u8; 16], &Arc<CallerSession>)| {
                state.is_idle_for(Duration::ZERO).then_some(*key)
            };
            let key = inner.states.iter().find_map(idle);
            key.and_then(|key| inner.states.remove(&key))
        } else {
            None
        };
        let state = CallerSession::new(SessionProfile {
            version: session.version,
            capabilities: Cow::Owned(session.capabilities.as_ref().to_owned()),
            key: Some(session.key),
        });
        inner.states.insert(session.key, Arc::clone(&state));
        drop(inner);
        if let Some(ousted) = ousted {
            ousted.end();
        }
        state
    }

    /// Ends a session: its stream closes, and its id is not valid any more. Returns its state.
    pub fn end(&self, session: &SessionToken) -> Option<Arc<CallerSession>> {
        let mut inner = self.lock();
        if inner.ended.insert(session.key) {
            inner.order.push_back(session.key);
        }
        if inner.order.len() > ENDED
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.ended.remove(&oldest);
        }
        let state = inner.states.remove(&session.key);
        drop(inner);
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
        let alive = alive.filter(|session| !inner.ended.contains(&session.key));
        alive.count() as u64
    }

    /// Drops the state of sessions that have been idle for `idle`, and ends the sessions of the
    /// others at upstreams that are not in the config any more.
    pub fn sweep(&self, idle: Duration) {
        let mut inner = self.lock();
        let gone: Vec<_> = inner
            .states
            .extract_if(|_, state| state.is_idle_for(idle))
            .collect();
        let others: Vec<_> = inner.states.values().cloned().collect();
        drop(inner);
        for (_, state) in gone {
            state.end();
        }
        for state in others {
            state.leave_retired();
        }
    }

    /// Ends all sessions at upstreams, because weir stops.
    pub fn leave(&self) {
        let states = std::mem::take(&mut self.lock().states);
        for state in states.into_values() {
            state.end();
        }
    }

    /// Counts the sessions that have a state in memory.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().states.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(key: &str) -> SessionTable {
        SessionTable::new(Sealer::from_text(key).unwrap())
    }

    #[test]
    fn a_session_survives_a_restart_with_the_same_key() {
        let can = r#"{"sampling":{},"x":"\u0022"}"#;
        let id = sessions("k").open(Version::V2025_06_18, can).unwrap();
        assert!(id.bytes().all(|byte| byte.is_ascii_graphic()));
        let found = sessions("k").find(&id).unwrap();
        assert_eq!(found.version, Version::V2025_06_18);
        assert_eq!(&*found.capabilities, can);
        assert!(sessions("other").find(&id).is_none());
    }

    #[test]
    fn an_ended_session_is_unknown_and_its_stream_closes() {
        let sessions = sessions("k");
        let id = sessions.open(Version::V2025_11_25, "{}").unwrap();
        let session = sessions.find(&id).unwrap();
        let stream = sessions
            .state(&session)
            .listen(tokio_util::sync::CancellationToken::new());
        sessions.end(&session);
        assert!(sessions.find(&id).is_none());
        assert!(stream.end.is_cancelled());
    }

    #[test]
    fn a_call_is_cancelled_only_in_its_own_session() {
        let sessions = sessions("k");
        let open = || {
            let id = sessions.open(Version::V2025_11_25, "{}").unwrap();
            sessions.state(&sessions.find(&id).unwrap())
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
        let id = sessions.open(Version::V2025_11_25, "{}").unwrap();
        let session = sessions.find(&id).unwrap();
        let call = sessions
            .state(&session)
            .call(&crate::protocol::message::Id::from(1));
        sessions.sweep(Duration::ZERO);
        assert_eq!(sessions.count(), 1);
        drop(call);
        sessions.sweep(Duration::ZERO);
        assert_eq!(sessions.count(), 0);
        assert!(sessions.find(&id).is_some());
    }
}
