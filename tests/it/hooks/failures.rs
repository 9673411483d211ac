//! Hooks that fail, that are slow, or that have too little time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;

use super::{erp, metrics, wait_success, with_lambda, with_url};
use crate::support::aws::Keyring;
use crate::support::client::{Client, call_params};
use crate::support::hook::{Function, HookServer};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

/// Every way in which a function gives no usable answer.
fn failures() -> Vec<(&'static str, Function)> {
    let says = |text: &'static str| Function::Says(Bytes::from_static(text.as_bytes()));
    vec![
        ("status", Function::Status(500)),
        ("function", Function::Raises),
        ("answer", says("no JSON")),
        ("answer", says("")),
        ("answer", says("null")),
        (
            "answer",
            says(r#"{"interceptorOutputVersion":"1.0","mcp":{}}"#),
        ),
        (
            "answer",
            says(
                r#"{"interceptorOutputVersion":"1.0","mcp":{"transformedGatewayResponse":{"statusCode":200,"body":{"jsonrpc":"2.0","id":"another","result":{}}}}}"#,
            ),
        ),
        ("too_long", Function::Huge(100 << 20)),
        ("timeout", Function::Hangs),
        ("timeout", Function::Drips),
    ]
}

#[tokio::test]
async fn what_fails_is_refused_or_passes_as_the_config_says() {
    for policy in ["deny", "pass"] {
        let (erp, keys) = (erp().await, Arc::new(Keyring::default()));
        let server = HookServer::lambda(&keys, Function::Raises).await;
        let settings = format!(", timeout: 3s, on_failure: {policy}");
        let weir = with_lambda(&erp, &server, &settings).start().await;
        weir.wait_tools(["erp__drop", "erp__search"]).await;
        let client = weir.modern();
        for (word, function) in failures() {
            server.set(Function::Passes);
            // Each failure is one in a row, so that the circuit stays closed.
            assert!(client.call("erp__search", "{}").await.succeeded(), "{word}");
            server.set(function);
            let before = erp.count("tools/call");
            let reply = client.call("erp__search", "{}").await;
            if policy == "deny" {
                let error = reply.error();
                assert_eq!(error["code"], -32603, "{word}: {error}");
                assert_eq!(error["data"], json!({ "reason": "hook", "hook": "h" }));
                assert_eq!(erp.count("tools/call"), before, "{word}");
            } else {
                assert!(reply.succeeded(), "{word}");
                assert_eq!(erp.count("tools/call"), before + 1, "{word}");
            }
            let name =
                format!(r#"weir_hook_calls_total{{hook="h",phase="request",outcome="{word}"}}"#);
            assert!(weir.metric(&name).await >= 1, "{word}");
        }
        let told = weir.admin("/hooks").await;
        let hook = &told["hooks"][0];
        assert_eq!(
            (&hook["name"], &hook["kind"]),
            (&json!("h"), &json!("lambda"))
        );
        assert!(hook["last_failure"]["reason"].is_string(), "{hook}");
        assert!(!weir.stderr().contains("planted-in-a-message"));
    }
}

#[tokio::test]
async fn a_dead_hook_opens_its_circuit_and_takes_no_other_route_down() {
    let (erp, other) = (
        erp().await,
        Upstream::named("hr").tools(["a"]).start().await,
    );
    let server = HookServer::http(Function::Hangs).await;
    let url = server.url();
    let weir = Weir::over([&erp, &other]).top(&format!(
        "hooks: {{ h: {{ url: '{url}', tools: ['erp__*'], timeout: 200ms, concurrency: 2 }} }}"
    ));
    let weir = weir.start().await;
    weir.wait_tools(["erp__drop", "erp__search", "hr__a"]).await;
    let client = weir.modern();
    for _ in 0..6 {
        assert_eq!(client.call("erp__search", "{}").await.code(), -32603);
        assert!(client.call("hr__a", "{}").await.succeeded());
    }
    let told = weir.admin("/hooks").await;
    let circuit = &told["hooks"][0]["circuit"]["state"];
    assert!(circuit == "open" || circuit == "half-open", "{told}");
    // It is not asked any more, until it may be tried again.
    let outcome = r#"weir_hook_calls_total{hook="h",phase="request",outcome="circuit"}"#;
    let wait = async {
        loop {
            assert_eq!(client.call("erp__drop", "{}").await.code(), -32603);
            if metrics(&weir).await.contains(outcome) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .unwrap();
    assert_eq!(erp.count("tools/call"), 0);
    // It comes back by itself.
    server.set(Function::Passes);
    wait_success(&client).await;
}

#[tokio::test]
async fn a_message_at_which_a_hook_fails_closes_it_to_no_other() {
    let (erp, keys) = (erp().await, Arc::new(Keyring::default()));
    let http = HookServer::http(Function::Passes).await;
    let lambda = HookServer::lambda(&keys, Function::Passes).await;
    let settings = ", timeout: 20s";
    let no_output = Function::Says(Bytes::from_static(b"no JSON"));
    let statuses = [500, 413].map(Function::Status);
    for (weir, server, failures) in [
        (
            with_url(&erp, &http, settings),
            &http,
            Vec::from_iter(statuses.into_iter().chain([no_output])),
        ),
        (
            with_lambda(&erp, &lambda, settings),
            &lambda,
            vec![Function::Raises],
        ),
    ] {
        let weir = weir.start().await;
        weir.wait_tools(["erp__drop", "erp__search"]).await;
        let client = weir.modern();
        for function in failures {
            server.set(function);
            for _ in 0..7 {
                assert_eq!(client.call("erp__search", "{}").await.code(), -32603);
            }
        }
        server.set(Function::Passes);
        assert!(client.call("erp__drop", "{}").await.succeeded());
    }
}

#[tokio::test]
async fn a_caller_who_gives_no_time_passes_no_hook_and_opens_no_circuit() {
    let erp = erp().await;
    let server = HookServer::http(Function::Hangs).await;
    let weir = with_url(&erp, &server, ", timeout: 20s, on_failure: pass");
    let weir = weir.start().await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    let (client, params) = (weir.modern(), call_params("erp__search", "{}"));
    for _ in 0..6 {
        let hasty = client.ask("tools/call", &params);
        assert_eq!(
            hasty.meta("weir/deadlineMs", "60").send().await.code(),
            -32603
        );
    }
    assert_eq!(erp.count("tools/call"), 0);
    assert_eq!(
        weir.admin("/hooks").await["hooks"][0]["circuit"]["state"],
        "closed"
    );
    server.set(Function::Passes);
    let asked = server.inputs().len();
    assert!(client.call("erp__search", "{}").await.succeeded());
    assert_eq!(server.inputs().len(), asked + 2, "request and response");
}

/// Returns the milliseconds that an upstream was given for the last call.
fn given(up: &Upstream) -> u64 {
    let left = up
        .last("tools/call")
        .raw(&["params", "_meta", "weir/deadlineMs"]);
    left.unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_time_of_a_hook_is_taken_from_the_time_of_the_call() {
    let erp = erp().await;
    let server = HookServer::http(Function::PassesAfter(Duration::from_millis(600))).await;
    let settings = ", timeout: 20s, on: [request], on_failure: pass";
    let weir = with_url(&erp, &server, settings)
        .upstream("erp", "timeouts: { call: 10s }")
        .start()
        .await;
    weir.wait_tools(["erp__drop", "erp__search"]).await;
    for client in Client::both(&weir).await {
        let ask = || client.ask("tools/call", &call_params("erp__search", "{}"));
        // Less a margin for the way back.
        assert!(ask().send().await.succeeded());
        assert!(given(&erp) <= 10_000 - 600 - 500, "{}", given(&erp));
        let least = ask().meta("weir/deadlineMs", "5000");
        assert!(least.send().await.succeeded());
        assert!(given(&erp) <= (5_000 - 600) * 9 / 10, "{}", given(&erp));
        // The hook gets no more than is left, and then there is nothing for the upstream.
        let before = erp.count("tools/call");
        let begun = Instant::now();
        let reply = ask().meta("weir/deadlineMs", "100").send().await;
        assert_eq!(reply.code(), -32603, "{reply:?}");
        assert!(begun.elapsed() < Duration::from_millis(550));
        assert_eq!(erp.count("tools/call"), before);
    }
}
