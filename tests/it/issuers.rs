//! Issuers of callers' tokens over HTTP: where their keys are found, and what they may do to weir.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use weir::authentication::jwt::JwtAuthenticator;
use weir::authentication::{AuthenticationContext, Refusal, RefusalKind};
use weir::caller::Caller;
use weir::config::{self, ListenAuth};
use weir::files::Files;
use weir::memory::MemoryBudget;
use weir::tls::TlsConfigs;

use crate::support::client::{Modern, Reply, call_params};
use crate::support::issuer::{Issuer, KEYS, OPENID, Page};
use crate::support::signing::SigningKey;
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const AUDIENCE: &str = "https://weir.example.com/mcp";

/// Makes the authenticator of these entries, as they are written in a config.
fn authenticator(entries: &str) -> JwtAuthenticator {
    after(None, entries)
}

/// Makes the same in place of an earlier one, as a reload does.
fn after(earlier: Option<&JwtAuthenticator>, entries: &str) -> JwtAuthenticator {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let text = format!(
        "listen: {{ auth: {{ public_url: '{AUDIENCE}', jwt: [{entries}] }} }}\nupstreams: {{}}\n"
    );
    let config = config::parse(&text, std::path::Path::new("weir.yaml"), &|_| None);
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let Some(ListenAuth::Callers(auth)) = &config.listen.auth else {
        panic!("nobody is authenticated");
    };
    let files = Arc::new(Files::default());
    let context = AuthenticationContext {
        tls: Arc::new(TlsConfigs::new(Arc::clone(&files))),
        files,
        tasks: TaskTracker::new(),
        shutdown: CancellationToken::new(),
        caller_trust: None,
        memory: MemoryBudget::new(64 << 20),
    };
    let public_url = auth.public_url.as_deref();
    JwtAuthenticator::after(earlier, &auth.jwt, public_url, &context).unwrap()
}

fn of(issuer: &Issuer) -> JwtAuthenticator {
    authenticator(&format!("{{ issuer: '{}' }}", issuer.url()))
}

async fn login(authenticator: &JwtAuthenticator, issuer: &Issuer) -> Result<Caller, Refusal> {
    authenticator
        .authenticate(&issuer.token(AUDIENCE, "ada"))
        .await
}

/// Why the keys could not be fetched.
fn unavailable(verdict: Result<Caller, Refusal>) -> String {
    let refusal = verdict.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Unavailable, "{refusal:?}");
    refusal.reason.to_string()
}

#[tokio::test]
async fn keys_are_found_by_the_metadata_of_the_issuer() {
    let issuer = Issuer::start().await;
    let caller = login(&of(&issuer), &issuer).await.unwrap();
    assert_eq!(&*caller.identity().subject, "ada");
    assert_eq!(issuer.asked(), [OPENID, KEYS]);
    // The same at each of the other places, and where the config says.
    let metadata = issuer.metadata().to_string();
    issuer.remove(OPENID);
    let rfc8414 = "/.well-known/oauth-authorization-server";
    issuer.set(rfc8414, Page::json(metadata.clone()));
    assert!(login(&of(&issuer), &issuer).await.is_ok());
    issuer.remove(rfc8414);
    issuer.set("/elsewhere", Page::json(metadata));
    let url = issuer.url();
    let elsewhere = format!("{{ issuer: '{url}', discovery_url: '{url}/elsewhere' }}");
    assert!(login(&authenticator(&elsewhere), &issuer).await.is_ok());
    let named = format!("{{ issuer: '{url}', jwks: {{ url: '{url}{KEYS}' }} }}");
    assert!(login(&authenticator(&named), &issuer).await.is_ok());
}

