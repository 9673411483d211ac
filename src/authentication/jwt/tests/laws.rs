//! The rules for any token.

use proptest::prelude::*;
use serde_json::json;

use super::signing::SigningKey;
use super::{Keys, NOW, at, authenticator, claims, entry};
use crate::authentication::jwt::JwtAuthenticator;
use crate::authentication::jwt::key_cache::Want;

const ISSUER: &str = "https://id.example.com";

/// An authenticator that has its keys, and a good token.
fn rig() -> (JwtAuthenticator, SigningKey, String) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build().unwrap();
    let key = SigningKey::ed25519();
    let authenticator = authenticator(&[entry(ISSUER)], &Keys::of(&[key.jwk("a")]));
    let token = key.sign(&json!({ "kid": "a", "typ": "at+jwt" }), &claims(ISSUER));
    runtime.block_on(async {
        let Err(super::super::NeedsKeys(cache, _)) = authenticator.judge(&token, at(NOW), &[])
        else {
            panic!("there are no keys yet");
        };
        cache.fetch(Want::Keys).unwrap().landed.await;
    });
    (authenticator, key, token)
}

thread_local! {
    static RIG: (JwtAuthenticator, SigningKey, String) = rig();
}

/// Returns whether a token is accepted with the keys at hand.
fn is_accepted(authenticator: &JwtAuthenticator, token: &str) -> bool {
    matches!(authenticator.judge(token, at(NOW), &[]), Ok(Ok(_)))
}

proptest! {
    #[test]
    fn a_token_that_is_changed_anywhere_is_not_accepted(at in any::<prop::sample::Index>(), by in any::<char>()) {
        RIG.with(|(authenticator, _, good)| {
            assert!(is_accepted(authenticator, good));
            let at = at.index(good.len());
            let changed = format!("{}{by}{}", &good[..at], &good[at + 1..]);
            assert!(changed == *good || !is_accepted(authenticator, &changed));
            let cut = &good[..at];
            assert!(!is_accepted(authenticator, cut));
            assert!(!is_accepted(authenticator, &format!("{good}{by}")));
        });
    }

    #[test]
    fn no_text_is_a_token(text in "\\PC{0,200}") {
        RIG.with(|(authenticator, ..)| assert!(!is_accepted(authenticator, &text)));
    }

    #[test]
    fn no_header_or_claims_break_it(header in "[{}\\[\\]\":,a-z0-9.\\\\-]{0,60}", claims in "[{}\\[\\]\":,a-z0-9.\\\\-]{0,60}") {
        RIG.with(|(authenticator, key, _)| {
            let token = key.sign_text(&header, &claims);
            assert!(!is_accepted(authenticator, &token));
            let header = format!(r#"{{"alg":"EdDSA","kid":"a","x":{header}}}"#);
            let claims = format!(r#"{{"iss":"{ISSUER}","x":{claims}}}"#);
            let _ = is_accepted(authenticator, &key.sign_text(&header, &claims));
        });
    }

    #[test]
    fn claims_of_any_type_break_nothing(name in prop::sample::select(vec!["iss", "sub", "aud", "exp", "nbf", "iat", "scope", "scp", "client_id", "azp", "act", "token_use", "typ", "_claim_names"]), value in json_value()) {
        RIG.with(|(authenticator, key, _)| {
            let mut claims = claims(ISSUER);
            claims[name] = value;
            let _ = is_accepted(authenticator, &key.sign(&json!({ "kid": "a" }), &claims));
        });
    }
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        "\\PC{0,20}".prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|value| json!(value)),
            prop::collection::btree_map("\\PC{0,6}", inner, 0..6).prop_map(|value| json!(value)),
        ]
    })
}
