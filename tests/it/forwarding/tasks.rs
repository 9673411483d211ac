//! Tasks: those of 2025-11-25, and the modern extension (SEP-2663).

use serde_json::{Value, json};

use super::{able, begun, calls, over};
use crate::support::asking::Asking;
use crate::support::client::{Ask, Modern, Reply};
use crate::support::weir::Weir;
use crate::support::{at, quote};

const CAN: &str =
    r#"{"tools":{},"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}}"#;
const EXTENSION: &str = "io.modelcontextprotocol/tasks";
const RELATED: &str = "io.modelcontextprotocol/related-task";

async fn legacy(name: &str) -> Asking {
    Asking::named(name)
        .tools(["slow"])
        .capabilities(CAN)
        .start()
        .await
}

/// Sends a request and answers it at the upstream. Returns the reply, and the params that arrived
/// at the upstream.
async fn through(ask: Ask<'_>, up: &Asking, answer: &str) -> (Reply, String) {
    let upstream = async {
        let call = up.call().await;
        let params = call.request.raw(&["params"]).unwrap();
        call.answer(answer).await;
        params
    };
    tokio::join!(ask.send(), upstream)
}

#[tokio::test]
async fn the_id_of_a_legacy_task_names_its_upstream() {
    let up = legacy("up").await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    assert!(caller.welcome["capabilities"]["tasks"]["requests"]["tools"]["call"].is_object());
    let params = r#"{"name":"up__slow","task":{"ttl":1e3,"x":1e400}}"#;
    let made = r#"{"task":{"taskId":"7\u002e1","ttl":1e400,"status":"working"},"z":1e400}"#;
    let (reply, sent) = through(caller.ask("tools/call", params), &up, made).await;
    assert_eq!(
        at(&sent, &["task"]).as_deref(),
        Some(r#"{"ttl":1e3,"x":1e400}"#)
    );
    let wrapped = made.replace(r"7\u002e1", "up.7.1");
    assert_eq!(reply.result(), wrapped);

    for method in ["tasks/get", "tasks/cancel"] {
        let state = r#"{"taskId":"7.1","status":"working","ttl":1e400}"#;
        let (reply, sent) = through(
            caller.ask(method, r#"{"taskId":"up.7.1","x":1e400}"#),
            &up,
            state,
        )
        .await;
        assert_eq!(
            at(&sent, &["taskId"]).as_deref(),
            Some("\"7.1\""),
            "{method}"
        );
        assert_eq!(at(&sent, &["x"]).as_deref(), Some("1e400"));
        assert_eq!(reply.result(), state.replace("7.1", "up.7.1"));
    }
    let done =
        format!(r#"{{"content":[{{"taskId":"7.1"}}],"_meta":{{"{RELATED}":{{"taskId":"7.1"}}}}}}"#);
    let (reply, _) = through(
        caller.ask("tasks/result", r#"{"taskId":"up.7.1"}"#),
        &up,
        &done,
    )
    .await;
    let expected = done.replacen(r#"k":{"taskId":"7.1""#, r#"k":{"taskId":"up.7.1""#, 1);
    assert_eq!(reply.result(), expected);
    for id in ["7.1", "other.7", "up", "\\u0000"] {
        let reply = caller
            .request("tasks/get", &format!(r#"{{"taskId":"{id}"}}"#))
            .await;
        assert_eq!(reply.code(), -32602, "{id}");
    }
    let update = caller.request("tasks/update", r#"{"taskId":"up.7"}"#).await;
    assert_eq!(update.code(), -32601);
}

#[tokio::test]
async fn a_request_of_a_task_names_its_task_in_both_directions() {
    let up = legacy("up").await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    let own = |id: &str| format!(r#"{{"a":1e400,"{RELATED}":{{"taskId":"{id}","b":1e400}}}}"#);
    let question = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{{"message":"?","_meta":{}}}}}"#,
        own("7")
    );
    let ask = caller.ask("tasks/result", r#"{"taskId":"up.7"}"#);
    let (mut stream, call) = begun(ask, &up, &question).await;
    let asked = stream.next().await.unwrap();
    assert_eq!(at(&asked, &["params", "_meta"]), Some(own("up.7")));
    let id = at(&asked, &["id"]).unwrap();
    let result = format!(r#"{{"action":"accept","n":1e400,"_meta":{}}}"#, own("up.7"));
    caller
        .post(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
        ))
        .await;
    let back = up.answered("1").await;
    let expected = format!(r#"{{"action":"accept","n":1e400,"_meta":{}}}"#, own("7"));
    assert_eq!(at(&back, &["result"]), Some(expected));
    call.answer("{}").await;
    assert!(stream.finish().await.succeeded());
}

#[tokio::test]
async fn the_status_of_a_task_comes_on_the_stream_of_its_caller() {
    let up = legacy("up").await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    let mut own = caller.listen().await;
    let upstream = async {
        let call = up.call().await;
        let session = call.session.clone();
        call.answer(r#"{"task":{"taskId":"7"}}"#).await;
        session
    };
    let params = r#"{"name":"up__slow","task":{}}"#;
    let (_, session) = tokio::join!(caller.request("tools/call", params), upstream);
    let status = r#"{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"7","status":"completed","x":1e400}}"#;
    up.tell(&session, status).await;
    assert_eq!(
        own.next().await.unwrap(),
        status.replace("\"7\"", "\"up.7\"")
    );
    // It comes on the stream of a call too.
    let (mut stream, call) = begun(calls(&caller, "up__slow"), &up, status).await;
    assert_eq!(
        stream.next().await.unwrap(),
        status.replace("\"7\"", "\"up.7\"")
    );
    call.answer("{}").await;
    stream.finish().await;
}

#[tokio::test]
async fn progress_keeps_the_callers_token_after_the_call_became_a_task() {
    let up = legacy("up").await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    let mut own = caller.listen().await;
    let began = async |params: &str, answer: &'static str| {
        let upstream = async {
            let call = up.call().await;
            let token = call
                .request
                .raw(&["params", "_meta", "progressToken"])
                .unwrap();
            let session = call.session.clone();
            call.answer(answer).await;
            (token, session)
        };
        tokio::join!(caller.request("tools/call", params), upstream).1
    };
    let params = r#"{"name":"up__slow","task":{},"_meta":{"progressToken":"t\u0031"}}"#;
    let (token, session) = began(params, r#"{"task":{"taskId":"7"}}"#).await;
    let (over, _) = began(&params.replace("\"task\":{},", ""), r#"{"content":[]}"#).await;
    let progress = |token: &str, id: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1e400,"_meta":{{"{RELATED}":{{"taskId":"{id}"}}}}}}}}"#
        )
    };
    // A finished task has no progress any more.
    up.tell(&session, &progress(&over, "8")).await;
    up.tell(&session, &progress(&token, "7")).await;
    let expected = progress(r#""t\u0031""#, "up.7");
    assert_eq!(own.next().await.unwrap(), expected);
    // It comes on the stream of `tasks/result` too.
    let ask = caller.ask("tasks/result", r#"{"taskId":"up.7"}"#);
    let (mut stream, call) = begun(ask, &up, &progress(&token, "7")).await;
    assert_eq!(stream.next().await.unwrap(), expected);
    call.answer("{}").await;
    assert!(stream.finish().await.succeeded());
}

#[tokio::test]
async fn tasks_are_listed_upstream_after_upstream() {
    let (a, b) = (legacy("a").await, legacy("b").await);
    let plain = Asking::named("plain").tools(["slow"]).start().await;
    let weir = over([&a, &plain, &b]).await;
    let caller = able(&weir).await;
    let page =
        |id: &str, next: &str| format!(r#"{{"tasks":[{{"taskId":"{id}","x":1e400}}]{next}}}"#);
    let (first, sent) = through(
        caller.ask("tasks/list", "{}"),
        &a,
        &page("1", r#","nextCursor":"c:\u0031""#),
    )
    .await;
    assert_eq!(at(&sent, &["cursor"]), None);
    assert_eq!(
        at(&first.result(), &["tasks"]).unwrap(),
        r#"[{"taskId":"a.1","x":1e400}]"#
    );
    let next = |reply: &Reply| {
        format!(
            r#"{{"cursor":{}}}"#,
            at(&reply.result(), &["nextCursor"]).unwrap()
        )
    };
    let (second, sent) = through(caller.ask("tasks/list", &next(&first)), &a, &page("2", "")).await;
    assert_eq!(at(&sent, &["cursor"]).as_deref(), Some("\"c:1\""));
    let (third, sent) = through(caller.ask("tasks/list", &next(&second)), &b, &page("1", "")).await;
    assert_eq!(at(&sent, &["cursor"]), None);
    assert_eq!(third.value_of("tasks"), r#"[{"taskId":"b.1","x":1e400}]"#);
    assert_eq!(at(&third.result(), &["nextCursor"]), None);
    for bad in ["\"x\"", "\"9999999999999999999999:\"", "1", "\":\""] {
        let reply = caller
            .request("tasks/list", &format!(r#"{{"cursor":{bad}}}"#))
            .await;
        assert_eq!(reply.code(), -32602, "{bad}");
    }
    assert_eq!(
        plain.count("initialize"),
        1,
        "no session where there are no tasks"
    );
    // An upstream that forgot its sessions still has its tasks.
    a.forget();
    let (reply, _) = through(caller.ask("tasks/list", "{}"), &a, &page("1", "")).await;
    assert_eq!(reply.value_of("tasks"), r#"[{"taskId":"a.1","x":1e400}]"#);
}

impl Reply {
    fn value_of(&self, member: &str) -> String {
        at(&self.result(), &[member]).unwrap()
    }
}

#[tokio::test]
async fn an_upstream_without_tasks_is_not_asked_for_one() {
    let up = Asking::named("up").tools(["slow"]).start().await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    assert_eq!(caller.welcome["capabilities"].get("tasks"), None);
    let params = r#"{"name":"up__slow","task":{"ttl":1},"x":1e400}"#;
    let (reply, sent) = through(caller.ask("tools/call", params), &up, r#"{"content":[]}"#).await;
    assert_eq!(at(&sent, &["task"]), None);
    assert_eq!(at(&sent, &["x"]).as_deref(), Some("1e400"));
    assert_eq!(reply.result(), r#"{"content":[]}"#);
}

#[tokio::test]
async fn where_no_upstream_has_tasks_their_methods_are_unknown() {
    let old = Asking::named("old").tools(["slow"]).start().await;
    let new = Asking::named("new").tools(["slow"]).modern().start().await;
    let weir = over([&old, &new]).await;
    let mut knows_tasks = weir.modern();
    knows_tasks.capabilities = format!(r#"{{"extensions":{{"{EXTENSION}":{{}}}}}}"#);
    for caller in [weir.modern(), knows_tasks] {
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let ask = caller.ask(method, r#"{"taskId":"new.7"}"#);
            let reply = ask.header("mcp-name", "new.7").send().await;
            assert_eq!((reply.status, reply.code()), (404, -32601), "{method}");
        }
    }
    let weir = over([&old]).await;
    let caller = able(&weir).await;
    for method in ["tasks/get", "tasks/result", "tasks/cancel", "tasks/list"] {
        let reply = caller.request(method, r#"{"taskId":"old.7"}"#).await;
        assert_eq!(reply.code(), -32601, "{method}");
    }
}

/// A modern upstream with the extension, and a caller that knows it.
async fn extended(weir_over: &str) -> (Asking, Weir, Modern) {
    let can =
        format!(r#"{{"tools":{{"listChanged":true}},"extensions":{{"{EXTENSION}":{{"a":1}}}}}}"#);
    let up = Asking::named(weir_over)
        .tools(["slow"])
        .capabilities(&can)
        .modern()
        .start()
        .await;
    let weir = over([&up]).await;
    let mut caller = weir.modern();
    caller.capabilities = format!(r#"{{"extensions":{{"{EXTENSION}":{{}}}}}}"#);
    (up, weir, caller)
}

#[tokio::test]
async fn the_id_of_a_modern_task_names_its_upstream() {
    let (up, weir, caller) = extended("up").await;
    let discovered = weir.modern().request("server/discover", "{}").await.value();
    assert!(
        discovered["capabilities"]["extensions"][EXTENSION].is_object(),
        "{discovered}"
    );
    let made = r#"{"resultType":"task","taskId":"7","status":"working","ttlMs":1e400}"#;
    let call = caller
        .ask("tools/call", r#"{"name":"up__slow"}"#)
        .header("mcp-name", "up__slow");
    let (reply, _) = through(call, &up, made).await;
    assert_eq!(reply.result(), made.replace("\"7\"", "\"up.7\""));
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let params = r#"{"taskId":"up.7","inputResponses":{"a":1e400}}"#;
        let state = r#"{"resultType":"complete","taskId":"7","status":"working","x":1e400}"#;
        let ask = caller.ask(method, params).header("mcp-name", "up.7");
        let (reply, sent) = through(ask, &up, state).await;
        assert_eq!(
            reply.result(),
            state.replace("\"7\"", "\"up.7\""),
            "{method}"
        );
        assert_eq!(at(&sent, &["taskId"]).as_deref(), Some("\"7\""));
        assert_eq!(
            at(&sent, &["inputResponses"]).as_deref(),
            Some(r#"{"a":1e400}"#)
        );
        let got = up.requests(method).pop().unwrap();
        assert_eq!(got.header("mcp-name"), Some("7"));
        assert_eq!(got.header("mcp-method"), Some(method));
        let wrong = caller
            .ask(method, params)
            .header("mcp-name", "7")
            .send()
            .await;
        assert_eq!((wrong.status, wrong.code()), (400, -32020), "{method}");
    }
    let unknown = caller
        .ask("tasks/get", r#"{"taskId":"no.7"}"#)
        .header("mcp-name", "no.7");
    assert_eq!(unknown.send().await.code(), -32602);
    for gone in ["tasks/result", "tasks/list"] {
        let reply = caller
            .ask(gone, r#"{"taskId":"up.7"}"#)
            .header("mcp-name", "up.7")
            .send()
            .await;
        assert_eq!((reply.status, reply.code()), (404, -32601), "{gone}");
    }
    let plain = weir.modern();
    let reply = plain
        .ask("tasks/get", r#"{"taskId":"up.7"}"#)
        .header("mcp-name", "up.7")
        .send()
        .await;
    assert_eq!((reply.status, reply.code()), (400, -32021));
}

#[tokio::test]
async fn a_modern_listener_follows_tasks_under_their_exposed_ids() {
    let (up, _weir, caller) = extended("up").await;
    let mut stream = caller.listen("9", r#"{"taskIds":["up.7","no.1"]}"#).await;
    let acknowledged = stream.next_value().await;
    assert_eq!(
        acknowledged["params"]["notifications"],
        json!({"taskIds":["up.7"]})
    );
    let follows = |wishes: &Value| wishes["taskIds"] == json!(["7"]);
    let params = r#"{"taskId":"7","status":"completed","x":1e400}"#;
    assert_eq!(up.publish("notifications/tasks", params, follows).await, 1);
    let told = stream.next().await.unwrap();
    assert_eq!(at(&told, &["params", "taskId"]), Some(quote("up.7")));
    assert_eq!(at(&told, &["params", "x"]).as_deref(), Some("1e400"));
    assert_eq!(
        at(&told, &["method"]).as_deref(),
        Some("\"notifications/tasks\"")
    );
}

#[tokio::test]
async fn a_task_goes_to_its_upstream_whatever_the_others_are_called() {
    let (erp, other) = (legacy("erp").await, legacy("erp.").await);
    let weir = over([&erp, &other]).await;
    let caller = able(&weir).await;
    // `erp` may try to make an id that reads as one of the other upstream.
    for theirs in [".7", "..7", ".x.7", "7", "~1.7"] {
        let made = format!(r#"{{"task":{{"taskId":"{theirs}"}}}}"#);
        let params = r#"{"name":"erp__slow","task":{}}"#;
        let (reply, _) = through(caller.ask("tools/call", params), &erp, &made).await;
        let id = reply.value()["task"]["taskId"].as_str().unwrap().to_owned();
        let state = format!(r#"{{"taskId":"{theirs}","status":"working"}}"#);
        let get = caller.ask("tasks/get", &format!(r#"{{"taskId":"{id}"}}"#));
        let (reply, sent) = through(get, &erp, &state).await;
        assert!(reply.succeeded(), "{reply:?}");
        assert_eq!(at(&sent, &["taskId"]), Some(quote(theirs)), "{id}");
    }
    assert_eq!(other.count("tasks/get"), 0);
}
