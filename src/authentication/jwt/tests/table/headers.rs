//! Headers, algorithms and signatures.

#![allow(clippy::too_many_lines, reason = "a table is long")]

use serde_json::json;

use super::*;
use crate::authentication::jwt::tests::signing;

#[tokio::test]
async fn headers_and_signatures_are_refused_for_what_they_are() {
    let public = |ring: &Ring| ring.r1.bare_jwk().to_string();
    let mut rows = vec![
        header("no typ", json!({ "kid": "r1" }), Accepted),
        header("typ JWT", json!({ "kid": "r1", "typ": "JWT" }), Accepted),
        header("typ jwt", json!({ "kid": "r1", "typ": "jwt" }), Accepted),
        header(
            "typ as a media type",
            json!({ "kid": "r1", "typ": "application/AT+JWT" }),
            Accepted,
        ),
        header(
            "a DPoP proof",
            json!({ "kid": "r1", "typ": "dpop+jwt" }),
            Wrong(KIND, "dpop+jwt"),
        ),
        header(
            "a logout token",
            json!({ "kid": "r1", "typ": "logout+jwt" }),
            Wrong(KIND, "logout+jwt"),
        ),
        header(
            "typ list",
            json!({ "kid": "r1", "typ": ["JWT"] }),
            Wrong(UNREADABLE, "`typ`"),
        ),
        header(
            "kid number",
            json!({ "kid": 1 }),
            Wrong(UNREADABLE, "`kid`"),
        ),
        header("no kid", json!({}), Accepted),
        header("an unknown kid", json!({ "kid": "r9" }), Wrong(KEY, "r9")),
        header(
            "a kid of another key",
            json!({ "kid": "ec" }),
            Wrong(SIGNATURE, "ec"),
        ),
        header(
            "crit",
            json!({ "kid": "r1", "crit": ["exp"], "exp": 1 }),
            Wrong(UNREADABLE, "crit"),
        ),
        header(
            "empty crit",
            json!({ "kid": "r1", "crit": [] }),
            Wrong(UNREADABLE, "crit"),
        ),
        header(
            "b64",
            json!({ "kid": "r1", "crit": ["b64"], "b64": true }),
            Wrong(UNREADABLE, "crit"),
        ),
        header("RS384", json!({ "kid": "r1", "alg": "RS384" }), Accepted),
        header("RS512", json!({ "kid": "r1", "alg": "RS512" }), Accepted),
        header("PS256", json!({ "kid": "r1", "alg": "PS256" }), Accepted),
        header("PS384", json!({ "kid": "r1", "alg": "PS384" }), Accepted),
        header("PS512", json!({ "kid": "r1", "alg": "PS512" }), Accepted),
        header(
            "an RSA key with ES256",
            json!({ "kid": "r1", "alg": "ES256" }),
            Wrong(SIGNATURE, "r1"),
        ),
        header(
            "an RSA key with EdDSA",
            json!({ "kid": "r1", "alg": "EdDSA" }),
            Wrong(SIGNATURE, "r1"),
        ),
        header(
            "alg number",
            json!({ "kid": "r1", "alg": 5 }),
            Wrong(UNREADABLE, "`alg`"),
        ),
        header(
            "alg unknown",
            json!({ "kid": "r1", "alg": "RS257" }),
            Wrong(ALGORITHM, "RS257"),
        ),
        header(
            "alg in small letters",
            json!({ "kid": "r1", "alg": "rs256" }),
            Wrong(ALGORITHM, "rs256"),
        ),
        token(
            "ES256",
            |ring, claims| ring.ec.sign(&json!({ "kid": "ec" }), &claims),
            Accepted,
        ),
        token(
            "ES384",
            |ring, claims| ring.ec384.sign(&json!({ "kid": "ec384" }), &claims),
            Accepted,
        ),
        token(
            "EdDSA",
            |ring, claims| ring.ed.sign(&json!({ "kid": "ed" }), &claims),
            Accepted,
        ),
        token(
            "Ed25519",
            |ring, claims| {
                ring.ed
                    .sign(&json!({ "kid": "ed", "alg": "Ed25519" }), &claims)
            },
            Accepted,
        ),
        token(
            "an EC key with RS256",
            |ring, claims| {
                ring.ec
                    .sign(&json!({ "kid": "ec", "alg": "RS256" }), &claims)
            },
            Wrong(SIGNATURE, "ec"),
        ),
        token(
            "P-384's key with ES256",
            |ring, claims| {
                ring.ec384
                    .sign(&json!({ "kid": "ec384", "alg": "ES256" }), &claims)
            },
            Wrong(SIGNATURE, "ec384"),
        ),
        token(
            "a stranger's key",
            |ring, claims| ring.stranger.sign(&json!({ "kid": "r1" }), &claims),
            Wrong(SIGNATURE, "r1"),
        ),
        token(
            "a stranger's key without kid",
            |ring, claims| ring.stranger.sign(&json!({}), &claims),
            Wrong(KEY, "RS256"),
        ),
        token(
            "a key that the token brings",
            |ring, claims| {
                let jwk = ring.stranger.jwk("r1");
                ring.stranger.sign(&json!({ "kid": "r1", "jwk": jwk, "jku": "https://evil.example/", "x5u": "https://evil.example/" }), &claims)
            },
            Wrong(SIGNATURE, "r1"),
        ),
        token(
            "HS256 with the public key as secret",
            move |ring, claims| {
                signing::sign_hmac(
                    public(ring).as_bytes(),
                    r#"{"alg":"HS256","kid":"r1"}"#,
                    &claims.to_string(),
                )
            },
            Wrong(ALGORITHM, "HS256"),
        ),
        token(
            "a claim twice",
            |ring, claims| {
                let text = claims.to_string().replacen('{', r#"{"sub":"admin","#, 1);
                ring.r1.sign_text(r#"{"alg":"RS256","kid":"r1"}"#, &text)
            },
            Wrong(UNREADABLE, "twice"),
        ),
        token(
            "a header twice",
            |ring, claims| {
                ring.r1.sign_text(
                    r#"{"alg":"RS256","kid":"r1","alg":"none"}"#,
                    &claims.to_string(),
                )
            },
            Wrong(UNREADABLE, "header"),
        ),
        token(
            "claims that are no object",
            |ring, _| ring.r1.sign_text(r#"{"alg":"RS256","kid":"r1"}"#, "[]"),
            Wrong(UNREADABLE, "payload"),
        ),
        token(
            "a header that is no object",
            |ring, claims| ring.r1.sign_text(r#"["RS256"]"#, &claims.to_string()),
            Wrong(UNREADABLE, "header"),
        ),
        token(
            "more after the claims",
            |ring, claims| {
                ring.r1.sign_text(
                    r#"{"alg":"RS256","kid":"r1"}"#,
                    &format!("{claims}{claims}"),
                )
            },
            Wrong(UNREADABLE, "payload"),
        ),
        token(
            "five parts",
            |_, _| "a.b.c.d.e".to_owned(),
            Wrong(UNREADABLE, "encrypted"),
        ),
        token(
            "two parts",
            |_, _| "a.b".to_owned(),
            Wrong(UNREADABLE, "three parts"),
        ),
        token(
            "no token",
            |_, _| "weir".to_owned(),
            Wrong(UNREADABLE, "three parts"),
        ),
        token("dots", |_, _| "..".to_owned(), Wrong(UNREADABLE, "header")),
        token(
            "a megabyte",
            |_, _| "a.".repeat(500_000),
            Wrong(UNREADABLE, "1000000 bytes"),
        ),
        token(
            "base64 with padding",
            |ring, claims| {
                let token = ring.r1.sign(&json!({ "kid": "r1" }), &claims);
                token.replacen('.', "=.", 1)
            },
            Wrong(UNREADABLE, "header"),
        ),
        token(
            "a bit of the signature",
            |ring, claims| {
                let token = ring.r1.sign(&json!({ "kid": "r1" }), &claims);
                let at = token.len() - 20;
                let other = if token[at..].starts_with('A') {
                    "B"
                } else {
                    "A"
                };
                format!("{}{other}{}", &token[..at], &token[at + 1..])
            },
            Wrong(SIGNATURE, "r1"),
        ),
        token(
            "no signature",
            |ring, claims| {
                let token = ring.r1.sign(&json!({ "kid": "r1" }), &claims);
                token[..=token.rfind('.').unwrap()].to_owned()
            },
            Wrong(SIGNATURE, "r1"),
        ),
        token(
            "other claims under a good signature",
            |ring, claims| {
                let good = ring.r1.sign(&json!({ "kid": "r1" }), &claims);
                let mut other = claims;
                other["sub"] = json!("admin");
                let other = ring.stranger.sign(&json!({ "kid": "r1" }), &other);
                let (signed, _) = other.rsplit_once('.').unwrap();
                let (_, signature) = good.rsplit_once('.').unwrap();
                format!("{signed}.{signature}")
            },
            Wrong(SIGNATURE, "r1"),
        ),
    ];
    for none in ["none", "None", "NONE", "nOnE", "", "null"] {
        rows.push(token(
            "none",
            move |_, claims| {
                let header = json!({ "alg": none, "kid": "r1" }).to_string();
                let part = |text: &str| signing::encode(text.as_bytes());
                format!("{}.{}.", part(&header), part(&claims.to_string()))
            },
            Wrong(ALGORITHM, "algorithm is"),
        ));
    }
    for secret in ["HS256", "HS384", "HS512"] {
        rows.push(header(
            "a symmetric algorithm",
            json!({ "alg": secret, "kid": "r1" }),
            Wrong(ALGORITHM, secret),
        ));
    }
    assert!(check(rows).await >= 50);
}
