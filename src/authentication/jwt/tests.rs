//! Tokens against rules and keys: without sockets, with a clock of their own.

mod caching;
mod identities;
mod key_sets;
mod laws;
mod providers;
mod signing;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use indexmap::IndexMap;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::key_cache::{FetchError, FetchedKeys, KeyCache};
use super::keys::KeySet;
use super::rules::TokenRules;
use super::trusted::TrustedKeys;
use super::verdicts::{Verdict, VerdictCache};
use super::{JwtAuthenticator, verifier};
use crate::config::{AudienceRule, JwksOrigin, JwtIssuer};
use crate::memory::MemoryShare;
use signing::jwks;

/// The time of these tests, in seconds since 1970.
const NOW: u64 = 1_800_000_000;
/// `public_url` of the config.
const PUBLIC_URL: &str = "https://weir.example.com/mcp";

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// An entry that wants what is wanted where nothing is written.
fn entry(issuer: &str) -> JwtIssuer {
    JwtIssuer {
        issuer: issuer.into(),
        keys: JwksOrigin::Url("https://keys.example.com/".parse().unwrap()),
        allowed_hosts: Vec::new(),
        keys_max_age: Duration::from_secs(24 * 3600),
        audience: AudienceRule::PublicUrl,
        clients: Vec::new(),
        scopes: Vec::new(),
        all_scopes: Vec::new(),
        claims: IndexMap::new(),
        leeway: Duration::from_secs(60),
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// An issuer's answer to a fetch of its keys, which can be changed, and the number of fetches.
#[derive(Clone, Default)]
struct Keys {
    answer: Arc<parking_lot::Mutex<Option<String>>>,
    max_age: Option<Duration>,
    takes: Duration,
    fetches: Arc<AtomicUsize>,
}

impl Keys {
    /// Answers with these keys.
    fn of(keys: &[Value]) -> Self {
        let new = Self::default();
        new.publish(keys);
        new
    }

    /// Answers with other keys from now on.
    fn publish(&self, keys: &[Value]) {
        *self.answer.lock() = Some(jwks(keys));
    }

    /// Does not answer any more.
    fn die(&self) {
        *self.answer.lock() = None;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    fn cache(&self, keys_max_age: Duration) -> Arc<KeyCache> {
        let keys = self.clone();
        let fetch = move || {
            let keys = keys.clone();
            keys.fetches.fetch_add(1, Ordering::Relaxed);
            let fetching: super::key_cache::KeyFetching = Box::pin(async move {
                tokio::time::sleep(keys.takes).await;
                let text = keys.answer.lock().clone();
                let text = text.ok_or_else(|| FetchError::from("no connection"))?;
                let keys_of = KeySet::parse(&text).map_err(|error| error.to_string())?;
                Ok(FetchedKeys {
                    keys: keys_of,
                    max_age: keys.max_age,
                })
            });
            fetching
        };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        KeyCache::new("issuer", Box::new(fetch), keys_max_age, tasks, stop)
    }
}

/// Makes the authenticator of these entries, all with the same keys.
fn authenticator(entries: &[JwtIssuer], keys: &Keys) -> JwtAuthenticator {
    verifier::install();
    let mut issuers = std::collections::BTreeMap::<_, Vec<TrustedKeys>>::new();
    for (index, entry) in entries.iter().enumerate() {
        let rules = TokenRules::new(index, entry, Some(PUBLIC_URL));
        let trusted = issuers.entry(entry.issuer.to_string()).or_default();
        match trusted.iter_mut().find(|known| known.is_of(entry)) {
            Some(known) => known.add(rules),
            None => {
                let cache = keys.cache(entry.keys_max_age);
                trusted.push(TrustedKeys::with_cache(entry, rules, cache));
            }
        }
    }
    JwtAuthenticator {
        issuers,
        verdicts: VerdictCache::new(MemoryShare::unlimited()),
    }
}

/// Returns the verdict at a time, with keys fetched as they have to be.
async fn verdict_at(authenticator: &JwtAuthenticator, token: &str, now: SystemTime) -> Verdict {
    let mut fetched = Vec::new();
    loop {
        match authenticator.judge(token, now, &fetched) {
            Ok(verdict) => return verdict,
            Err(super::NeedsKeys(cache, want)) => {
                if let Some(flight) = cache.fetch(want) {
                    flight.landed.await;
                }
                fetched.extend([Arc::clone(&cache), cache]);
            }
        }
    }
}

/// Claims of a token that the usual entry accepts.
fn claims(issuer: &str) -> Value {
    json!({
        "iss": issuer, "sub": "user-1", "aud": PUBLIC_URL, "client_id": "app",
        "iat": NOW - 10, "exp": NOW + 3600, "scope": "mcp:read mcp:write",
    })
}
