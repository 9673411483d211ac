//! Legacy sessions: sealed tokens, so that any replica, and the same weir after a restart, can serve
//! them. What is kept in memory is what is under way. They are no authentication.

use parking_lot::{Mutex, MutexGuard};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foldhash::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use crate::front::tape::Tapes;
use crate::protocol::era::{Era, Version};
use crate::relay::Caller;
use crate::seal::{NoRandom, Sealer, random};
use crate::upstream::probe::SessionProfile;

/// What the tokens are sealed for.
const PURPOSE: &str = "session";

/// How long a session can be used.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many opened tokens are remembered; when there are more, all are opened anew.
const SEEN: usize = 10_000;

/// How many ended sessions are remembered; the oldest is forgotten first.
const ENDED: usize = 100_000;

/// How many sessions have a state in memory; those that do nothing give way.
const CALLERS: usize = 50_000;

/// How long the state of a session that does nothing is kept. Its sessions at upstreams end with it; the session
/// itself goes on, and opens others when it calls again.
pub const IDLE: Duration = Duration::from_secs(30 * 60);

/// A session's identity: what its token holds.
#[derive(Clone, Debug)]
pub struct Session {
    key: [u8; 16],
    /// The version agreed on.
    pub version: Version,
    /// `ClientCapabilities` as JSON text.
    pub capabilities: Arc<str>,
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
    v: Cow<'a, str>,
    /// Expiry, seconds since 1970.
    e: u64,
    /// `ClientCapabilities` as JSON text.
    #[serde(default)]
    c: Cow<'a, str>,
}

/// All legacy sessions.
#[derive(Debug)]
pub struct Sessions {
    sealer: Sealer,
    kept: Mutex<Kept>,
    /// Answers that are streamed.
    pub(super) tapes: Arc<Tapes>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Tokens opened lately: opening one costs more than all other checks of a request.
    seen: HashMap<Box<str>, Session>,
    ended: HashSet<[u8; 16]>,
    order: VecDeque<[u8; 16]>,
    callers: HashMap<[u8; 16], Arc<Caller>>,
}

impl Sessions {
    /// Sessions sealed with this key.
    #[must_use]
    pub fn new(sealer: Sealer) -> Self {
        Self {
            sealer,
            kept: Mutex::default(),
            tapes: Arc::default(),
        }
    }

    /// Opens a session and gives its id, visible ASCII.
    ///
    /// # Errors
    /// No random numbers.
    pub fn open(&self, version: Version, capabilities: &str) -> Result<String, NoRandom> {
        let expires = SystemTime::now() + LIFETIME;
        let expires = expires
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let token = Token {
            f: 1,
            k: u128::from_le_bytes(random()?),
            v: version.as_str().into(),
            e: expires,
            c: capabilities.into(),
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
        let version = Version::parse(&token.v).filter(|version| version.era() == Era::Legacy)?;
        let capabilities = if token.c.is_empty() { "{}" } else { &token.c };
        Some(Session {
            key: token.k.to_le_bytes(),
            version,
            capabilities: capabilities.into(),
            expires: token.e,
        })
    }

    /// What is kept in memory of a session; made where there is nothing yet.
    #[must_use]
    pub fn caller(&self, session: &Session) -> Arc<Caller> {
        let mut kept = self.kept();
        if let Some(caller) = kept.callers.get(&session.key) {
            return Arc::clone(caller);
        }
        let ousted = if kept.callers.len() >= CALLERS {
            let idle = |(key, caller): (&[u8; 16], &Arc<Caller>)| {
                caller.is_idle_for(Duration::ZERO).then_some(*key)
            };
            let key = kept.callers.iter().find_map(idle);
            key.and_then(|key| kept.callers.remove(&key))
        } else {
            None
        };
        let caller = Caller::new(SessionProfile {
            version: session.version,
            capabilities: Cow::Owned(session.capabilities.as_ref().to_owned()),
            key: Some(session.key),
        });
        kept.callers.insert(session.key, Arc::clone(&caller));
        drop(kept);
        if let Some(ousted) = ousted {
            ousted.end();
        }
        caller
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
        let caller = kept.callers.remove(&session.key);
        drop(kept);
        if let Some(caller) = caller {
            caller.end();
            self.tapes.orphan(&caller);
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

    /// Forgets the state of sessions that have done nothing for so long, and what the others had at upstreams that are gone.
    pub fn sweep(&self, idle: Duration) {
        let mut kept = self.kept();
        let gone: Vec<_> = kept
            .callers
            .extract_if(|_, caller| caller.is_idle_for(idle))
            .collect();
        let others: Vec<_> = kept.callers.values().cloned().collect();
        drop(kept);
        for (_, caller) in gone {
            caller.end();
        }
        for caller in others {
            caller.leave_retired();
        }
    }

    /// At the end of weir: leaves all sessions at upstreams.
    pub fn leave(&self) {
        let callers = std::mem::take(&mut self.kept().callers);
        for caller in callers.into_values() {
            caller.end();
        }
    }

    /// How many sessions have a state in memory.
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept().callers.len()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(key: &str) -> Sessions {
        Sessions::new(Sealer::from_text(key).unwrap())
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
            .caller(&session)
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
            sessions.caller(&sessions.find(&id).unwrap())
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
            .caller(&session)
            .call(&crate::protocol::message::Id::from(1));
        sessions.sweep(Duration::ZERO);
        assert_eq!(sessions.count(), 1);
        drop(call);
        sessions.sweep(Duration::ZERO);
        assert_eq!(sessions.count(), 0);
        assert!(sessions.find(&id).is_some());
    }
}
