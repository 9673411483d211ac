//! JSON Web Tokens of callers: `listen.auth.jwt`.
//!
//! A token is accepted if a key of its issuer made its signature and it meets the rules of an entry
//! of that issuer (RFC 9068, RFC 8725). The verdict is remembered for a minute at most.
//!
//! `token` takes it apart, `keys` verifies it, `rules` judges its `claims`, `identity` makes a caller
//! of it; `key_cache` has the keys, which `fetch` finds; `verdicts` remembers.

mod claims;
mod fetch;
mod identity;
mod key_cache;
mod keys;
mod rules;
mod setup_error;
mod token;
mod trusted;
mod verdicts;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::key_cache::{KeyCache, Want};
use self::rules::{TokenRules, nearer};
use self::token::{UnverifiedToken, excerpt};
use self::trusted::{Step, TrustedKeys};
use self::verdicts::{ACCEPTED, REFUSED, TokenDigest, Verdict, VerdictCache};
use crate::authentication::context::AuthenticationContext;
use crate::authentication::refusal::Refusal;
use crate::authentication::verifier;
use crate::config::JwtIssuer;

pub use setup_error::JwtSetupError;

const UNKNOWN_ISSUER: &str = "the token is of an issuer that this server does not trust";

/// The most fetches of keys that one token waits for: of each origin its own, or one that it joined
/// and then its own, because the first may have begun before the issuer published the key.
const FETCHES: usize = 2;
/// The bytes of a remembered verdict besides the token and its claims, roughly.
const OVERHEAD: usize = 512;

/// Verifies the tokens of callers.
#[derive(Debug)]
pub struct JwtAuthenticator {
    /// By `iss`: each origin of keys, with the rules for what its keys have signed.
    issuers: BTreeMap<String, Vec<TrustedKeys>>,
    verdicts: VerdictCache,
}

/// A token that needs keys before there is a verdict on it.
struct NeedsKeys(Arc<KeyCache>, Want);

impl JwtAuthenticator {
    /// Makes the authenticator of the entries of `listen.auth.jwt`. `public_url` is the default
    /// audience. Reads files of keys; opens no connection before the first token.
    ///
    /// # Errors
    /// A file of keys that cannot be used, or an HTTP client that cannot be built.
    pub fn new(
        entries: &[JwtIssuer],
        public_url: Option<&str>,
        context: &AuthenticationContext,
    ) -> Result<Self, JwtSetupError> {
        Self::after(None, entries, public_url, context)
    }

