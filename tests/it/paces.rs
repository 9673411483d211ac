//! An upstream does not set the pace of weir's work: what it announces is listed, but ever more seldom
//! while nothing changes.

use std::fs;
use std::time::Duration;

use tempfile::tempdir;

use crate::support::bounded;
use crate::support::client::Stream;
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

/// Counts the changes that a stream tells of in this time.
async fn count_told(stream: &mut Stream, lasting: Duration) -> usize {
    let (until, mut told) = (tokio::time::Instant::now() + lasting, 0);
    while let Ok(event) = tokio::time::timeout_at(until, stream.next_value()).await {
        told += usize::from(event["method"] == "notifications/tools/list_changed");
    }
    told
}

#[tokio::test]
async fn upstreams_that_always_change_are_listed_published_and_told_of_ever_more_seldom() {
    let mut all = Vec::new();
    for at in 0..6 {
        let up = Upstream::named(&format!("u{at}")).tools(["t"]);
        let up = up.restless().mutating();
        let up = match at % 2 {
            0 => up.legacy("2025-11-25"),
            _ => up.modern(),
        };
        all.push(up.start().await);
    }
    let weir = Weir::over(&all).start().await;
    let legacy = weir.legacy("2025-11-25").await;
    let mut streams = [
        legacy.listen().await,
        weir.modern()
            .listen("1", r#"{"toolsListChanged":true}"#)
            .await,
    ];
    let before = weir.generation().await;
    let listed = || all.iter().map(|up| up.count("tools/list")).sum::<usize>();
    let lists = listed();
    let [one, two] = &mut streams;
    let told = tokio::join!(count_told(one, LASTING), count_told(two, LASTING));
    // Twenty at once, and two a second; twice as much where the machine is slow.
    let lists = listed() - lists;
    assert!((6..=6 * 32).contains(&lists), "{lists} listings");
    // Twenty at once, and five a second.
    let published = weir.generation().await - before;
    assert!((1..=40).contains(&published), "{published} published");
    for told in [told.0, told.1] {
        assert!((1..=8).contains(&told), "told {told} times");
    }
}

#[tokio::test]
async fn sessions_that_are_lost_again_and_again_are_opened_but_not_listed_for_each_call() {
    let up = upstream(true).start().await;
    let weir = Weir::over([&up]).start().await;
    weir.wait_tools(["ann__t"]).await;
    let (caller, before) = (weir.modern(), up.count("tools/list"));
    let opened = up.count("initialize");
    let mut answered = 0;
    let opening = async || {
        while up.sessions() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    for _ in 0..20 {
        bounded("a session", opening()).await;
        up.forget_sessions();
        // A session that is being opened may be forgotten too, and a call is sent twice at most.
        answered += usize::from(caller.call("ann__t", "{}").await.succeeded());
    }
    assert!(answered >= 10, "{answered} answered");
    assert!(up.count("initialize") >= opened + 10);
    let count = up.count("tools/list") - before;
    assert!(count <= MOST, "{count}");
    // A tool that it has meanwhile is found.
    up.add_tool("new");
    up.notify_list_changed(Kind::Tools);
    weir.wait_tools(["ann__new", "ann__t"]).await;
}

#[tokio::test]
async fn earlier_catalogs_are_forgotten_when_they_weigh_too_much() {
    let up = Upstream::named("up").tools(["a", "b"]).modern();
    let up = up.start().await;
    let weir = Weir::over([&up]).listen("page_size: 1").start().await;
    let heavy = |round: usize| {
        let text = "x".repeat(1_000_000);
        let tool = |at| {
            format!(
                r#"{{"name":"h{round}_{at}","description":"{text}","inputSchema":{{"type":"object"}}}}"#
            )
        };
        (0..4).map(tool).collect::<Vec<_>>()
    };
    let mut peaks = Vec::new();
    for round in 0..48 {
        up.set_tools(["a"]);
        heavy(round)
            .iter()
            .for_each(|raw| up.add_raw(Kind::Tools, raw));
        weir.resync("up").await;
        peaks.push(weir.peak_memory() >> 20);
    }
    // 12 rounds fill the 32 MiB and whatever else a listing takes; from then on it stays as it is.
    let growth = peaks[47].saturating_sub(peaks[15]);
    assert!(growth <= 48, "{growth} MiB more: {peaks:?}");
}

#[tokio::test]
async fn an_operator_does_not_wait_until_an_upstream_wants_to_be_asked_again() {
    for legacy in [true, false] {
        let up = upstream(legacy).start().await;
        let weir = Weir::over([&up]).start().await;
        weir.wait_tools(["ann__t"]).await;
        let later = Fault::Later(429, "3600".to_owned());
        up.fault(On::Lists, Times::Forever, later);
        weir.resync("ann").await;
        weir.wait_told("ann", "state", "failing").await;
        up.heal();
        up.add_tool("new");
        let begun = std::time::Instant::now();
        weir.resync("ann").await;
        assert!(begun.elapsed() < Duration::from_secs(8), "legacy {legacy}");
        weir.wait_tools(["ann__new", "ann__t"]).await;
    }
}
