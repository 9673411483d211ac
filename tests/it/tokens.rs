//! Tokens from a token endpoint, through a whole weir.

use std::time::Duration;

use futures::future::join_all;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};

use crate::support::prompt;
use crate::support::token_server::{Asked, Says, TokenServer, jwt};
use crate::support::upstream::Upstream;
use crate::support::weir::{Builder, Weir};

const SECRET: &str = "planted/ +:secret";

/// An upstream that accepts tokens of this server.
async fn upstream(server: &TokenServer) -> Upstream {
    let builder = Upstream::named("up").tools(["search"]).tokens_of(server);
    builder.start().await
}

/// A weir in front of it; `more` are further members of `auth`.
fn weir(up: &Upstream, server: &TokenServer, more: &str) -> Builder {
    let url = server.url();
    let auth = format!(
        "auth: {{ type: oauth2_client_credentials, client_id: \"we ir\", token_url: \"{url}\", client_secret: {{ value: \"{SECRET}\" }}{more} }}"
    );
    Weir::over([up]).upstream("up", &auth)
}

async fn call(weir: &Weir) -> String {
    let reply = weir.modern().call("up__search", "{}").await;
    String::from_utf8_lossy(&reply.body).into_owned()
}

fn worked(said: &str) -> bool {
    said.contains("up.search")
}

#[tokio::test]
async fn calls_carry_a_token_and_share_one_request() {
    let server = TokenServer::start().await;
    let up = upstream(&server).await;
    let weir = weir(&up, &server, "").start().await;
    let calls = join_all((0..100).map(|_| call(&weir))).await;
    assert!(calls.iter().all(|said| worked(said)), "{calls:?}");
    assert_eq!(server.asked().len(), 1);
    let told = weir.told("up").await;
    assert_eq!(told["credentials"]["state"], "ok", "{told:#}");
    assert_eq!(told["credentials"]["requests"]["granted"], 1);
}

#[tokio::test]
async fn a_token_request_says_what_the_config_says() {
    let server = TokenServer::start().await;
    let up = upstream(&server).await;
    let more = ", scopes: [a/b, c], audience: api, resource: \"https://mcp.example/mcp\", parameters: { tenant: \"t 1\" }";
    let _weir = weir(&up, &server, more).start().await;
    let Asked { headers, form } = &server.asked()[0];
    // RFC 6749 §2.3.1: both are form-encoded before they are joined.
    let pair = "we+ir:planted%2F+%2B%3Asecret";
    let basic = headers["authorization"].to_str().unwrap();
    assert_eq!(basic, format!("Basic {}", base64(pair)));
    let expected = [
        ("audience", "api"),
        ("grant_type", "client_credentials"),
        ("resource", "https://mcp.example/mcp"),
        ("scope", "a/b c"),
        ("tenant", "t 1"),
    ];
    let mut form: Vec<_> = form.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    form.sort_unstable();
    assert_eq!(form, expected);
}

#[tokio::test]
async fn a_secret_goes_into_the_body_where_the_config_says_so() {
    let server = TokenServer::start().await;
    let up = upstream(&server).await;
    let more = ", client_authentication: client_secret_post";
    let weir = weir(&up, &server, more).start().await;
    assert!(worked(&call(&weir).await));
    let asked = &server.asked()[0];
    assert_eq!(asked.get("client_id"), Some("we ir"));
    assert_eq!(asked.get("client_secret"), Some(SECRET));
    assert!(!asked.headers.contains_key("authorization"));
}

