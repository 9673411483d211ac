//! Tokens of callers: known ones, and new ones.

use std::sync::Arc;

use divan::{Bencher, black_box};
use weir::authentication::AuthenticationContext;
use weir::authentication::jwt::JwtAuthenticator;
use weir::config::ListenAuth;

use crate::signing;

/// Makes an authenticator that has the key in a file, as the config says.
fn authenticator(key: &signing::SigningKey) -> JwtAuthenticator {
    let file = std::env::temp_dir().join(format!("weir-bench-{}.json", std::process::id()));
    std::fs::write(&file, signing::jwks(&[key.jwk("k")])).expect("a file");
    let text = format!(
        "listen: {{ auth: {{ public_url: 'https://w.example/mcp', jwt: [{{ issuer: i, scopes: [mcp], jwks: {{ file: '{}' }}, claims: {{ groups: {{ contains: payments }} }} }}] }} }}\nupstreams: {{}}\n",
        file.display()
    );
    let config = weir::config::parse(&text, std::path::Path::new("weir.yaml"), &|_| None);
    let config = config.expect("a valid config");
    let Some(ListenAuth::Callers(auth)) = &config.listen.auth else {
        unreachable!("the text above has `listen.auth`");
    };
    let files = Arc::new(weir::files::Files::default());
    let context = AuthenticationContext {
        tls: Arc::new(weir::tls::TlsConfigs::new(Arc::clone(&files))),
        files,
        tasks: tokio_util::task::TaskTracker::new(),
        shutdown: tokio_util::sync::CancellationToken::new(),
        caller_trust: None,
        memory: weir::memory::MemoryBudget::new(512 << 20),
    };
    let made = JwtAuthenticator::new(&auth.jwt, auth.public_url.as_deref(), &context);
    std::fs::remove_file(file).expect("the file");
    made.expect("keys")
}

/// A token of about 1 KiB, with twenty claims, as identity providers give them.
fn token(key: &signing::SigningKey, number: u64) -> String {
    let mut claims = serde_json::json!({
        "iss": "i", "sub": "690222be-ff1a-4d56-abd1-7e4f7d38e474", "aud": ["https://w.example/mcp", "account"],
        "azp": "cursor", "scope": "openid profile mcp", "exp": 4_000_000_000_u64, "iat": 1_700_000_000, "nbf": 1_700_000_000,
        "jti": number.to_string(), "groups": ["all", "engineering", "payments"], "email": "ada@example.com", "email_verified": true,
        "realm_access": { "roles": ["user", "offline_access", "mcp"] }, "name": "Ada Lovelace",
    });
    for extra in 0..6 {
        claims[format!("claim_{extra}")] = "a value of some length".into();
    }
    key.sign(&serde_json::json!({ "kid": "k", "typ": "at+jwt" }), &claims)
}

fn key(which: &str) -> signing::SigningKey {
    match which {
        "RS256" => signing::SigningKey::rsa(0),
        "ES256" => signing::SigningKey::p256(),
        _ => signing::SigningKey::ed25519(),
    }
}

/// Authenticates a caller whose token was seen before.
#[divan::bench(args = ["RS256"])]
fn authenticate_again(bencher: Bencher<'_, '_>, which: &str) {
    let key = key(which);
    let (authenticator, token) = (authenticator(&key), token(&key, 0));
    bencher.bench(|| {
        let verdict = authenticator.try_now(black_box(&token));
        assert!(verdict.is_some_and(|verdict| verdict.is_ok()));
    });
}

/// Authenticates a caller whose token is new and whose key is known.
#[divan::bench(args = ["RS256", "ES256", "EdDSA"], sample_size = 10)]
fn authenticate_at_first_sight(bencher: Bencher<'_, '_>, which: &str) {
    let key = key(which);
    let authenticator = authenticator(&key);
    let mut number = 0;
    bencher
        .with_inputs(|| {
            number += 1;
            token(&key, number)
        })
        .bench_local_refs(|token| {
            let verdict = authenticator.try_now(black_box(token));
            assert!(verdict.is_some_and(|verdict| verdict.is_ok()));
        });
}
