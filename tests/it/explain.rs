//! Every name can say where it comes from, and every tool why it is not there.

use std::fs;

use serde_json::Value;

use crate::support::ran::{Ran, weir};
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::Weir;

/// Asks a running weir.
async fn explained(weir_: &Weir, name: &str) -> String {
    let ran = asked(weir_, name).await;
    ran.told(weir_.home.path())
}

async fn asked(weir_: &Weir, name: &str) -> Ran {
    weir(["explain", name, "--url", &weir_.admin_url("")]).await
}

fn config(weir: &Weir) -> String {
    let path = weir.home.path().join("weir.yaml");
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_name_says_where_it_comes_from() {
    let ann = Upstream::named("ann")
        .tools(["a", "team___x", "find", "wipe_all", "far", "what is this?"])
        .prompts(["a"])
        .start()
        .await;
    ann.add_raw(Kind::Tools, r#"{"name":"broken"}"#);
    let bob = Upstream::named("bob")
        .tools(["a", "rather_long_for_a_tool"])
        .legacy("2025-06-18")
        .start()
        .await;
    let weir = Weir::over([&ann, &bob])
        .top("naming: { max_length: 24 }")
        .upstream("ann", "names: { strip: \"^[^_]+___\" }")
        .upstream("ann", "tools:\n  allow: [\"[!f]*\", find]\n  deny:\n    - \"drop*\"\n    - \"wipe*\"\n  override:\n    find: { name: look, hide_args: [q] }")
        .upstream("bob", "namespace: ann")
        .start()
        .await;
    weir.resync("ann").await;
    let names = [
        "ann__a",
        "ann__x",
        "ann__look",
        "ann__rather_lon_f98c748d",
        "ann__rather_lon_08a8c6a1",
        "ann__what_is_th_52e8d090",
        "ann__wipe_all",
        "far",
        "broken",
        "find",
        "ann__loook",
        "ANN-A",
        "ann__rather_long_for_a_tool",
        "nothing_like_it",
    ];
    let mut told = String::new();
    for name in names {
        told.push_str(&format!("── {name}: {}\n", explained(&weir, name).await));
    }
    insta::assert_snapshot!(told);
    // The hashed ones: whatever they are called.
    for tool in weir.tool_names().await {
        let ran = asked(&weir, &tool).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let taken = weir
        .tool_names()
        .await
        .into_iter()
        .find(|name| name.starts_with("ann__a_"));
    let ran = asked(&weir, &taken.unwrap()).await;
    assert!(ran.out.contains("`ann__a` is taken by ann"), "{ran:?}");
}

#[tokio::test]
async fn a_config_explains_as_the_running_weir_does() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let running = Weir::over([&ann])
        .upstream("ann", "tools: { deny: [b] }")
        .start()
        .await;
    let file = config(&running);
    for name in ["ann__a", "a", "no"] {
        let (there, here) = (
            asked(&running, name).await,
            weir(["explain", name, "-c", &file]).await,
        );
        let home = running.home.path();
        assert_eq!(there.told(home), here.told(home));
    }
    let ran = weir(["explain", "ann__a", "-c", &file, "--json", "--caller", "me"]).await;
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told["exposed"][0]["original"], "a");
    assert_eq!(told["exposed"][0]["access"]["listed"], true, "no policy");
    let ran = weir(["explain", "a", "-c", "no/such/weir.yaml"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let ran = weir(["explain", "a", "--url", "nowhere"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[tokio::test]
async fn what_is_stale_says_so_served_or_hidden() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let bob = Upstream::named("bob").tools(["b"]).start().await;
    let cat = Upstream::named("cat").tools(["c"]).start().await;
    cat.stop().await;
    let running = Weir::over([&ann, &bob, &cat])
        .upstream("bob", "stale: { policy: hide }")
        .state()
        .start()
        .await;
    running.wait_tools(["ann__a", "bob__b"]).await;
    ann.stop().await;
    bob.stop().await;
    // A stopped upstream notifies nobody: only a resync finds out.
    let post = |name: &str| {
        let path = format!("/upstreams/{name}/resync");
        running.operate(&path).send()
    };
    for name in ["ann", "bob"] {
        post(name).await.unwrap();
        running.wait_told(name, "state", "failing").await;
    }
    running.wait_tools(["ann__a"]).await;
    let told = async |name: &str| {
        let text = explained(&running, name).await;
        let lines = text.lines();
        // The error texts of operating systems differ.
        let lines = lines.map(|line| line.split("cannot connect").next().unwrap().trim_end());
        lines.collect::<Vec<_>>().join("\n")
    };
    let all = [
        told("ann__a").await,
        told("bob__b").await,
        told("cat__c").await,
    ];
    insta::assert_snapshot!(all.join("\n\n"));
    // Without asking anybody, from what is stored.
    let file = config(&running);
    let ran = weir(["explain", "ann__a", "--offline", "-c", &file]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("stored by an earlier run"), "{ran:?}");
    let ran = weir(["explain", "cat__c", "--offline", "-c", &file]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.out.contains("no listing of it is stored"), "{ran:?}");
}

#[tokio::test]
async fn a_name_says_how_its_upstream_is_logged_in_to() {
    let ann = Upstream::named("ann")
        .tools(["a"])
        .bearer("t0ken-t0ken")
        .start()
        .await;
    let running = Weir::over([&ann])
        .upstream(
            "ann",
            "auth: { type: bearer, token: { value: t0ken-t0ken } }",
        )
        .start()
        .await;
    running.wait_tools(["ann__a"]).await;
    let ran = asked(&running, "ann__a").await;
    let line = ran.out.lines().find(|line| line.contains("credentials"));
    assert_eq!(line.unwrap().trim(), "credentials  bearer ok");
    assert!(!ran.out.contains("t0ken"), "{ran:?}");
}

#[tokio::test]
async fn what_is_hidden_from_the_start_says_so_too() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let running = Weir::over([&ann])
        .upstream("ann", "stale: { policy: hide }")
        .state()
        .start()
        .await;
    running.wait_tools(["ann__a"]).await;
    let folder = running.home.path().join("state/listings");
    crate::support::bounded("a stored listing", async {
        while fs::read_dir(&folder).map_or(0, Iterator::count) != 1 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    ann.stop().await;
    let running = running.restart().await;
    let ran = asked(&running, "ann__a").await;
    assert_eq!(ran.code, Some(1));
    for part in [
        "`stale.policy` is `hide`",
        "stored by an earlier run",
        "failing",
    ] {
        assert!(ran.out.contains(part), "{part}: {ran:?}");
    }
}

#[tokio::test]
async fn a_definition_that_came_through_a_weir_says_through_which() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let inner = Weir::over([&ann]).instance("inner").start().await;
    inner.wait_tools(["ann__a"]).await;
    let outer = Weir::over([])
        .and("in", &inner.url())
        .instance("outer")
        .start()
        .await;
    outer.wait_tools(["in__ann__a"]).await;
    let ran = asked(&outer, "in__ann__a").await;
    let line = ran.out.lines().find(|line| line.contains("came through"));
    assert_eq!(line.unwrap().trim(), "came through inner");
    // One that came back is kept out, and says why.
    let next = fs::read_to_string(config(&inner)).unwrap();
    let next = format!("{next}  back:\n    url: \"{}\"\n", outer.url());
    fs::write(config(&inner), next).unwrap();
    let post = inner.operate("/reload");
    assert!(post.send().await.unwrap().status().is_success());
    inner.wait_told("back", "own_dropped", "1").await;
    let ran = asked(&inner, "back__in__ann__a").await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("it came from this weir itself"), "{ran:?}");
}
