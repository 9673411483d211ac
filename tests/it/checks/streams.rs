//! Messages besides the answer or before it.

use serde_json::{Value, json};

use super::{LOG_LEVEL, SUBSCRIPTION, refused};
use crate::support::client::{Client, Stream};
use crate::support::upstream::{Cancelled, Fault, Kind, On, Times, Upstream};
use crate::support::weir::Weir;

#[tokio::test]
async fn a_listener_is_told_of_a_change_once_it_can_be_listed() {
    for era in ["modern", "legacy"] {
        let jira = Upstream::named("jira").tools(["search"]);
        let jira = match era {
            "modern" => jira.modern(),
            _ => jira.legacy("2025-11-25"),
        };
        let jira = jira.start().await;
        let weir = Weir::over([&jira]).start().await;
        let modern = weir.modern();
        jira.wait_listening().await;
        let mut listen = modern.listen("4242", r#"{"toolsListChanged":true}"#).await;
        assert_eq!(listen.status, 200);
        assert_eq!(listen.header("content-type"), Some("text/event-stream"));
        let first = listen.next_value().await;
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(
            first["params"]["notifications"],
            json!({"toolsListChanged": true})
        );
        assert_eq!(first["params"]["_meta"][SUBSCRIPTION], json!(4242));
        jira.add_tool("added");
        jira.notify_list_changed(Kind::Tools);
        let change = listen.next_value().await;
        assert_eq!(change["method"], "notifications/tools/list_changed");
        assert_eq!(change["params"]["_meta"][SUBSCRIPTION], json!(4242));
        assert_eq!(modern.tool_names().await, ["jira__search", "jira__added"]);
    }
}

#[tokio::test]
async fn a_listener_is_told_of_nothing_else() {
    let jira = Upstream::named("jira").tools(["a"]).prompts(["p"]);
    let jira = jira.resources(["file:///a"]).start().await;
    let weir = Weir::over([&jira]).start().await;
    let modern = weir.modern();
    // The upstream announces no `resources.subscribe`.
    let wishes =
        r#"{"promptsListChanged":true,"resourceSubscriptions":["file:///a","file:///no"]}"#;
    let mut listen = modern.listen("\"s\"", wishes).await;
    let acknowledged = listen.next_value().await;
    let honoured = &acknowledged["params"]["notifications"];
    assert_eq!(honoured["promptsListChanged"], true);
    assert_eq!(honoured.get("toolsListChanged"), None);
    let uris = honoured.get("resourceSubscriptions");
    assert!(uris.is_none_or(|uris| *uris == json!([])), "{honoured}");
    jira.add_tool("b");
    weir.resync("jira").await;
    assert_eq!(weir.tool_names().await.len(), 2);
    jira.add_raw(Kind::Prompts, r#"{"name":"q"}"#);
    weir.resync("jira").await;
    // The first notification is about the prompts.
    let change = listen.next_value().await;
    assert_eq!(change["method"], "notifications/prompts/list_changed");
    assert_eq!(change["params"]["_meta"][SUBSCRIPTION], "s");
}

#[tokio::test]
async fn callers_with_one_token_and_one_id_get_their_own_progress() {
    for era in ["modern", "legacy"] {
        let up = Upstream::named("up").progress("work", 3).gate("work");
        let up = match era {
            "modern" => up.modern(),
            _ => up.legacy("2025-11-25"),
        };
        let up = up.start().await;
        let weir = Weir::over([&up]).start().await;
        let [one, two] = Client::both(&weir).await;
        let [three, four] = Client::both(&weir).await;
        let callers = [("one", one), ("two", two), ("three", three), ("four", four)];
        let mut streams: Vec<(&str, Stream)> = Vec::new();
        for (by, caller) in &callers {
            let params = format!(r#"{{"name":"up__work","arguments":{{"by":"{by}"}}}}"#);
            let ask = caller.ask("tools/call", &params).id("7");
            streams.push((by, ask.meta("progressToken", "\"t\"").stream().await));
        }
        for step in 1..=3 {
            for (by, stream) in &mut streams {
                let event = stream.next_value().await;
                assert_eq!(event["method"], "notifications/progress", "{era} {by}");
                assert_eq!(event["params"]["progressToken"], "t");
                assert_eq!(event["params"]["progress"], step);
            }
        }
        up.wait_running("work", 4).await;
        for _ in 0..4 {
            up.release("work");
        }
        for (by, stream) in streams {
            let rest = stream.finish().await;
            assert_eq!(rest.events.len(), 1, "the answer is the last: {rest:?}");
            assert_eq!(rest.id().as_deref(), Some("7"));
            assert_eq!(rest.text(), format!(r#"up.work {{"by":"{by}"}}"#));
        }
    }
}

#[tokio::test]
async fn log_messages_come_only_to_who_asked_and_only_as_severe() {
    let levels = ["debug", "info", "warning", "error", "emergency"];
    let new = Upstream::named("new").logs("talk", levels).modern();
    let (new, old) = (
        new.start().await,
        Upstream::named("old").logs("talk", levels),
    );
    let old = old.legacy("2025-11-25").start().await;
    let weir = Weir::over([&new, &old]).start().await;
    let modern = weir.modern();
    for up in ["new", "old"] {
        let reply = modern.call(&format!("{up}__talk"), "{}").await;
        assert!(reply.succeeded(), "{reply:?}");
        assert_eq!(
            reply.notifications("notifications/message"),
            [Value::Null; 0]
        );
    }
    let ask = modern.ask("tools/call", r#"{"name":"new__talk"}"#);
    let reply = ask.meta(LOG_LEVEL, "\"warning\"").send().await;
    let told = reply.notifications("notifications/message");
    let told: Vec<_> = told.iter().map(|note| &note["params"]["level"]).collect();
    assert_eq!(told, ["warning", "error", "emergency"]);
}

/// Starts an upstream of each era with a tool that waits.
async fn waiting() -> (Upstream, Upstream, Weir) {
    let new = Upstream::named("new").gate("work").modern().start().await;
    let old = Upstream::named("old").gate("work");
    let old = old.legacy("2025-11-25").start().await;
    let weir = Weir::over([&new, &old]).start().await;
    (new, old, weir)
}

/// Returns how a call is cancelled at an upstream of this era.
fn cancellation(up: &Upstream) -> Cancelled {
    let tool = "work".to_owned();
    match up.name().as_str() {
        "new" => Cancelled::Closed { tool },
        _ => Cancelled::Notified { tool },
    }
}

#[tokio::test]
async fn a_modern_caller_cancels_by_leaving() {
    let (new, old, weir) = waiting().await;
    for up in [&new, &old] {
        let (modern, tool) = (weir.modern(), format!("{}__work", up.name()));
        tokio::select! {
            reply = modern.call(&tool, "{}") => panic!("{reply:?}"),
            () = up.wait_running("work", 1) => {}
        }
        drop(modern);
        up.wait_cancelled(cancellation(up)).await;
    }
}

#[tokio::test]
async fn a_legacy_caller_cancels_by_saying_so_and_not_by_leaving() {
    let (new, old, weir) = waiting().await;
    for up in [&new, &old] {
        let tool = format!("{}__work", up.name());
        let legacy = weir.legacy("2025-11-25").await;
        tokio::select! {
            reply = legacy.call(&tool, "{}") => panic!("nobody released it: {reply:?}"),
            () = up.wait_running("work", 1) => {}
        }
        // That connection is closed. After a whole list the call still runs.
        assert_eq!(legacy.tool_names().await.len(), 2);
        up.wait_running("work", 1).await;
        up.release("work");
        up.wait_running("work", 0).await;
        assert_eq!(up.log().seen().cancelled, []);

        let call = async {
            let params = format!(r#"{{"name":"{tool}"}}"#);
            let ask = legacy.ask("tools/call", &params).id("\"mine\"");
            let _ = ask.send().await;
            std::future::pending::<()>().await;
        };
        let cancel = async {
            up.wait_running("work", 1).await;
            let id = r#"{"requestId":"mine"}"#;
            let accepted = legacy.notify("notifications/cancelled", id).await;
            assert_eq!(accepted.status, 202);
            up.wait_running("work", 0).await;
        };
        tokio::select! {
            () = call => {}
            () = cancel => {}
        }
        assert_eq!(up.log().seen().cancelled, [cancellation(up)]);
    }
}

#[tokio::test]
async fn a_tool_that_needs_input_asks_who_can_be_asked() {
    const NEEDS: &str = r#"{"code":-32021,"message":"elicitation is needed","data":{"requiredCapabilities":{"elicitation":{}}}}"#;
    let up = Upstream::named("up")
        .asks_input("who")
        .modern()
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    let mut modern = weir.modern();
    let declared = || {
        let meta = up.last("tools/call").value["params"]["_meta"].clone();
        meta["io.modelcontextprotocol/clientCapabilities"].clone()
    };
    // A server does this if it may not send requests.
    let needs = Fault::Error(400, NEEDS.to_owned());
    up.fault(On::Tool("who".into()), Times::Next(1), needs);
    let ask = modern.ask("tools/call", r#"{"name":"up__who"}"#);
    let reply = refused(ask, 400, -32021).await;
    assert_eq!(
        reply.error()["data"],
        json!({"requiredCapabilities": {"elicitation": {}}})
    );
    assert_eq!(declared(), json!({}));

    modern.capabilities = r#"{"elicitation":{}}"#.to_owned();
    let asked = modern.call("up__who", "{}").await;
    assert_eq!(
        (asked.status, declared()),
        (200, json!({"elicitation": {}}))
    );
    let asked = asked.value();
    assert_eq!(asked["resultType"], "input_required");
    assert_eq!(
        asked["inputRequests"]["who"]["method"],
        "elicitation/create"
    );
    assert_eq!(asked.get("ttlMs"), None, "what is not final is not kept");
    let retry = json!({"name": "up__who", "arguments": {}, "requestState": asked["requestState"],
        "inputResponses": {"who": {"action": "accept", "content": {"name": "Ann"}}}});
    let done = modern.request("tools/call", &retry.to_string()).await;
    assert_eq!(done.value()["resultType"], "complete");
    assert_eq!(
        done.text(),
        r#"{"who":{"action":"accept","content":{"name":"Ann"}}}"#
    );
    let forged = retry.to_string().replace('☂', "x");
    assert_ne!(forged, retry.to_string());
    refused(modern.ask("tools/call", &forged), 200, -32602).await;

    // A legacy client that declares nothing is told what it lacks, and the call does not hang.
    let calls = up.count("tools/call");
    let legacy = weir.legacy("2025-11-25").await;
    let reply = legacy.call("up__who", "{}").await;
    assert_eq!(reply.value()["isError"], true, "{reply:?}");
    assert!(reply.text().contains("`elicitation`"), "{}", reply.text());
    assert_eq!(up.count("tools/call"), calls + 1);
}
