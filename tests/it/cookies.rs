//! Cookies that upstreams set: each session with an upstream has its own.

use crate::support::balancer::Balancer;
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;
use crate::upstreams::works;

#[tokio::test]
async fn sessions_behind_a_balancer_stay_on_their_replica() {
    for connector in ["on_prem", "saas"] {
        let replica = || Upstream::named("up").tools(["search"]).legacy("2025-06-18");
        let replicas = [replica().start().await, replica().start().await];
        let balancer = Balancer::before(&[&replicas[0], &replicas[1]]).await;
        let weir = Weir::with(&format!(
            "  up:\n    connector: {connector}\n    url: \"{}\"\n",
            balancer.url()
        ));
        let weir = weir.start().await;
        weir.wait_tools(["up__search"]).await;
        works(&weir, "up").await;
        for _ in 0..4 {
            let caller = weir.legacy("2025-06-18").await;
            for _ in 0..3 {
                let reply = caller.call("up__search", "{}").await;
                assert!(reply.succeeded(), "{connector}: {reply:?}");
            }
        }
        // Weir's own session, that of `works`, and those of the callers; none was opened twice.
        let opened = replicas.iter().map(|replica| replica.count("initialize"));
        assert_eq!(opened.sum::<usize>(), 6, "{connector}");
        assert!(
            replicas
                .iter()
                .all(|replica| replica.count("initialize") > 0)
        );
    }
}

#[tokio::test]
async fn a_cookie_stays_in_the_session_that_it_was_set_in() {
    let one = Upstream::named("one")
        .tools(["search"])
        .legacy("2025-06-18");
    let one = one.sets_cookies().start().await;
    let other = Upstream::named("other")
        .tools(["search"])
        .legacy("2025-11-25");
    let other = other.sets_cookies().start().await;
    let weir = Weir::over([&one, &other]).start().await;
    let callers = [
        weir.legacy("2025-06-18").await,
        weir.legacy("2025-06-18").await,
    ];
    for _ in 0..3 {
        for (caller, up) in callers
            .iter()
            .flat_map(|caller| [(caller, "one"), (caller, "other")])
        {
            let reply = caller.call(&format!("{up}__search"), "{}").await;
            assert!(reply.succeeded(), "{reply:?}");
        }
    }
    for up in [&one, &other] {
        let calls = up.requests("tools/call");
        assert_eq!(calls.len(), 6);
        for call in calls {
            let session = call.header("mcp-session-id").unwrap();
            let cookie = call.header("cookie").unwrap_or_default();
            assert!(
                cookie.ends_with(&format!(".{session}")),
                "{session}: {cookie}"
            );
        }
    }
}

#[tokio::test]
async fn an_upstream_without_sessions_gets_the_cookies_of_the_handshake_only() {
    let up = Upstream::named("up").tools(["search"]).modern();
    let up = up.sets_cookies().start().await;
    let weir = Weir::over([&up]).start().await;
    for _ in 0..3 {
        let reply = weir.modern().call("up__search", "{}").await;
        assert!(reply.succeeded(), "{reply:?}");
    }
    let calls = up.requests("tools/call");
    let cookies: Vec<_> = calls.iter().map(|call| call.header("cookie")).collect();
    assert_eq!(cookies, [Some("w=server/discover.none"); 3]);
}