#[tokio::test]
async fn an_issuer_with_a_path_has_metadata_at_four_places() {
    for place in [
        "/realms/corp/.well-known/openid-configuration",
        "/.well-known/openid-configuration/realms/corp",
        "/.well-known/oauth-authorization-server/realms/corp",
        "/realms/corp/.well-known/oauth-authorization-server",
    ] {
        let issuer = Issuer::start().await;
        let name = format!("{}/realms/corp", issuer.url());
        issuer.remove(OPENID);
        let metadata = json!({ "issuer": name, "jwks_uri": format!("{}{KEYS}", issuer.url()) });
        issuer.set(place, Page::json(metadata.to_string()));
        let authenticator = authenticator(&format!("{{ issuer: '{name}' }}"));
        let mut claims = issuer.claims(AUDIENCE, "ada");
        claims["iss"] = json!(name);
        let verdict = authenticator.authenticate(&issuer.sign(&claims)).await;
        assert!(verdict.is_ok(), "{place}: {verdict:?}");
        // The issuer of the host is another one.
        assert!(login(&authenticator, &issuer).await.is_err());
    }
}

#[tokio::test]
async fn metadata_speaks_for_its_own_issuer_only() {
    let issuer = Issuer::start().await;
    for named in [
        format!("{}/", issuer.url()),
        "https://other.example".to_owned(),
    ] {
        let mut metadata = issuer.metadata();
        metadata["issuer"] = json!(named);
        issuer.set(OPENID, Page::json(metadata.to_string()));
        let reason = unavailable(login(&of(&issuer), &issuer).await);
        assert!(
            reason.contains(&format!("of the issuer `{named}`")),
            "{reason}"
        );
        assert!(reason.contains("write it as `issuer`"), "{reason}");
    }
}

/// A key set of 50 MB.
fn large_keys() -> String {
    format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(50 << 20))
}

#[tokio::test]
async fn what_an_issuer_sends_in_place_of_keys_is_an_error_of_bounded_size() {
    let issuer = Issuer::start().await;
    let metadata = Page::json(issuer.metadata().to_string());
    let keys = |body: &str| Page::json(body.to_owned());
    let redirect = Page {
        status: 302,
        headers: vec![("location", "http://169.254.169.254/latest/".to_owned())],
        body: bytes::Bytes::new(),
    };
    let near = json!({ "issuer": issuer.url(), "jwks_uri": "http://169.254.169.254/keys" });
    let metadata_service =
        json!({ "issuer": issuer.url(), "jwks_uri": "https://169.254.169.254/keys" });
    let other_port = json!({ "issuer": issuer.url(), "jwks_uri": "http://127.0.0.1:9/keys" });
    let no_keys = json!({ "issuer": issuer.url() });
    let file = json!({ "issuer": issuer.url(), "jwks_uri": "file:///etc/passwd" });
    let secret = r#"{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"k1"}]}"#;
    let forever = large_keys();
    for (path, page, reason) in [
        (KEYS, keys(&forever), "longer than 512 KiB"),
        (KEYS, keys("<html>"), "not a JWK Set"),
        (KEYS, keys("{\"keys\":[]}"), "none of its 0 keys"),
        (KEYS, keys(secret), "none of its 1 keys"),
        (KEYS, redirect.clone(), "redirect"),
        (
            KEYS,
            Page {
                status: 404,
                ..keys("{}")
            },
            "404",
        ),
        (
            KEYS,
            Page {
                status: 500,
                ..keys("{}")
            },
            "500",
        ),
        (OPENID, redirect, "redirect"),
        (OPENID, keys("{}"), "no metadata"),
        (OPENID, keys(&forever), "longer than 512 KiB"),
        (OPENID, keys(&near.to_string()), "plain http"),
        (OPENID, keys(&other_port.to_string()), "another port"),
        (OPENID, keys(&file.to_string()), "URL cannot be used"),
        (
            OPENID,
            keys(&metadata_service.to_string()),
            "metadata service",
        ),
        (OPENID, keys(&no_keys.to_string()), "`jwks_uri`"),
    ] {
        issuer.set(OPENID, metadata.clone());
        issuer.publish(&[issuer.jwk()]);
        let good = of(&issuer);
        assert!(login(&good, &issuer).await.is_ok());
        issuer.set(path, page);
        let found = unavailable(login(&of(&issuer), &issuer).await);
        assert!(found.contains(reason), "{reason}: {found}");
        // A caller that has keys keeps them.
        assert!(login(&good, &issuer).await.is_ok());
    }
}

