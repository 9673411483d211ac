//! One login of a person, on several replicas.

use std::path::Path;

use super::*;
use crate::logins::rig::Rig;
use crate::logins::{AUTH, answered, call};

/// A replica of a rig's weir, with this state folder.
async fn serve(rig: &Rig, store: &Store, state: &Path) -> Weir {
    let url = rig.saas.url();
    let weir = Weir::with(&format!("  linear:\n    url: \"{url}\"\n    {AUTH}\n"));
    weir.top(&format!("state: {{ dir: \"{}\" }}", state.display()))
        .top(&store.shared(""))
        .start()
        .await
}

/// A rig whose tokens live so long, with a login that one of two replicas has.
async fn logged_in(store: &Store, seconds: u64) -> (Rig, tempfile::TempDir, [Weir; 2]) {
    let rig = Rig::new(AUTH).await;
    rig.saas.script().lifetime = Some(seconds);
    assert_eq!(rig.logged_in().await.2, 0);
    let elsewhere = tempfile::tempdir().unwrap();
    let one = serve(&rig, store, &rig.home.path().join("state")).await;
    one.wait_tools(["linear__search"]).await;
    let two = serve(&rig, store, &elsewhere.path().join("state")).await;
    two.wait_tools(["linear__search"]).await;
    (rig, elsewhere, [one, two])
}

/// Checks that no refresh token was sent twice. Returns how many were.
fn used_once(rig: &Rig) -> usize {
    let refreshes = rig.saas.asked("refresh_token");
    let mut used: Vec<_> = refreshes
        .iter()
        .map(|asked| &asked["refresh_token"])
        .collect();
    used.sort();
    used.dedup();
    assert_eq!(
        used.len(),
        refreshes.len(),
        "a refresh token was used twice"
    );
    used.len()
}

async fn call_both(one: &Weir, two: &Weir, seconds: u64) {
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        let (first, second) = tokio::join!(call(one), call(two));
        assert!(answered(&first), "{first}");
        assert!(answered(&second), "{second}");
    }
}

#[tokio::test]
async fn replicas_with_folders_of_their_own_use_no_refresh_token_twice() {
    let Some(store) = Store::start().await else {
        return;
    };
    let (rig, _elsewhere, [one, two]) = logged_in(&store, 3).await;
    call_both(&one, &two, 10).await;
    assert!(used_once(&rig) >= 3);
    // The other has the newest login in its own folder, and goes on alone.
    drop(one);
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        let text = call(&two).await;
        assert!(answered(&text), "{text}");
    }
    used_once(&rig);
    let stored = store.dump().await;
    assert!(stored.contains(":login:"), "{stored}");
    assert!(!stored.contains("-secret-"), "{stored}");
}

#[tokio::test]
async fn a_login_that_came_to_one_replica_is_used_by_all() {
    let Some(store) = Store::start().await else {
        return;
    };
    let rig = Rig::new(AUTH).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let one = serve(&rig, &store, &rig.home.path().join("state")).await;
    let two = serve(&rig, &store, &elsewhere.path().join("state")).await;
    for weir in [&one, &two] {
        weir.wait_told("linear", "credentials/state", "reauth_needed")
            .await;
    }
    assert_eq!(rig.logged_in().await.2, 0);
    one.wait_tools(["linear__search"]).await;
    two.wait_tools(["linear__search"]).await;
    assert!(answered(&call(&two).await));
}

#[tokio::test]
async fn nothing_is_refreshed_while_the_store_is_lost_and_it_gets_the_login_again() {
    let Some(mut store) = Store::start().await else {
        return;
    };
    let (rig, _elsewhere, [one, two]) = logged_in(&store, 3).await;
    call_both(&one, &two, 4).await;
    store.kill().await;
    for weir in [&one, &two] {
        wait_store(weir, "lost").await;
    }
    let before = used_once(&rig);
    // The last token ends meanwhile.
    bounded("a call that has no token", async {
        while answered(&call(&one).await) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(used_once(&rig), before);
    // Empty: whichever refreshes first has the last token of the two.
    store.revive().await;
    for weir in [&one, &two] {
        wait_store(weir, "up").await;
        bounded("a call with a new token", async {
            while !answered(&call(weir).await) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }
    call_both(&one, &two, 4).await;
    assert!(used_once(&rig) > before);
}
