use super::stored_login::now;
use super::*;
use crate::secret::Secret;

fn record(issuer: &str, refresh: &str) -> StoredLogin {
    let parties = LoginParties {
        upstream: "linear".into(),
        url: "https://mcp.example.com/mcp".parse().unwrap(),
        issuer: issuer.into(),
        token_endpoint: "https://auth.example.com/token".parse().unwrap(),
        resource: "https://mcp.example.com/mcp".into(),
        client: StoredClient {
            id: "weir".into(),
            secret: Some(Secret::new("client-secret")),
            method: TokenEndpointAuthMethod::Basic,
        },
    };
    let tokens = IssuedTokens {
        access: Secret::new("access"),
        refresh: Some(Secret::new(refresh)),
        lifetime: Some(Duration::from_secs(3600)),
    };
    StoredLogin::new(parties, vec!["read".into()], tokens)
}

async fn keep(store: &LoginStore, record: &StoredLogin) -> PathBuf {
    let patience = Duration::from_secs(5);
    let lock = store
        .lock(&record.upstream, &record.issuer, patience)
        .await
        .unwrap();
    lock.draft().unwrap().commit(record).unwrap();
    lock.place.clone()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

const ISSUER: &str = "https://auth.example.com";

#[tokio::test]
async fn what_is_kept_is_found_again_with_its_secrets() {
    let state = tempfile::tempdir().unwrap();
    let store = LoginStore::new(state.path());
    let kept = record(ISSUER, "refresh");
    assert_eq!(store.find("linear", &kept.url, None).unwrap(), None);
    keep(&store, &kept).await;
    let found = store.find("linear", &kept.url, Some("https://auth.example.com/"));
    assert_eq!(found.unwrap().as_ref(), Some(&kept));
    assert!(!format!("{kept:?}").contains("refresh\""), "{kept:?}");
}

#[tokio::test]
async fn only_the_owner_can_read_what_is_kept() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("oauth");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let store = LoginStore::new(state.path());
    let lock = store
        .lock("linear", ISSUER, Duration::from_secs(5))
        .await
        .unwrap();
    let draft = lock.draft().unwrap();
    assert_eq!(mode(&draft.path), 0o600, "while it is empty");
    draft.commit(&record(ISSUER, "refresh")).unwrap();
    assert_eq!(mode(&lock.place), 0o600);
    assert_eq!(mode(&folder), 0o700);
    let names = fs::read_dir(&folder).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().path()).collect();
    for path in names {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn a_token_is_for_one_upstream_at_one_url_of_one_issuer() {
    let state = tempfile::tempdir().unwrap();
    let store = LoginStore::new(state.path());
    let kept = record(ISSUER, "refresh");
    keep(&store, &kept).await;
    let other = "https://other.example.com/mcp".parse().unwrap();
    let none =
        |found: Result<Option<StoredLogin>, LoginStoreError>| assert_eq!(found.unwrap(), None);
    none(store.find("linear", &other, None));
    none(store.find("linea", &kept.url, None));
    none(store.find("linear", &kept.url, Some("https://evil.example.com")));
}

#[tokio::test]
async fn the_last_login_counts_where_no_issuer_is_named() {
    let state = tempfile::tempdir().unwrap();
    let store = LoginStore::new(state.path());
    let old = StoredLogin {
        logged_in: 1,
        ..record(ISSUER, "old")
    };
    let new = record("https://new.example.com", "new");
    keep(&store, &new).await;
    keep(&store, &old).await;
    let found = store.find("linear", &new.url, None).unwrap().unwrap();
    assert_eq!(found.issuer, new.issuer);
    let found = store
        .find("linear", &new.url, Some(ISSUER))
        .unwrap()
        .unwrap();
    assert_eq!(found.refresh_token, Some(Secret::new("old")));
}

#[tokio::test]
async fn a_file_that_is_none_is_set_aside() {
    let state = tempfile::tempdir().unwrap();
    let store = LoginStore::new(state.path());
    let kept = record(ISSUER, "refresh");
    let place = keep(&store, &kept).await;
    fs::write(&place, "{\"version\":1,\"upst").unwrap();
    assert_eq!(store.find("linear", &kept.url, None).unwrap(), None);
    assert!(!place.exists());
    assert!(place.with_extension("corrupt").exists());
    keep(&store, &kept).await;
    assert!(
        store
            .find("linear", &kept.url, None)
            .unwrap()
            .as_ref()
            .is_some()
    );
}

#[tokio::test]
async fn a_file_of_a_later_version_stays_where_it_is() {
    let state = tempfile::tempdir().unwrap();
    let store = LoginStore::new(state.path());
    let kept = record(ISSUER, "refresh");
    let place = keep(&store, &kept).await;
    fs::write(&place, "{\"version\":2,\"sealed\":true}").unwrap();
    let error = store.find("linear", &kept.url, None).unwrap_err();
    assert!(
        matches!(error, LoginStoreError::NewerFormat { .. }),
        "{error}"
    );
    assert!(place.exists());
}

#[tokio::test]
async fn a_crash_before_the_move_leaves_the_old_file() {
    let state = tempfile::tempdir().unwrap();
    let store = LoginStore::new(state.path());
    let old = record(ISSUER, "old");
    let place = keep(&store, &old).await;
    // As kill -9 leaves it: half written, nothing cleaned up.
    let half = place.with_extension("new");
    fs::write(&half, "{\"version\":1,").unwrap();
    assert_eq!(
        store.find("linear", &old.url, None).unwrap().as_ref(),
        Some(&old)
    );
    keep(&store, &record(ISSUER, "new")).await;
    assert!(!half.exists());
    let found = store.find("linear", &old.url, None).unwrap().unwrap();
    assert_eq!(found.refresh_token, Some(Secret::new("new")));
}

#[tokio::test]
async fn the_version_changes_with_what_is_stored_and_with_nothing_else() {
    let state = tempfile::tempdir().unwrap();
    let store = LoginStore::new(state.path());
    assert_eq!(store.version("linear"), 0);
    keep(&store, &record(ISSUER, "first")).await;
    let first = store.version("linear");
    assert_ne!(first, 0);
    let patience = Duration::from_secs(5);
    let lock = store.lock("linear", ISSUER, patience).await.unwrap();
    // A refresh that fails.
    drop(lock.draft().unwrap());
    drop(lock);
    assert_eq!(store.version("linear"), first);
    assert_eq!(store.version("github"), 0);
    keep(&store, &record(ISSUER, "second")).await;
    assert_ne!(store.version("linear"), first);
}

#[tokio::test]
async fn one_at_a_time_replaces_a_grant() {
    let state = tempfile::tempdir().unwrap();
    let store = LoginStore::new(state.path());
    let patience = Duration::from_secs(5);
    let lock = store.lock("linear", ISSUER, patience).await.unwrap();
    let short = Duration::from_millis(60);
    let refused = store.lock("linear", ISSUER, short).await.unwrap_err();
    assert!(
        matches!(refused, LoginStoreError::Locked { .. }),
        "{refused}"
    );
    // Another upstream's is another.
    store.lock("github", ISSUER, patience).await.unwrap();
    drop(lock);
    store.lock("linear", ISSUER, patience).await.unwrap();
}

#[tokio::test]
async fn a_refresh_keeps_the_refresh_token_that_was_not_replaced() {
    let old = record(ISSUER, "first");
    let mut tokens = IssuedTokens {
        access: Secret::new("second access"),
        refresh: None,
        lifetime: Some(Duration::from_secs(8)),
    };
    let next = old.with_refreshed(tokens.clone());
    assert_eq!(next.refresh_token, Some(Secret::new("first")));
    assert_eq!(next.scopes, ["read"]);
    assert!(next.is_fresh());
    tokens.refresh = Some(Secret::new("second"));
    let next = next.with_refreshed(tokens);
    assert_eq!(next.refresh_token, Some(Secret::new("second")));
    let over = StoredLogin {
        issued: now() - 100,
        expires: Some(now() + 10),
        ..next
    };
    assert!(!over.is_fresh());
}

#[test]
fn a_token_in_its_last_fraction_of_a_second_is_not_fresh() {
    let tokens = IssuedTokens {
        access: Secret::new("access"),
        refresh: None,
        lifetime: None,
    };
    let at = |millis| std::time::UNIX_EPOCH + Duration::from_millis(millis);
    let login = StoredLogin {
        issued: 100,
        expires: Some(102),
        ..record(ISSUER, "first").with_refreshed(tokens)
    };
    assert!(login.is_fresh_at(at(100_900)));
    for over in [101_300, 101_900, 102_000, 103_000] {
        assert!(!login.is_fresh_at(at(over)), "{over}");
    }
}
