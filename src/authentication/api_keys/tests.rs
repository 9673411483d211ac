use std::fs;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::super::api_key::{make_api_key, write_hash};
use super::*;
use crate::authentication::RefusalKind;
use crate::files::Files;
use crate::memory::MemoryBudget;
use crate::secret::Secret;
use crate::tls::TlsConfigs;

/// A file of keys that is followed until the test ends.
struct Rig {
    folder: tempfile::TempDir,
    context: AuthenticationContext,
    _stop: DropGuard,
}

/// An entry of the file; `more` are other members of it.
fn entry(key: &Secret, subject: &str, more: &str) -> String {
    let parsed = ApiKeyText::parse(key.expose()).unwrap();
    let hash = write_hash(&parsed.hash());
    format!(
        "{}: {{ subject: {subject}, hash: '{hash}'{more} }}\n",
        parsed.id
    )
}

impl Rig {
    fn new() -> Self {
        let (files, shutdown) = (Arc::new(Files::default()), CancellationToken::new());
        let context = AuthenticationContext {
            files: Arc::clone(&files),
            tasks: TaskTracker::new(),
            shutdown: shutdown.clone(),
            caller_trust: None,
            tls: Arc::new(TlsConfigs::new(Arc::clone(&files))),
            memory: MemoryBudget::new(1 << 20),
        };
        let watching = Arc::clone(&context.files).watch(shutdown.clone());
        context.tasks.spawn(watching);
        Self {
            folder: tempfile::tempdir().unwrap(),
            context,
            _stop: shutdown.drop_guard(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("callers.yaml")
    }

    fn write(&self, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    fn open(&self) -> ApiKeys {
        ApiKeys::open(&self.path(), &self.context).unwrap()
    }
}

async fn becomes(keys: &ApiKeys, key: &Secret, is_good: bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while keys.authenticate(key.expose()).is_ok() != is_good {
        assert!(Instant::now() < until, "it never became {is_good}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_file_is_its_subject_and_every_other_is_refused() {
    let (rig, key) = (Rig::new(), make_api_key("ci").unwrap());
    let (second, other) = (make_api_key("ci-2").unwrap(), make_api_key("ci").unwrap());
    let old = make_api_key("old").unwrap();
    rig.write(&format!(
        "# callers\n{}{}{}",
        entry(&key, "builds", ", scopes: [a, b], tags: { team: payments }"),
        entry(&second, "builds", ", expires: 2999-01-01"),
        entry(&old, "builds", ", expires: '2001-01-01T00:00:00+02:00'"),
    ));
    let keys = rig.open();
    let caller = keys.authenticate(key.expose()).unwrap();
    let identity = caller.identity();
    assert_eq!(identity.principal, Principal::ApiKey);
    assert_eq!(&*identity.subject, "builds");
    assert_eq!(identity.scopes.concat(), "ab");
    let tags: Vec<_> = identity
        .tags
        .iter()
        .map(|(a, b)| format!("{a}={b}"))
        .collect();
    assert_eq!(tags, ["key_id=ci", "scope=a b", "team=payments"]);
    let again = keys.authenticate(second.expose()).unwrap();
    assert_eq!(again.key(), caller.key(), "two keys of one principal");
    assert!(again.identity().expires.is_some());
    let text = key.expose();
    let cases = [
        (
            other.expose().to_owned(),
            "the secret of API key `ci` is wrong",
        ),
        (old.expose().to_owned(), "API key `old` has expired"),
        (
            make_api_key("nobody").unwrap().expose().to_owned(),
            "no API key `nobody` in",
        ),
        (format!("{}0", &text[..text.len() - 1]), "checksum"),
        (text[..text.len() - 1].to_owned(), "form"),
    ];
    for (presented, reason) in cases {
        let refusal = keys.authenticate(&presented).unwrap_err();
        assert!(refusal.reason.contains(reason), "{}", refusal.reason);
        assert!(matches!(refusal.kind, RefusalKind::InvalidToken(_)));
        let secret = presented.rsplit('_').next().unwrap();
        assert!(!format!("{refusal:?} {keys:?}").contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_replaced_while_weir_runs_and_a_broken_file_changes_nothing() {
    let (rig, one, two) = (
        Rig::new(),
        make_api_key("one").unwrap(),
        make_api_key("two").unwrap(),
    );
    rig.write(&entry(&one, "a", ""));
    let keys = rig.open();
    // Both are good while a key is replaced.
    rig.write(&format!("{}{}", entry(&one, "a", ""), entry(&two, "a", "")));
    becomes(&keys, &two, true).await;
    assert!(keys.authenticate(one.expose()).is_ok());
    rig.write(&entry(&two, "a", ""));
    becomes(&keys, &one, false).await;
    for broken in [
        "two: 1\n",
        "",
        "two: [\n",
        "two: { subject: a, hash: nonsense }\n",
    ] {
        rig.write(broken);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(keys.authenticate(two.expose()).is_ok(), "{broken}");
    }
    rig.write("{}\n");
    becomes(&keys, &two, false).await;
    // The task ends with the keys.
    drop(keys);
    rig.context.shutdown.cancel();
    rig.context.tasks.close();
    rig.context.tasks.wait().await;
}

#[test]
fn ten_thousand_keys_fit_and_more_do_not() {
    let key = make_api_key("k").unwrap();
    let hash = write_hash(&ApiKeyText::parse(key.expose()).unwrap().hash());
    let path = Path::new("callers.yaml");
    let text = |count: usize| -> String {
        let all = (0..count).map(|id| format!("{id}: {{subject: s, hash: '{hash}'}}\n"));
        all.collect()
    };
    let parsed = parse_api_keys(&text(9_500), path).unwrap();
    assert_eq!(parsed.len(), 9_500);
    let errors = parse_api_keys(&text(10_001), path).unwrap_err();
    let errors = errors.to_string();
    assert!(
        errors.contains("10000") || errors.contains("larger than"),
        "{errors}"
    );
}