#[tokio::test]
async fn keys_rotate_under_a_hundred_callers_without_a_failed_call() {
    let issuer = Issuer::start().await;
    let authenticator = Arc::new(of(&issuer));
    assert!(login(&authenticator, &issuer).await.is_ok());
    issuer.be_slow(Duration::from_millis(50));
    for round in 0..3 {
        issuer.rotate();
        let calls = (0..100).map(|caller| {
            let token = issuer.token(AUDIENCE, &format!("caller-{caller}"));
            let authenticator = Arc::clone(&authenticator);
            async move { authenticator.authenticate(&token).await }
        });
        let verdicts = join_all(calls).await;
        assert!(verdicts.iter().all(Result::is_ok), "round {round}");
    }
    assert_eq!(issuer.key_fetches(), 4);
}

#[tokio::test]
async fn a_flood_of_key_ids_makes_few_fetches_and_refuses_no_other_caller() {
    let issuer = Issuer::start().await;
    let authenticator = Arc::new(of(&issuer));
    let good = issuer.token(AUDIENCE, "ada");
    assert!(authenticator.authenticate(&good).await.is_ok());
    let flood = (0..2000).map(|number| issuer.token_with_key_id(AUDIENCE, &format!("x{number}")));
    let flood: Vec<_> = flood.collect();
    let verdicts = join_all(flood.iter().map(|token| authenticator.authenticate(token))).await;
    assert!(verdicts.iter().all(Result::is_err));
    assert!(issuer.key_fetches() <= 6, "{}", issuer.key_fetches());
    assert!(authenticator.try_now(&good).unwrap().is_ok());
    assert!(login(&authenticator, &issuer).await.is_ok());
}

