//! Keys and verdicts over time: rotations, outages, floods. Time passes at once.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::advance;

use super::signing::SigningKey;
use super::{Keys, authenticator, claims, entry};
use crate::authentication::RefusalKind;
use crate::authentication::jwt::{JwtAuthenticator, Verdict};

const ISSUER: &str = "https://id.example.com";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// A token that is good for a day by this machine's clock. `number` makes it another one.
fn token(key: &SigningKey, id: &str, number: usize) -> String {
    let mut claims = claims(ISSUER);
    claims["iat"] = json!(now());
    claims["exp"] = json!(now() + 86_400);
    claims["jti"] = json!(number);
    key.sign(&json!({ "kid": id }), &claims)
}

fn one(keys: &Keys) -> Arc<JwtAuthenticator> {
    Arc::new(authenticator(&[entry(ISSUER)], keys))
}

fn kind(verdict: Verdict) -> RefusalKind {
    verdict.unwrap_err().kind
}

#[tokio::test(start_paused = true)]
async fn a_hundred_first_callers_share_one_fetch() {
    let key = SigningKey::ed25519();
    let keys = Keys {
        takes: Duration::from_secs(1),
        ..Keys::of(&[key.jwk("a")])
    };
    let authenticator = one(&keys);
    let tokens: Vec<_> = (0..100).map(|number| token(&key, "a", number)).collect();
    assert!(authenticator.try_now(&tokens[0]).is_none());
    let verdicts = join_all(tokens.iter().map(|token| authenticator.authenticate(token))).await;
    assert!(verdicts.iter().all(Result::is_ok));
    assert_eq!(keys.fetches(), 1);
    // Each of them looked twice: before the fetch and after it.
    assert_eq!(authenticator.key_lookups(), Some((100, 101)));
    // From now on nothing has to be awaited.
    assert!(authenticator.try_now(&tokens[0]).unwrap().is_ok());
    assert!(
        authenticator
            .try_now(&token(&key, "a", 1000))
            .unwrap()
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_fetched_when_the_first_token_has_it() {
    let (old, new) = (SigningKey::ed25519(), SigningKey::p256());
    let keys = Keys {
        takes: Duration::from_millis(200),
        ..Keys::of(&[old.jwk("old")])
    };
    let authenticator = one(&keys);
    assert!(
        authenticator
            .authenticate(&token(&old, "old", 0))
            .await
            .is_ok()
    );
    keys.publish(&[new.jwk("new")]);
    let tokens: Vec<_> = (0..100).map(|number| token(&new, "new", number)).collect();
    let verdicts = join_all(tokens.iter().map(|token| authenticator.authenticate(token))).await;
    assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
    assert_eq!(keys.fetches(), 2);
    // The key that is gone verifies nothing that was not accepted a moment ago.
    let refused = authenticator.authenticate(&token(&old, "old", 1)).await;
    assert!(matches!(kind(refused), RefusalKind::InvalidToken(_)));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_began_too_early_is_followed_by_another() {
    let (old, new) = (SigningKey::ed25519(), SigningKey::p256());
    let keys = Keys {
        takes: Duration::from_secs(1),
        ..Keys::of(&[old.jwk("old")])
    };
    let authenticator = one(&keys);
    // Somebody's fetch gets the old keys, and the key is replaced before it is over.
    let stale = authenticator.authenticate("x.y.z");
    assert!(stale.await.is_err());
    let (first, second) = (token(&old, "old", 0), token(&new, "new", 0));
    let early = authenticator.authenticate(&first);
    let late = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let late = authenticator.authenticate(&second);
        let publish = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            keys.publish(&[old.jwk("old"), new.jwk("new")]);
        };
        tokio::join!(late, publish).0
    };
    let (early, late) = tokio::join!(early, late);
    assert!(early.is_ok() && late.is_ok(), "{early:?} {late:?}");
    assert_eq!(keys.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn made_up_key_ids_make_bounded_fetches() {
    let key = SigningKey::ed25519();
    let keys = Keys::of(&[key.jwk("a")]);
    let authenticator = one(&keys);
    assert!(
        authenticator
            .authenticate(&token(&key, "a", 0))
            .await
            .is_ok()
    );
    let flood = async |count: usize| {
        for number in 0..count {
            let verdict = authenticator
                .authenticate(&token(&key, &format!("x{number}"), number))
                .await;
            assert!(matches!(kind(verdict), RefusalKind::InvalidToken(_)));
        }
    };
    flood(10_000).await;
    assert!(keys.fetches() <= 6, "{}", keys.fetches());
    let before = keys.fetches();
    for _ in 0..60 {
        advance(Duration::from_secs(1)).await;
        flood(100).await;
    }
    // One in fifteen seconds.
    assert!(keys.fetches() - before <= 5, "{}", keys.fetches() - before);
    assert!(authenticator.try_now(&token(&key, "a", 1)).unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_ten_minutes_is_not_noticed_and_one_of_days_is() {
    let key = SigningKey::ed25519();
    let keys = Keys::of(&[key.jwk("a")]);
    let authenticator = one(&keys);
    assert!(
        authenticator
            .authenticate(&token(&key, "a", 0))
            .await
            .is_ok()
    );
    keys.die();
    for minute in 1..=60 {
        advance(Duration::from_secs(60)).await;
        let verdict = authenticator.authenticate(&token(&key, "a", minute)).await;
        assert!(verdict.is_ok(), "after {minute} minutes: {verdict:?}");
    }
    // Keys that are looked for in vain are looked for now and then, and not at every call.
    let fetches = keys.fetches();
    assert!((2..=60).contains(&fetches), "{fetches}");
    advance(Duration::from_secs(86_400)).await;
    let refusal = authenticator
        .authenticate(&token(&key, "a", 1000))
        .await
        .unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Unavailable);
    assert!(refusal.reason.contains("no connection"), "{refusal:?}");
    // At once, until the next attempt is due.
    let verdict = authenticator.try_now(&token(&key, "a", 1001)).unwrap();
    assert_eq!(kind(verdict), RefusalKind::Unavailable);
    keys.publish(&[key.jwk("a")]);
    advance(Duration::from_secs(6)).await;
    assert!(
        authenticator
            .authenticate(&token(&key, "a", 1002))
            .await
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_from_the_start_makes_no_token_wrong() {
    let key = SigningKey::ed25519();
    let keys = Keys::default();
    let authenticator = one(&keys);
    let token = token(&key, "a", 0);
    for _ in 0..1000 {
        assert_eq!(
            kind(authenticator.authenticate(&token).await),
            RefusalKind::Unavailable
        );
    }
    assert_eq!(keys.fetches(), 1);
    keys.publish(&[key.jwk("a")]);
    advance(Duration::from_secs(5)).await;
    assert!(authenticator.authenticate(&token).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_again_as_the_issuer_says_within_bounds() {
    let key = SigningKey::ed25519();
    for (said, lasts) in [
        (None, 600),
        (Some(0), 60),
        (Some(120), 120),
        (Some(86_400), 3600),
    ] {
        let keys = Keys {
            max_age: said.map(Duration::from_secs),
            ..Keys::of(&[key.jwk("a")])
        };
        let authenticator = one(&keys);
        let call = async |number| {
            assert!(
                authenticator
                    .authenticate(&token(&key, "a", number))
                    .await
                    .is_ok()
            );
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        call(0).await;
        advance(Duration::from_secs(lasts - 1)).await;
        call(1).await;
        assert_eq!(keys.fetches(), 1, "{said:?}");
        advance(Duration::from_secs(1)).await;
        call(2).await;
        assert_eq!(keys.fetches(), 2, "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_verdict_is_remembered_for_a_minute() {
    let (key, other) = (SigningKey::ed25519(), SigningKey::p256());
    let keys = Keys::of(&[key.jwk("a")]);
    let authenticator = one(&keys);
    let token = token(&key, "a", 0);
    let first = authenticator.authenticate(&token).await.unwrap();
    let again = authenticator.try_now(&token).unwrap().unwrap();
    assert!(std::ptr::eq(first.identity(), again.identity()));
    // The issuer withdraws the key.
    keys.publish(&[other.jwk("b")]);
    advance(Duration::from_secs(59)).await;
    assert!(authenticator.authenticate(&token).await.is_ok());
    advance(Duration::from_secs(600)).await;
    // That is when the keys are fetched again, in the background.
    assert!(authenticator.authenticate(&token).await.is_ok());
    advance(Duration::from_secs(30)).await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(authenticator.authenticate(&token).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_withdrawn_hours_ago_is_of_no_use() {
    let (key, other) = (SigningKey::ed25519(), SigningKey::p256());
    let keys = Keys::of(&[key.jwk("a")]);
    let authenticator = one(&keys);
    assert!(
        authenticator
            .authenticate(&token(&key, "a", 0))
            .await
            .is_ok()
    );
    keys.publish(&[other.jwk("b")]);
    advance(Duration::from_secs(4 * 3600)).await;
    assert!(
        authenticator
            .authenticate(&token(&key, "a", 1))
            .await
            .is_err()
    );
    assert!(
        authenticator
            .authenticate(&token(&other, "b", 1))
            .await
            .is_ok()
    );
    // Unless nobody can say so.
    keys.die();
    advance(Duration::from_secs(4 * 3600)).await;
    assert!(
        authenticator
            .authenticate(&token(&other, "b", 2))
            .await
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn wrong_tokens_do_not_replace_what_is_remembered_of_right_ones() {
    let (key, stranger) = (SigningKey::ed25519(), SigningKey::ed25519());
    let authenticator = one(&Keys::of(&[key.jwk("a")]));
    let right = token(&key, "a", 0);
    let first = authenticator.authenticate(&right).await.unwrap();
    for number in 0..5_000 {
        let wrong = token(&stranger, "a", number);
        assert!(authenticator.try_now(&wrong).unwrap().is_err());
    }
    let again = authenticator.try_now(&right).unwrap().unwrap();
    assert!(std::ptr::eq(first.identity(), again.identity()));
}

#[tokio::test]
async fn keys_in_a_file_are_used_and_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let (old, new) = (SigningKey::ed25519(), SigningKey::p256());
    let write = |keys: &[Value]| std::fs::write(&path, super::jwks(keys)).unwrap();
    write(&[old.jwk("old")]);
    let files = Arc::new(crate::files::Files::default());
    let context = crate::authentication::AuthenticationContext {
        tls: Arc::new(crate::tls::TlsConfigs::new(Arc::clone(&files))),
        files: Arc::clone(&files),
        tasks: tokio_util::task::TaskTracker::new(),
        shutdown: tokio_util::sync::CancellationToken::new(),
        caller_trust: None,
        memory: crate::memory::MemoryBudget::new(64 << 20),
    };
    let entry = crate::config::JwtIssuer {
        keys: crate::config::JwksOrigin::File(path.clone()),
        ..entry(ISSUER)
    };
    let make = || {
        JwtAuthenticator::new(
            std::slice::from_ref(&entry),
            Some(super::PUBLIC_URL),
            &context,
        )
    };
    let authenticator = make().unwrap();
    let cell = files.open(&path, 1).unwrap();
    let verdict = |key, id, number| authenticator.try_now(&token(key, id, number)).unwrap();
    assert!(verdict(&old, "old", 0).is_ok());
    assert!(verdict(&new, "new", 0).is_err());
    write(&[new.jwk("new")]);
    cell.look(Duration::ZERO).await;
    assert!(verdict(&new, "new", 1).is_ok());
    assert!(verdict(&old, "old", 1).is_err());
    // A set that cannot be used changes nothing.
    std::fs::write(&path, "{\"keys\":[]}").unwrap();
    cell.look(Duration::ZERO).await;
    assert!(verdict(&new, "new", 2).is_ok());
    let error = make().unwrap_err().to_string();
    assert!(
        error.contains("keys.json") && error.contains("none of its 0 keys"),
        "{error}"
    );
}
