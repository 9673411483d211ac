//! Secrets that are replaced while weir runs.

use std::time::Duration;

use crate::support::bounded;
use crate::support::upstream::Upstream;
use crate::support::weir::{Weir, child};

#[tokio::test]
async fn a_replaced_secret_is_in_use_within_a_second_and_no_call_fails() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("token");
    let write = |text: &str| {
        let new = home.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &file).unwrap();
    };
    write("old");
    // This upstream accepts everything and records what it is sent.
    let shop = Upstream::named("shop").tools(["search"]).start().await;
    let auth = format!(
        "auth: {{ type: bearer, token: {{ file: {} }} }}",
        file.display()
    );
    let weir = Weir::over([&shop]).upstream("shop", &auth).start().await;
    let sent = async || {
        let answer = weir.modern().call("shop__search", "{}").await;
        assert_eq!(answer.text(), "shop.search {}");
        let headers = shop.requests("tools/call").pop().unwrap().headers;
        headers["authorization"].to_str().unwrap().to_owned()
    };
    assert_eq!(sent().await, "Bearer old");
    for text in ["new", "newer"] {
        write(text);
        bounded("it to be in use", async {
            while sent().await != format!("Bearer {text}") {}
        })
        .await;
    }
    // A file that holds no secret is not used.
    write("");
    weir.wait_stderr("is empty").await;
    std::fs::remove_file(&file).unwrap();
    assert_eq!(sent().await, "Bearer newer");
}

#[tokio::test]
async fn a_refused_secret_is_read_again_before_the_call_fails() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("token");
    std::fs::write(&file, "old").unwrap();
    let shop = Upstream::named("shop")
        .tools(["search"])
        .bearer("old")
        .start()
        .await;
    let auth = format!(
        "auth: {{ type: bearer, token: {{ file: {} }} }}",
        file.display()
    );
    let weir = Weir::over([&shop]).upstream("shop", &auth).start().await;
    // Longer than the pause between two looks at a file because of rejections.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for token in ["new", "newer"] {
        shop.bearer(token);
        std::fs::write(&file, token).unwrap();
        let answer = weir.modern().call("shop__search", "{}").await;
        assert_eq!(answer.text(), "shop.search {}");
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}

#[tokio::test]
async fn a_child_is_given_its_secrets_as_they_are_when_it_starts() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("secret");
    std::fs::write(&file, "first").unwrap();
    let yaml = format!(
        "  kid:\n    command: sh\n    args: [\"-c\", 'echo \"with $GIVEN\" >&2; exec python3 {} --name kid --tools crash']\n    env: {{ GIVEN: {{ file: {} }} }}\n",
        child().display(),
        file.display(),
    );
    let weir = Weir::with(&yaml).start().await;
    weir.wait_stderr("with first").await;
    std::fs::write(&file, "second").unwrap();
    weir.modern().call("kid__crash", "{}").await;
    weir.wait_stderr("with second").await;
}
