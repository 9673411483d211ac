//! Callers and upstreams of both eras: all four combinations behave the same.

mod alternating;
mod asked;
mod chained;
mod driven;
mod endings;
mod listened;
mod parked;

use serde_json::{Value, json};

use crate::support::client::{Client, names};
use crate::support::upstream::{Cancelled, Fault, On, Times, Upstream};
use crate::support::weir::Weir;

/// Starts an upstream of each era with tools, prompts, resources and templates, and a weir over
/// them.
async fn eras() -> (Upstream, Upstream, Weir) {
    let make = |name: &str| {
        Upstream::named(name)
            .tools(["search"])
            .progress("steps", 3)
            .gate("slow")
            .prompts(["greet"])
            .resources([format!("file:///{name}").as_str()])
            .templates([format!("{name}://{{id}}").as_str()])
    };
    let old = make("old").legacy("2025-11-25").start().await;
    let new = make("new").modern().start().await;
    let weir = Weir::over([&old, &new]).start().await;
    (old, new, weir)
}

/// Asserts that a modern result has its `resultType`, and says how long it may be kept if `cached`; and
/// that a legacy one has no type.
fn stamped(client: &Client, result: &Value, cached: bool) {
    if client.is_modern() {
        assert_eq!(result["resultType"], "complete", "{result}");
        if cached {
            assert!(result["ttlMs"].as_u64().is_some(), "{result}");
            assert!(["public", "private"].contains(&result["cacheScope"].as_str().unwrap()));
        }
    } else {
        assert_eq!(result.get("resultType"), None, "{result}");
    }
}

