//! Sessions whose ids a platform in front of weir gives, such as Amazon Bedrock AgentCore Runtime
//! (developer guide, "MCP protocol contract": it adds `Mcp-Session-Id` to requests without one).
//!
//! Any id is good, and so is none: it is the key of what a caller's session keeps here. Whoever has
//! another principal has another session under the same id.

use std::sync::Arc;

use parking_lot::Mutex;
use ring::digest::{Context, SHA256};

use crate::caller::PrincipalKey;
use crate::protocol::era::Version;
use crate::recent::Recent;
use crate::session::token::{NewSession, SessionToken, mark_of, now};

/// At most twice this many sessions keep what `initialize` said, 2 KiB each. Those that were not used
/// for longest are forgotten: they go on as sessions without it.
const SESSIONS: usize = 5_000;

/// The version of a request that names none, in a session without `initialize` (2025-06-18
/// `basic/transports.mdx#protocol-version-header`).
const UNNAMED: Version = Version::V2025_03_26;

/// The sessions of a platform.
#[derive(Debug)]
pub struct PlatformSessions {
    opened: Mutex<Recent<[u8; 16], SessionToken>>,
}

impl Default for PlatformSessions {
    fn default() -> Self {
        Self {
            opened: Mutex::new(Recent::new(SESSIONS)),
        }
    }
}

impl PlatformSessions {
    /// Returns the session with this id, which may be empty. `version` is the one that the request
    /// names; without `initialize` it is that of the session.
    #[must_use]
    pub fn find(
        &self,
        id: &[u8],
        owner: Option<PrincipalKey>,
        version: Option<Version>,
    ) -> SessionToken {
        let key = key_of(id, owner);
        let opened = self.opened.lock().get(&key);
        opened.unwrap_or_else(|| SessionToken {
            key,
            mark: mark_of(&key),
            version: version.unwrap_or(UNNAMED),
            capabilities: "{}".into(),
            owner,
            agent: None,
            issued: now(),
        })
    }

    /// Opens a session by `initialize`, in place of one with the same id.
    pub fn open(&self, id: &[u8], new: NewSession<'_>) {
        let owner = new.caller.owner();
        let key = key_of(id, owner);
        let session = SessionToken {
            key,
            mark: mark_of(&key),
            version: new.version,
            capabilities: new.capabilities.into(),
            owner,
            agent: new.caller.agent().map(Arc::from),
            issued: now(),
        };
        self.opened.lock().insert(key, session);
    }

    /// Forgets what `initialize` said.
    pub fn end(&self, session: &SessionToken) {
        self.opened.lock().remove(&session.key);
    }
}

/// Returns the key of a session: of its id and its principal.
fn key_of(id: &[u8], owner: Option<PrincipalKey>) -> [u8; 16] {
    let mut digest = Context::new(&SHA256);
    match owner {
        None => digest.update(&[0]),
        Some(owner) => {
            digest.update(&[1]);
            digest.update(&owner.bytes());
        }
    }
    digest.update(id);
    let mut key = [0; 16];
    for (to, from) in key.iter_mut().zip(digest.finish().as_ref()) {
        *to = *from;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::{Caller, Identity, Principal};

    fn new(caller: &Caller) -> NewSession<'_> {
        NewSession {
            version: Version::V2025_06_18,
            capabilities: r#"{"sampling":{}}"#,
            caller,
        }
    }

    #[test]
    fn any_id_is_a_session_and_initialize_says_more_of_it() {
        let sessions = PlatformSessions::default();
        let version = Some(Version::V2025_11_25);
        let found = sessions.find(b"x", None, version);
        assert_eq!(
            (found.version, &*found.capabilities),
            (Version::V2025_11_25, "{}")
        );
        assert_eq!(
            sessions.find(b"x", None, None).version,
            Version::V2025_03_26
        );
        assert_eq!(sessions.find(b"x", None, None).key, found.key);
        assert_ne!(sessions.find(b"", None, None).key, found.key);
        sessions.open(b"x", new(&Caller::anonymous()));
        let opened = sessions.find(b"x", None, version);
        assert_eq!(opened.version, Version::V2025_06_18);
        assert_eq!(&*opened.capabilities, r#"{"sampling":{}}"#);
        assert_eq!(opened.key, found.key);
        sessions.end(&opened);
        assert_eq!(&*sessions.find(b"x", None, None).capabilities, "{}");
    }

    #[test]
    fn one_id_is_another_session_for_another_principal() {
        let sessions = PlatformSessions::default();
        let user = |subject| Caller::new(Identity::new(Principal::OAuthUser, subject));
        let (ann, bob) = (user("ann"), user("bob"));
        sessions.open(b"x", new(&ann));
        let of = |caller: &Caller| sessions.find(b"x", caller.owner(), None);
        assert_eq!(&*of(&ann).capabilities, r#"{"sampling":{}}"#);
        assert_eq!(&*of(&bob).capabilities, "{}");
        let keys = [of(&ann).key, of(&bob).key, of(&Caller::anonymous()).key];
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    }
}
