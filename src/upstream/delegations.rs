//! The logins of callers at an upstream that is called on behalf of its callers: a bounded number, of
//! which those that were not used for longest go first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::caller::Caller;
use crate::config::{OnBehalf, WithoutCaller};
use crate::credentials::auth_mismatch::AuthKind;
use crate::credentials::caller_exchange::CallerExchange;
use crate::credentials::{Credentials, CredentialsContext};
use crate::memory::{MemoryShare, Reservation};
use crate::upstream::caller_login::{CallerLogin, LoginKey};
use crate::upstream::error::LinkError;
use crate::upstream::peer::Peer;

/// The most logins that are kept for one upstream.
const MOST_LOGINS: usize = 10_000;

/// The most bytes that they may take.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The bytes that a login takes besides the caller's token: its own token, its connection.
const LOGIN_BYTES: usize = 6 * 1024;

/// The logins of callers at one upstream.
#[derive(Debug)]
pub struct Delegations {
    exchange: CallerExchange,
    context: CredentialsContext,
    without_caller: WithoutCaller,
    sent: AuthKind,
    memory: MemoryShare,
    kept: Mutex<KeptLogins<Arc<Delegation>>>,
}

/// A caller at the upstream: its login, and the connection identity that belongs to it alone.
#[derive(Debug)]
pub struct Delegation {
    /// The login.
    pub login: Arc<CallerLogin>,
    _memory: Reservation,
    peer: Mutex<Arc<OnceCell<DelegatedPeer>>>,
}

/// The peer that answers one principal, where it has no session of its own.
#[derive(Clone, Debug)]
pub struct DelegatedPeer {
    /// The peer.
    pub peer: Arc<Peer>,
    /// Weir's own, whose era and capabilities it has.
    pub base: Arc<Peer>,
}

/// Logins by their keys, bounded.
#[derive(Debug)]
struct KeptLogins<T> {
    by_key: HashMap<LoginKey, KeptLogin<T>>,
    /// By when they were used last.
    by_use: BTreeMap<u64, LoginKey>,
    uses: u64,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

#[derive(Debug)]
struct KeptLogin<T> {
    login: T,
    used: u64,
    bytes: usize,
}

impl Delegations {
    /// Returns the logins of an upstream, none of them made yet.
    #[must_use]
    pub fn new(
        config: &OnBehalf,
        exchange: CallerExchange,
        context: &CredentialsContext,
        memory: MemoryShare,
    ) -> Self {
        Self {
            exchange,
            context: context.clone(),
            without_caller: config.without_caller,
            sent: AuthKind::of(&config.auth),
            memory,
            kept: Mutex::new(KeptLogins::new(MOST_LOGINS, MOST_BYTES)),
        }
    }

    /// Returns the caller's own login; `None` if the config lets weir's own serve it.
    ///
    /// # Errors
    /// The caller has no token that could be exchanged, or there is no memory left for its login.
    pub fn find(&self, caller: &Caller) -> Result<Option<Arc<Delegation>>, LinkError> {
        if !self.exchange.has_token_of(caller.identity()) {
            return match self.without_caller {
                WithoutCaller::Service => Ok(None),
                WithoutCaller::Refuse => Err(LinkError::CallerIdentity),
            };
        }
        let key = LoginKey::of(caller);
        let mut kept = self.kept.lock();
        let known = kept.touch(key);
        if let Some(delegation) = known {
            drop(kept);
            delegation.login.present(caller);
            return Ok(Some(delegation));
        }
        let subject = self.exchange.subject(caller.identity());
        let subject = subject.ok_or(LinkError::CallerIdentity)?;
        let bytes = LOGIN_BYTES + 2 * subject.token_bytes();
        let memory = self.memory.reserve(bytes)?;
        let subject = Arc::new(subject);
        let login = Arc::new(CallerLogin {
            key,
            credentials: Credentials::for_caller(&self.exchange, &subject, &self.context),
            sent: self.sent,
            affinity: crate::seal::random().unwrap_or_default(),
            subject,
        });
        let delegation = Arc::new(Delegation {
            login,
            _memory: memory,
            peer: Mutex::default(),
        });
        let is_over = |one: &Arc<Delegation>| one.login.subject.is_over();
        let gone = kept.insert(key, Arc::clone(&delegation), bytes, is_over);
        drop(kept);
        drop(gone);
        Ok(Some(delegation))
    }

    /// Forgets all logins.
    pub fn clear(&self) {
        let gone = self.kept.lock().clear();
        drop(gone);
    }
}

impl<T: Clone> KeptLogins<T> {
    fn new(most: usize, most_bytes: usize) -> Self {
        Self {
            by_key: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            most,
            most_bytes,
        }
    }

