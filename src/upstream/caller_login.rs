//! The login of one caller at an upstream that is called on behalf of its callers.

use std::sync::Arc;

use ring::digest::{Context, SHA256};

use crate::caller::Caller;
use crate::credentials::Credentials;
use crate::credentials::auth_mismatch::AuthKind;
use crate::credentials::caller_exchange::CallerSubject;

/// Tells logins apart: equal for the same principal with the same scopes. A token that was narrowed
/// for somebody else must not be served with what a wider one was exchanged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoginKey([u8; 16]);

/// The login of one caller at one upstream.
#[derive(Debug)]
pub struct CallerLogin {
    /// The key of its caller.
    pub key: LoginKey,
    /// The credentials that its requests are sent with.
    pub credentials: Credentials,
    /// The kind of them.
    pub sent: AuthKind,
    /// The key that its affinity is derived from: no two logins share an instance of a runtime.
    pub affinity: [u8; 16],
    /// The caller's token that is exchanged.
    pub(super) subject: Arc<CallerSubject>,
}

impl LoginKey {
    /// Returns the key of a caller.
    #[must_use]
    pub fn of(caller: &Caller) -> Self {
        let mut scopes: Vec<_> = caller.identity().scopes.iter().collect();
        scopes.sort_unstable();
        let mut digest = Context::new(&SHA256);
        digest.update(&caller.key().bytes());
        for scope in scopes {
            digest.update(&(scope.len() as u64).to_be_bytes());
            digest.update(scope.as_bytes());
        }
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(digest.finish().as_ref()) {
            *to = *from;
        }
        Self(key)
    }
}

impl CallerLogin {
    /// Takes the token of a request of the caller, if it is valid for longer than the one before.
    pub fn present(&self, caller: &Caller) {
        self.subject.present(caller.identity());
    }
}
