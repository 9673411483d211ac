//! Legacy sessions: sealed tokens, so that any replica, and the same weir after a restart, can serve
//! them. What is kept in memory is only what is under way. They are no authentication.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foldhash::{HashMap, HashSet};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::protocol::era::{Era, Version};
use crate::protocol::message::Id;
use crate::seal::{NoRandom, Sealer, random};

/// What the tokens are sealed for.
const PURPOSE: &str = "session";

/// How long a session can be used.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many opened tokens are remembered; when there are more, all are opened anew.
const SEEN: usize = 10_000;

/// How many ended sessions are remembered; the oldest is forgotten first.
const ENDED: usize = 100_000;

/// A session's identity: what its token holds.
#[derive(Clone, Debug)]
pub struct Session {
    key: [u8; 16],
    /// The version agreed on.
    pub version: Version,
    /// Seconds since 1970.
    expires: u64,
}

#[derive(Serialize, Deserialize)]
struct Token<'a> {
    /// Format of this token.
    f: u8,
    /// Random identity, base 16.
    k: u128,
    /// Protocol version.
    v: &'a str,
    /// Expiry, seconds since 1970.
    e: u64,
}

/// All legacy sessions.
#[derive(Debug)]
pub struct Sessions {
    sealer: Sealer,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Tokens opened lately: opening one costs more than all other checks of a request.
    seen: HashMap<Box<str>, Session>,
    ended: HashSet<[u8; 16]>,
    order: VecDeque<[u8; 16]>,
    streams: HashMap<[u8; 16], CancellationToken>,
    calls: HashMap<([u8; 16], Id), CancellationToken>,
}

impl Sessions {
    /// Sessions sealed with this key.
    #[must_use]
    pub fn new(sealer: Sealer) -> Self {
        Self {
            sealer,
            kept: Mutex::default(),
        }
    }

    /// Opens a session and gives its id, visible ASCII.
    ///
    /// # Errors
    /// No random numbers.
    pub fn open(&self, version: Version) -> Result<String, NoRandom> {
        let expires = SystemTime::now() + LIFETIME;
        let expires = expires
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let token = Token {
            f: 1,
            k: u128::from_le_bytes(random()?),
            v: version.as_str(),
            e: expires,
        };
        let plain = serde_json::to_vec(&token).unwrap_or_default();
        self.sealer.seal(PURPOSE, &plain)
    }