    /// Makes the same in place of an earlier one. It takes over the keys of issuers that have them
    /// at the same place, so that a reload while an issuer is down locks nobody out. It takes over
    /// no verdict.
    ///
    /// # Errors
    /// As those of [`Self::new`].
    pub fn after(
        earlier: Option<&Self>,
        entries: &[JwtIssuer],
        public_url: Option<&str>,
        context: &AuthenticationContext,
    ) -> Result<Self, JwtSetupError> {
        verifier::install();
        let mut issuers: BTreeMap<String, Vec<TrustedKeys>> = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let rules = TokenRules::new(index, entry, public_url);
            let trusted = issuers.entry(entry.issuer.to_string()).or_default();
            if let Some(known) = trusted.iter_mut().find(|known| known.is_of(entry)) {
                known.add(rules);
                continue;
            }
            let earlier = earlier.and_then(|earlier| earlier.issuers.get(&*entry.issuer));
            let earlier = earlier.into_iter().flatten();
            let earlier = earlier.into_iter().find(|known| known.is_of(entry));
            trusted.push(match earlier {
                Some(known) => known.with_rules(rules),
                None => TrustedKeys::new(entry, rules, context)?,
            });
        }
        Ok(Self {
            issuers,
            verdicts: VerdictCache::new(context.memory.share()),
        })
    }

    /// Returns how many look-ups of tokens found a verdict, and how many did not.
    #[must_use]
    pub fn lookups(&self) -> (u64, u64) {
        self.verdicts.lookups()
    }

    /// Returns how many look-ups of keys that are fetched found some, and how many did not; `None` if
    /// all keys are in files.
    #[must_use]
    pub fn key_lookups(&self) -> Option<(u64, u64)> {
        let all = self.issuers.values().flatten();
        let counts = all.filter_map(TrustedKeys::lookups);
        counts.reduce(|(hits, misses), (more, others)| (hits + more, misses + others))
    }

    /// Returns the verdict on a token if nothing has to be fetched for it, remembered or made now.
    /// `None` if keys have to be: see [`Self::authenticate`].
    #[must_use]
    pub fn try_now(&self, token: &str) -> Option<Verdict> {
        self.judge(token, SystemTime::now(), &[]).ok()
    }

    /// Returns the caller whose token it is. Waits for keys of the issuer if need be.
    ///
    /// # Errors
    /// The token is not accepted, or its keys cannot be fetched.
    pub async fn authenticate(&self, token: &str) -> Verdict {
        // The caches that were fetched into, twice those that need no other fetch.
        let mut fetched: Vec<Arc<KeyCache>> = Vec::new();
        loop {
            let NeedsKeys(cache, want) = match self.judge(token, SystemTime::now(), &fetched) {
                Ok(verdict) => return verdict,
                Err(needed) => needed,
            };
            let is_joined = match cache.fetch(want) {
                Some(flight) => {
                    flight.landed.await;
                    flight.is_joined
                }
                None => false,
            };
            let times = if is_joined { 1 } else { FETCHES };
            fetched.extend(std::iter::repeat_n(cache, times));
        }
    }

    /// Returns the issuers, as RFC 9728 metadata names them (`authorization_servers`).
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.issuers.keys().map(String::as_str)
    }

    /// Judges a token at a time. `fetched` are the caches whose keys were fetched for it.
    ///
    /// # Errors
    /// Keys have to be fetched first.
    fn judge(
        &self,
        token: &str,
        now: SystemTime,
        fetched: &[Arc<KeyCache>],
    ) -> Result<Verdict, NeedsKeys> {
        // Before anything else: not even a digest is made of a token that is too long.
        if let Err(refusal) = token::check_length(token) {
            return Ok(Err(refusal));
        }
        let digest = TokenDigest::of(token);
        if let Some(verdict) = self.verdicts.get(digest) {
            return Ok(verdict);
        }
        let parsed = match UnverifiedToken::parse(token) {
            Ok(parsed) => parsed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let issuer = parsed.claims.text("iss").unwrap_or_default();
        let Some(trusted) = self.issuers.get(issuer) else {
            let shown = excerpt(issuer);
            let reason = format!("`iss` is `{shown}`, which no entry of `listen.auth.jwt` has");
            return Ok(Err(Refusal::invalid_token(UNKNOWN_ISSUER, reason)));
        };
        let may_fetch = |cache: &Arc<KeyCache>| {
            let times = fetched.iter().filter(|other| Arc::ptr_eq(cache, other));
            times.count() < FETCHES
        };
        let (mut refusal, mut holds) = (None, true);
        for trusted in trusted {
            match trusted.judge(token, &parsed, now, &may_fetch) {
                Step::Accepted(caller) => {
                    let verdict = Ok(caller);
                    self.remember(digest, token, &verdict, now);
                    return Ok(verdict);
                }
                Step::Fetch(cache, want) => return Err(NeedsKeys(cache, want)),
                Step::Refused(other) => refusal = Some(nearer(refusal, other)),
                Step::RefusedForNow(other) => {
                    holds = false;
                    refusal = Some(nearer(refusal, other));
                }
            }
        }
        let refusal = refusal
            .unwrap_or_else(|| Refusal::invalid_token(UNKNOWN_ISSUER, "the issuer has no entry"));
        let verdict = Err(refusal);
        if holds {
            self.remember(digest, token, &verdict, now);
        }
        Ok(verdict)
    }

    /// Remembers a verdict for as long as it is sure to hold.
    fn remember(&self, digest: TokenDigest, token: &str, verdict: &Verdict, now: SystemTime) {
        let (bytes, time) = match verdict {
            Ok(caller) => {
                let identity = caller.identity();
                let left = identity
                    .expires
                    .and_then(|end| end.duration_since(now).ok());
                let tags = identity.tags.iter();
                let tags: usize = tags.map(|(name, text)| name.len() + text.len() + 64).sum();
                (
                    token.len() + tags,
                    left.unwrap_or(Duration::ZERO).min(ACCEPTED),
                )
            }
            Err(refusal) => (refusal.reason.len(), REFUSED),
        };
        self.verdicts
            .remember(digest, verdict, bytes + OVERHEAD, time);
    }
}
