//! The same through two weirs, each of which replaces ids, tokens and names by its own.

use serde_json::json;

use super::{ABLE, able, begun, over};
use crate::support::asking::Asking;
use crate::support::client::{Legacy, names};
use crate::support::weir::Weir;
use crate::support::{at, quote};

const CAN: &str = r#"{"tools":{"listChanged":true},"resources":{"subscribe":true},"logging":{},"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}}"#;
const RELATED: &str = "io.modelcontextprotocol/related-task";

/// Starts an upstream, a weir over it, and a weir over that weir.
async fn rig() -> (Asking, Weir, Weir) {
    let up = Asking::named("up")
        .tools(["ask"])
        .resources(["file:///x"])
        .capabilities(CAN)
        .start()
        .await;
    let inner = over([&up]).await;
    let yaml = format!("  in:\n    url: \"{}\"\n", inner.url());
    let outer = Weir::with(&yaml).start().await;
    outer.wait_tools(["in__up__ask"]).await;
    (up, inner, outer)
}

#[tokio::test]
async fn requests_of_upstreams_and_their_answers_pass_every_hop() {
    let (up, _inner, outer) = rig().await;
    let (one, two) = (able(&outer).await, able(&outer).await);
    let question = |who: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{{"message":"{who}","x":1e400,"_meta":{{"progressToken":"t","{RELATED}":{{"taskId":"7"}}}}}}}}"#
        )
    };
    let mut rounds = Vec::new();
    for (caller, who) in [(&one, "one"), (&two, "two")] {
        let ask = super::calls(caller, "in__up__ask").id("1");
        let (stream, call) = begun(ask, &up, &question(who)).await;
        rounds.push((caller, who, stream, call));
    }
    assert_ne!(rounds[0].3.session, rounds[1].3.session);
    for (caller, who, mut stream, call) in rounds {
        let asked = stream.next().await.unwrap();
        assert_eq!(at(&asked, &["params", "message"]), Some(quote(who)));
        assert_eq!(at(&asked, &["params", "x"]).as_deref(), Some("1e400"));
        let task = at(&asked, &["params", "_meta", RELATED, "taskId"]);
        assert_eq!(task.as_deref(), Some("\"in.up.7\""));
        let token = at(&asked, &["params", "_meta", "progressToken"]).unwrap();
        let params = format!(r#"{{"progressToken":{token},"progress":1,"who":"{who}"}}"#);
        caller.notify("notifications/progress", &params).await;
        up.wait_for("progress", |seen| {
            seen.of("notifications/progress").any(|got| {
                got.value["params"] == json!({"progressToken":"t","progress":1,"who":who})
            })
        })
        .await;
        let id = at(&asked, &["id"]).unwrap();
        let result = |task: &str| {
            format!(r#"{{"who":"{who}","n":1e400,"_meta":{{"{RELATED}":{{"taskId":"{task}"}}}}}}"#)
        };
        let answer = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#,
            result("in.up.7")
        );
        caller.post(&answer).await;
        up.wait_for("the answer", |seen| {
            seen.of("").any(|got| {
                got.header("mcp-session-id") == Some(&call.session)
                    && got.raw(&["result"]) == Some(result("7"))
                    && got.raw(&["id"]).as_deref() == Some("\"q\"")
            })
        })
        .await;
        call.answer(r#"{"content":[],"x":1e400}"#).await;
        let reply = stream.finish().await;
        assert_eq!(reply.result(), r#"{"content":[],"x":1e400}"#);
    }
}

#[tokio::test]
async fn messages_outside_of_calls_pass_every_hop() {
    let (up, inner, outer) = rig().await;
    let caller = able(&outer).await;
    let mut own = caller.listen().await;
    let uri = names(&caller.list_all("resources/list").await, "uri").remove(0);
    let reply = caller
        .request(
            "resources/subscribe",
            &format!(r#"{{"uri":{}}}"#, quote(&uri)),
        )
        .await;
    assert_eq!(reply.result(), "{}");
    let set = caller
        .request("logging/setLevel", r#"{"level":"error"}"#)
        .await;
    assert_eq!(set.result(), "{}");
    let told = up.wait_count("logging/setLevel", 1).await;
    let session = told.header("mcp-session-id").unwrap().to_owned();
    let capabilities = up.requests("initialize").pop().unwrap();
    assert_eq!(
        capabilities.raw(&["params", "capabilities"]).as_deref(),
        Some(ABLE)
    );
    let updated = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///x","x":1e400}}"#;
    up.tell(&session, updated).await;
    assert_eq!(
        own.next().await.unwrap(),
        updated.replace("file:///x", &uri)
    );
    let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":1e400}}"#;
    up.tell(&session, log).await;
    assert_eq!(own.next().await.unwrap(), log);
    up.tell(
        &session,
        r#"{"jsonrpc":"2.0","id":9,"method":"roots/list"}"#,
    )
    .await;
    let asked = own.next().await.unwrap();
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{},"result":{{"roots":[]}}}}"#,
        at(&asked, &["id"]).unwrap()
    );
    caller.post(&body).await;
    up.answered("9").await;
    caller
        .notify("notifications/roots/list_changed", "{}")
        .await;
    up.wait_count("notifications/roots/list_changed", 1).await;
    // With the session at the outer weir, the sessions behind it end.
    caller.delete().await;
    up.left(&session).await;
    drop((inner, outer));
}

#[tokio::test]
async fn a_task_has_the_names_of_all_hops_before_its_own() {
    let (up, _inner, outer) = rig().await;
    let caller = able(&outer).await;
    let through = async |method: &str, params: &str, answer: &str| {
        let upstream = async {
            let call = up.call().await;
            let params = call.request.raw(&["params"]).unwrap();
            call.answer(answer).await;
            params
        };
        let (reply, sent) = tokio::join!(caller.request(method, params), upstream);
        (reply.result(), sent)
    };
    let (made, sent) = through(
        "tools/call",
        r#"{"name":"in__up__ask","task":{"ttl":1e400}}"#,
        r#"{"task":{"taskId":"7","ttl":1e400}}"#,
    )
    .await;
    assert_eq!(made, r#"{"task":{"taskId":"in.up.7","ttl":1e400}}"#);
    assert_eq!(at(&sent, &["task"]).as_deref(), Some(r#"{"ttl":1e400}"#));
    let (state, sent) = through(
        "tasks/get",
        r#"{"taskId":"in.up.7"}"#,
        r#"{"taskId":"7","x":1e400}"#,
    )
    .await;
    assert_eq!(state, r#"{"taskId":"in.up.7","x":1e400}"#);
    assert_eq!(at(&sent, &["taskId"]).as_deref(), Some("\"7\""));
    let (all, _) = through("tasks/list", "{}", r#"{"tasks":[{"taskId":"7"}]}"#).await;
    assert_eq!(
        at(&all, &["tasks"]).as_deref(),
        Some(r#"[{"taskId":"in.up.7"}]"#)
    );
}

#[tokio::test]
async fn a_stream_that_pauses_pauses_on_every_hop() {
    let (up, _inner, outer) = rig().await;
    for version in ["2025-11-25", "2025-06-18"] {
        let caller = Legacy::open_with(outer.url(), version, ABLE).await;
        let upstream = async {
            let call = up.call().await;
            let id = call.id.clone();
            call.write("id: e1\nretry: 20\ndata: \n\n").await;
            drop(call);
            let resumed = up.resumed().await;
            resumed
                .say(&format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"x":1e400}}}}"#
                ))
                .await;
        };
        let call = super::calls(&caller, "in__up__ask");
        let (reply, ()) = tokio::join!(call.send(), upstream);
        let reply = match version {
            "2025-11-25" => {
                caller
                    .read_on(&reply.last_id().unwrap())
                    .await
                    .finish()
                    .await
            }
            _ => reply,
        };
        assert_eq!(reply.result(), r#"{"x":1e400}"#, "{version}");
    }
}