#[tokio::test]
async fn an_issuer_that_is_silent_costs_its_own_callers_ten_seconds_at_most() {
    let (silent, well) = (Issuer::start().await, Issuer::start().await);
    silent.fall_silent();
    let entries = format!(
        "{{ issuer: '{}' }}, {{ issuer: '{}' }}",
        silent.url(),
        well.url()
    );
    let authenticator = authenticator(&entries);
    let begin = Instant::now();
    let (stuck, served) = tokio::join!(login(&authenticator, &silent), async {
        let verdict = login(&authenticator, &well).await;
        (verdict, begin.elapsed())
    });
    let reason = unavailable(stuck);
    assert!(reason.contains("within 10 s"), "{reason}");
    assert!(served.0.is_ok());
    assert!(served.1 < Duration::from_secs(5), "{:?}", served.1);
    // The next one is told at once.
    let begin = Instant::now();
    unavailable(login(&authenticator, &silent).await);
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn an_issuer_that_is_down_is_not_missed_while_its_keys_are_known() {
    let issuer = Issuer::start().await;
    let authenticator = of(&issuer);
    assert!(login(&authenticator, &issuer).await.is_ok());
    issuer.go_down();
    for _ in 0..100 {
        assert!(login(&authenticator, &issuer).await.is_ok());
    }
    // A key that nobody knows cannot be judged now.
    let stranger = SigningKey::p256();
    let token = stranger.sign(&json!({ "kid": "new" }), &issuer.claims(AUDIENCE, "eve"));
    let reason = unavailable(authenticator.authenticate(&token).await);
    assert!(reason.contains("503"), "{reason}");
    assert!(unavailable(login(&of(&issuer), &issuer).await).contains("503"));
    // A reload that changes the rules keeps the keys.
    let url = issuer.url();
    let rules = format!("{{ issuer: '{url}', scopes: [mcp:call] }}");
    let reloaded = after(Some(&authenticator), &rules);
    assert!(login(&reloaded, &issuer).await.is_ok());
    let rules = format!("{{ issuer: '{url}', scopes: [mcp:admin] }}");
    let refusal = login(&after(Some(&reloaded), &rules), &issuer)
        .await
        .unwrap_err();
    assert!(
        matches!(refusal.kind, RefusalKind::InsufficientScope { .. }),
        "{refusal:?}"
    );
    issuer.recover();
    assert!(login(&of(&issuer), &issuer).await.is_ok());
}

/// A weir for tokens of this issuer, over one upstream.
async fn weir_for(issuer: &Issuer, more: &str) -> (Upstream, Weir) {
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let url = issuer.url();
    let auth = format!("auth: {{ public_url: '{AUDIENCE}', jwt: [{{ issuer: '{url}'{more} }}] }}");
    let weir = Weir::over([&jira]).listen(&auth).start().await;
    (jira, weir)
}

/// Calls a tool with a token.
async fn call(client: &Modern, token: &str) -> Reply {
    let ask = client.ask("tools/call", &call_params("jira__search", "{}"));
    let authorization = format!("Bearer {token}");
    ask.header("authorization", &authorization).send().await
}

#[tokio::test]
async fn calls_go_on_while_the_keys_of_callers_rotate_and_their_issuer_fails() {
    let issuer = Issuer::start().await;
    let (jira, weir) = weir_for(&issuer, "").await;
    let client = weir.modern();
    let all = async |round: usize| {
        let calls = (0..100).map(|caller| {
            let token = issuer.token(AUDIENCE, &format!("caller-{caller}"));
            let client = &client;
            async move { call(client, &token).await }
        });
        let replies = join_all(calls).await;
        let failed: Vec<_> = replies.iter().filter(|reply| !reply.succeeded()).collect();
        assert!(failed.is_empty(), "round {round}: {failed:?}");
    };
    all(0).await;
    issuer.be_slow(Duration::from_millis(30));
    issuer.rotate();
    all(1).await;
    issuer.rotate();
    all(2).await;
    issuer.go_down();
    all(3).await;
    issuer.fall_silent();
    all(4).await;
    assert_eq!(issuer.key_fetches(), 3);
    assert_eq!(jira.count("tools/call"), 500);
    // A flood of made-up keys while the issuer is silent: it costs others nothing.
    let flood = (0..200).map(|number| {
        let token = issuer.token_with_key_id(AUDIENCE, &format!("x{number}"));
        let client = &client;
        async move { call(client, &token).await.status }
    });
    let begin = Instant::now();
    let (statuses, ()) = tokio::join!(join_all(flood), all(5));
    assert!(
        statuses.iter().all(|status| matches!(status, 401 | 503)),
        "{statuses:?}"
    );
    assert!(
        begin.elapsed() < Duration::from_secs(25),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test]
async fn a_caller_is_told_what_it_can_do_about_its_token() {
    let issuer = Issuer::start().await;
    let (jira, weir) = weir_for(&issuer, ", all_scopes: [mcp:call, mcp:admin]").await;
    let client = weir.modern();
    let mut claims = issuer.claims(AUDIENCE, "ada");
    let status = async |claims: &Value| {
        let reply = call(&client, &issuer.sign(claims)).await;
        let challenge = reply
            .header("www-authenticate")
            .unwrap_or_default()
            .to_owned();
        (reply.status, challenge)
    };
    let (code, challenge) = status(&claims).await;
    assert_eq!(code, 403);
    assert!(
        challenge.contains(r#"error="insufficient_scope""#),
        "{challenge}"
    );
    // Of the scopes it has one. Clients that ask for those of the challenge only would lose it.
    assert!(
        challenge.contains(r#"scope="mcp:call mcp:admin""#),
        "{challenge}"
    );
    claims["scope"] = json!("mcp:call mcp:admin");
    assert_eq!(status(&claims).await.0, 200);
    for (claim, value, words) in [
        (
            "aud",
            json!("https://other.example/mcp"),
            "another audience",
        ),
        ("exp", json!(1_000_000_000), "expired"),
        ("iss", json!("https://evil.example"), "does not trust"),
    ] {
        let mut wrong = claims.clone();
        wrong[claim] = value;
        let (code, challenge) = status(&wrong).await;
        assert_eq!(code, 401, "{claim}");
        assert!(
            challenge.contains(r#"error="invalid_token""#),
            "{challenge}"
        );
        assert!(challenge.contains(words), "{challenge}");
        // Nothing of the token.
        assert!(
            !challenge.contains("other.example") && !challenge.contains("evil"),
            "{challenge}"
        );
    }
    assert_eq!(jira.count("tools/call"), 1);
}
