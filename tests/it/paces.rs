//! An upstream does not set the pace of weir's work: what it announces is listed, but ever more seldom
//! while nothing changes.

use std::fs;
use std::time::Duration;

use tempfile::tempdir;

use crate::support::upstream::{Builder, Fault, Kind, On, Times, Upstream};
use crate::support::weir::{Weir, child_upstream};

/// Time in which an upstream that announces without a pause could have itself listed a thousand times.
const LASTING: Duration = Duration::from_secs(3);
/// The floor doubles from 50 ms: few listings fit into [`LASTING`].
const MOST: usize = 9;

fn upstream(legacy: bool) -> Builder {
    let builder = Upstream::named("ann").tools(["t"]);
    match legacy {
        true => builder.legacy("2025-11-25"),
        false => builder.modern(),
    }
}

/// Counts the listings that come while nothing changes.
async fn count_listings(up: &Upstream) -> usize {
    let before = up.count("tools/list");
    tokio::time::sleep(LASTING).await;
    up.count("tools/list") - before
}

#[tokio::test]
async fn an_upstream_that_announces_a_change_after_every_list_is_listed_ever_more_seldom() {
    for legacy in [true, false] {
        let up = upstream(legacy).restless().start().await;
        let weir = Weir::over([&up]).start().await;
        weir.wait_tools(["ann__t"]).await;
        let count = count_listings(&up).await;
        assert!(count <= MOST, "legacy {legacy}: {count}");
        // An operator is not held up.
        weir.resync("ann").await;
        // A real change is found all the same.
        up.add_tool("new");
        up.notify_list_changed(Kind::Tools);
        weir.wait_tools(["ann__new", "ann__t"]).await;
    }
}

#[tokio::test]
async fn a_stream_that_ends_at_once_is_no_reason_to_list_again_and_again() {
    for legacy in [true, false] {
        let up = upstream(legacy).brief_streams().start().await;
        let weir = Weir::over([&up]).start().await;
        weir.wait_tools(["ann__t"]).await;
        let count = count_listings(&up).await;
        assert!(count <= MOST, "legacy {legacy}: {count}");
    }
}

#[tokio::test]
async fn a_listing_of_little_validity_is_renewed_ever_more_seldom() {
    let up = upstream(false).ttl_ms(1).start().await;
    let weir = Weir::over([&up]).start().await;
    weir.wait_tools(["ann__t"]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = up.count("tools/list");
    tokio::time::sleep(Duration::from_secs(8)).await;
    let count = up.count("tools/list") - before;
    // Once a second it would be eight.
    assert!((1..=5).contains(&count), "{count}");
}

#[tokio::test]
async fn an_upstream_that_refuses_the_headers_of_each_call_is_not_listed_for_each_call() {
    let up = upstream(false).start().await;
    let refusal = r#"{"code":-32020,"message":"Header mismatch"}"#;
    let fault = Fault::Error(400, refusal.to_owned());
    up.fault(On::Tool("t".to_owned()), Times::Forever, fault);
    let weir = Weir::over([&up]).start().await;
    weir.wait_tools(["ann__t"]).await;
    let caller = weir.modern();
    let before = up.count("tools/list");
    for _ in 0..40 {
        let reply = caller.call("ann__t", "{}").await;
        assert_eq!(reply.code(), -32603);
    }
    let count = up.count("tools/list") - before;
    assert!((1..=MOST).contains(&count), "{count}");
}

#[tokio::test]
async fn a_child_that_announces_a_change_after_every_list_is_listed_ever_more_seldom() {
    for era in ["legacy", "modern"] {
        let home = tempdir().unwrap();
        let log = home.path().join("log");
        let args = ["--restless", "--era", era, "--log", log.to_str().unwrap()];
        let weir = Weir::with(&child_upstream("kid", &args)).start().await;
        weir.wait_tools(["kid__echo"]).await;
        let listings = || {
            fs::read_to_string(&log)
                .unwrap()
                .matches("tools/list")
                .count()
        };
        let before = listings();
        tokio::time::sleep(LASTING).await;
        let count = listings() - before;
        assert!(count <= MOST, "{era}: {count}");
    }
}
