//! Tokens × reasons: what is accepted and refused, and what each side is told.

#![allow(clippy::too_many_lines, reason = "tables are long")]

use serde_json::{Value, json};

use super::providers::{Provider, auth0, cognito, entra_v1, entra_v2, keycloak, okta, plain};
use super::signing::{self, SigningKey};
use super::{Keys, NOW, PUBLIC_URL, at, authenticator, entry, verdict_at};
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

/// What becomes of a token.
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
async fn tokens_of_each_provider_are_accepted_and_refused_by_its_habits() {
    let unused = |_: &mut Value| {};
    let rows = vec![
        claims("plain", plain, unused, Accepted),
        claims("Cognito", cognito, unused, Accepted),
        claims("Entra v1", entra_v1, unused, Accepted),
        claims("Entra v2, a user", entra_v2, unused, Accepted),
        claims("Okta", okta, unused, Accepted),
        claims("Auth0", auth0, unused, Accepted),
        claims("Keycloak", keycloak, unused, Accepted),
        // Amazon Cognito.
        claims(
            "Cognito, an ID token",
            cognito,
            with("token_use", json!("id")),
            Wrong(KIND, "token_use"),
        ),
        claims(
            "Cognito, another client",
            cognito,
            with("client_id", json!("evil")),
            Wrong(RULES, "jwt[0].clients"),
        ),
        claims(
            "Cognito, no client",
            cognito,
            without("client_id"),
            Wrong(RULES, "names no client"),
        ),
        claims(
            "Cognito, the other client",
            cognito,
            with("client_id", json!("3xyz")),
            Accepted,
        ),
        claims(
            "Cognito, other groups",
            cognito,
            with("cognito:groups", json!(["sales"])),
            Wrong(RULES, "claims.cognito:groups"),
        ),
        claims(
            "Cognito, no groups",
            cognito,
            without("cognito:groups"),
            Wrong(RULES, "no such claim"),
        ),
        claims(
            "Cognito, groups as text",
            cognito,
            with("cognito:groups", json!("payments")),
            Wrong(RULES, "text and not a list"),
        ),
        claims(
            "Cognito, other scope",
            cognito,
            with("scope", json!("openid")),
            Scopes(&["weir/mcp.invoke"]),
        ),
        claims(
            "Cognito, the scope is a part of one",
            cognito,
            with("scope", json!("weir/mcp.invoke.all")),
            Scopes(&["weir/mcp.invoke"]),
        ),
        claims(
            "Cognito, an audience does not matter",
            cognito,
            with("aud", json!("other")),
            Accepted,
        ),
        // Microsoft Entra.
        claims(
            "Entra v1, issuer without its slash",
            entra_v1,
            with(
                "iss",
                json!("https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47"),
            ),
            Wrong("issuer", "no entry"),
        ),
        claims(
            "Entra v1, another tenant",
            entra_v1,
            with("iss", json!("https://sts.windows.net/9188040d/")),
            Wrong("issuer", "9188040d"),
        ),
        claims(
            "Entra v1, Graph's token",
            entra_v1,
            with("aud", json!("00000003-0000-0000-c000-000000000000")),
            Wrong(AUDIENCE, "00000003"),
        ),
        claims(
            "Entra v1, another application",
            entra_v1,
            with("appid", json!("evil")),
            Wrong(RULES, "clients"),
        ),
        claims(
            "Entra v1, no scp",
            entra_v1,
            without("scp"),
            Scopes(&["mcp.invoke"]),
        ),
        claims(
            "Entra v2, a v1 issuer",
            entra_v2,
            with(
                "iss",
                json!("https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/"),
            ),
            Wrong("issuer", "no entry"),
        ),
        claims(
            "Entra v2, an application by its role",
            entra_v2,
            |claims| {
                without("scp")(claims);
                claims["roles"] = json!(["Mcp.Invoke.All"]);
            },
            Accepted,
        ),
        claims(
            "Entra v2, an application with another role",
            entra_v2,
            |claims| {
                without("scp")(claims);
                claims["roles"] = json!(["Mcp.Read"]);
            },
            Scopes(&["mcp.invoke"]),
        ),
        claims(
            "Entra v2, in another group",
            entra_v2,
            with("groups", json!(["g-3"])),
            Wrong(RULES, "claims.groups"),
        ),
        claims(
            "Entra v2, too many groups to list",
            entra_v2,
            |claims| {
                without("groups")(claims);
                claims["_claim_names"] = json!({ "groups": "src1" });
                claims["_claim_sources"] =
                    json!({ "src1": { "endpoint": "https://graph.windows.net/…" } });
            },
            Wrong(RULES, "_claim_names"),
        ),
        claims(
            "Entra v2, implicit flow with many groups",
            entra_v2,
            |claims| {
                without("groups")(claims);
                claims["hasgroups"] = json!(true);
            },
            Wrong(RULES, "_claim_names"),
        ),
        // Okta.
        claims(
            "Okta, scopes as text",
            okta,
            with("scp", json!("openid mcp")),
            Accepted,
        ),
        claims(
            "Okta, one scope of two",
            okta,
            with("scp", json!(["mcp"])),
            Scopes(&["openid"]),
        ),
        claims(
            "Okta, no scope of two",
            okta,
            with("scp", json!([])),
            Scopes(&["mcp", "openid"]),
        ),
        claims(
            "Okta, another client",
            okta,
            with("cid", json!("0oa2")),
            Wrong(RULES, "0oa2"),
        ),
        claims(
            "Okta, another audience",
            okta,
            with("aud", json!("api://other")),
            Wrong(AUDIENCE, "api://other"),
        ),
        claims(
            "Okta, numbers among scopes",
            okta,
            with("scp", json!([1, "mcp", null, "openid"])),
            Accepted,
        ),
        // Auth0.
        claims(
            "Auth0, userinfo only",
            auth0,
            with("aud", json!(["https://weir.eu.auth0.com/userinfo"])),
            Wrong(AUDIENCE, "userinfo"),
        ),
        claims(
            "Auth0, issuer without its slash",
            auth0,
            with("iss", json!("https://weir.eu.auth0.com")),
            Wrong("issuer", "no entry"),
        ),
        claims(
            "Auth0, a role that is missing",
            auth0,
            with("https://weir.example.com/roles", json!(["user"])),
            Wrong(RULES, "roles"),
        ),
        claims(
            "Auth0, its dialect of RFC 9068",
            auth0,
            with("client_id", json!("Nz3")),
            Accepted,
        ),
        claims(
            "Auth0, an ID token",
            auth0,
            with("at_hash", json!("x")),
            Wrong(KIND, "ID token"),
        ),
        // Keycloak.
        claims(
            "Keycloak, account's token",
            keycloak,
            with("aud", json!("account")),
            Wrong(AUDIENCE, "account"),
        ),
        claims(
            "Keycloak, without a mapper",
            keycloak,
            without("aud"),
            Wrong(AUDIENCE, "no `aud`"),
        ),
        claims(
            "Keycloak, an ID token",
            keycloak,
            with("typ", json!("ID")),
            Wrong(KIND, "`typ` of its claims"),
        ),
        claims(
            "Keycloak, a refresh token",
            keycloak,
            with("typ", json!("Refresh")),
            Wrong(KIND, "Refresh"),
        ),
        claims(
            "Keycloak, not the role",
            keycloak,
            with("realm_access", json!({ "roles": ["user"] })),
            Wrong(RULES, "realm_access.roles"),
        ),
        claims(
            "Keycloak, a role in the wrong place",
            keycloak,
            with("realm_access", json!("roles")),
            Wrong(RULES, "no such claim"),
        ),
        claims(
            "Keycloak, a claim with the path as its name wins",
            keycloak,
            with("realm_access.roles", json!(["user"])),
            Wrong(RULES, "realm_access.roles"),
        ),
        claims(
            "Keycloak, an address not verified",
            keycloak,
            with("email_verified", json!(false)),
            Wrong(RULES, "email_verified"),
        ),
        claims(
            "Keycloak, an address verified in text",
            keycloak,
            with("email_verified", json!("true")),
            Accepted,
        ),
    ];
    assert!(check(rows).await >= 46);
}

