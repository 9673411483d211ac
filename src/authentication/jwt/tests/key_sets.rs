//! JWK Sets as issuers publish them, and as nobody should.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::signing::{SigningKey, jwks};
use crate::authentication::jwt::keys::{JwksError, KeySet, Verification};
use crate::authentication::verifier;

/// Verifies a token of a key against a set.
fn verify(set: &KeySet, key: &SigningKey, id: Option<&str>) -> Verification {
    verifier::install();
    let token = key.sign(&json!({}), &json!({}));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let algorithm = super::super::keys::parse_algorithm(key.algorithm()).unwrap();
    set.verify(algorithm, id, signed, signature)
}

fn with(mut jwk: Value, member: &str, value: Value) -> Value {
    jwk[member] = value;
    jwk
}

#[test]
fn keys_that_do_not_verify_tokens_are_left_out() {
    let (rsa, ec) = (SigningKey::rsa(0), SigningKey::p256());
    let good = rsa.jwk("good");
    for bad in [
        with(rsa.jwk("x"), "use", json!("enc")),
        with(rsa.jwk("x"), "key_ops", json!(["encrypt"])),
        with(rsa.jwk("x"), "alg", json!("RSA-OAEP")),
        with(rsa.jwk("x"), "alg", json!("HS256")),
        with(rsa.jwk("x"), "alg", json!("ES256")),
        with(rsa.jwk("x"), "n", json!("AQAB")),
        with(rsa.jwk("x"), "n", json!("not base64!")),
        with(rsa.jwk("x"), "n", json!("A".repeat(2000))),
        with(rsa.jwk("x"), "e", json!("")),
        with(rsa.jwk("x"), "kid", json!(7)),
        with(rsa.jwk("x"), "kty", json!("XYZ")),
        with(ec.jwk("x"), "crv", json!("P-521")),
        with(ec.jwk("x"), "crv", json!("secp256k1")),
        with(ec.jwk("x"), "x", json!("AA")),
        with(SigningKey::ed25519().jwk("x"), "crv", json!("X25519")),
        json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "x", "alg": "HS256" }),
        json!({}),
        json!("key"),
        json!(null),
    ] {
        let set = KeySet::parse(&jwks(&[bad.clone(), good.clone()])).unwrap();
        assert_eq!(set.len(), 1, "{bad}");
        assert_eq!(
            verify(&set, &rsa, Some("good")),
            Verification::Good,
            "{bad}"
        );
        assert_eq!(
            KeySet::parse(&jwks(&[bad])).unwrap_err(),
            JwksError::Unusable(1)
        );
    }
}

#[test]
fn a_key_is_used_with_its_own_algorithm_only() {
    verifier::install();
    let key = SigningKey::rsa(0);
    let set = KeySet::parse(&jwks(&[with(key.jwk("k"), "alg", json!("PS256"))])).unwrap();
    let token = key.sign(&json!({ "alg": "PS256" }), &json!({}));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let verify = |algorithm| set.verify(algorithm, Some("k"), signed, signature);
    assert_eq!(verify(Algorithm::PS256), Verification::Good);
    for other in [
        Algorithm::RS256,
        Algorithm::PS384,
        Algorithm::ES256,
        Algorithm::HS256,
    ] {
        assert_eq!(verify(other), Verification::Wrong, "{other:?}");
    }
}

#[test]
fn keys_with_one_kid_or_none_are_tried() {
    let (one, two, other) = (SigningKey::rsa(0), SigningKey::rsa(1), SigningKey::p256());
    let twins = KeySet::parse(&jwks(&[one.jwk("k"), two.jwk("k")])).unwrap();
    assert_eq!(verify(&twins, &one, Some("k")), Verification::Good);
    assert_eq!(verify(&twins, &two, Some("k")), Verification::Good);
    assert_eq!(verify(&twins, &two, None), Verification::Good);
    assert_eq!(verify(&twins, &other, Some("k")), Verification::Wrong);
    assert_eq!(
        verify(&twins, &one, Some("other")),
        Verification::UnknownKey
    );
    let nameless = KeySet::parse(&jwks(&[one.bare_jwk()])).unwrap();
    assert_eq!(verify(&nameless, &one, Some("k")), Verification::Good);
    assert_eq!(verify(&nameless, &one, None), Verification::Good);
    // Another key without a name may have taken its place.
    assert_eq!(verify(&nameless, &two, None), Verification::UnknownKey);
    // No token makes weir try a hundred keys.
    let mut many: Vec<_> = (0..20).map(|_| one.jwk("k")).collect();
    many.push(two.jwk("k"));
    let many = KeySet::parse(&jwks(&many)).unwrap();
    assert_eq!(verify(&many, &two, Some("k")), Verification::Wrong);
}

#[test]
fn what_is_no_key_set_is_an_error_of_bounded_work() {
    for text in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        "<html>",
        "{\"keys\":[",
    ] {
        assert_eq!(
            KeySet::parse(text).unwrap_err(),
            JwksError::Syntax,
            "{text}"
        );
    }
    assert_eq!(
        KeySet::parse(r#"{"keys":[]}"#).unwrap_err(),
        JwksError::Unusable(0)
    );
    let many = vec![SigningKey::rsa(0).jwk("k"); 101];
    assert_eq!(
        KeySet::parse(&jwks(&many)).unwrap_err(),
        JwksError::Many(101)
    );
    let large = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(50 << 20));
    assert_eq!(KeySet::parse(&large).unwrap_err(), JwksError::Large);
    let deep = format!(r#"{{"keys":[{}"#, "[".repeat(400_000));
    assert_eq!(KeySet::parse(&deep).unwrap_err(), JwksError::Syntax);
}
