//! Principals with tokens of one issuer, whose keys are in a file beside the config.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::signing::{SigningKey, jwks};
use super::weir::{Builder, Weir};

const ISSUER: &str = "https://issuer.example";

/// An issuer of tokens.
pub struct Issuer {
    key: SigningKey,
}

impl Issuer {
    pub fn new() -> Self {
        Self {
            key: SigningKey::ed25519(),
        }
    }

    /// `listen.auth` that accepts its tokens for this audience.
    pub fn auth(audience: &str) -> String {
        format!(
            "auth: {{ jwt: [{{ issuer: '{ISSUER}', jwks: {{ file: jwks.json }}, audiences: [{audience}], leeway: 1s }}] }}"
        )
    }

    /// The file of its keys.
    pub fn jwks(&self) -> String {
        jwks(&[self.key.jwk("k")])
    }

    /// Starts a weir that accepts its tokens.
    pub async fn start(&self, weir: Builder, listen: &str) -> Weir {
        self.start_in(weir, listen, |_| {}).await
    }

    /// The same, after this was done in the folder of the config.
    pub async fn start_in(&self, weir: Builder, listen: &str, prepare: impl FnOnce(&Path)) -> Weir {
        let weir = weir.listen(&format!("{listen}, {}", Self::auth("weir")));
        let jwks = self.jwks();
        weir.start_in(|home: &Path, yaml| {
            prepare(home);
            std::fs::write(home.join("jwks.json"), jwks).unwrap();
            std::fs::write(home.join("weir.yaml"), yaml).unwrap();
        })
        .await
    }

    /// A token of a principal that is valid for an hour.
    pub fn token(&self, subject: &str) -> String {
        self.token_for(subject, Duration::from_secs(3600))
    }

    /// A token of a principal that ended an hour ago.
    pub fn expired(&self, subject: &str) -> String {
        self.token_until(subject, now() - Duration::from_secs(3600))
    }

    /// A token of a principal that is valid for this long, and a second for the clocks.
    pub fn token_for(&self, subject: &str, time: Duration) -> String {
        self.token_until(subject, now() + time)
    }

    /// A token of a principal with one more claim.
    pub fn token_with(&self, subject: &str, claim: &str, value: serde_json::Value) -> String {
        let end = now() + Duration::from_secs(3600);
        let mut claims = Self::claims(subject, end);
        claims[claim] = value;
        self.key.sign(&json!({ "kid": "k" }), &claims)
    }

    fn token_until(&self, subject: &str, end: Duration) -> String {
        self.key
            .sign(&json!({ "kid": "k" }), &Self::claims(subject, end))
    }

    fn claims(subject: &str, end: Duration) -> serde_json::Value {
        // No two are the same.
        let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), ());
        json!({
            "iss": ISSUER, "sub": subject, "aud": "weir", "exp": end.as_secs(),
            "jti": random.to_string(),
        })
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