#[tokio::test]
async fn times_subjects_and_audiences_are_checked_to_the_second() {
    let rows = vec![
        claims(
            "ends within the leeway",
            plain,
            with("exp", json!(NOW - 59)),
            Accepted,
        ),
        claims(
            "ended when the leeway did",
            plain,
            with("exp", json!(NOW - 60)),
            Wrong(ENDED, "60 s ago"),
        ),
        claims(
            "ended long ago",
            plain,
            with("exp", json!(1)),
            Wrong(ENDED, "ago"),
        ),
        claims(
            "a time with a fraction",
            plain,
            with("exp", json!(1_800_000_000.5)),
            Accepted,
        ),
        claims("no exp", plain, without("exp"), Wrong(TIMES, "no `exp`")),
        claims(
            "exp as text",
            plain,
            with("exp", json!("1900000000")),
            Wrong(TIMES, "`exp` is not a number"),
        ),
        claims(
            "exp null",
            plain,
            with("exp", json!(null)),
            Wrong(TIMES, "`exp` is not a number"),
        ),
        claims(
            "exp negative",
            plain,
            with("exp", json!(-1)),
            Wrong(TIMES, "`exp`"),
        ),
        claims(
            "exp beyond all clocks",
            plain,
            with("exp", json!(1e300)),
            Wrong(TIMES, "`exp`"),
        ),
        claims(
            "exp list",
            plain,
            with("exp", json!([NOW + 60])),
            Wrong(TIMES, "`exp`"),
        ),
        claims(
            "begins within the leeway",
            plain,
            with("nbf", json!(NOW + 60)),
            Accepted,
        ),
        claims(
            "begins after the leeway",
            plain,
            with("nbf", json!(NOW + 61)),
            Wrong(EARLY, "`nbf` is 61 s ahead"),
        ),
        claims(
            "nbf as text",
            plain,
            with("nbf", json!("0")),
            Wrong(TIMES, "`nbf`"),
        ),
        claims(
            "issued within the leeway",
            plain,
            with("iat", json!(NOW + 60)),
            Accepted,
        ),
        claims(
            "issued in the future",
            plain,
            with("iat", json!(NOW + 3600)),
            Wrong(EARLY, "`iat`"),
        ),
        claims("no iat", plain, without("iat"), Accepted),
        claims("no sub", plain, without("sub"), Wrong(SUBJECT, "no `sub`")),
        claims(
            "empty sub",
            plain,
            with("sub", json!("")),
            Wrong(SUBJECT, "no `sub`"),
        ),
        claims(
            "sub number",
            plain,
            with("sub", json!(7)),
            Wrong(SUBJECT, "not text"),
        ),
        claims(
            "sub of 2,000 bytes",
            plain,
            |claims| claims["sub"] = json!("x".repeat(2000)),
            Wrong(SUBJECT, "1024"),
        ),
        claims("no iss", plain, without("iss"), Wrong("issuer", "no entry")),
        claims(
            "iss list",
            plain,
            with("iss", json!(["https://id.example.com"])),
            Wrong("issuer", "no entry"),
        ),
        claims(
            "iss in capitals",
            plain,
            with("iss", json!("https://ID.example.com")),
            Wrong("issuer", "ID.example"),
        ),
        claims(
            "iss with a slash",
            plain,
            with("iss", json!("https://id.example.com/")),
            Wrong("issuer", "no entry"),
        ),
        claims(
            "iss that drives a terminal",
            plain,
            with("iss", json!("\u{1b}[2J")),
            Wrong("issuer", "\\u{1b}[2J"),
        ),
        claims("no aud", plain, without("aud"), Wrong(AUDIENCE, "no `aud`")),
        claims(
            "aud list",
            plain,
            with("aud", json!(["x", PUBLIC_URL])),
            Accepted,
        ),
        claims(
            "aud with a slash",
            plain,
            with("aud", json!("https://weir.example.com/mcp/")),
            Wrong(AUDIENCE, "aud"),
        ),
        claims(
            "aud object",
            plain,
            with("aud", json!({ "x": PUBLIC_URL })),
            Wrong(AUDIENCE, "no `aud`"),
        ),
        claims(
            "a logout token",
            plain,
            with("events", json!({})),
            Wrong(KIND, "events"),
        ),
        claims(
            "objects in objects",
            plain,
            |claims| {
                let mut deep = json!(1);
                (0..40).for_each(|_| deep = json!({ "a": deep }));
                claims["deep"] = deep;
            },
            Wrong("more claims", "deeper"),
        ),
        claims(
            "a thousand claims",
            plain,
            |claims| {
                (0..1000).for_each(|number| claims[format!("c{number}")] = json!(1));
            },
            Wrong("more claims", "512"),
        ),
        claims(
            "ten actors",
            plain,
            |claims| {
                let mut act = json!({ "sub": "agent-0" });
                (1..10).for_each(|number| {
                    act = json!({ "sub": format!("agent-{number}"), "act": act })
                });
                claims["act"] = act;
            },
            Accepted,
        ),
        claims(
            "two hundred groups",
            plain,
            |claims| {
                let group = "e9a5b4cf-8e51-4c41-9c6a-4d2e0c1a3b5d";
                claims["groups"] =
                    json!((0..200).map(|n| format!("{group}{n}")).collect::<Vec<_>>());
            },
            Accepted,
        ),
    ];
    assert!(check(rows).await >= 30);
}

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
