//! The keys of an issuer, and the rules for what they have signed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::fetch::make_fetch;
use super::identity::identity;
use super::key_cache::{KeyCache, Want};
use super::keys::{KeySet, Verification};
use super::rules::{TokenRules, nearer};
use super::setup_error::JwtSetupError;
use super::token::{UnverifiedToken, excerpt};
use crate::authentication::context::AuthenticationContext;
use crate::authentication::refusal::{Refusal, RefusalKind};
use crate::caller::Caller;
use crate::config::{JwksOrigin, JwtIssuer, MAX_JWKS};
use crate::files::FileCell;

const SIGNATURE: &str = "the signature of the token does not match";
const KEY: &str = "the token is signed with a key that its issuer does not publish";

/// An origin of keys, and the rules of the entries that name it.
#[derive(Debug)]
pub(super) struct TrustedKeys {
    place: KeysPlace,
    keys: Arc<IssuerKeys>,
    rules: Vec<TokenRules>,
}

#[derive(Debug)]
enum IssuerKeys {
    Fetched(Arc<KeyCache>),
    File(FileKeys),
}

/// The settings by which keys are found. Entries that agree in them share their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeysPlace {
    issuer: Box<str>,
    origin: JwksOrigin,
    allowed_hosts: Vec<String>,
    keys_max_age: Duration,
}

/// Keys in a file, read again when it changes.
#[derive(Debug)]
struct FileKeys {
    path: PathBuf,
    file: FileCell,
    /// A version of the file, and its keys.
    read: Mutex<(u64, Arc<KeySet>)>,
}

/// A step towards a verdict.
pub(super) enum Step {
    /// The caller whose token it is.
    Accepted(Caller),
    /// The token is refused.
    Refused(Refusal),
    /// The token is refused, and may be accepted a moment later.
    RefusedForNow(Refusal),
    /// Keys have to be fetched for a verdict.
    Fetch(Arc<KeyCache>, Want),
}

impl TrustedKeys {
    /// Makes the keys of an entry. Opens no connection.
    ///
    /// # Errors
    /// A file of keys that cannot be used, or an HTTP client that cannot be built.
    pub(super) fn new(
        entry: &JwtIssuer,
        rules: TokenRules,
        context: &AuthenticationContext,
    ) -> Result<Self, JwtSetupError> {
        let keys = match &entry.keys {
            JwksOrigin::File(path) => {
                let file = context.files.open(path, MAX_JWKS)?;
                IssuerKeys::File(FileKeys::read(path.clone(), file)?)
            }
            JwksOrigin::Issuer(url) | JwksOrigin::Metadata(url) | JwksOrigin::Url(url) => {
                let fetch = make_fetch(entry, url, context)?;
                IssuerKeys::Fetched(KeyCache::new(
                    &entry.issuer,
                    fetch,
                    entry.keys_max_age,
                    context.tasks.clone(),
                    context.shutdown.clone(),
                ))
            }
        };
        Ok(Self {
            place: KeysPlace::of(entry),
            keys: Arc::new(keys),
            rules: vec![rules],
        })
    }

    /// Returns how many look-ups found keys that were fetched, and how many did not; `None` where they
    /// are in a file.
    pub(super) fn lookups(&self) -> Option<(u64, u64)> {
        match &*self.keys {
            IssuerKeys::Fetched(cache) => Some(cache.lookups()),
            IssuerKeys::File(_) => None,
        }
    }

    /// Makes keys with a cache, for tests.
    #[cfg(test)]
    pub(super) fn with_cache(entry: &JwtIssuer, rules: TokenRules, cache: Arc<KeyCache>) -> Self {
        Self {
            place: KeysPlace::of(entry),
            keys: Arc::new(IssuerKeys::Fetched(cache)),
            rules: vec![rules],
        }
    }

    /// Returns the same keys with other rules.
    pub(super) fn with_rules(&self, rules: TokenRules) -> Self {
        Self {
            place: self.place.clone(),
            keys: Arc::clone(&self.keys),
            rules: vec![rules],
        }
    }

    /// Returns whether an entry has its keys from here.
    pub(super) fn is_of(&self, entry: &JwtIssuer) -> bool {
        self.place == KeysPlace::of(entry)
    }

    /// Adds the rules of another entry.
    pub(super) fn add(&mut self, rules: TokenRules) {
        self.rules.push(rules);
    }

