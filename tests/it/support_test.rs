//! The doubles are held to the protocol too: a test against a wrong server proves nothing.

use serde_json::{Value, json};

use crate::support::client::{Legacy, Modern, names};
use crate::support::upstream::{Kind, Paging, Upstream};

const VERSIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

#[tokio::test]
async fn a_dual_upstream_answers_both_eras() {
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let modern = Modern::new(jira.url());
    assert_eq!(
        modern.call("search", r#"{"q":1e400}"#).await.text(),
        r#"jira.search {"q":1e400}"#
    );
    for version in VERSIONS {
        let legacy = Legacy::open(jira.url(), version).await;
        assert_eq!(legacy.version, version);
        assert_eq!(legacy.call("search", "{}").await.text(), "jira.search {}");
    }
    assert_eq!(jira.count("tools/call"), 4);
    assert_eq!(
        jira.requests("tools/call")[0].header("mcp-name"),
        Some("search")
    );
}

#[tokio::test]
async fn a_legacy_upstream_offers_its_own_version() {
    let old = Upstream::named("old").legacy("2025-03-26").start().await;
    assert_eq!(
        Legacy::open(old.url(), "2025-11-25").await.version,
        "2025-03-26"
    );
}

#[tokio::test]
async fn a_legacy_upstream_insists_on_its_session() {
    let jira = Upstream::named("jira")
        .tools(["search"])
        .legacy("2025-06-18")
        .start()
        .await;
    let legacy = Legacy::open(jira.url(), "2025-06-18").await;
    let list = || legacy.ask("tools/list", "{}");
    assert_eq!(list().without("mcp-session-id").send().await.status, 400);
    assert_eq!(
        list().header("mcp-session-id", "other").send().await.status,
        404
    );
    assert_eq!(
        list().without("mcp-protocol-version").send().await.status,
        400
    );
    assert_eq!(list().send().await.status, 200);
    assert_eq!(legacy.delete().await.status, 200);
    assert_eq!(list().send().await.status, 404);
}

#[tokio::test]
async fn a_modern_upstream_checks_every_header() {
    let jira = Upstream::named("jira")
        .modern()
        .tools(["search"])
        .start()
        .await;
    let modern = Modern::new(jira.url());
    let call = || modern.ask("tools/call", r#"{"name":"search"}"#);
    let answer = async |ask: crate::support::client::Ask<'_>| {
        let reply = ask.send().await;
        (
            reply.status,
            if reply.succeeded() { 0 } else { reply.code() },
        )
    };
    assert_eq!(answer(call()).await, (200, 0));
    for header in ["mcp-method", "mcp-name", "mcp-protocol-version"] {
        assert_eq!(
            answer(call().without(header)).await,
            (400, -32020),
            "{header}"
        );
        assert_eq!(
            answer(call().header(header, "x")).await,
            (400, -32020),
            "{header}"
        );
    }
    let name = crate::support::client::sentinel(b"search");
    assert_eq!(answer(call().header("mcp-name", &name)).await, (200, 0));
    let version = "io.modelcontextprotocol/protocolVersion";
    let later = call()
        .meta(version, "\"v999.0.0\"")
        .header("mcp-protocol-version", "v999.0.0");
    assert_eq!(answer(later).await, (400, -32022));
    let bare = call().without_meta("io.modelcontextprotocol/clientCapabilities");
    assert_eq!(answer(bare).await, (400, -32602));
    assert_eq!(answer(modern.ask("tools/dance", "{}")).await, (404, -32601));
    assert_eq!(
        Legacy::resume(jira.url(), "s", "2025-06-18")
            .request("tools/list", "{}")
            .await
            .code(),
        -32022
    );
}

#[tokio::test]
async fn marked_arguments_must_be_mirrored() {
    let geo = Upstream::named("geo")
        .modern()
        .raw_tool(r#"{"name":"go","inputSchema":{"type":"object","properties":{"to":{"type":"string","x-mcp-header":"To"}}}}"#)
        .start()
        .await;
    let modern = Modern::new(geo.url());
    let call = || modern.ask("tools/call", r#"{"name":"go","arguments":{"to":"é"}}"#);
    assert_eq!(call().send().await.code(), -32020);
    assert_eq!(
        call().header("mcp-param-to", "e").send().await.code(),
        -32020
    );
    let value = crate::support::client::encoded("é");
    assert!(
        call()
            .header("Mcp-Param-To", &value)
            .send()
            .await
            .succeeded()
    );
}

#[tokio::test]
async fn pages_are_cut_as_told_and_lose_nothing() {
    let tools = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let jira = Upstream::named("jira")
        .tools(tools)
        .pages([3, 1, 4])
        .start()
        .await;
    let modern = Modern::new(jira.url());
    assert_eq!(modern.tool_names().await, tools);
    assert_eq!(jira.count("tools/list"), 4);
    let reply = modern
        .request("tools/list", r#"{"cursor":"nonsense"}"#)
        .await;
    assert_eq!((reply.status, reply.code()), (200, -32602));
    jira.set_paging(Paging::Repeated);
    let next = async |cursor: &str| {
        modern.request("tools/list", cursor).await.value()["nextCursor"].clone()
    };
    assert_eq!(next("{}").await, next(r#"{"cursor":"page 1"}"#).await);
    jira.set_paging(Paging::Endless);
    assert_ne!(next("{}").await, next(r#"{"cursor":"page 1"}"#).await);
}

#[tokio::test]
async fn scripted_bytes_arrive_as_they_are() {
    let odd = r#"{"x":1e400,"n":12345678901234567890,"resultType":"complete","s":"\u00e9\/", "content":[ ]}"#;
    for sse in [false, true] {
        for dribble in [1, 7, 1000] {
            let upstream = Upstream::named("odd").answers("odd", odd).dribble(dribble);
            let upstream = if sse { upstream.sse() } else { upstream.json() }
                .start()
                .await;
            let reply = Modern::new(upstream.url()).call("odd", "{}").await;
            assert_eq!(reply.result(), odd);
            assert_eq!(reply.events.len(), usize::from(sse));
        }
    }
}

#[tokio::test]
async fn progress_comes_before_the_answer_and_only_if_wanted() {
    let slow = Upstream::named("slow")
        .progress("work", 3)
        .gate("work")
        .start()
        .await;
    let modern = Modern::new(slow.url());
    let ask = modern
        .ask("tools/call", r#"{"name":"work"}"#)
        .meta("progressToken", "\"t\"");
    let mut stream = ask.stream().await;
    for step in 1..=3 {
        let event = stream.next_value().await;
        assert_eq!(event["params"]["progressToken"], "t");
        assert_eq!(event["params"]["progress"], step);
    }
    slow.wait_running("work", 1).await;
    slow.release("work");
    assert!(stream.finish().await.succeeded());
    slow.release("work");
    assert!(
        modern
            .call("work", "{}")
            .await
            .notifications("notifications/progress")
            .is_empty()
    );
}

#[tokio::test]
async fn changes_reach_the_streams_that_asked() {
    let jira = Upstream::named("jira")
        .tools(["a"])
        .prompts(["p"])
        .start()
        .await;
    let legacy = Legacy::open(jira.url(), "2025-06-18").await;
    let modern = Modern::new(jira.url());
    let mut get = legacy.listen().await;
    assert_eq!(legacy.listen().await.status, 409);
    let mut listen = modern
        .listen(
            "4242",
            r#"{"promptsListChanged":true,"resourceSubscriptions":["x"]}"#,
        )
        .await;
    let acknowledged = listen.next_value().await;
    assert_eq!(
        acknowledged["params"]["notifications"],
        json!({"promptsListChanged": true})
    );
    jira.wait_for("both streams", |seen| seen.listeners == 2)
        .await;
    jira.notify_list_changed(Kind::Tools);
    jira.notify_list_changed(Kind::Prompts);
    assert_eq!(
        get.next_value().await["method"],
        "notifications/tools/list_changed"
    );
    assert_eq!(
        get.next_value().await["method"],
        "notifications/prompts/list_changed"
    );
    let event = listen.next_value().await;
    assert_eq!(event["method"], "notifications/prompts/list_changed");
    assert_eq!(
        event["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        4242
    );
    jira.forget_sessions();
    assert_eq!(get.next().await, None);
    drop(listen);
    drop(modern);
    jira.wait_for("no streams", |seen| seen.listeners == 0)
        .await;
}

#[tokio::test]
async fn prompts_resources_and_completion_are_there() {
    let docs = Upstream::named("docs")
        .prompts(["greet"])
        .resources(["file:///a"])
        .templates(["note://{id}"])
        .start()
        .await;
    let modern = Modern::new(docs.url());
    let legacy = Legacy::open(docs.url(), "2025-11-25").await;
    assert_eq!(
        names(&modern.list_all("resources/list").await, "uri"),
        ["file:///a"]
    );
    assert_eq!(
        names(
            &legacy.list_all("resources/templates/list").await,
            "uriTemplate"
        ),
        ["note://{id}"]
    );
    let prompt = legacy
        .request("prompts/get", r#"{"name":"greet"}"#)
        .await
        .value();
    assert_eq!(prompt["messages"][0]["content"]["text"], "docs.greet {}");
    let note = modern
        .request("resources/read", r#"{"uri":"note://7"}"#)
        .await
        .value();
    assert_eq!(note["contents"][0]["uri"], "note://7");
    assert_eq!(
        modern
            .request("resources/read", r#"{"uri":"x:"}"#)
            .await
            .code(),
        -32602
    );
    assert_eq!(
        legacy
            .request("resources/read", r#"{"uri":"x:"}"#)
            .await
            .code(),
        -32002
    );
    let asked =
        r#"{"ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"topic","value":"w"}}"#;
    let completion = modern.request("completion/complete", asked).await.value();
    assert_eq!(
        completion["completion"]["values"],
        json!(["docs completes w"])
    );
}

#[tokio::test]
async fn input_is_asked_for_once() {
    let jira = Upstream::named("jira")
        .modern()
        .asks_input("who")
        .start()
        .await;
    let modern = Modern::new(jira.url());
    let first = modern.call("who", "{}").await.value();
    assert_eq!(first["resultType"], "input_required");
    let retry = json!({"name": "who", "arguments": {}, "requestState": first["requestState"],
        "inputResponses": {"who": {"action": "accept"}}});
    let second: Value = modern
        .request("tools/call", &retry.to_string())
        .await
        .value();
    assert_eq!(second["resultType"], "complete");
    let forged = retry.to_string().replace('☂', "x");
    assert_eq!(modern.request("tools/call", &forged).await.code(), -32602);
}

#[tokio::test]
async fn logs_come_whether_or_not_they_were_asked_for() {
    let chatty = Upstream::named("chatty")
        .logs("talk", ["debug", "error"])
        .start()
        .await;
    let reply = Modern::new(chatty.url()).call("talk", "{}").await;
    let logs = reply.notifications("notifications/message");
    let levels: Vec<_> = logs.iter().map(|log| &log["params"]["level"]).collect();
    assert_eq!(levels, ["debug", "error"]);
}
