//! `weir key`: keys that are made, listed and revoked.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::support::ran::{Ran, weir};

/// A folder with a config that names a file of keys.
struct Home(tempfile::TempDir);

impl Home {
    fn new(auth: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let text = format!("listen: {{ auth: {auth} }}\nupstreams: {{}}\n");
        std::fs::write(home.path("weir.yaml"), text).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path("callers.yaml")).unwrap()
    }

    async fn key(&self, args: &[&str]) -> Ran {
        let config = self.path("weir.yaml");
        let mut all = vec!["key"];
        all.extend(args);
        all.extend(["-c", config.to_str().unwrap()]);
        weir(all).await
    }
}

const WITH_KEYS: &str = "{ api_keys: { file: callers.yaml } }";

#[tokio::test]
async fn a_key_is_printed_once_and_the_file_has_its_hash() {
    let home = Home::new(WITH_KEYS);
    let config = home.path("weir.yaml");
    let check = async || weir(["check", "-c", config.to_str().unwrap()]).await;
    let before = check().await;
    assert_eq!(before.code, Some(2));
    assert!(before.err.contains("there is no such file"), "{before:?}");

    let args = [
        "new",
        "ci",
        "--subject",
        "builds",
        "--scope",
        "mcp/invoke",
        "--tag",
        "team=a: b",
        "--expires",
        "90d",
    ];
    let made = home.key(&args).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let key = made.out.trim_end();
    assert!(key.starts_with("weir_ci_") && key.len() == 57, "{key}");
    assert!(!made.err.contains(key), "{made:?}");
    let mode = home
        .path("callers.yaml")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = home.text();
    assert!(!text.contains(&key[8..]), "{text}");
    for part in [
        "# API keys",
        "subject: builds",
        "sha256:",
        "team: \"a: b\"",
        "expires: ",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(check().await.code, Some(0));
}

#[tokio::test]
async fn keys_are_added_listed_and_revoked_and_the_rest_of_the_file_stays() {
    let home = Home::new(WITH_KEYS);
    let config = home.path("weir.yaml");
    let args = ["new", "ci", "--subject", "builds", "--scope", "mcp/invoke"];
    assert_eq!(home.key(&args).await.code, Some(0));
    let text = home.text();
    // Lines that people write in the file stay.
    let text = text.replace("\"ci\":\n", "# of the build farm\n\"ci\":\n");
    std::fs::write(home.path("callers.yaml"), format!("{text}# the end\n")).unwrap();
    let second = home.key(&["new", "ci-2", "--subject", "builds"]).await;
    assert_eq!(second.code, Some(0), "{second:?}");
    assert!(home.text().starts_with(&format!("{text}# the end\n")));
    let listed = home.key(&["list"]).await;
    for part in ["ci-2", "builds", "mcp/invoke", "never"] {
        assert!(listed.out.contains(part), "{listed:?}");
    }
    assert!(!listed.out.contains("sha256"), "{listed:?}");

    let taken = home.key(&["new", "ci"]).await;
    assert_eq!(
        (taken.code, &*taken.out),
        (Some(2), ""),
        "no key is shown that is nowhere"
    );
    assert!(
        taken.err.contains("there is a key `ci` already"),
        "{taken:?}"
    );
    let revoked = home.key(&["revoke", "ci"]).await;
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    let left = home.text();
    assert!(
        left.contains("# of the build farm") && left.contains("# the end"),
        "{left}"
    );
    assert!(
        !left.contains("\"ci\":") && left.contains("\"ci-2\":"),
        "{left}"
    );
    let unknown = home.key(&["revoke", "ci"]).await;
    assert!(
        unknown.err.contains("there is no key `ci` in it"),
        "{unknown:?}"
    );
    assert_eq!(home.key(&["revoke", "ci-2"]).await.code, Some(0));
    let check = weir(["check", "-c", config.to_str().unwrap()]).await;
    assert_eq!(check.code, Some(0), "{}", home.text());
}

#[tokio::test]
async fn without_a_file_the_entry_is_printed() {
    let home = Home::new("none");
    let made = home.key(&["new", "ci"]).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    assert_eq!(made.out.lines().count(), 1, "{made:?}");
    assert!(
        made.err
            .contains("\"ci\":\n  subject: ci\n  hash: \"sha256:"),
        "{made:?}"
    );
    assert!(!home.path("callers.yaml").exists());
    let listed = home.key(&["list"]).await;
    assert_eq!(listed.code, Some(2));
    assert!(
        listed.err.contains("no `listen.auth.api_keys.file`"),
        "{listed:?}"
    );
}

#[tokio::test]
async fn what_would_not_be_valid_is_refused_and_nothing_is_written() {
    let home = Home::new(WITH_KEYS);
    for (args, error) in [
        (&["new", "a_b"][..], "1 to 32 letters, digits and `-`"),
        (&["new", "a", "--tag", "x"], "write NAME=VALUE"),
        (&["new", "a", "--scope", "a b"], "a scope has no spaces"),
        (&["new", "a", "--expires", "soon"], "not a duration"),
        (&["new", "a", "--expires", "2027-13-01"], "not a time"),
        (&["new", "a", "--subject", ""], "must not be empty"),
    ] {
        let ran = home.key(args).await;
        assert_eq!((ran.code, &*ran.out), (Some(2), ""), "{ran:?}");
        assert!(ran.err.contains(error), "{args:?}: {ran:?}");
        assert!(!home.path("callers.yaml").exists());
    }
}
