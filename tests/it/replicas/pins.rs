//! Pins and acceptances that replicas share.

use super::*;
use crate::drift::{accept, description, has, tool, waiting};

/// Two replicas that have pinned `a` and hold back what the upstream says of it now.
async fn held(store: &Store) -> (Upstream, [Weir; 2]) {
    let ann = Upstream::named("ann").start().await;
    has(&ann, &[tool("a", "One."), tool("b", "One.")]);
    let weirs = two(&ann, store, "", "defaults: { drift: hold }").await;
    for weir in &weirs {
        weir.wait_tools(["ann__a", "ann__b"]).await;
        wait_store(weir, "up").await;
    }
    has(&ann, &[tool("a", "Two."), tool("b", "Two.")]);
    for weir in &weirs {
        weir.resync("ann").await;
        weir.wait_told("ann", "drift/drifted", "ann__b").await;
    }
    (ann, weirs)
}

/// Waits until a weir shows this description, and returns how long that took.
async fn shown(weir: &Weir, tool: &str, text: &str) -> Duration {
    let began = Instant::now();
    bounded(&format!("`{text}` for {tool}"), async {
        while description(weir, tool).await.as_deref() != Some(text) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    began.elapsed()
}

#[tokio::test]
async fn what_is_accepted_on_one_replica_is_seen_on_the_other_within_a_second() {
    let Some(store) = Store::start().await else {
        return;
    };
    let (_ann, [one, two]) = held(&store).await;
    let (status, answer) = accept(&one, "ann__a", "").await;
    assert_eq!(status, 200, "{answer}");
    let took = shown(&two, "ann__a", "Two.").await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    // The other one waits on both.
    assert_eq!(waiting(&two, "ann").await, ["ann__b"]);
    assert_eq!(waiting(&one, "ann").await, ["ann__b"]);
    assert_eq!(description(&two, "ann__b").await.as_deref(), Some("One."));
    two.wait_stderr("were accepted on another replica").await;
    // In the other direction too, and after a restart that has forgotten nothing.
    let (status, answer) = accept(&two, "ann__b", "").await;
    assert_eq!(status, 200, "{answer}");
    shown(&one, "ann__b", "Two.").await;
    let one = one.restart().await;
    assert_eq!(description(&one, "ann__b").await.as_deref(), Some("Two."));
    assert_eq!(waiting(&one, "ann").await, [""; 0]);
}

#[tokio::test]
async fn a_new_replica_trusts_what_the_others_trust() {
    let Some(store) = Store::start().await else {
        return;
    };
    let (ann, [one, _two]) = held(&store).await;
    // It has a folder of its own, and has seen nothing.
    let new = Weir::over([&ann]).state().top(&store.shared(""));
    let new = new.top("defaults: { drift: hold }").start().await;
    new.wait_told("ann", "drift/drifted", "ann__b").await;
    assert_eq!(description(&new, "ann__a").await.as_deref(), Some("One."));
    let (status, answer) = accept(&one, "ann__a", "").await;
    assert_eq!(status, 200, "{answer}");
    shown(&new, "ann__a", "Two.").await;
}

#[tokio::test]
async fn an_acceptance_while_the_store_is_lost_arrives_when_it_is_back_empty() {
    let Some(mut store) = Store::start().await else {
        return;
    };
    let (_ann, [one, two]) = held(&store).await;
    store.kill().await;
    wait_store(&one, "lost").await;
    let (status, answer) = accept(&one, "ann__a", "").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(description(&one, "ann__a").await.as_deref(), Some("Two."));
    assert_eq!(description(&two, "ann__a").await.as_deref(), Some("One."));
    store.revive().await;
    shown(&two, "ann__a", "Two.").await;
    assert_eq!(waiting(&two, "ann").await, ["ann__b"]);
}

#[tokio::test]
async fn nobody_who_writes_in_the_store_can_have_a_definition_accepted() {
    let Some(store) = Store::start().await else {
        return;
    };
    let (_ann, [one, two]) = held(&store).await;
    let (status, answer) = accept(&one, "ann__a", "").await;
    assert_eq!(status, 200, "{answer}");
    shown(&two, "ann__a", "Two.").await;
    // The value of `a` in the place of `b`, and of everything else.
    let copied = "local key = redis.call('KEYS', '*:pins:*')[1] \
        local all = redis.call('HGETALL', key) \
        for i = 1, #all, 2 do redis.call('HSET', key, all[i], all[(i + 2) % #all + 1]) end \
        redis.call('PUBLISH', 'weir:edge:news', 'pins somebody x') \
        return #all";
    let copied = store.ask(&["EVAL", copied, "0"]).await;
    assert!(copied.contains(":4"), "{copied}");
    two.resync("ann").await;
    assert_eq!(waiting(&two, "ann").await, ["ann__b"]);
    assert_eq!(description(&two, "ann__b").await.as_deref(), Some("One."));
}
