//! Messages to upstreams that nobody waits for: answers to an upstream's own requests, callers'
//! notifications, cancellations. However many a peer causes, they cost neither descriptors nor the
//! others, and an upstream that does not take them loses its session.

use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::support::upstream::{Builder, Fault, On, Times, Upstream};
use crate::support::weir::{Weir, child_upstream};

/// The most descriptors that messages outside of calls may take: the posts under way for a few
/// sessions, the slots of the gate in the tests that lower it, and what is being opened and closed.
const MOST: usize = 48;

fn stalling(name: &str, method: &str) -> Builder {
    let fault = Fault::StallHeaders;
    Upstream::named(name)
        .tools(["t", "slow"])
        .gate("slow")
        .legacy("2025-11-25")
        .fault(On::Method(method.to_owned()), Times::Forever, fault)
}

/// Watches for the most descriptors that weir has in this time, beyond those it has now.
async fn most_descriptors(weir: &Weir, lasting: Duration) -> usize {
    let (before, begun) = (weir.descriptors(), Instant::now());
    let mut most = before;
    while begun.elapsed() < lasting {
        most = most.max(weir.descriptors());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    most - before
}

#[tokio::test]
async fn an_upstream_that_takes_no_answers_to_its_requests_loses_its_session() {
    for method in ["ping", "roots/list"] {
        let request = format!(r#"{{"jsonrpc":"2.0","id":{{n}},"method":"{method}"}}"#);
        let wild = stalling("wild", "a response").floods(&request);
        let wild = wild.start().await;
        let calm = Upstream::named("calm").tools(["t"]).start().await;
        let weir = Weir::over([&wild, &calm]).start().await;
        weir.wait_tools(["wild__t", "wild__slow", "calm__t"]).await;
        let modern = weir.modern();
        let most = most_descriptors(&weir, Duration::from_secs(4)).await;
        assert!(most <= MOST, "{method}: {most} descriptors");
        // Each new session comes later than the one before.
        let sessions = wild.count("initialize");
        assert!((2..=12).contains(&sessions), "{method}: {sessions}");
        assert!(modern.call("calm__t", "{}").await.succeeded());
        assert!(weir.stderr().contains("does not take the answers"));
    }
}

#[tokio::test]
async fn a_child_that_takes_no_answers_to_its_requests_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let args = ["--deaf-pings", "5000", "--pid", pid.to_str().unwrap()];
    let weir = Weir::with(&child_upstream("kid", &args)).start().await;
    weir.wait_tools(["kid__echo"]).await;
    let first = std::fs::read_to_string(&pid).unwrap();
    let begun = Instant::now();
    while std::fs::read_to_string(&pid).unwrap() == first {
        assert!(begun.elapsed() < crate::support::BOUND, "it goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    weir.wait_stderr("does not take the answers").await;
}

#[tokio::test]
async fn changes_of_roots_that_an_upstream_does_not_take_are_one_message() {
    let changed = "notifications/roots/list_changed";
    let up = stalling("up", changed).start().await;
    let weir = Weir::over([&up]).start().await;
    let caller = weir.legacy("2025-11-25").await;
    assert!(caller.call("up__t", "{}").await.succeeded());
    let before = weir.descriptors();
    for _ in 0..300 {
        assert_eq!(caller.notify(changed, "{}").await.status, 202);
    }
    let most = weir.descriptors() - before.min(weir.descriptors());
    assert!(most <= 8, "{most} descriptors");
    assert_eq!(up.count(changed), 1);
    assert!(caller.call("up__t", "{}").await.succeeded());
}

#[tokio::test]
async fn calls_whose_cancellation_an_upstream_does_not_take_keep_their_places() {
    let up = stalling("up", "notifications/cancelled").start().await;
    let calm = Upstream::named("calm").tools(["t"]).start().await;
    let weir = Weir::over([&up, &calm])
        .upstream("up", "limits: { in_flight: 8 }")
        .start()
        .await;
    weir.wait_tools(["up__t", "up__slow", "calm__t"]).await;
    let clients: Vec<_> = (0..20).map(|_| weir.modern()).collect();
    // Callers that leave at once, again and again.
    let leaving = async {
        for _ in 0..15 {
            let calls = clients.iter().map(|client| async {
                let call = client.call("up__slow", "{}");
                let _ = tokio::time::timeout(Duration::from_millis(150), call).await;
            });
            join_all(calls).await;
        }
    };
    let watching = most_descriptors(&weir, Duration::from_secs(3));
    let (most, ()) = tokio::join!(watching, leaving);
    // Those of the callers themselves come on top.
    assert!(most <= MOST + 2 * clients.len(), "{most} descriptors");
    assert!(weir.modern().call("calm__t", "{}").await.succeeded());
    // They come back.
    up.heal();
    assert!(weir.modern().call("up__t", "{}").await.succeeded());
}

#[tokio::test]
async fn subscriptions_count_among_the_calls_in_flight() {
    let subscribe = "resources/subscribe";
    let fault = Fault::StallHeaders;
    let up = Upstream::named("up").tools(["t"]).resources(["file:///a"]);
    let up = up
        .legacy("2025-11-25")
        .fault(On::Method(subscribe.to_owned()), Times::Forever, fault)
        .start()
        .await;
    let weir = Weir::over([&up])
        .upstream("up", "limits: { in_flight: 4 }")
        .start()
        .await;
    let caller = weir.legacy("2025-11-25").await;
    let asked = (0..30).map(|_| caller.request(subscribe, r#"{"uri":"file:///a"}"#));
    let mut all = std::pin::pin!(join_all(asked));
    let _ = tokio::time::timeout(Duration::from_secs(1), &mut all).await;
    // They all wait still: each that left would make room for another.
    let sent = up.count(subscribe);
    assert!((1..=4).contains(&sent), "{sent}");
}