    /// The session with this id; `None` if it was never opened here, has expired or was ended.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Session> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let alive = |kept: &Kept, session: &Session| {
            now < session.expires && !kept.ended.contains(&session.key)
        };
        {
            let kept = self.kept();
            if let Some(session) = kept.seen.get(id) {
                return alive(&kept, session).then(|| session.clone());
            }
        }
        let session = self.unseal(id)?;
        let mut kept = self.kept();
        if !alive(&kept, &session) {
            return None;
        }
        if kept.seen.len() >= SEEN {
            kept.seen.clear();
        }
        kept.seen.insert(id.into(), session.clone());
        Some(session)
    }

    fn unseal(&self, id: &str) -> Option<Session> {
        let plain = self.sealer.open(PURPOSE, id)?;
        let token: Token<'_> = serde_json::from_slice(&plain)
            .ok()
            .filter(|token: &Token<'_>| token.f == 1)?;
        let version = Version::parse(token.v).filter(|version| version.era() == Era::Legacy)?;
        Some(Session {
            key: token.k.to_le_bytes(),
            version,
            expires: token.e,
        })
    }

    /// Ends a session: its stream closes, its id is unknown from now on.
    pub fn end(&self, session: &Session) {
        let mut kept = self.kept();
        if kept.ended.insert(session.key) {
            kept.order.push_back(session.key);
        }
        if kept.order.len() > ENDED
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.ended.remove(&oldest);
        }
        if let Some(stream) = kept.streams.remove(&session.key) {
            stream.cancel();
        }
    }

    /// How many sessions were used here lately and are not over.
    #[must_use]
    pub fn known(&self) -> u64 {
        let kept = self.kept();
        let alive = kept.seen.values();
        let alive = alive.filter(|session| !kept.ended.contains(&session.key));
        alive.count() as u64
    }

    /// Registers the session's GET stream. A session has one: an earlier one ends.
    /// `token` is cancelled when the stream has to end.
    pub fn stream(self: &Arc<Self>, session: &Session, token: CancellationToken) -> Stream {
        if let Some(earlier) = self.kept().streams.insert(session.key, token.clone()) {
            earlier.cancel();
        }
        Stream {
            sessions: Arc::clone(self),
            key: session.key,
            token,
        }
    }

    /// Registers a call, so that `notifications/cancelled` finds it.
    pub fn call(self: &Arc<Self>, session: &Session, id: &Id) -> Call {
        let token = CancellationToken::new();
        let key = (session.key, id.clone());
        self.kept().calls.insert(key.clone(), token.clone());
        Call {
            sessions: Arc::clone(self),
            key,
            token,
        }
    }

    /// Cancels a call of this session, if it is under way.
    pub fn cancel(&self, session: &Session, id: &Id) {
        let found = self.kept().calls.get(&(session.key, id.clone())).cloned();
        if let Some(token) = found {
            token.cancel();
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A GET stream under way; dropping it takes it off the books.
#[derive(Debug)]
pub struct Stream {
    sessions: Arc<Sessions>,
    key: [u8; 16],
    /// Cancelled when the stream has to end.
    pub token: CancellationToken,
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Cancelled means another stream has taken the place, or the session is over.
        if !self.token.is_cancelled() {
            self.sessions.kept().streams.remove(&self.key);
        }
    }
}

/// A call under way; dropping it takes it off the books.
#[derive(Debug)]
pub struct Call {
    sessions: Arc<Sessions>,
    key: ([u8; 16], Id),
    /// Cancelled when the caller takes the request back.
    pub token: CancellationToken,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.sessions.kept().calls.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(key: &str) -> Arc<Sessions> {
        Arc::new(Sessions::new(Sealer::from_text(key).unwrap()))
    }

    #[test]
    fn a_session_survives_a_restart_with_the_same_key() {
        let id = sessions("k").open(Version::V2025_06_18).unwrap();
        assert!(id.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(
            sessions("k").find(&id).unwrap().version,
            Version::V2025_06_18
        );
        assert!(sessions("other").find(&id).is_none());
    }

    #[test]
    fn an_ended_session_is_unknown_and_its_stream_closes() {
        let sessions = sessions("k");
        let id = sessions.open(Version::V2025_11_25).unwrap();
        let session = sessions.find(&id).unwrap();
        let stream = sessions.stream(&session, CancellationToken::new());
        sessions.end(&session);
        assert!(sessions.find(&id).is_none());
        assert!(stream.token.is_cancelled());
    }

    #[test]
    fn a_second_stream_takes_the_place_of_the_first() {
        let sessions = sessions("k");
        let session = sessions
            .find(&sessions.open(Version::V2025_11_25).unwrap())
            .unwrap();
        let first = sessions.stream(&session, CancellationToken::new());
        let second = sessions.stream(&session, CancellationToken::new());
        assert!(first.token.is_cancelled() && !second.token.is_cancelled());
        drop(first);
        assert_eq!(sessions.kept().streams.len(), 1);
        drop(second);
        assert!(sessions.kept().streams.is_empty());
    }

    #[test]
    fn a_call_is_cancelled_only_in_its_own_session() {
        let sessions = sessions("k");
        let open = || {
            sessions
                .find(&sessions.open(Version::V2025_11_25).unwrap())
                .unwrap()
        };
        let (mine, other) = (open(), open());
        let id = Id::from(1);
        let call = sessions.call(&mine, &id);
        sessions.cancel(&other, &id);
        assert!(!call.token.is_cancelled());
        sessions.cancel(&mine, &id);
        assert!(call.token.is_cancelled());
        drop(call);
        assert!(sessions.kept().calls.is_empty());
    }
}
