//! Tokens × reasons: what is accepted and refused, and what each side is told.

mod habits;
mod headers;
mod times;

use serde_json::{Value, json};

use super::providers::{Provider, plain};
use super::signing::SigningKey;
use super::{Keys, NOW, at, authenticator, entry, verdict_at};
use crate::authentication::RefusalKind;
use crate::config::{AudienceRule, ClaimRule};

/// The keys of all issuers here. `r1` and the others are published, `stranger` is not.
struct Ring {
    r1: SigningKey,
    stranger: SigningKey,
    ec: SigningKey,
    ec384: SigningKey,
    ed: SigningKey,
}

impl Ring {
    fn new() -> Self {
        Self {
            r1: SigningKey::rsa(0),
            stranger: SigningKey::rsa(1),
            ec: SigningKey::p256(),
            ec384: SigningKey::p384(),
            ed: SigningKey::ed25519(),
        }
    }

    fn published(&self) -> Keys {
        Keys::of(&[
            self.r1.jwk("r1"),
            self.ec.jwk("ec"),
            self.ec384.jwk("ec384"),
            self.ed.jwk("ed"),
        ])
    }
}

/// The outcome for a token.
enum Expected {
    Accepted,
    /// Refused as wrong, with parts of what the sender and the operator are told.
    Wrong(&'static str, &'static str),
    /// Refused for lack of these scopes.
    Scopes(&'static [&'static str]),
}
use Expected::{Accepted, Scopes, Wrong};

/// Makes a token of claims that are good.
type MakeToken = Box<dyn Fn(&Ring, Value) -> String>;

/// A row of the table: a provider, and a token.
struct Row {
    name: &'static str,
    provider: fn() -> Provider,
    token: MakeToken,
    expected: Expected,
}

/// A row whose token differs from a good one in its claims.
fn claims(
    name: &'static str,
    provider: fn() -> Provider,
    change: impl Fn(&mut Value) + 'static,
    expected: Expected,
) -> Row {
    let token = move |ring: &Ring, mut claims: Value| {
        change(&mut claims);
        ring.r1
            .sign(&json!({ "kid": "r1", "typ": "at+jwt" }), &claims)
    };
    Row {
        name,
        provider,
        token: Box::new(token),
        expected,
    }
}

/// A row whose token is made anew of good claims of a plain issuer.
fn token(
    name: &'static str,
    token: impl Fn(&Ring, Value) -> String + 'static,
    expected: Expected,
) -> Row {
    Row {
        name,
        provider: plain,
        token: Box::new(token),
        expected,
    }
}

/// A row whose token is signed with `r1`, with this header.
fn header(name: &'static str, header: Value, expected: Expected) -> Row {
    token(
        name,
        move |ring, claims| ring.r1.sign(&header, &claims),
        expected,
    )
}

fn without(claim: &'static str) -> impl Fn(&mut Value) {
    move |claims| {
        claims.as_object_mut().unwrap().remove(claim);
    }
}

fn with(claim: &'static str, value: Value) -> impl Fn(&mut Value) {
    move |claims| claims[claim] = value.clone()
}

async fn check(rows: Vec<Row>) -> usize {
    let ring = Ring::new();
    let count = rows.len();
    for Row {
        name,
        provider,
        token,
        expected,
    } in rows
    {
        let Provider { entries, claims } = provider();
        let authenticator = authenticator(&entries, &ring.published());
        let token = token(&ring, claims.clone());
        let verdict = verdict_at(&authenticator, &token, at(NOW)).await;
        match (expected, verdict) {
            (Accepted, Ok(caller)) => {
                assert_eq!(
                    Some(caller.identity().subject.as_ref()),
                    claims["sub"].as_str(),
                    "{name}"
                );
            }
            (Wrong(public, reason), Err(refusal)) => {
                let RefusalKind::InvalidToken(told) = refusal.kind else {
                    panic!("{name}: {refusal:?}");
                };
                assert!(told.contains(public), "{name}: {refusal:?}");
                assert!(refusal.reason.contains(reason), "{name}: {refusal:?}");
                assert!(!refusal.reason.contains(&token), "{name}: {refusal:?}");
            }
            (Scopes(scopes), Err(refusal)) => {
                let RefusalKind::InsufficientScope { needed } = &refusal.kind else {
                    panic!("{name}: {refusal:?}");
                };
                let needed: Vec<_> = needed.iter().map(AsRef::as_ref).collect();
                assert_eq!(needed, scopes, "{name}");
            }
            (_, other) => panic!("{name}: {other:?}"),
        }
    }
    count
}

const UNREADABLE: &str = "not a JSON Web Token";
const ALGORITHM: &str = "algorithm";
const KIND: &str = "not an access token";
const SIGNATURE: &str = "signature";
const KEY: &str = "does not publish";
const AUDIENCE: &str = "audience";
const RULES: &str = "requirements";
const ENDED: &str = "expired";
const EARLY: &str = "not valid yet";
const TIMES: &str = "expiration";
const SUBJECT: &str = "subject";

#[tokio::test]
async fn one_of_several_entries_of_an_issuer_is_enough() {
    let ring = Ring::new();
    let issuer = "https://id.example.com";
    let mut people = entry(issuer);
    people.scopes = super::texts(&["mcp"]);
    let mut robots = entry(issuer);
    robots.audience = AudienceRule::OneOf(super::texts(&["robots"]));
    let rule = ClaimRule::Equals("batch".to_owned());
    robots.claims.insert("kind".to_owned(), rule);
    let authenticator = authenticator(&[people, robots], &ring.published());
    let verdict = async |change: &dyn Fn(&mut Value)| {
        let mut claims = super::claims(issuer);
        change(&mut claims);
        let token = ring.r1.sign(&json!({ "kid": "r1" }), &claims);
        verdict_at(&authenticator, &token, at(NOW)).await
    };
    assert!(verdict(&with("scope", json!("mcp"))).await.is_ok());
    let robot = |claims: &mut Value| {
        claims["aud"] = json!("robots");
        claims["kind"] = json!("batch");
    };
    assert!(verdict(&robot).await.is_ok());
    // Of two refusals the sender is told the one that it can do something about.
    let refusal = verdict(&|_| {}).await.unwrap_err();
    assert!(
        matches!(refusal.kind, RefusalKind::InsufficientScope { .. }),
        "{refusal:?}"
    );
    assert!(refusal.reason.contains("jwt[0]"), "{refusal:?}");
    assert!(refusal.reason.contains("jwt[1].audiences"), "{refusal:?}");
}
