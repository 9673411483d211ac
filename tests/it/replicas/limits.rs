//! Rates that replicas count together.

use super::*;

const RATES: &str = "limits: { rates: [{ name: few, per: all, requests: 6/1h }] }";

/// Calls until a call is refused, or so many passed. Returns how many passed.
async fn passing(weir: &Weir, most: usize) -> usize {
    let modern = weir.modern();
    for passed in 0..most {
        let reply = modern.call("ann__a", "{}").await;
        if reply.succeeded() {
            continue;
        }
        assert_eq!(reply.error()["code"], 429, "{reply:?}");
        assert_eq!(reply.error()["data"]["limit"], "few");
        return passed;
    }
    most
}

async fn over(ann: &Upstream, store: &Store, more: &str) -> [Weir; 2] {
    let weirs = two(ann, store, more, RATES).await;
    for weir in &weirs {
        weir.wait_tools(["ann__a"]).await;
        wait_store(weir, "up").await;
    }
    weirs
}

#[tokio::test]
async fn a_rate_is_counted_over_all_replicas_and_outlives_them() {
    let Some(store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let [one, two] = over(&ann, &store, "").await;
    assert_eq!(passing(&one, 4).await, 4);
    assert_eq!(passing(&two, 9).await, 2);
    assert_eq!(passing(&one, 9).await, 0);
    // A refused call has taken nothing, and says when to come back: an hour for six.
    let refused = one.modern().call("ann__a", "{}").await;
    let seconds = refused.error()["data"]["retryAfterSeconds"]
        .as_u64()
        .unwrap();
    assert!((500..=600).contains(&seconds), "{seconds}");
    let one = one.restart().await;
    wait_store(&one, "up").await;
    assert_eq!(passing(&one, 9).await, 0);
}

#[tokio::test]
async fn while_the_store_is_lost_each_replica_goes_on_with_what_it_knows() {
    let Some(mut store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let [one, two] = over(&ann, &store, "").await;
    assert_eq!(passing(&one, 4).await, 4);
    store.kill().await;
    // Of the six, each has what it did not let pass itself.
    assert_eq!(passing(&one, 9).await, 2);
    assert_eq!(passing(&two, 9).await, 6);
    store.revive().await;
    wait_store(&one, "up").await;
    assert_eq!(passing(&one, 9).await, 0);
}

#[tokio::test]
async fn where_the_operator_wants_it_nothing_passes_without_the_store() {
    let Some(mut store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let [one, _two] = over(&ann, &store, ", when_lost: refuse").await;
    assert_eq!(passing(&one, 1).await, 1);
    store.kill().await;
    assert_eq!(passing(&one, 9).await, 0);
    let refused = one.modern().call("ann__a", "{}").await;
    assert_eq!(refused.error()["data"]["retryAfterSeconds"], 1);
    // Requests that no rule is about pass.
    assert_eq!(one.tool_names().await, ["ann__a"]);
    store.revive().await;
    wait_store(&one, "up").await;
    assert_eq!(passing(&one, 2).await, 2);
}

#[tokio::test]
async fn a_store_that_hangs_keeps_one_call_waiting_and_no_more() {
    let Some(store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let [one, _two] = over(&ann, &store, "").await;
    store.signal(Signal::STOP);
    // At most the time that one answer may take, for those that are on their way; the test of the
    // connection may find out first.
    let began = Instant::now();
    assert_eq!(passing(&one, 1).await, 1);
    let first = began.elapsed();
    assert!(first < Duration::from_secs(1), "{first:?}");
    let began = Instant::now();
    assert_eq!(passing(&one, 4).await, 4);
    let others = began.elapsed();
    assert!(others < Duration::from_millis(900), "{others:?}");
    wait_store(&one, "lost").await;
    store.signal(Signal::CONT);
    wait_store(&one, "up").await;
}

#[tokio::test]
async fn bytes_of_answers_are_paid_for_on_all_replicas() {
    let Some(store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let rates = "limits: { rates: [{ name: few, per: all, bytes: 2KiB/1h }] }";
    let [one, two] = two(&ann, &store, "", rates).await;
    for weir in [&one, &two] {
        weir.wait_tools(["ann__a"]).await;
        wait_store(weir, "up").await;
    }
    let text = "x".repeat(3000);
    let large = format!(r#"{{"text":"{text}"}}"#);
    assert!(one.modern().call("ann__a", &large).await.succeeded());
    assert_eq!(passing(&two, 1).await, 0);
}

#[tokio::test]
async fn calls_at_the_same_time_are_counted_by_each_replica() {
    let Some(store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").gate("a").start().await;
    let rates = "limits: { rates: [{ name: one, per: all, in_flight: 1 }] }";
    let weirs = two(&ann, &store, "", rates).await;
    for weir in &weirs {
        weir.wait_tools(["ann__a"]).await;
        wait_store(weir, "up").await;
    }
    let [one, two] = weirs.each_ref().map(Weir::modern);
    let calls = async { tokio::join!(one.call("ann__a", "{}"), two.call("ann__a", "{}")) };
    let others = async {
        // Each has its place, though the other one has a call under way.
        ann.wait_running("a", 2).await;
        for modern in [&one, &two] {
            let refused = modern.call("ann__a", "{}").await;
            assert_eq!(refused.error()["code"], 429, "{refused:?}");
        }
        ann.release("a");
        ann.release("a");
    };
    let ((first, second), ()) = tokio::join!(calls, others);
    assert!(first.succeeded() && second.succeeded());
}