    /// Judges a token at a time. `may_fetch` says whether it may wait for keys of a cache.
    pub(super) fn judge(
        &self,
        token: &str,
        parsed: &UnverifiedToken<'_>,
        now: SystemTime,
        may_fetch: &dyn Fn(&Arc<KeyCache>) -> bool,
    ) -> Step {
        let keys = match &*self.keys {
            IssuerKeys::File(file) => Some(file.current()),
            IssuerKeys::Fetched(cache) if cache.is_overdue() && may_fetch(cache) => None,
            IssuerKeys::Fetched(cache) => cache.current(),
        };
        let Some(keys) = keys else {
            return self.fetch(Want::Keys, parsed, may_fetch);
        };
        let id = parsed.key_id.as_deref();
        match keys.verify(parsed.algorithm, id, parsed.signed, parsed.signature) {
            Verification::Good => self.judge_claims(token, parsed, now),
            Verification::Wrong => {
                let reason = format!(
                    "the key with the `kid` `{}` did not make the signature, or not with {:?}",
                    excerpt(id.unwrap_or_default()),
                    parsed.algorithm
                );
                Step::Refused(Refusal::invalid_token(SIGNATURE, reason))
            }
            Verification::UnknownKey => self.fetch(Want::UnknownKey, parsed, may_fetch),
        }
    }

    /// Has keys fetched, if that may be now.
    fn fetch(
        &self,
        want: Want,
        parsed: &UnverifiedToken<'_>,
        may_fetch: &dyn Fn(&Arc<KeyCache>) -> bool,
    ) -> Step {
        let failure = match &*self.keys {
            IssuerKeys::File(_) => None,
            IssuerKeys::Fetched(cache) if may_fetch(cache) && cache.may_fetch(want) => {
                return Step::Fetch(Arc::clone(cache), want);
            }
            IssuerKeys::Fetched(cache) => cache.failure(),
        };
        match failure {
            Some(error) => {
                let reason = format!("the keys of the issuer cannot be fetched: {error}");
                Step::RefusedForNow(Refusal::new(RefusalKind::Unavailable, reason))
            }
            None if want == Want::Keys => {
                let reason = "the keys of the issuer are not fetched yet";
                Step::RefusedForNow(Refusal::new(RefusalKind::Unavailable, reason))
            }
            None => {
                let reason = format!(
                    "no key of the issuer for {:?} has the `kid` `{}` and made the signature",
                    parsed.algorithm,
                    excerpt(parsed.key_id.as_deref().unwrap_or_default()),
                );
                Step::RefusedForNow(Refusal::invalid_token(KEY, reason))
            }
        }
    }

    fn judge_claims(&self, token: &str, parsed: &UnverifiedToken<'_>, now: SystemTime) -> Step {
        let (mut refusal, mut holds) = (None, true);
        for rules in &self.rules {
            let end = match rules.judge(&parsed.claims, now) {
                Ok(end) => end,
                Err(other) => {
                    holds &= !TokenRules::is_early(&other);
                    refusal = Some(nearer(refusal, other));
                    continue;
                }
            };
            let issuer = parsed.claims.text("iss").unwrap_or_default();
            return match identity(token, &parsed.claims, issuer, end) {
                Ok(identity) => Step::Accepted(Caller::new(identity)),
                Err(refusal) => Step::Refused(refusal),
            };
        }
        let none = || Refusal::invalid_token(SIGNATURE, "no entry has rules for its issuer");
        let refusal = refusal.unwrap_or_else(none);
        match holds {
            true => Step::Refused(refusal),
            false => Step::RefusedForNow(refusal),
        }
    }
}

impl KeysPlace {
    fn of(entry: &JwtIssuer) -> Self {
        Self {
            issuer: entry.issuer.clone(),
            origin: entry.keys.clone(),
            allowed_hosts: entry.allowed_hosts.clone(),
            keys_max_age: entry.keys_max_age,
        }
    }
}

impl FileKeys {
    fn read(path: PathBuf, file: FileCell) -> Result<Self, JwtSetupError> {
        let version = file.version();
        let keys = KeySet::parse(file.now().expose()).map_err(|source| JwtSetupError::Jwks {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            path,
            file,
            read: Mutex::new((version, Arc::new(keys))),
        })
    }

    /// Returns the keys of the file, or those that it had if they cannot be used.
    fn current(&self) -> Arc<KeySet> {
        let version = self.file.version();
        let mut read = self.read.lock();
        if read.0 != version {
            // Once for each version: a broken file is reported once.
            read.0 = version;
            match KeySet::parse(self.file.now().expose()) {
                Ok(keys) => read.1 = Arc::new(keys),
                Err(error) => {
                    let file = self.path.display();
                    tracing::warn!(%file, %error, "the keys that the file had stay in use");
                }
            }
        }
        Arc::clone(&read.1)
    }
}
