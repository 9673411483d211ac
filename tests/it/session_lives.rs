//! Sessions that were ended stay ended, and keys can be replaced without an end to sessions.

use std::fs;

use crate::support::client::{Legacy, pool};
use crate::support::ran;
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const OLD: &str = "the old key, of at least 32 bytes of text";
const NEW: &str = "the new key, of at least 32 bytes of text";

async fn over(ann: &Upstream, top: &str) -> Weir {
    let weir = Weir::over([ann]).top(top).start().await;
    weir.wait_tools(["ann__a"]).await;
    weir
}

/// The status of a ping in a session.
async fn ping(weir: &Weir, session: &str) -> u16 {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let legacy = Legacy::resume(weir.url(), session, "2025-11-25");
    legacy.post(body).await.status
}

async fn end(weir: &Weir, session: &str) -> u16 {
    let request = pool().delete(weir.url()).header("mcp-session-id", session);
    request.send().await.unwrap().status().as_u16()
}

async fn opened(weir: &Weir) -> String {
    weir.legacy("2025-11-25").await.session.unwrap()
}

#[tokio::test]
async fn an_ended_session_stays_ended_after_a_restart_and_others_go_on() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let weir = over(&ann, "state: { dir: state }").await;
    let (ended, other) = (opened(&weir).await, opened(&weir).await);
    assert_eq!(
        (ping(&weir, &ended).await, ping(&weir, &other).await),
        (200, 200)
    );
    assert_eq!(end(&weir, &ended).await, 204);
    assert_eq!(ping(&weir, &ended).await, 404);
    let weir = weir.restart().await;
    assert_eq!(
        (ping(&weir, &ended).await, ping(&weir, &other).await),
        (404, 200)
    );
    assert_eq!(end(&weir, &ended).await, 404);
    // Where it cannot be read what was ended, nothing from before is known.
    let damaged = weir.restart_with(|home| fs::write(home.join("state/sessions"), "gone").unwrap());
    let weir = damaged.await;
    weir.wait_stderr("cannot be read: clients of earlier sessions")
        .await;
    assert_eq!(
        (ping(&weir, &ended).await, ping(&weir, &other).await),
        (404, 404)
    );
}

#[tokio::test]
async fn a_sealing_key_is_replaced_and_sessions_go_on() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let one = format!("sealing_key: {{ value: \"{OLD}\" }}");
    let weir = over(&ann, &one).await;
    let first = opened(&weir).await;
    let write = |from: String, to: String| {
        move |home: &std::path::Path| {
            let file = home.join("weir.yaml");
            let yaml = fs::read_to_string(&file).unwrap();
            assert!(yaml.contains(&from), "{yaml}");
            fs::write(&file, yaml.replace(&from, &to)).unwrap();
        }
    };
    let both = format!("sealing_keys: [{{ value: \"{NEW}\" }}, {{ value: \"{OLD}\" }}]");
    let weir = weir.restart_with(write(one, both.clone())).await;
    let second = opened(&weir).await;
    assert_eq!(
        (ping(&weir, &first).await, ping(&weir, &second).await),
        (200, 200)
    );
    let new = format!("sealing_keys: [{{ value: \"{NEW}\" }}]");
    let weir = weir.restart_with(write(both, new)).await;
    assert_eq!(
        (ping(&weir, &first).await, ping(&weir, &second).await),
        (404, 200)
    );
}

#[tokio::test]
async fn another_key_in_the_file_is_not_taken_while_weir_runs_and_ends_no_session() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, OLD).unwrap();
    let one = format!("sealing_key: {{ file: {} }}", file.display());
    let weir = over(&ann, &one).await;
    let first = opened(&weir).await;
    let reload = async || weir.operate("/reload").send().await.unwrap();
    assert_eq!(reload().await.status(), 200);
    fs::write(&file, NEW).unwrap();
    let refused = reload().await;
    assert_eq!(refused.status(), 422);
    let told = refused.text().await.unwrap();
    assert!(
        told.contains("`sealing_key` cannot change while weir runs"),
        "{told}"
    );
    let second = opened(&weir).await;
    // Both are sealed with the old one.
    fs::write(&file, OLD).unwrap();
    let weir = weir.restart().await;
    assert_eq!(
        (ping(&weir, &first).await, ping(&weir, &second).await),
        (200, 200)
    );
}

#[tokio::test]
async fn a_key_of_the_state_folder_is_replaced_by_a_line_before_it() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let weir = over(&ann, "state: { dir: state }").await;
    let first = opened(&weir).await;
    let add = |home: &std::path::Path| {
        let file = home.join("state/sealing.key");
        let old = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{NEW}\n{old}\n")).unwrap();
    };
    let weir = weir.restart_with(add).await;
    let second = opened(&weir).await;
    assert_eq!(
        (ping(&weir, &first).await, ping(&weir, &second).await),
        (200, 200)
    );
    let only = |home: &std::path::Path| fs::write(home.join("state/sealing.key"), NEW).unwrap();
    let weir = weir.restart_with(only).await;
    assert_eq!(
        (ping(&weir, &first).await, ping(&weir, &second).await),
        (404, 200)
    );
}

#[tokio::test]
async fn what_is_wrong_with_sealing_keys_is_said_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.yaml");
    let key = format!("{{ value: \"{OLD}\" }}");
    for (yaml, said) in [
        (
            format!("sealing_key: {key}\nsealing_keys: [{key}]\n"),
            "cannot be used together",
        ),
        (
            format!("sealing_keys: [{key}, {{ value: short }}]\n"),
            "32 bytes",
        ),
        ("sealing_keys: []\n".to_owned(), "empty"),
    ] {
        fs::write(&file, format!("{yaml}upstreams: {{}}\n")).unwrap();
        let ran = ran::weir(["check", "-c", file.to_str().unwrap()]).await;
        assert!(
            ran.code == Some(2) && ran.err.contains(said),
            "{yaml}{ran:?}"
        );
        assert!(!ran.err.contains(OLD), "{ran:?}");
    }
}
