//! Messages that reach a caller besides answers (changes, progress), and those that reach an
//! upstream when a caller leaves.

use serde_json::{Value, json};

use crate::support::client::Legacy;
use crate::support::upstream::{Cancelled, Kind, Upstream};
use crate::support::weir::Weir;

#[tokio::test]
async fn a_listener_hears_of_a_change_after_it_is_visible() {
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let weir = Weir::over([&jira]).start().await;
    let modern = weir.modern();
    let mut listen = modern.listen("4242", r#"{"toolsListChanged":true}"#).await;
    assert!(
        listen
            .header("content-type")
            .unwrap()
            .starts_with("text/event-stream")
    );
    let subscription = "io.modelcontextprotocol/subscriptionId";
    let first = listen.next_value().await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(
        first["params"]["notifications"],
        json!({"toolsListChanged": true})
    );
    assert_eq!(first["params"]["_meta"][subscription], 4242);
    jira.wait_listening().await;
    jira.add_tool("added");
    jira.notify_list_changed(Kind::Tools);
    let change = listen.next_value().await;
    assert_eq!(change["method"], "notifications/tools/list_changed");
    assert_eq!(change["params"]["_meta"][subscription], 4242);
    assert!(
        modern
            .tool_names()
            .await
            .contains(&"jira__added".to_owned())
    );
}

#[tokio::test]
async fn a_listener_hears_only_what_it_asked_for() {
    let jira = Upstream::named("jira")
        .tools(["a"])
        .prompts(["p"])
        .start()
        .await;
    let weir = Weir::over([&jira]).start().await;
    let modern = weir.modern();
    let wishes = r#"{"promptsListChanged":true,"resourceSubscriptions":["file:///a"]}"#;
    let mut listen = modern.listen("\"s\"", wishes).await;
    let acknowledged = listen.next_value().await;
    let honoured = &acknowledged["params"]["notifications"];
    assert_eq!(honoured["promptsListChanged"], true);
    assert!(honoured.get("toolsListChanged").is_none());
    let uris = honoured.get("resourceSubscriptions");
    assert!(uris.is_none_or(|uris| *uris == json!([])), "{honoured}");
    jira.add_tool("b");
    weir.resync("jira").await;
    assert_eq!(weir.tool_names().await.len(), 2);
    jira.add_raw(Kind::Prompts, r#"{"name":"q"}"#);
    weir.resync("jira").await;
    let change = listen.next_value().await;
    assert_eq!(change["method"], "notifications/prompts/list_changed");
    assert_eq!(
        change["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        "s"
    );
}

#[tokio::test]
async fn two_callers_with_the_same_id_and_token_get_their_own_progress() {
    let up = Upstream::named("up")
        .progress("work", 3)
        .gate("work")
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    let (one, two) = (weir.modern(), weir.modern());
    let ask =
        |client: &'static str| format!(r#"{{"name":"up__work","arguments":{{"by":"{client}"}}}}"#);
    let mut first = one
        .ask("tools/call", &ask("one"))
        .id("7")
        .meta("progressToken", "\"t\"")
        .stream()
        .await;
    let mut second = two
        .ask("tools/call", &ask("two"))
        .id("7")
        .meta("progressToken", "\"t\"")
        .stream()
        .await;
    for stream in [&mut first, &mut second] {
        for step in 1..=3 {
            let event = stream.next_value().await;
            assert_eq!(event["params"]["progressToken"], "t");
            assert_eq!(event["params"]["progress"], step);
        }
    }
    up.wait_running("work", 2).await;
    up.release("work");
    up.release("work");
    for (stream, by) in [(first, "one"), (second, "two")] {
        let reply = stream.finish().await;
        assert_eq!(
            reply.events.len(),
            1,
            "nothing but the answer is left: {reply:?}"
        );
        assert_eq!(reply.id().as_deref(), Some("7"));
        assert!(reply.text().contains(by));
    }
}

#[tokio::test]
async fn closing_the_stream_cancels_upstream_by_its_eras_rule() {
    let work = || "work".to_owned();
    let new = Upstream::named("new").gate("work").modern().start().await;
    let old = Upstream::named("old")
        .gate("work")
        .legacy("2025-11-25")
        .start()
        .await;
    let weir = Weir::over([&new, &old]).start().await;
    for (up, expected) in [
        (&new, Cancelled::Closed { tool: work() }),
        (&old, Cancelled::Notified { tool: work() }),
    ] {
        let modern = weir.modern();
        let tool = format!("{}__work", up.name());
        tokio::select! {
            reply = modern.call(&tool, "{}") => panic!("nobody released it: {reply:?}"),
            () = up.wait_running("work", 1) => {}
        }
        drop(modern);
        up.wait_cancelled(expected).await;
    }
}

#[tokio::test]
async fn a_change_is_told_once_per_session_after_it_is_visible() {
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let weir = Weir::over([&jira]).start().await;
    let legacy = weir.legacy("2025-11-25").await;
    let mut first = legacy.listen().await;
    let second = legacy.listen().await;
    jira.add_tool("added");
    weir.resync("jira").await;
    let mut told = Vec::new();
    if second.status == 200 {
        // The new stream replaced the old one, which has ended.
        assert_eq!(first.next().await, None);
        first = second;
    }
    told.push(first.next_value().await);
    assert!(
        legacy
            .tool_names()
            .await
            .contains(&"jira__added".to_owned())
    );
    legacy.delete().await;
    while let Some(event) = first.next().await {
        told.push(serde_json::from_str(&event).unwrap());
    }
    let methods: Vec<&Value> = told.iter().map(|event| &event["method"]).collect();
    assert_eq!(methods, ["notifications/tools/list_changed"]);
}

#[tokio::test]
async fn a_stream_is_told_of_prompts_and_resources_too() {
    let up = Upstream::named("up")
        .prompts(["p"])
        .resources(["file:///a"])
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    let legacy = weir.legacy("2025-11-25").await;
    let mut stream = legacy.listen().await;
    up.add_raw(Kind::Prompts, r#"{"name":"q"}"#);
    weir.resync("up").await;
    assert_eq!(
        stream.next_value().await["method"],
        "notifications/prompts/list_changed"
    );
    up.add_raw(
        Kind::Templates,
        r#"{"uriTemplate":"note://{id}","name":"note"}"#,
    );
    weir.resync("up").await;
    assert_eq!(
        stream.next_value().await["method"],
        "notifications/resources/list_changed"
    );
}

#[tokio::test]
async fn two_sessions_with_the_same_id_and_token_get_their_own_progress() {
    let up = Upstream::named("up")
        .progress("work", 3)
        .gate("work")
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    let (one, two) = (
        weir.legacy("2025-11-25").await,
        weir.legacy("2025-03-26").await,
    );
    let open = async |client: &Legacy, by: &str| {
        let params = format!(r#"{{"name":"up__work","arguments":{{"by":"{by}"}}}}"#);
        let ask = client.ask("tools/call", &params).id("7");
        ask.meta("progressToken", "3").stream().await
    };
    let (mut first, mut second) = (open(&one, "one").await, open(&two, "two").await);
    for stream in [&mut first, &mut second] {
        for step in 1..=3 {
            let event = stream.next_value().await;
            assert_eq!(event["params"]["progressToken"], 3);
            assert_eq!(event["params"]["progress"], step);
        }
    }
    up.wait_running("work", 2).await;
    up.release("work");
    up.release("work");
    for (stream, by) in [(first, "one"), (second, "two")] {
        let reply = stream.finish().await;
        assert_eq!(
            reply.events.len(),
            1,
            "nothing but the answer is left: {reply:?}"
        );
        assert!(reply.text().contains(by));
    }
}

#[tokio::test]
async fn a_disconnect_does_not_cancel_but_a_notification_does() {
    let up = Upstream::named("up")
        .tools(["quick"])
        .gate("work")
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    let legacy = weir.legacy("2025-11-25").await;
    tokio::select! {
        reply = legacy.call("up__work", "{}") => panic!("nobody released it: {reply:?}"),
        () = up.wait_running("work", 1) => {}
    }
    // The call above was dropped with its connection. Meanwhile another one is answered.
    assert!(legacy.call("up__quick", "{}").await.succeeded());
    up.wait_running("work", 1).await;
    up.release("work");
    up.wait_running("work", 0).await;
    assert_eq!(up.log().seen().cancelled, []);

    // The specification leaves open whether the call is answered. It demands the cancellation.
    let call = async {
        let ask = legacy.ask("tools/call", r#"{"name":"up__work"}"#);
        let _ = ask.id("\"mine\"").send().await;
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
    let seen = up.log().seen().cancelled.clone();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_ne!(seen[0], Cancelled::Stray);
}
