//! The identity of a caller after its token was accepted.

use serde_json::{Value, json};

use super::providers::{Provider, cognito, keycloak, okta};
use super::signing::SigningKey;
use super::{Keys, NOW, at, authenticator, claims, entry, verdict_at};
use crate::caller::{Caller, Principal};

async fn caller_of(provider: Provider, change: impl FnOnce(&mut Value)) -> (Caller, String) {
    let key = SigningKey::ed25519();
    let Provider {
        entries,
        mut claims,
    } = provider;
    change(&mut claims);
    let authenticator = authenticator(&entries, &Keys::of(&[key.jwk("k")]));
    let token = key.sign(&json!({ "kid": "k" }), &claims);
    let caller = verdict_at(&authenticator, &token, at(NOW)).await.unwrap();
    (caller, token)
}

#[tokio::test]
async fn an_identity_is_what_the_token_says() {
    let (caller, token) = caller_of(cognito(), |_| {}).await;
    let identity = caller.identity();
    assert_eq!(identity.principal, Principal::OAuthUser);
    assert_eq!(&*identity.subject, "s-1");
    let issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf";
    assert_eq!(identity.issuer.as_deref(), Some(issuer));
    assert_eq!(identity.client.as_deref(), Some("4abc"));
    let scopes: Vec<_> = identity.scopes.iter().map(AsRef::as_ref).collect();
    assert_eq!(scopes, ["weir/mcp.invoke", "openid"]);
    // Leeway included: until then the token is accepted.
    assert_eq!(identity.expires, Some(at(NOW + 3600 + 60)));
    assert_eq!(identity.token.as_ref().unwrap().expose(), token);
    assert!(!format!("{caller:?}").contains(&token));
    let (okta, _) = caller_of(okta(), |_| {}).await;
    assert_eq!(okta.identity().client.as_deref(), Some("0oa1"));
    assert_eq!(okta.identity().scopes.len(), 2);
}

#[tokio::test]
async fn claims_are_tags_and_those_inside_of_objects_too() {
    let (caller, _) = caller_of(keycloak(), |claims| {
        claims["level"] = json!(3);
        claims["ratio"] = json!(0.5);
        claims["nothing"] = json!(null);
        claims["act"] = json!({ "sub": "agent", "act": { "sub": "inner" } });
        claims["realm_access.x"] = json!("claim");
        claims["realm_access"]["x"] = json!("member");
    })
    .await;
    let tags = &caller.identity().tags;
    for (name, text) in [
        ("iss", "https://sso.example.com/realms/corp"),
        ("sub", "s-1"),
        ("aud", r#"["weir","account"]"#),
        ("email_verified", "true"),
        ("level", "3"),
        ("ratio", "0.5"),
        ("nothing", "null"),
        ("scope", "openid profile"),
        ("realm_access.roles", r#"["user","mcp"]"#),
        ("realm_access.x", "claim"),
        ("resource_access.weir.prod.roles", r#"["tool:search"]"#),
        ("act", r#"{"sub":"agent","act":{"sub":"inner"}}"#),
        ("act.sub", "agent"),
        ("act.act.sub", "inner"),
    ] {
        assert_eq!(tags.get(name).map(AsRef::as_ref), Some(text), "{name}");
    }
}

#[tokio::test]
async fn principals_are_told_apart_by_issuer_subject_and_client() {
    let key = SigningKey::ed25519();
    let issuers = ["https://a.example", "https://b.example"];
    let entries = issuers.map(entry);
    let authenticator = authenticator(&entries, &Keys::of(&[key.jwk("k")]));
    let mut seen = Vec::new();
    for issuer in issuers {
        for (subject, client) in [("u", "app"), ("u", "other"), ("v", "app")] {
            let mut claims = claims(issuer);
            claims["sub"] = json!(subject);
            claims["client_id"] = json!(client);
            let token = key.sign(&json!({ "kid": "k" }), &claims);
            let caller = verdict_at(&authenticator, &token, at(NOW)).await.unwrap();
            assert!(!seen.contains(&caller.key()));
            seen.push(caller.key());
        }
    }
}
