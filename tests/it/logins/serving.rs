//! Stored logins while weir serves.

use super::*;

/// Calls the one tool as a caller of weir, and returns the answer.
pub async fn call(weir: &Weir) -> String {
    let reply = weir.modern().call("linear__search", "{}").await;
    String::from_utf8_lossy(&reply.body).into_owned()
}

pub fn answered(text: &str) -> bool {
    text.contains("linear.search")
}

#[tokio::test]
async fn a_serving_weir_uses_a_login_without_a_restart_and_says_when_it_needs_one() {
    let rig = Rig::new(AUTH).await;
    let weir = rig.serve().await;
    let told = weir
        .wait_told("linear", "credentials/state", "reauth_needed")
        .await;
    let reason = told.pointer("/credentials/reason").unwrap().to_string();
    assert!(reason.contains("weir login linear"), "{reason}");
    assert_eq!(rig.logged_in().await.2, 0);
    weir.wait_tools(["linear__search"]).await;
    assert!(answered(&call(&weir).await));
    weir.wait_told("linear", "credentials/state", "ok").await;
    // The server no longer accepts the refresh token: calls fail with the reason until the next
    // login.
    rig.saas.revoke();
    let text = call(&weir).await;
    assert!(!answered(&text), "{text}");
    let told = weir
        .wait_told("linear", "credentials/state", "reauth_needed")
        .await;
    let reason = told.pointer("/credentials/reason").unwrap().to_string();
    assert!(
        reason.contains("log in again: weir login linear"),
        "{reason}"
    );
    let asked = rig.saas.asked("refresh_token").len();
    assert!(!answered(&call(&weir).await));
    assert_eq!(
        rig.saas.asked("refresh_token").len(),
        asked,
        "a dead token is not tried again"
    );
    assert_eq!(rig.logged_in().await.2, 0);
    weir.wait_told("linear", "credentials/state", "ok").await;
    assert!(answered(&call(&weir).await));
    assert!(!weir.stderr().contains("-secret-"), "{}", weir.stderr());
}

#[tokio::test]
async fn a_rotated_refresh_token_is_stored_before_it_is_used_however_many_calls_wait() {
    let rig = Rig::new(AUTH).await;
    assert_eq!(rig.logged_in().await.2, 0);
    let weir = rig.serve().await;
    weir.wait_tools(["linear__search"]).await;
    for round in 1..=3 {
        rig.saas.end_tokens();
        let calls = futures::future::join_all((0..20).map(|_| call(&weir))).await;
        assert!(calls.iter().all(|text| answered(text)), "{calls:?}");
        let refreshes = rig.saas.asked("refresh_token");
        assert_eq!(refreshes.len(), round);
        assert_eq!(refreshes[round - 1]["resource"], rig.saas.url());
        // The stored refresh token is the one that the server accepts next.
        let stored = rig.record()["refresh_token"].as_str().unwrap().to_owned();
        assert!(
            refreshes
                .iter()
                .all(|asked| asked["refresh_token"] != stored)
        );
        // Two refreshes because of a 401 are at least five seconds apart; a restart forgets that.
        if round < 3 {
            tokio::time::sleep(Duration::from_millis(5100)).await;
        }
    }
    assert_eq!(mode(&rig.stored()[0]), 0o600);
}

#[tokio::test]
async fn two_weirs_on_one_folder_do_not_use_up_each_others_refresh_tokens() {
    let rig = Rig::new(AUTH).await;
    // The lifetime is so short that both have to refresh each time, and the server rejects a token
    // that is used twice.
    rig.saas.script().lifetime = Some(2);
    assert_eq!(rig.logged_in().await.2, 0);
    let (one, two) = tokio::join!(rig.serve(), rig.serve());
    one.wait_tools(["linear__search"]).await;
    two.wait_tools(["linear__search"]).await;
    let until = tokio::time::Instant::now() + Duration::from_secs(6);
    while tokio::time::Instant::now() < until {
        let (first, second) = tokio::join!(call(&one), call(&two));
        assert!(answered(&first), "{first}");
        assert!(answered(&second), "{second}");
    }
    let refreshes = rig.saas.asked("refresh_token");
    assert!(refreshes.len() >= 2, "{refreshes:?}");
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
}

#[tokio::test]
async fn a_weir_that_is_killed_while_it_refreshes_leaves_a_grant_that_works() {
    let rig = Rig::new(AUTH).await;
    rig.saas.script().lifetime = Some(2);
    assert_eq!(rig.logged_in().await.2, 0);
    for _ in 0..5 {
        let weir = rig.serve().await;
        let before = rig.saas.asked("refresh_token").len();
        // Kill it just when the server has answered, or right before.
        let wait = async {
            while rig.saas.asked("refresh_token").len() == before {
                call(&weir).await;
            }
        };
        bounded("a refresh", wait).await;
        weir.signal(Signal::KILL);
        weir.ended().await;
        // The stored file is complete, whatever was being written.
        assert!(rig.record()["refresh_token"].is_string());
        // A refresh token that the server issued but nobody stored is lost. A server that rotates
        // tokens has to allow for that, as this one does.
        let stored = rig.record()["refresh_token"].as_str().unwrap().to_owned();
        rig.saas.allow(&stored);
    }
    let weir = rig.serve().await;
    weir.wait_tools(["linear__search"]).await;
    assert!(answered(&call(&weir).await));
}

#[tokio::test]
async fn a_token_that_cannot_be_refreshed_is_used_until_it_is_refused() {
    let rig = Rig::new(AUTH).await;
    rig.saas.script().refreshes = false;
    rig.saas.script().lifetime = None;
    assert_eq!(rig.logged_in().await.2, 0);
    let weir = rig.serve().await;
    weir.wait_tools(["linear__search"]).await;
    assert!(answered(&call(&weir).await));
    rig.saas.end_tokens();
    assert!(!answered(&call(&weir).await));
    weir.wait_told("linear", "credentials/state", "reauth_needed")
        .await;
    assert!(rig.saas.asked("refresh_token").is_empty());
}

#[tokio::test]
async fn a_stored_login_is_for_this_url_and_this_client_only() {
    let rig = Rig::new(AUTH).await;
    assert_eq!(rig.logged_in().await.2, 0);
    let upstream = Upstream::named("other").tools(["x"]).start().await;
    let other = SaaS::before(&upstream).await;
    let state = rig.home.path().join("state");
    let serve = |url: String, auth: &str| {
        Weir::with(&format!("  linear:\n    url: \"{url}\"\n    {auth}\n"))
            .top(&format!("state: {{ dir: \"{}\" }}", state.display()))
            .start()
    };
    let weir = serve(other.url(), AUTH).await;
    weir.wait_told("linear", "credentials/state", "reauth_needed")
        .await;
    drop(weir);
    let another = "auth: { type: oauth2_authorization_code, client_id: another }";
    let weir = serve(rig.saas.url(), another).await;
    weir.wait_told("linear", "credentials/state", "reauth_needed")
        .await;
    assert!(other.asked("refresh_token").is_empty());
    assert!(rig.saas.asked("refresh_token").is_empty());
}
