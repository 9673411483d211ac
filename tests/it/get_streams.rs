//! Legacy upstreams without a GET stream, and calls that need a connection meanwhile.

use std::time::{Duration, Instant};

use crate::support::upstream::{Fault, On, Times, Upstream};
use crate::support::weir::Weir;

#[tokio::test]
async fn a_session_whose_get_stream_is_not_found_lives() {
    for status in [404, 405] {
        let up = Upstream::named("up").tools(["search"]).legacy("2025-06-18");
        let up = up.get_status(status).start().await;
        let weir = Weir::over([&up]).start().await;
        let caller = weir.legacy("2025-06-18").await;
        // With a stream of its own, the caller's session at the upstream wants one too.
        let _stream = caller.listen().await;
        for _ in 0..5 {
            let begun = Instant::now();
            let reply = caller.call("up__search", "{}").await;
            assert!(reply.succeeded(), "{status}: {reply:?}");
            assert!(
                begun.elapsed() < Duration::from_secs(2),
                "{:?}",
                begun.elapsed()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        weir.resync("up").await;
        // One session of weir's, one of the caller's.
        assert_eq!(up.count("initialize"), 2, "{status}");
    }
}

#[tokio::test]
async fn a_session_that_is_gone_is_seen_on_its_get_stream() {
    let up = Upstream::named("up").tools(["search"]).legacy("2025-06-18");
    let up = up.start().await;
    let weir = Weir::over([&up]).start().await;
    up.wait_listening().await;
    up.forget_sessions();
    up.wait_for("another session", |seen| seen.count("initialize") == 2)
        .await;
    up.wait_listening().await;
    assert!(weir.modern().call("up__search", "{}").await.succeeded());
}

#[tokio::test]
async fn a_call_does_not_wait_for_a_connection_that_rests() {
    let up = Upstream::named("up").tools(["search"]).legacy("2025-06-18");
    let up = up.start().await;
    let weir = Weir::over([&up]).start().await;
    // Sessions that are lost again and again: weir opens the next one ever later, unless it is needed.
    for round in 0..7 {
        weir.wait_told("up", "state", "up").await;
        up.forget_sessions();
        let begun = Instant::now();
        let reply = weir.modern().call("up__search", "{}").await;
        assert!(reply.succeeded(), "{round}: {reply:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{round}: {:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test]
async fn a_404_that_answers_a_call_says_nothing_about_the_session() {
    for code in [-32601, -32602, -32002] {
        let up = Upstream::named("up").tools(["search", "ghost"]);
        let up = up.legacy("2025-06-18").start().await;
        let error = format!(r#"{{"code":{code},"message":"not found"}}"#);
        let fault = Fault::Error(404, error);
        up.fault(On::Tool("ghost".to_owned()), Times::Forever, fault);
        let weir = Weir::over([&up]).start().await;
        let caller = weir.legacy("2025-06-18").await;
        assert!(caller.call("up__search", "{}").await.succeeded());
        let before = up.count("initialize");
        for _ in 0..3 {
            assert_eq!(caller.call("up__ghost", "{}").await.code(), code);
        }
        assert!(caller.call("up__search", "{}").await.succeeded());
        assert_eq!(up.count("initialize"), before, "{code}");
        assert_eq!(up.count("tools/call"), 5, "{code}: none was sent twice");
    }
}
