//! Credentials, which do not cross weir, and chains of several weirs.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::Client;
use crate::support::upstream::{Cancelled, Fault, Kind, On, Times, Upstream};
use crate::support::weir::Weir;
use crate::support::{bounded, prompt};
use crate::upstreams::failed;

/// More of this needs callers that log in: see the head of the parent module.
#[tokio::test]
async fn what_lets_a_caller_in_stays_on_its_side() {
    for era in ["modern", "legacy"] {
        let up = Upstream::named("up").tools(["echo"]);
        let up = match era {
            "modern" => up.modern(),
            _ => up.legacy("2025-11-25"),
        };
        let up = up.start().await;
        let weir = Weir::over([&up]).start().await;
        let stranger = weir.legacy("2025-11-25").await.session.unwrap();
        for client in Client::both(&weir).await {
            let mut ask = client.ask("tools/call", r#"{"name":"up__echo"}"#);
            let own = match &client {
                Client::Modern(_) => stranger.clone(),
                Client::Legacy(legacy) => legacy.session.clone().unwrap(),
            };
            for (name, value) in [
                ("authorization", "Bearer a-secret"),
                ("cookie", "a-secret"),
                ("x-api-key", "a-secret"),
                ("mcp-session-id", own.as_str()),
            ] {
                ask = ask.header(name, value);
            }
            assert!(ask.send().await.succeeded(), "{era}");
            let seen = up.last("tools/call");
            let arrived = format!("{:?} {}", seen.headers, String::from_utf8_lossy(&seen.body));
            for secret in ["a-secret", own.as_str()] {
                assert!(!arrived.contains(secret), "{era}: {arrived}");
            }
        }
    }
}

/// Two weirs in a row in front of an upstream. The names that the outer one exposes begin with
/// `inner__up__`.
struct Chain {
    up: Upstream,
    inner: Weir,
    outer: Weir,
}

impl Chain {
    /// Starts them over an upstream of this era with a tool that takes steps and one that waits.
    async fn of(era: &str) -> Self {
        let up = Upstream::named("up").progress("steps", 3).gate("slow");
        let up = match era {
            "modern" => up.modern(),
            _ => up.legacy("2025-11-25"),
        };
        let chain = Self::over(up.start().await).await;
        let tools = ["inner__up__steps", "inner__up__slow"];
        chain.outer.wait_tools(tools).await;
        chain
    }

    async fn over(up: Upstream) -> Self {
        let inner = Weir::over([&up]).start().await;
        let url = format!("  inner:\n    url: \"{}\"\n", inner.url());
        let outer = Weir::with(&url).start().await;
        Self { up, inner, outer }
    }
}

#[tokio::test]
async fn a_chain_carries_names_progress_and_traces() {
    for era in ["modern", "legacy"] {
        let Chain { up, inner, outer } = Chain::of(era).await;
        for client in Client::both(&outer).await {
            let ask = client.ask(
                "tools/call",
                r#"{"name":"inner__up__steps","arguments":{"n":1}}"#,
            );
            let trace = "\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"";
            let ask = ask.meta("traceparent", trace);
            let reply = ask.meta("progressToken", "\"mine\"").send().await;
            assert_eq!(
                reply.text(),
                r#"up.steps {"n":1}"#,
                "{era} {}",
                client.era()
            );
            let progress = reply.notifications("notifications/progress");
            let progress: Vec<_> = progress.iter().map(|note| &note["params"]).collect();
            assert_eq!(progress.len(), 3, "{era} {}", client.era());
            assert!(
                progress
                    .iter()
                    .all(|params| params["progressToken"] == "mine")
            );
            let meta = up.last("tools/call").value["params"]["_meta"].clone();
            let arrived = meta["traceparent"].as_str().unwrap();
            // A hop may be a span of its own, but the trace is the caller's.
            assert!(
                arrived.starts_with("00-0af7651916cd43dd8448eb211c80319c-"),
                "{meta}"
            );
        }
        drop(inner);
    }
}

#[tokio::test]
async fn a_chain_carries_cancellation_and_changes() {
    for era in ["modern", "legacy"] {
        let Chain { up, inner, outer } = Chain::of(era).await;
        let modern = outer.modern();
        tokio::select! {
            reply = modern.call("inner__up__slow", "{}") => panic!("nobody released it: {reply:?}"),
            () = up.wait_running("slow", 1) => {}
        }
        drop(modern);
        let tool = "slow".to_owned();
        up.wait_cancelled(match era {
            "modern" => Cancelled::Closed { tool },
            _ => Cancelled::Notified { tool },
        })
        .await;

        let modern = outer.modern();
        let mut listen = modern.listen("1", r#"{"toolsListChanged":true}"#).await;
        listen.next_value().await;
        up.wait_listening().await;
        up.add_tool("added");
        up.notify_list_changed(Kind::Tools);
        let change = listen.next_value().await;
        assert_eq!(change["method"], "notifications/tools/list_changed");
        let names = outer.tool_names().await;
        assert!(names.contains(&"inner__up__added".to_owned()), "{names:?}");
        drop(inner);
    }
}

#[tokio::test]
async fn a_chain_carries_a_request_for_input_and_its_answer() {
    let up = Upstream::named("up")
        .asks_input("who")
        .modern()
        .start()
        .await;
    let chain = Chain::over(up).await;
    chain.outer.wait_tools(["inner__up__who"]).await;
    let mut modern = chain.outer.modern();
    modern.capabilities = r#"{"elicitation":{}}"#.to_owned();
    let asked = modern.call("inner__up__who", "{}").await.value();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let retry = json!({"name": "inner__up__who", "arguments": {}, "requestState": asked["requestState"],
        "inputResponses": {"who": {"action": "decline"}}});
    let done = modern.request("tools/call", &retry.to_string()).await;
    assert_eq!(done.text(), r#"{"who":{"action":"decline"}}"#);
    drop(chain);
}

#[tokio::test]
async fn names_stay_legal_through_many_weirs() {
    let long = "t".repeat(60);
    let up = Upstream::named("up")
        .tools([long.as_str(), "t"])
        .start()
        .await;
    let mut weirs = vec![Weir::over([&up]).start().await];
    for _ in 0..3 {
        let below = weirs.last().unwrap().url();
        let weir = Weir::with(&format!("  a-rather-long-name:\n    url: \"{below}\"\n"));
        weirs.push(weir.start().await);
    }
    let weir = weirs.last().unwrap();
    let names = bounded("both tools", async {
        loop {
            let names = weir.tool_names().await;
            if names.len() == 2 {
                return names;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for (name, original) in names.iter().zip([long.as_str(), "t"]) {
        assert!(name.len() <= 128, "{name}");
        let reply = weir.modern().call(name, "{}").await;
        assert_eq!(reply.text(), format!("up.{original} {{}}"));
    }
}

#[tokio::test]
async fn a_chain_that_loops_is_refused() {
    let ports = [crate::support::free_port(), crate::support::free_port()];
    let url = |port: u16| format!("http://127.0.0.1:{port}/mcp");
    let up = Upstream::named("up").tools(["t"]).start().await;
    let first = format!(
        "  up:\n    url: \"{}\"\n  b:\n    url: \"{}\"\n",
        up.url(),
        url(ports[1])
    );
    let second = format!("  a:\n    url: \"{}\"\n", url(ports[0]));
    let a = Weir::with(&first).on(ports[0]).start().await;
    let b = Weir::with(&second).on(ports[1]).start().await;
    let names = bounded("b to know of the tool", async {
        loop {
            let names = b.tool_names().await;
            if names.contains(&"a__up__t".to_owned()) {
                return names;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for round in 0..3 {
        a.resync("b").await;
        b.resync("a").await;
        assert_eq!(
            b.tool_names().await,
            names,
            "round {round}: the list does not grow"
        );
    }
    // b → a → b: a weir is not offered its own tools again.
    assert_eq!(a.tool_names().await, ["up__t"]);
    assert_eq!(b.tool_names().await, ["a__up__t"]);
    let reply = a.modern().call("b__a__up__t", "{}").await;
    assert!([-32600, -32602].contains(&reply.code()), "{reply:?}");
    assert_eq!(up.count("tools/call"), 0);
    assert!(b.modern().call("a__up__t", "{}").await.succeeded());
}

#[tokio::test]
async fn an_upstream_that_is_down_or_hangs_is_named_and_holds_up_nobody() {
    let well = Upstream::named("well").tools(["t"]).start().await;
    let hung = Upstream::named("hung").tools(["t"]).start().await;
    let down = Upstream::named("down").tools(["t"]).start().await;
    let weir = Weir::over([&well, &hung, &down]);
    let weir = weir.upstream("hung", "timeouts: { call: 1s }");
    let weir = weir.start().await;
    weir.wait_tools(["well__t", "hung__t", "down__t"]).await;
    down.stop().await;
    let stall = On::Method("tools/call".into());
    hung.fault(stall, Times::Forever, Fault::StallHeaders);
    for client in Client::both(&weir).await {
        failed(&client.call("down__t", "{}").await, "down");
        failed(&client.call("hung__t", "{}").await, "hung");
        let others = async || {
            let begun = Instant::now();
            assert_eq!(client.call("well__t", "{}").await.text(), "well.t {}");
            assert_eq!(client.tool_names().await.len(), 3);
            begun.elapsed()
        };
        // While a call hangs, the others do not wait for its end.
        let beside = async || {
            let hung = client.call("hung__t", "{}");
            let (hung, took) = tokio::join!(hung, others());
            failed(&hung, "hung");
            took
        };
        prompt(Duration::from_millis(700), beside).await;
    }
}

#[tokio::test]
async fn a_swap_fails_no_call_that_is_under_way() {
    let up = Upstream::named("up").gate("slow").start().await;
    let weir = Weir::over([&up]).start().await;
    let clients = Client::both(&weir).await;
    let calls = clients.iter().map(|client| client.call("up__slow", "{}"));
    let swaps = async {
        up.wait_running("slow", 2).await;
        // Even the tool itself goes.
        for tools in [vec!["a"], vec!["a", "b"], vec!["b"]] {
            let before = weir.generation().await;
            up.set_tools(tools);
            weir.resync("up").await;
            weir.wait_generation(before + 1).await;
        }
        up.release("slow");
        up.release("slow");
    };
    let (replies, ()) = tokio::join!(futures::future::join_all(calls), swaps);
    for reply in replies {
        assert_eq!(reply.text(), "up.slow {}");
    }
    assert_eq!(weir.tool_names().await, ["up__b"]);
}
