//! The era and version of an upstream, as weir finds them out.

use crate::support::client::Client;
use crate::support::upstream::{Fault, On, Times, Upstream};
use crate::support::weir::{Weir, child_upstream};
use crate::upstreams::works;

const PROBE: &str = "server/discover";

fn on(method: &str) -> On {
    On::Method(method.to_owned())
}

#[tokio::test]
async fn a_legacy_server_that_fails_at_the_modern_request_is_reached_all_the_same() {
    for fault in [
        Fault::Status(500),
        Fault::Status(501),
        Fault::Text(502, "Bad Gateway".into()),
        Fault::Close,
        Fault::StallHeaders,
    ] {
        let old = Upstream::named("old")
            .tools(["search"])
            .legacy("2025-06-18");
        let old = old
            .fault(on(PROBE), Times::Forever, fault.clone())
            .start()
            .await;
        let weir = Weir::over([&old])
            .upstream("old", "timeouts: { connect: 500ms, list: 1s }")
            .start()
            .await;
        weir.wait_tools(["old__search"]).await;
        works(&weir, "old").await;
        // The era stays known: the next connection needs no second failure.
        old.forget_sessions();
        weir.resync("old").await;
        works(&weir, "old").await;
        assert!(weir.told("old").await["reason"].is_null(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_server_that_was_taken_for_legacy_is_asked_again() {
    let up = Upstream::named("up").tools(["search"]).dual();
    let up = up
        .fault(on(PROBE), Times::Next(2), Fault::Status(500))
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    weir.wait_tools(["up__search"]).await;
    assert_eq!(weir.told("up").await["era"], "legacy");
    up.forget_sessions();
    weir.resync("up").await;
    assert_eq!(weir.told("up").await["era"], "modern");
    works(&weir, "up").await;
}

#[tokio::test]
async fn a_modern_server_that_fails_is_not_taken_for_legacy() {
    let up = Upstream::named("up").tools(["search"]).modern();
    let up = up
        .fault(on(PROBE), Times::Next(4), Fault::Status(500))
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    weir.wait_tools(["up__search"]).await;
    assert_eq!(weir.told("up").await["era"], "modern");
    works(&weir, "up").await;
}

#[tokio::test]
async fn a_server_that_answers_initialize_with_the_modern_version_is_modern() {
    let introduction = r#"{"protocolVersion":"2026-07-28","capabilities":{"tools":{}},"serverInfo":{"name":"up","version":"1"}}"#;
    for refusal in [
        Fault::Error(
            200,
            r#"{"code":-32601,"message":"Method not found"}"#.into(),
        ),
        Fault::Status(500),
    ] {
        let up = Upstream::named("up").tools(["search"]).modern();
        let up = up.fault(on(PROBE), Times::Forever, refusal);
        let up = up.fault(
            on("initialize"),
            Times::Forever,
            Fault::Result(introduction.into()),
        );
        let up = up.start().await;
        let weir = Weir::over([&up]).start().await;
        weir.wait_tools(["up__search"]).await;
        assert_eq!(weir.told("up").await["era"], "modern");
        works(&weir, "up").await;
        assert!(up.requests("notifications/initialized").is_empty());
    }
}

#[tokio::test]
async fn a_modern_server_that_sends_a_request_gets_no_answer_and_only_its_call_fails() {
    let up = Upstream::named("up").tools(["search"]).modern();
    let up = up.start().await;
    let weir = Weir::over([&up]).start().await;
    weir.wait_tools(["up__search"]).await;
    let request = r#"{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{}}"#;
    up.fault(
        on("tools/call"),
        Times::Next(8),
        Fault::Json(request.into()),
    );
    for caller in Client::both(&weir).await {
        for _ in 0..4 {
            let reply = caller.call("up__search", "{}").await;
            let said = reply.raw_error();
            assert!(said.contains("the answer is not MCP"), "{said}");
        }
    }
    // Neither an answer, nor a circuit that closes the upstream to others.
    assert_eq!(up.log().seen().count(""), 0);
    works(&weir, "up").await;
}

#[tokio::test]
async fn an_older_version_is_tried_where_a_newer_one_is_refused() {
    for error in [
        r#"{"code":-32602,"message":"Invalid params"}"#,
        r#"{"code":-32000,"message":"Unsupported protocol version: 2025-11-25"}"#,
    ] {
        let up = Upstream::named("up").tools(["search"]).legacy("2025-03-26");
        let up = up.version_error(error).start().await;
        let weir = Weir::over([&up]).start().await;
        weir.wait_tools(["up__search"]).await;
        works(&weir, "up").await;
    }
    // Other errors are not about the version.
    let up = Upstream::named("up").tools(["search"]).legacy("2025-03-26");
    let up = up.version_error(r#"{"code":-32603,"message":"Database is down"}"#);
    let up = up.start().await;
    let weir = Weir::over([&up]).start().await;
    weir.wait_told("up", "reason", "refused initialize").await;
    let asked = up.requests("initialize");
    let newest = asked.iter().all(|asked| {
        asked.raw(&["params", "protocolVersion"]).as_deref() == Some("\"2025-11-25\"")
    });
    assert!(newest, "{asked:#?}");
}

#[tokio::test]
async fn a_child_is_asked_for_an_older_version_too() {
    let args = [
        "--version",
        "2025-03-26",
        "--strict-version",
        "--tools",
        "search",
    ];
    let weir = Weir::with(&child_upstream("kid", &args)).start().await;
    weir.wait_tools(["kid__search"]).await;
    works(&weir, "kid").await;
}

#[tokio::test]
async fn a_child_that_never_gets_over_the_modern_request_is_reached_all_the_same() {
    let args = ["--stuck-on-probe", "--tools", "search"];
    let yaml =
        child_upstream("kid", &args) + "    timeouts: { start: 3s, connect: 500ms, list: 500ms }\n";
    let weir = Weir::with(&yaml).start().await;
    weir.wait_tools(["kid__search"]).await;
    works(&weir, "kid").await;
}

#[tokio::test]
async fn a_status_in_answer_to_initialized_is_told_with_the_message() {
    for (status, hint) in [(400, ""), (404, "several replicas"), (500, "")] {
        let up = Upstream::named("up").tools(["search"]).legacy("2025-06-18");
        let fault = Fault::Status(status);
        let up = up.fault(on("notifications/initialized"), Times::Forever, fault);
        let up = up.start().await;
        let weir = Weir::over([&up]).start().await;
        let told = weir
            .wait_told("up", "reason", "notifications/initialized")
            .await;
        let reason = told["reason"].as_str().unwrap();
        assert!(
            reason.contains(&format!("HTTP status {status}")),
            "{reason}"
        );
        assert!(reason.contains(hint), "{reason}");
    }
}
