//! Upstreams of every era, and how they fail.

use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::support::client::Reply;
use crate::support::upstream::{Fault, On, Sdk, Times, Upstream};
use crate::support::weir::Weir;

const PROBE: &str = "server/discover";

fn on(method: &str) -> On {
    On::Method(method.to_owned())
}

/// Checks that the upstream is listed and can be called, from both eras.
pub async fn works(weir: &Weir, upstream: &str) {
    let tool = format!("{upstream}__search");
    let expected = format!(r#"{upstream}.search {{"q":1}}"#);
    assert!(
        weir.tool_names().await.contains(&tool),
        "{tool}: {}",
        weir.stderr()
    );
    let modern = weir.modern().call(&tool, r#"{"q":1}"#).await;
    assert_eq!(modern.text(), expected);
    let legacy = weir
        .legacy("2025-11-25")
        .await
        .call(&tool, r#"{"q":1}"#)
        .await;
    assert_eq!(legacy.text(), expected);
}

/// Returns the error of a call that failed because of its upstream.
pub fn failed(reply: &Reply, upstream: &str) {
    assert_eq!((reply.status, reply.code()), (200, -32603), "{reply:?}");
    let data = &reply.error()["data"];
    assert_eq!(data["upstream"], upstream);
    let reason = data["reason"].as_str().unwrap_or_default();
    assert!(!reason.is_empty(), "no reason: {reply:?}");
}

#[tokio::test]
async fn old_sdks_are_reached_whatever_they_answer_to_the_probe() {
    for sdk in [
        Sdk::PyStateful,
        Sdk::PyStateless,
        Sdk::TsStateful,
        Sdk::TsStateless,
    ] {
        for sse in [false, true] {
            let old = Upstream::named("old").tools(["search"]).old_sdk(sdk);
            let old = if sse { old.sse() } else { old.json() }.start().await;
            let weir = Weir::over([&old]).start().await;
            works(&weir, "old").await;
            assert_eq!(old.count(PROBE), 1, "{sdk:?}: the verdict is kept");
        }
    }
}

#[tokio::test]
async fn other_answers_to_the_probe_mean_legacy_too() {
    let answers = [
        Fault::Text(400, "Bad Request".into()),
        Fault::Status(400),
        Fault::Status(404),
        Fault::Status(405),
        Fault::Json("[]".into()),
        Fault::Error(
            200,
            r#"{"code":-32601,"message":"Method not found"}"#.into(),
        ),
        Fault::Error(200, r#"{"code":-32602,"message":"Invalid params"}"#.into()),
        Fault::Error(
            404,
            r#"{"code":-32601,"message":"Method not found"}"#.into(),
        ),
    ];
    for answer in answers {
        let old = Upstream::named("old")
            .tools(["search"])
            .legacy("2025-06-18");
        let old = old
            .fault(on(PROBE), Times::Forever, answer.clone())
            .start()
            .await;
        let weir = Weir::over([&old]).start().await;
        works(&weir, "old").await;
        assert!(old.count("initialize") >= 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_failing_probe_is_no_evidence_of_an_era() {
    let faults = [
        Fault::Status(503),
        Fault::Status(401),
        Fault::Status(403),
        Fault::Close,
    ];
    for fault in faults {
        let new = Upstream::named("new").tools(["search"]).modern();
        let new = new
            .fault(on(PROBE), Times::Next(1), fault.clone())
            .start()
            .await;
        let weir = Weir::over([&new]).start().await;
        weir.resync("new").await;
        assert_eq!(new.count("initialize"), 0, "{fault:?}");
        works(&weir, "new").await;
    }
}

#[tokio::test]
async fn all_four_versions_are_spoken_over_json_and_sse() {
    for version in ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"] {
        for sse in [false, true] {
            let up = Upstream::named("up").tools(["search"]);
            let up = if version == "2026-07-28" {
                up.modern()
            } else {
                up.legacy(version)
            };
            let up = if sse { up.sse() } else { up.json() }
                .dribble(11)
                .start()
                .await;
            let weir = Weir::over([&up]).start().await;
            works(&weir, "up").await;
            let header = up
                .last("tools/call")
                .header("mcp-protocol-version")
                .map(str::to_owned);
            assert!(header.is_none_or(|header| header == version), "{version}");
        }
    }
}

#[tokio::test]
async fn a_dual_upstream_is_spoken_to_in_the_era_of_each_caller() {
    let up = Upstream::named("up").tools(["search"]).dual().start().await;
    let weir = Weir::over([&up]).start().await;
    let modern = weir.modern().call("up__search", "{}").await;
    assert!(modern.succeeded(), "{modern:?}");
    assert_eq!((up.count("initialize"), up.sessions()), (0, 0));
    let legacy = weir.legacy("2025-06-18").await;
    for _ in 0..3 {
        let reply = legacy.call("up__search", "{}").await;
        assert!(reply.succeeded(), "{reply:?}");
    }
    assert_eq!((up.count("initialize"), up.sessions()), (1, 1));
    let asked = up.last("tools/call");
    assert_eq!(asked.header("mcp-protocol-version"), Some("2025-06-18"));
}

#[tokio::test]
async fn a_modern_upstream_is_asked_once_whether_it_has_legacy_sessions() {
    let up = Upstream::named("up")
        .tools(["search"])
        .modern()
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    for _ in 0..3 {
        let legacy = weir.legacy("2025-11-25").await;
        let reply = legacy.call("up__search", "{}").await;
        assert!(reply.succeeded(), "{reply:?}");
    }
    assert_eq!(up.count("initialize"), 1);
}

#[tokio::test]
async fn a_foreign_id_is_repaired() {
    for id in ["\"server-error\"", "null", "99999"] {
        let up = Upstream::named("up").tools(["search"]).start().await;
        let weir = Weir::over([&up]).start().await;
        up.fault(
            on("tools/call"),
            Times::Forever,
            Fault::ForeignId(id.into()),
        );
        let reply = weir
            .modern()
            .ask("tools/call", r#"{"name":"up__search"}"#)
            .id("\"mine\"")
            .send()
            .await;
        assert_eq!(reply.id().as_deref(), Some("\"mine\""));
        assert_eq!(reply.text(), "up.search {}");
    }
}

#[tokio::test]
async fn a_forgotten_session_is_opened_again_and_the_call_replayed_once() {
    let up = Upstream::named("up")
        .tools(["search"])
        .legacy("2025-06-18")
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    let legacy = weir.legacy("2025-06-18").await;
    assert!(legacy.call("up__search", "{}").await.succeeded());
    let before = up.count("initialize");
    up.forget_sessions();
    assert_eq!(
        legacy.call("up__search", r#"{"again":1}"#).await.text(),
        r#"up.search {"again":1}"#
    );
    assert_eq!(up.count("initialize"), before + 1);
    // A server that forgets each session at once is not tried for ever.
    up.fault(on("tools/call"), Times::Forever, Fault::Status(404));
    let calls = up.count("tools/call");
    failed(&legacy.call("up__search", "{}").await, "up");
    assert!(up.count("tools/call") <= calls + 2);
}

#[tokio::test]
async fn calls_wait_for_a_session_that_is_opened_again_though_listings_fail() {
    let up = Upstream::named("up").tools(["search"]).legacy("2025-11-25");
    let up = up.start().await;
    let weir = Weir::over([&up]).start().await;
    weir.wait_tools(["up__search"]).await;
    let broken = r#"{"code":-32603,"message":"the database is gone"}"#;
    up.fault(On::Lists, Times::Forever, Fault::Error(200, broken.into()));
    weir.resync("up").await;
    weir.wait_told("up", "state", "failing").await;
    let modern = weir.modern();
    for round in 0..6 {
        up.forget_sessions();
        let calls = (0..12).map(async |number| {
            // The first finds that the session is gone, and others come while the next one is opened.
            tokio::time::sleep(Duration::from_millis(3 * number)).await;
            modern.call("up__search", "{}").await
        });
        for reply in join_all(calls).await {
            assert!(reply.succeeded(), "round {round}: {reply:?}");
        }
        assert_eq!(weir.told("up").await["state"], "failing");
    }
}

#[tokio::test]
async fn a_restart_of_an_upstream_is_invisible() {
    let old = Upstream::named("old")
        .tools(["search"])
        .legacy("2025-11-25")
        .start()
        .await;
    let new = Upstream::named("new")
        .tools(["search"])
        .modern()
        .start()
        .await;
    let weir = Weir::over([&old, &new]).start().await;
    works(&weir, "old").await;
    works(&weir, "new").await;
    old.restart().await;
    new.restart().await;
    works(&weir, "old").await;
    works(&weir, "new").await;
}

#[tokio::test]
async fn the_verdict_about_an_era_outlives_an_outage() {
    let old = Upstream::named("old")
        .tools(["search"])
        .legacy("2025-11-25")
        .start()
        .await;
    let weir = Weir::over([&old]).start().await;
    works(&weir, "old").await;
    let asked = old.count(PROBE);
    // The session is gone and the handshake breaks off, which is no evidence about the era.
    old.fault(on("initialize"), Times::Next(1), Fault::Close);
    old.forget_sessions();
    weir.resync("old").await;
    weir.resync("old").await;
    works(&weir, "old").await;
    assert_eq!(old.count(PROBE), asked);
    assert!(old.count("initialize") >= 2);
}

#[tokio::test]
async fn a_dead_upstream_fails_its_own_calls_and_no_others() {
    let dead = Upstream::named("dead").tools(["search"]).start().await;
    let alive = Upstream::named("alive").tools(["search"]).start().await;
    let weir = Weir::over([&dead, &alive]).start().await;
    dead.stop().await;
    failed(&weir.modern().call("dead__search", "{}").await, "dead");
    failed(
        &weir
            .legacy("2025-11-25")
            .await
            .call("dead__search", "{}")
            .await,
        "dead",
    );
    works(&weir, "alive").await;
    weir.resync("dead").await;
    assert_eq!(weir.tool_names().await, ["dead__search", "alive__search"]);
    dead.restart().await;
    weir.resync("dead").await;
    works(&weir, "dead").await;
}

#[tokio::test]
async fn an_upstream_that_is_down_at_the_start_comes_back_by_itself() {
    let late = Upstream::named("late").tools(["search"]).start().await;
    let alive = Upstream::named("alive").tools(["search"]).start().await;
    late.stop().await;
    let weir = Weir::over([&late, &alive])
        .upstream("late", "resync: 1s")
        .start()
        .await;
    assert_eq!(weir.tool_names().await, ["alive__search"]);
    late.restart().await;
    weir.wait_tools(["late__search", "alive__search"]).await;
    works(&weir, "late").await;
}

#[tokio::test]
async fn whatever_goes_wrong_upstream_is_one_kind_of_error() {
    let faults = [
        Fault::Status(500),
        Fault::Status(401),
        Fault::Status(403),
        Fault::Text(400, "nope".into()),
        Fault::Html,
        Fault::Json("{}".into()),
        Fault::Json("{\"half\":".into()),
        Fault::Close,
        Fault::CloseBody,
    ];
    let up = Upstream::named("up").tools(["search"]).start().await;
    let weir = Weir::over([&up]).start().await;
    let (modern, legacy) = (weir.modern(), weir.legacy("2025-11-25").await);
    for fault in faults {
        up.fault(on("tools/call"), Times::Forever, fault.clone());
        for reply in [
            modern.call("up__search", "{}").await,
            legacy.call("up__search", "{}").await,
        ] {
            assert_eq!(reply.header("www-authenticate"), None, "{fault:?}");
            failed(&reply, "up");
        }
        up.heal();
        // Five in a row without an answer would open the circuit.
        assert!(modern.call("up__search", "{}").await.succeeded());
    }
    works(&weir, "up").await;
}

#[tokio::test]
async fn a_stall_is_bounded_by_the_call_timeout_wherever_it_happens() {
    let up = Upstream::named("up")
        .tools(["search"])
        .gate("slow")
        .start()
        .await;
    let alive = Upstream::named("alive").tools(["search"]).start().await;
    let weir = Weir::over([&up, &alive])
        .upstream("up", "timeouts: { call: 1s }")
        .start()
        .await;
    let modern = weir.modern();
    for fault in [Fault::StallHeaders, Fault::StallBody] {
        up.fault(on("tools/call"), Times::Next(1), fault.clone());
        let begun = Instant::now();
        let (slow, ()) = tokio::join!(modern.call("up__search", "{}"), works(&weir, "alive"));
        failed(&slow, "up");
        assert!(begun.elapsed() >= Duration::from_millis(900), "{fault:?}");
    }
    failed(&modern.call("up__slow", "{}").await, "up");
    up.wait_running("slow", 0).await;
}

#[tokio::test]
async fn a_stalling_upstream_holds_up_neither_the_start_nor_the_others() {
    let stuck = Upstream::named("stuck").tools(["search"]);
    let stuck = stuck
        .fault(On::Anything, Times::Forever, Fault::StallHeaders)
        .start()
        .await;
    let alive = Upstream::named("alive").tools(["search"]).start().await;
    let weir = Weir::over([&stuck, &alive])
        .upstream("stuck", "timeouts: { list: 1s }")
        .start()
        .await;
    assert_eq!(weir.tool_names().await, ["alive__search"]);
    works(&weir, "alive").await;
    stuck.heal();
    weir.wait_tools(["stuck__search", "alive__search"]).await;
    works(&weir, "stuck").await;
}

#[tokio::test]
async fn each_kind_of_credential_opens_its_door() {
    let bearer = Upstream::named("bearer")
        .tools(["search"])
        .bearer("t0ken")
        .start()
        .await;
    let key = Upstream::named("key")
        .tools(["search"])
        .require_header("x-api-key", "k")
        .start()
        .await;
    let basic = Upstream::named("basic")
        .tools(["search"])
        .basic("ann", "p:w")
        .start()
        .await;
    let weir = Weir::over([&bearer, &key, &basic])
        .upstream("bearer", "auth: { type: bearer, token: { value: t0ken } }")
        .upstream(
            "key",
            "auth: { type: header, name: x-api-key, value: { value: k } }",
        )
        .upstream(
            "basic",
            "auth: { type: basic, username: ann, password: { value: \"p:w\" } }",
        )
        .start()
        .await;
    for upstream in [&bearer, &key, &basic] {
        works(&weir, &upstream.name()).await;
    }
}

#[tokio::test]
async fn nothing_of_the_caller_leaks_to_an_upstream() {
    let up = Upstream::named("up").tools(["search"]).start().await;
    let weir = Weir::over([&up]).start().await;
    let legacy = weir.legacy("2025-11-25").await;
    let session = legacy.session.clone().unwrap();
    let ask = legacy.ask("tools/call", r#"{"name":"up__search"}"#);
    let ask = ask
        .header("authorization", "Bearer callers")
        .header("cookie", "c=1");
    assert!(ask.header("x-secret", "s").send().await.succeeded());
    for request in &up.log().seen().requests {
        let all = format!("{:?}", request.headers);
        for leaked in ["callers", "c=1", "x-secret", &session] {
            assert!(!all.contains(leaked), "{all}");
        }
    }
}