    /// Returns the login with this key, and notes that it is used.
    fn touch(&mut self, key: LoginKey) -> Option<T> {
        let kept = self.by_key.get_mut(&key)?;
        self.by_use.remove(&kept.used);
        self.uses += 1;
        kept.used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(kept.login.clone())
    }

    /// Adds a login under a key that has none. Returns those that go for it: those that are over, and
    /// those that were not used longest if there are too many.
    fn insert(
        &mut self,
        key: LoginKey,
        login: T,
        bytes: usize,
        is_over: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        self.uses += 1;
        let used = self.uses;
        self.bytes += bytes;
        self.by_use.insert(used, key);
        self.by_key.insert(key, KeptLogin { login, used, bytes });
        let mut gone = Vec::new();
        while let Some((oldest, key)) = self.by_use.first_key_value().map(|(a, b)| (*a, *b)) {
            let is_over = self
                .by_key
                .get(&key)
                .is_none_or(|kept| is_over(&kept.login));
            let is_full = self.by_key.len() > self.most || self.bytes > self.most_bytes;
            if oldest == used || !(is_full || is_over) {
                break;
            }
            self.by_use.remove(&oldest);
            if let Some(kept) = self.by_key.remove(&key) {
                self.bytes = self.bytes.saturating_sub(kept.bytes);
                gone.push(kept.login);
            }
        }
        gone
    }

    /// Removes all logins, and returns them.
    fn clear(&mut self) -> Vec<T> {
        self.by_use.clear();
        self.bytes = 0;
        self.by_key.drain().map(|(_, kept)| kept.login).collect()
    }
}

impl Delegation {
    /// Returns the cell of the peer that answers the principal. It is empty if there is none that
    /// belongs to this peer of weir's own.
    #[must_use]
    pub fn peer_cell(&self, base: &Arc<Peer>) -> Arc<OnceCell<DelegatedPeer>> {
        let mut cell = self.peer.lock();
        let is_stale =
            |open: &DelegatedPeer| !Arc::ptr_eq(&open.base, base) || !open.peer.is_open();
        if cell.get().is_some_and(is_stale) {
            *cell = Arc::default();
        }
        Arc::clone(&cell)
    }

    /// Forgets a peer that the upstream does not know any more. Returns weir's own, if that was the
    /// reason why the principal had no session.
    pub fn forget(&self, stale: &Arc<Peer>) -> Option<Arc<Peer>> {
        let mut cell = self.peer.lock();
        let open = cell.get().filter(|open| Arc::ptr_eq(&open.peer, stale));
        let base = open.map(|open| Arc::clone(&open.base))?;
        *cell = Arc::default();
        (!stale.is_stateful()).then_some(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::{Identity, Principal};

    fn key(number: usize) -> LoginKey {
        let subject = number.to_string();
        LoginKey::of(&Caller::new(Identity::new(Principal::OAuthUser, &subject)))
    }

    #[test]
    fn logins_that_were_not_used_longest_go_for_new_ones() {
        let mut kept = KeptLogins::new(100, 10_000);
        for number in 0..1_000 {
            assert!(kept.touch(key(0)).is_some() || number == 0);
            kept.insert(key(number), number, 10, |_| false);
        }
        assert_eq!(
            (kept.by_key.len(), kept.by_use.len(), kept.bytes),
            (100, 100, 1_000)
        );
        assert_eq!(kept.touch(key(0)), Some(0), "it was used");
        assert_eq!(kept.touch(key(500)), None);
        assert_eq!(kept.touch(key(999)), Some(999));
        kept.insert(key(5_000), 5_000, 9_990, |_| false);
        assert_eq!((kept.by_key.len(), kept.bytes), (2, 10_000));
        assert_eq!(kept.clear().len(), 2);
        assert_eq!((kept.touch(key(0)), kept.bytes), (None, 0));
    }

    #[test]
    fn logins_that_are_over_go_first() {
        let mut kept = KeptLogins::new(100, 10_000);
        for number in 0..10 {
            kept.insert(key(number), number, 10, |_| false);
        }
        let gone = kept.insert(key(10), 10, 10, |number| *number < 4);
        assert_eq!(gone, [0, 1, 2, 3]);
    }

    #[test]
    fn a_login_is_of_one_principal_and_its_scopes() {
        let login = |subject: &str, scopes: &[&str]| {
            LoginKey::of(&Caller::new(Identity {
                scopes: scopes.iter().map(|&scope| scope.into()).collect(),
                ..Identity::new(Principal::OAuthUser, subject)
            }))
        };
        assert_eq!(login("a", &["x", "y"]), login("a", &["y", "x"]));
        for other in [
            login("b", &["x", "y"]),
            login("a", &["x"]),
            login("a", &["xy"]),
        ] {
            assert_ne!(login("a", &["x", "y"]), other);
        }
    }
}
