//! Listings that replicas share: one of them lists, the others read.

use super::*;
use crate::drift::{description, has, tool, waiting};
use crate::support::upstream::{Kind, Times};
use crate::support::weir::child_upstream;

const EVERY_SECOND: &str = "defaults: { resync: 1s }";
const SELDOM: &str = "defaults: { resync: 1h }";

/// The number of upstreams that a weir lists for all.
async fn led(weir: &Weir) -> u64 {
    weir.metric("weir_replicas_listings_led").await
}

async fn taken(weir: &Weir) -> u64 {
    weir.metric("weir_replicas_listings_taken_total").await
}

async fn wait_led(weir: &Weir, upstreams: u64) {
    bounded("the lead", async {
        while led(weir).await != upstreams {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Waits until one of two replicas leads and the other one has taken a listing from now on; returns them in
/// that order.
async fn leader_first([one, two]: [Weir; 2]) -> [Weir; 2] {
    let before = taken(&one).await + taken(&two).await;
    bounded("one that leads, and one that follows", async {
        loop {
            let leads = [led(&one).await, led(&two).await];
            let taken = taken(&one).await + taken(&two).await;
            if leads.iter().sum::<u64>() == 1 && taken > before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    match led(&one).await {
        1 => [one, two],
        _ => [two, one],
    }
}

/// Waits until an upstream was listed so many times more, and returns how long that took.
async fn listed(ann: &Upstream, times: usize) -> Duration {
    let (began, before) = (Instant::now(), ann.count("tools/list"));
    ann.wait_for("more listings", |seen| {
        seen.count("tools/list") >= before + times
    })
    .await;
    began.elapsed()
}

/// Returns the content of the lead of the only upstream in the store.
async fn holder(store: &Store) -> String {
    let lua = "local key = redis.call('KEYS', '*:lead:*')[1] \
        if not key then return 'nobody' end return redis.call('GET', key)";
    store.ask(&["EVAL", lua, "0"]).await
}

#[tokio::test]
async fn two_replicas_list_an_upstream_as_often_as_one_and_both_see_its_changes() {
    let Some(store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let both = leader_first(two(&ann, &store, "", EVERY_SECOND).await).await;
    // Two that list on their own would take three seconds for it.
    let took = listed(&ann, 6).await;
    assert!(took > Duration::from_millis(4900), "{took:?}");
    ann.add_tool("b");
    let began = Instant::now();
    for weir in &both {
        weir.wait_tools(["ann__a", "ann__b"]).await;
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    let [leader, follower] = both;
    assert_eq!(taken(&leader).await, 0);
    let told = follower.admin("/status").await["replicas"]["listings"].clone();
    assert_eq!((&told["led"], &told["refused"]), (&0.into(), &0.into()));
    assert!(told["taken"].as_u64() > Some(4), "{told}");
    assert!(follower.modern().call("ann__b", "{}").await.succeeded());
}

#[tokio::test]
async fn a_replica_that_starts_takes_the_listing_that_there_is() {
    let Some(store) = Store::start().await else {
        return;
    };
    let tools: Vec<_> = (0..400).map(|n| format!("tool-{n:03}")).collect();
    let ann = Upstream::named("ann")
        .tools(tools.iter().map(String::as_str))
        .prompts(["p"])
        .resources(["x:/r"])
        .instructions("Be brief.")
        .start()
        .await;
    // Long enough for several pieces.
    let long = "x".repeat(300_000);
    ann.add_raw(
        Kind::Prompts,
        &format!("{{\"name\":\"long\",\"description\":\"{long}\",\"n\":1e400}}"),
    );
    let one = Weir::over([&ann]).top(&store.shared("")).top(SELDOM);
    let one = one.start().await;
    wait_led(&one, 1).await;
    bounded("a listing in the store", async {
        while !store.ask(&["KEYS", "*:listing:*"]).await.contains("*2") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let before = ann.count("tools/list");
    let two = Weir::over([&ann]).top(&store.shared("")).top(SELDOM);
    let two = two.start().await;
    assert_eq!(taken(&two).await, 1, "{}", two.stderr());
    assert_eq!(ann.count("tools/list"), before);
    for method in ["tools/list", "prompts/list", "resources/list"] {
        let lists = [&one, &two].map(|weir| async {
            let reply = weir.modern().request(method, "{}").await;
            reply.result().to_owned()
        });
        let [one, two] = lists;
        let (one, two) = tokio::join!(one, two);
        assert_eq!(one, two, "{method}");
    }
}

#[tokio::test]
async fn a_replica_holds_what_it_reads_to_its_pins() {
    let Some(store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").start().await;
    has(&ann, &[tool("a", "One.")]);
    let defaults = "defaults: { drift: hold, resync: 1s }";
    let both = leader_first(two(&ann, &store, "", defaults).await).await;
    has(&ann, &[tool("a", "Two."), tool("b", "One.")]);
    for weir in &both {
        weir.wait_tools(["ann__a", "ann__b"]).await;
        assert_eq!(waiting(weir, "ann").await, ["ann__a"]);
        assert_eq!(description(weir, "ann__a").await.as_deref(), Some("One."));
    }
}

#[tokio::test]
async fn the_other_replica_takes_over_from_one_that_is_killed() {
    let Some(store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let [leader, follower] = leader_first(two(&ann, &store, "", EVERY_SECOND).await).await;
    leader.signal(Signal::KILL);
    let began = Instant::now();
    wait_led(&follower, 1).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    ann.add_tool("b");
    follower.wait_tools(["ann__a", "ann__b"]).await;
}

#[tokio::test]
async fn a_replica_that_stops_gives_its_lead_back() {
    let Some(store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let [leader, follower] = leader_first(two(&ann, &store, "", EVERY_SECOND).await).await;
    let before = holder(&store).await;
    assert!(!before.contains("nobody"), "{before}");
    leader.interrupt().await;
    assert_ne!(holder(&store).await, before);
    wait_led(&follower, 1).await;
}

#[tokio::test]
async fn nobody_leads_for_an_upstream_that_fails_and_one_again_when_it_is_back() {
    let Some(store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let both = leader_first(two(&ann, &store, "", EVERY_SECOND).await).await;
    ann.fail_lists(Times::Forever, 500);
    // The one that follows finds out by itself, when nothing in the store counts any more.
    for weir in &both {
        weir.wait_told("ann", "state", "failing").await;
        wait_led(weir, 0).await;
    }
    ann.heal();
    let both = leader_first(both).await;
    for weir in &both {
        weir.wait_told("ann", "state", "up").await;
    }
}

#[tokio::test]
async fn without_the_store_each_replica_lists_and_with_it_one() {
    let Some(mut store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let both = leader_first(two(&ann, &store, "", EVERY_SECOND).await).await;
    store.kill().await;
    for weir in &both {
        wait_store(weir, "lost").await;
        wait_led(weir, 0).await;
    }
    // One alone would take ten seconds.
    let took = listed(&ann, 10).await;
    assert!(took < Duration::from_secs(9), "{took:?}");
    store.revive().await;
    for weir in &both {
        wait_store(weir, "up").await;
    }
    let _both = leader_first(both).await;
    let took = listed(&ann, 6).await;
    assert!(took > Duration::from_millis(4900), "{took:?}");
}

#[tokio::test]
async fn what_a_follower_lists_for_an_operator_reaches_the_leader() {
    let Some(store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let start = || async {
        let weir = Weir::over([&ann]).top(&store.shared("")).top(SELDOM);
        weir.start().await
    };
    let leader = start().await;
    wait_led(&leader, 1).await;
    let follower = start().await;
    assert_eq!(led(&follower).await, 0);
    ann.add_tool("b");
    follower.resync("ann").await;
    assert_eq!(follower.tool_names().await, ["ann__a", "ann__b"]);
    leader.wait_tools(["ann__a", "ann__b"]).await;
    // And the other way round, where the leader publishes what it listed.
    ann.add_tool("c");
    leader.resync("ann").await;
    follower.wait_tools(["ann__a", "ann__b", "ann__c"]).await;
}

#[tokio::test]
async fn nobody_who_writes_in_the_store_changes_what_is_listed() {
    let Some(store) = Store::start().await else {
        return;
    };
    let (ann, ben) = (Upstream::named("ann"), Upstream::named("ben"));
    let ann = ann.tools(["a"]).start().await;
    let ben = ben.tools(["b"]).start().await;
    let start = || async {
        let weir = Weir::over([&ann, &ben]).top(&store.shared("")).top(SELDOM);
        weir.start().await
    };
    let one = start().await;
    wait_led(&one, 2).await;
    bounded("both listings in the store", async {
        while !store.ask(&["KEYS", "*:listing:*"]).await.contains("*4") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // Neither their content nor what they are is legible.
    let all = store.dump().await;
    for text in ["inputSchema", "\"a\"", &ann.url()] {
        assert!(!all.contains(text), "{text} in {all}");
    }
    // The head of the one in the place of the other; and then pieces that nobody has sealed.
    let swap = "local heads = {} \
        for _, key in ipairs(redis.call('KEYS', '*:listing:*')) do \
          if redis.call('TYPE', key).ok == 'string' then heads[#heads + 1] = key end \
        end \
        local one, two = redis.call('GET', heads[1]), redis.call('GET', heads[2]) \
        redis.call('SET', heads[1], two) redis.call('SET', heads[2], one) return #heads";
    let spoil = "local count = 0 \
        for _, key in ipairs(redis.call('KEYS', '*:listing:*')) do \
          if redis.call('TYPE', key).ok == 'hash' then \
            redis.call('HSET', key, '0', 'x') count = count + 1 \
          end \
        end return count";
    for (lua, reason) in [(swap, "no replica has sealed it"), (spoil, "it is damaged")] {
        assert!(store.ask(&["EVAL", lua, "0"]).await.contains(":2"));
        if lua == spoil {
            // Back to where they were.
            assert!(store.ask(&["EVAL", swap, "0"]).await.contains(":2"));
        }
        let before = ann.count("tools/list");
        let new = start().await;
        new.wait_stderr(reason).await;
        assert_eq!(new.tool_names().await, ["ann__a", "ben__b"]);
        let refused = new.metric("weir_replicas_listings_refused_total").await;
        assert_eq!((refused, taken(&new).await), (2, 0), "{}", new.stderr());
        assert_eq!(ann.count("tools/list"), before + 1);
    }
}

#[tokio::test]
async fn replicas_with_other_settings_and_children_share_nothing() {
    let Some(store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let start = |more: &'static str| {
        let url = ann.url();
        let yaml = format!(
            "  ann: {{ url: \"{url}\"{more} }}\n{}",
            child_upstream("kid", &[])
        );
        let weir = Weir::with(&yaml).top(&store.shared("")).top(SELDOM);
        weir.start()
    };
    let one = start("").await;
    wait_led(&one, 1).await;
    let other = start(", limits: { tools: 7 }").await;
    wait_led(&other, 1).await;
    let same = start("").await;
    assert_eq!((taken(&other).await, taken(&same).await), (0, 1));
    assert_eq!(led(&same).await, 0);
}