#[tokio::test]
async fn an_assertion_is_signed_for_one_minute_and_one_use() {
    let server = TokenServer::start().await;
    server.life(Some(1));
    let up = upstream(&server).await;
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        base64(key.as_ref())
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    std::fs::write(&file, pem).unwrap();
    let auth = format!(
        "auth: {{ type: oauth2_client_credentials, client_id: weir, token_url: \"{}\", private_key: {{ file: \"{}\" }}, key_id: k1 }}",
        server.url(),
        file.display()
    );
    let weir = Weir::over([&up]).upstream("up", &auth).start().await;
    while server.asked().len() < 2 {
        assert!(worked(&call(&weir).await));
    }
    let mut ids = Vec::new();
    for asked in server.asked() {
        assert_eq!(asked.get("client_id"), Some("weir"));
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        assert_eq!(asked.get("client_assertion_type"), Some(kind));
        let assertion = asked.get("client_assertion").unwrap();
        let (header, claims) = jwt(assertion);
        assert_eq!(
            (&header["alg"], &header["kid"]),
            (&"ES256".into(), &"k1".into())
        );
        assert_eq!(
            (&claims["iss"], &claims["sub"]),
            (&"weir".into(), &"weir".into())
        );
        assert_eq!(claims["aud"], server.url());
        let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert!(life <= 60, "{life}");
        ids.push(claims["jti"].as_str().unwrap().to_owned());
        let (signed, signature) = assertion.rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
        let signature = unbase64url(signature);
        public.verify(signed.as_bytes(), &signature).unwrap();
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_revoked_token_is_replaced_without_a_failed_call() {
    let server = TokenServer::start().await;
    let up = upstream(&server).await;
    let weir = weir(&up, &server, "").start().await;
    assert!(worked(&call(&weir).await));
    server.revoke();
    let calls = join_all((0..50).map(|_| call(&weir))).await;
    assert!(calls.iter().all(|said| worked(said)), "{calls:?}");
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_failing_endpoint_fails_no_call_while_the_token_is_good() {
    let server = TokenServer::start().await;
    server.life(Some(12));
    server.says([Says::Token, Says::Status(503, &[])]);
    let up = upstream(&server).await;
    let weir = weir(&up, &server, "").start().await;
    weir.wait_told("up", "credentials/state", "ok").await;
    // A new token is requested after 80 to 90 % of twelve seconds.
    let expiring = async {
        loop {
            assert!(worked(&call(&weir).await));
            let told = weir.told("up").await;
            if told["credentials"]["state"] == "expiring" {
                return told["credentials"].clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(30), expiring).await;
    let told = told.unwrap();
    assert_eq!(
        told["reason"],
        "the token endpoint gives no token: it answers with HTTP status 503"
    );
    assert!(worked(&call(&weir).await));
    server.says([Says::Token]);
    weir.wait_told("up", "credentials/state", "ok").await;
    assert!(worked(&call(&weir).await));
}

#[tokio::test]
async fn without_a_token_calls_fail_with_a_reason_and_no_text_of_the_server() {
    let server = TokenServer::start().await;
    server.says([Says::Error("invalid_client")]);
    let up = upstream(&server).await;
    let weir = weir(&up, &server, "").start().await;
    let told = weir.wait_told("up", "credentials/state", "failing").await;
    let reason =
        "the token endpoint answers invalid_client: the client or its secret is not accepted";
    assert_eq!(told["credentials"]["reason"], reason);
    assert!(!worked(&call(&weir).await));
    assert!(
        up.log().seen().requests.is_empty(),
        "nothing goes out without a token"
    );
    // There are few requests, however many calls there are.
    for _ in 0..20 {
        call(&weir).await;
    }
    assert_eq!(server.asked().len(), 1);
    let page = weir.admin("/upstreams").await.to_string();
    for text in [weir.stderr(), page] {
        assert!(
            !text.contains("hunter2") && !text.contains("planted"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_token_endpoint_that_comes_back_is_found_without_a_resync() {
    let server = TokenServer::start().await;
    server.says([Says::Status(503, &[("retry-after", "1")]), Says::Token]);
    let up = upstream(&server).await;
    let weir = weir(&up, &server, "").start().await;
    weir.wait_tools(["up__search"]).await;
    assert!(worked(&call(&weir).await));
}

#[tokio::test]
async fn an_upstream_is_listed_at_once_when_there_is_a_token_again() {
    let listing = async || {
        let server = TokenServer::start().await;
        // After the third failure the upstream's keeper would wait for longer than the
        // `Retry-After` of the endpoint.
        server.says([Says::Status(503, &[("retry-after", "5")]), Says::Token]);
        let up = upstream(&server).await;
        let weir = weir(&up, &server, "").start().await;
        server.wait_asked(2).await;
        let began = std::time::Instant::now();
        weir.wait_tools(["up__search"]).await;
        began.elapsed()
    };
    prompt(Duration::from_secs(1), listing).await;
}

#[tokio::test]
async fn who_gives_up_waiting_for_a_token_fails_alone() {
    let server = TokenServer::start().await;
    server.says([Says::Stall]);
    let up = upstream(&server).await;
    let weir = weir(&up, &server, "").upstream("up", "timeouts: { list: 500ms }");
    let weir = weir.start().await;
    let told = weir.wait_told("up", "reason", "credential").await;
    assert_eq!(told["credentials"]["state"], "refreshing", "{told:#}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn what_is_no_token_is_none() {
    for (body, part) in [
        (
            r#"{"access_token":"t","token_type":"DPoP"}"#,
            "another type",
        ),
        (r#"{"access_token":"t\u0000"}"#, "characters"),
        (r#"{"token":"t"}"#, "is not a token"),
        ("<html>", "is not a token"),
    ] {
        let server = TokenServer::start().await;
        server.says([Says::Body(body.to_owned())]);
        let up = upstream(&server).await;
        let weir = weir(&up, &server, "").start().await;
        let told = weir.wait_told("up", "credentials/state", "failing").await;
        let reason = told["credentials"]["reason"].to_string();
        assert!(reason.contains(part), "{body}: {reason}");
    }
}

#[tokio::test]
async fn a_client_secret_that_was_rotated_is_used_at_once() {
    let server = TokenServer::start().await;
    server.secret("right");
    let up = upstream(&server).await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("secret");
    let write = |text: &str| {
        let new = home.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &file).unwrap();
    };
    write("wrong");
    let auth = format!(
        "auth: {{ type: oauth2_client_credentials, client_id: weir, token_url: \"{}\", client_secret: {{ file: {} }}, client_authentication: client_secret_post }}",
        server.url(),
        file.display()
    );
    let weir = Weir::over([&up]).upstream("up", &auth).start().await;
    weir.wait_told("up", "credentials/reason", "invalid_client")
        .await;
    // The next try would be half a minute away.
    write("right");
    weir.wait_tools(["up__search"]).await;
    assert!(worked(&call(&weir).await));
    // The same with a token that was valid: no call fails.
    write("other");
    server.secret("other");
    server.revoke();
    let calls = join_all((0..20).map(|_| call(&weir))).await;
    assert!(calls.iter().all(|said| worked(said)), "{calls:?}");
}

#[tokio::test]
async fn a_redirect_of_the_token_endpoint_is_not_followed() {
    let (server, other) = (TokenServer::start().await, TokenServer::start().await);
    let to: &'static str = Box::leak(other.url().into_boxed_str());
    let headers: &'static [_] = Box::leak(vec![("location", to)].into_boxed_slice());
    server.says([Says::Status(307, headers)]);
    let up = upstream(&server).await;
    let weir = weir(&up, &server, "").start().await;
    weir.wait_told("up", "credentials/reason", "redirect").await;
    assert!(other.asked().is_empty());
}

/// A weir whose client finds its server by `issuer`.
fn by_issuer(up: &Upstream, issuer: &str, more: &str) -> Builder {
    let auth = format!(
        "auth: {{ type: oauth2_client_credentials, client_id: weir, issuer: \"{issuer}\", client_secret: {{ value: \"{SECRET}\" }}{more} }}"
    );
    Weir::over([up]).upstream("up", &auth)
}

#[tokio::test]
async fn the_issuers_metadata_names_the_token_endpoint() {
    let server = TokenServer::start().await;
    let (issuer, url) = (format!("{}/tenant", server.issuer()), server.url());
    server.metadata(format!(
        r#"{{"issuer":"{issuer}","token_endpoint":"{url}"}}"#
    ));
    let up = upstream(&server).await;
    let weir = by_issuer(&up, &issuer, "").start().await;
    assert!(worked(&call(&weir).await));
    assert_eq!(
        server.looked_for(),
        ["/.well-known/oauth-authorization-server/tenant"]
    );
}

#[tokio::test]
async fn metadata_that_names_another_issuer_or_another_host_is_not_believed() {
    let server = TokenServer::start().await;
    let elsewhere = TokenServer::start().await;
    let issuer = server.issuer();
    for (issuer_said, endpoint, part) in [
        (elsewhere.issuer(), server.url(), "another issuer"),
        (issuer.clone(), elsewhere.url(), "allowed_hosts"),
        (
            issuer.clone(),
            "http://169.254.169.254/token".to_owned(),
            "does not use",
        ),
        (
            issuer.clone(),
            "http://as.example/token".to_owned(),
            "plain http",
        ),
    ] {
        server.metadata(format!(
            r#"{{"issuer":"{issuer_said}","token_endpoint":"{endpoint}"}}"#
        ));
        let up = upstream(&server).await;
        let weir = by_issuer(&up, &issuer, "").start().await;
        let told = weir.wait_told("up", "credentials/state", "failing").await;
        let reason = told["credentials"]["reason"].to_string();
        assert!(reason.contains(part), "{endpoint}: {reason}");
    }
    assert!(server.asked().is_empty() && elsewhere.asked().is_empty());
}

#[tokio::test]
async fn a_token_is_exchanged_for_weirs_own_token_as_it_is_then() {
    let server = TokenServer::start().await;
    server.life(Some(1));
    let up = upstream(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "subject-1\n").unwrap();
    let auth = format!(
        "auth: {{ type: oauth2_token_exchange, client_id: weir, token_url: \"{}\", client_secret: {{ value: \"{SECRET}\" }}, subject_token: {{ file: \"{}\" }}, audience: api, requested_token_type: \"urn:ietf:params:oauth:token-type:access_token\" }}",
        server.url(),
        file.display()
    );
    let weir = Weir::over([&up]).upstream("up", &auth).start().await;
    assert!(worked(&call(&weir).await));
    let asked = &server.asked()[0];
    let grant = "urn:ietf:params:oauth:grant-type:token-exchange";
    assert_eq!(asked.get("grant_type"), Some(grant));
    assert_eq!(asked.get("subject_token"), Some("subject-1"));
    let kind = "urn:ietf:params:oauth:token-type:jwt";
    assert_eq!(asked.get("subject_token_type"), Some(kind));
    assert_eq!(asked.get("audience"), Some("api"));
    let requested = "urn:ietf:params:oauth:token-type:access_token";
    assert_eq!(asked.get("requested_token_type"), Some(requested));
    assert!(asked.headers.contains_key("authorization"));
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn unbase64url(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .unwrap()
}