#[tokio::test]
async fn tools_cross() {
    let (_old, _new, weir) = eras().await;
    for client in Client::both(&weir).await {
        let mut tools = names(&client.list_all("tools/list").await, "name");
        tools.sort();
        let expected = [
            "new__search",
            "new__slow",
            "new__steps",
            "old__search",
            "old__slow",
            "old__steps",
        ];
        assert_eq!(tools, expected, "{}", client.era());
        stamped(
            &client,
            &client.request("tools/list", "{}").await.value(),
            true,
        );
        for up in ["old", "new"] {
            let params = format!(r#"{{"name":"{up}__search","arguments":{{"n":1e400}}}}"#);
            let reply = client.request("tools/call", &params).await;
            assert_eq!(
                reply.text(),
                format!(r#"{up}.search {{"n":1e400}}"#),
                "{}",
                client.era()
            );
            stamped(&client, &reply.value(), false);
        }
    }
}

/// A server may speak both eras. So a modern one is asked for a session when a legacy caller calls,
/// with the header that it wants of every request. A server that is known to be legacy is not told
/// what its era does not have.
#[tokio::test]
async fn a_modern_server_that_is_asked_for_a_session_is_told_the_method() {
    let (old, new, weir) = eras().await;
    for client in Client::both(&weir).await {
        for up in ["old", "new"] {
            let reply = client.call(&format!("{up}__search"), "{}").await;
            assert_eq!(
                reply.text(),
                format!("{up}.search {{}}"),
                "{}",
                client.era()
            );
        }
    }
    let methods = |upstream: &Upstream| {
        let asked = upstream.requests("initialize");
        let methods = asked.iter().map(|request| {
            let version = request.header("mcp-protocol-version");
            assert_eq!(version, None, "nothing is agreed on yet");
            request.header("mcp-method").map(str::to_owned)
        });
        methods.collect::<Vec<_>>()
    };
    assert_eq!(methods(&new), [Some("initialize".to_owned())]);
    let to_legacy = methods(&old);
    assert!(!to_legacy.is_empty() && to_legacy.iter().all(Option::is_none));
}

#[tokio::test]
async fn prompts_cross() {
    let (_old, _new, weir) = eras().await;
    for client in Client::both(&weir).await {
        let mut prompts = names(&client.list_all("prompts/list").await, "name");
        prompts.sort();
        assert_eq!(prompts, ["new__greet", "old__greet"]);
        stamped(
            &client,
            &client.request("prompts/list", "{}").await.value(),
            true,
        );
        for up in ["old", "new"] {
            let params = format!(r#"{{"name":"{up}__greet","arguments":{{"topic":"x"}}}}"#);
            let result = client.request("prompts/get", &params).await.value();
            let text = &result["messages"][0]["content"]["text"];
            assert_eq!(
                *text,
                format!(r#"{up}.greet {{"topic":"x"}}"#),
                "{}",
                client.era()
            );
            stamped(&client, &result, false);
        }
        let unknown = client
            .request("prompts/get", r#"{"name":"old__nope"}"#)
            .await;
        assert_eq!((unknown.status, unknown.code()), (200, -32602));
    }
}

#[tokio::test]
async fn resources_and_templates_cross() {
    let (_old, _new, weir) = eras().await;
    for client in Client::both(&weir).await {
        let mut uris = names(&client.list_all("resources/list").await, "uri");
        uris.sort();
        assert_eq!(uris, ["file:///new", "file:///old"]);
        let mut templates = names(
            &client.list_all("resources/templates/list").await,
            "uriTemplate",
        );
        templates.sort();
        assert_eq!(templates, ["new://{id}", "old://{id}"]);
        for up in ["old", "new"] {
            for uri in [format!("file:///{up}"), format!("{up}://7")] {
                let reply = client
                    .request("resources/read", &json!({ "uri": uri }).to_string())
                    .await;
                let result = reply.value();
                assert_eq!(result["contents"][0]["uri"], uri);
                assert_eq!(result["contents"][0]["text"], format!("{up}.{uri} {{}}"));
                stamped(&client, &result, true);
            }
        }
    }
}

#[tokio::test]
async fn a_resource_that_is_gone_has_the_callers_code() {
    let (old, new, weir) = eras().await;
    for up in [&old, &new] {
        let error =
            |code: i32| format!(r#"{{"code":{code},"message":"gone","data":{{"uri":"x"}}}}"#);
        let code = if up.name() == "old" { -32002 } else { -32602 };
        up.fault(
            On::Method("resources/read".into()),
            Times::Forever,
            Fault::Error(200, error(code)),
        );
        for client in Client::both(&weir).await {
            let uri = format!(r#"{{"uri":"file:///{}"}}"#, up.name());
            let reply = client.request("resources/read", &uri).await;
            let expected = if client.is_modern() { -32602 } else { -32002 };
            assert_eq!(
                (reply.status, reply.code()),
                (200, expected),
                "{} {}",
                up.name(),
                client.era()
            );
        }
    }
}

#[tokio::test]
async fn completion_crosses() {
    let (_old, _new, weir) = eras().await;
    for client in Client::both(&weir).await {
        for up in ["old", "new"] {
            let references = [
                json!({"type": "ref/prompt", "name": format!("{up}__greet")}),
                json!({"type": "ref/resource", "uri": format!("{up}://{{id}}")}),
            ];
            for reference in references {
                let asked = json!({"ref": reference, "argument": {"name": "topic", "value": "w"}});
                let result = client
                    .request("completion/complete", &asked.to_string())
                    .await
                    .value();
                let values = &result["completion"]["values"];
                assert_eq!(
                    *values,
                    json!([format!("{up} completes w")]),
                    "{}",
                    client.era()
                );
                stamped(&client, &result, false);
            }
        }
    }
}

#[tokio::test]
async fn a_legacy_caller_gets_a_modern_result_without_its_type_and_nothing_else_changes() {
    let result = r#"{"n":1e400,"resultType":"complete","content":[{"type":"text","text":"\u00e9"}],"_meta":{"a/b":{ "resultType":"complete" }}}"#;
    let up = Upstream::named("up").answers("odd", result).modern();
    let up = up.start().await;
    let weir = Weir::over([&up]).start().await;
    let typed = r#""resultType":"complete","#;
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let legacy = weir.legacy(version).await;
        let reply = legacy.call("up__odd", "{}").await;
        assert_eq!(reply.result(), result.replacen(typed, "", 1), "{version}");
    }
    assert_eq!(weir.modern().call("up__odd", "{}").await.result(), result);
    up.set_answer("odd", r#"{"resultType":"complete"}"#);
    let legacy = weir.legacy("2025-11-25").await;
    assert_eq!(legacy.call("up__odd", "{}").await.result(), "{}");
}

#[tokio::test]
async fn progress_crosses_under_the_callers_token() {
    let (old, new, weir) = eras().await;
    for client in Client::both(&weir).await {
        for up in [&old, &new] {
            let params = format!(r#"{{"name":"{}__steps"}}"#, up.name());
            for token in ["\"t\\u00e9\"", "12345678901234567890"] {
                let reply = client
                    .ask("tools/call", &params)
                    .meta("progressToken", token)
                    .send()
                    .await;
                assert!(reply.succeeded(), "{reply:?}");
                let tokens: Vec<_> = reply
                    .events
                    .iter()
                    .filter_map(|event| crate::support::at(event, &["params", "progressToken"]))
                    .collect();
                assert_eq!(tokens, [token; 3], "{} {}", up.name(), client.era());
            }
            let silent = client.request("tools/call", &params).await;
            assert!(silent.notifications("notifications/progress").is_empty());
        }
    }
}

#[tokio::test]
async fn cancellation_crosses_by_the_rule_of_each_side() {
    let (old, new, weir) = eras().await;
    for (up, expected) in [
        (
            &old,
            Cancelled::Notified {
                tool: "slow".into(),
            },
        ),
        (
            &new,
            Cancelled::Closed {
                tool: "slow".into(),
            },
        ),
    ] {
        for (at, client) in Client::both(&weir).await.into_iter().enumerate() {
            let params = format!(r#"{{"name":"{}__slow"}}"#, up.name());
            let ask = client.ask("tools/call", &params).id("\"mine\"");
            match &client {
                Client::Modern(_) => {
                    tokio::select! {
                        reply = ask.send() => panic!("nobody released it: {reply:?}"),
                        () = up.wait_running("slow", 1) => {}
                    }
                }
                Client::Legacy(legacy) => {
                    // The specification leaves open whether a cancelled call is answered, so its
                    // answer is not waited for.
                    let call = async {
                        let _ = ask.send().await;
                        std::future::pending::<()>().await;
                    };
                    let cancel = async {
                        up.wait_running("slow", 1).await;
                        let id = r#"{"requestId":"mine"}"#;
                        legacy.notify("notifications/cancelled", id).await;
                        up.wait_running("slow", 0).await;
                    };
                    tokio::select! {
                        () = call => {}
                        () = cancel => {}
                    }
                }
            }
            up.wait_running("slow", 0).await;
            let seen = up.log().seen().cancelled.clone();
            assert_eq!(
                seen,
                vec![expected.clone(); at + 1],
                "{} {}",
                up.name(),
                client.era()
            );
        }
    }
}

#[tokio::test]
async fn what_belongs_to_one_hop_stays_on_it() {
    let (old, new, weir) = eras().await;
    for client in Client::both(&weir).await {
        for up in ["old", "new"] {
            let ask = client.ask("tools/call", &format!(r#"{{"name":"{up}__search"}}"#));
            assert!(
                ask.meta("traceparent", "\"00-a-b-01\"")
                    .send()
                    .await
                    .succeeded()
            );
        }
    }
    for call in old.requests("tools/call") {
        let meta = call.raw(&["params", "_meta"]).unwrap_or_default();
        assert!(!meta.contains("io.modelcontextprotocol/"), "{meta}");
        assert!(meta.contains("00-a-b-01"), "{meta}");
        assert_eq!(
            (call.header("mcp-method"), call.header("mcp-name")),
            (None, None)
        );
    }
    for call in new.requests("tools/call") {
        assert_eq!(call.header("mcp-session-id"), None);
        let meta = call.raw(&["params", "_meta"]).unwrap();
        assert!(meta.contains("00-a-b-01"), "{meta}");
    }
    assert_eq!((old.count("tools/call"), new.count("tools/call")), (2, 2));
}

#[tokio::test]
async fn a_code_that_means_something_on_one_hop_only_becomes_an_upstream_error() {
    let old = Upstream::named("old")
        .tools(["bad"])
        .legacy("2025-06-18")
        .start()
        .await;
    let new = Upstream::named("new").tools(["bad"]).modern().start().await;
    let weir = Weir::over([&old, &new]).start().await;
    let (modern, legacy) = (weir.modern(), weir.legacy("2025-06-18").await);
    let call = || On::Method("tools/call".into());
    let not_ready = r#"{"code":-32000,"message":"Server not initialized"}"#;
    old.fault(call(), Times::Forever, Fault::Error(200, not_ready.into()));
    let mismatch = r#"{"code":-32020,"message":"Header mismatch"}"#;
    new.fault(call(), Times::Forever, Fault::Error(400, mismatch.into()));
    for (reply, upstream) in [
        (modern.call("old__bad", "{}").await, "old"),
        (modern.call("new__bad", "{}").await, "new"),
        (legacy.call("new__bad", "{}").await, "new"),
    ] {
        assert_eq!((reply.status, reply.code()), (200, -32603), "{reply:?}");
        assert_eq!(reply.error()["data"]["upstream"], upstream);
    }
}

#[tokio::test]
async fn an_error_of_the_tools_own_crosses_with_its_data() {
    let error = r#"{"code":1234,"message":"\u00e9","data":{"n":1e400}}"#;
    let old = Upstream::named("old")
        .errors("bad", error)
        .legacy("2025-06-18")
        .start()
        .await;
    let new = Upstream::named("new")
        .errors("bad", error)
        .modern()
        .start()
        .await;
    let weir = Weir::over([&old, &new]).start().await;
    for client in Client::both(&weir).await {
        for up in ["old", "new"] {
            let reply = client
                .request("tools/call", &format!(r#"{{"name":"{up}__bad"}}"#))
                .await;
            assert_eq!(
                (reply.status, reply.raw_error().as_str()),
                (200, error),
                "{up} {}",
                client.era()
            );
        }
    }
}
