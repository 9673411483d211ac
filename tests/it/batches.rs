//! Batches, which only callers in sessions of 2025-03-26 may send.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::client::{Legacy, Reply};
use crate::support::upstream::{Fault, On, Shape, Times, Upstream};
use crate::support::weir::Weir;
use crate::upstreams::{failed, works};

async fn up() -> (Upstream, Weir, Legacy) {
    let up = Upstream::named("up").tools(["quick"]).gate("slow");
    let up = up.progress("steps", 3).legacy("2025-03-26").start().await;
    let weir = Weir::over([&up]).start().await;
    let legacy = weir.legacy("2025-03-26").await;
    (up, weir, legacy)
}

fn call(id: u32, tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": format!("up__{tool}"), "arguments": {"id": id}, "_meta": {"progressToken": id}}})
}

fn note(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

/// Returns the responses by id, from one array or from events.
fn answers(reply: &Reply) -> BTreeMap<String, Value> {
    assert_eq!(reply.status, 200, "{reply:?}");
    let messages: Vec<Value> = match reply.events.is_empty() {
        true => serde_json::from_slice(&reply.body).unwrap(),
        false => {
            let events = reply
                .events
                .iter()
                .map(|event| serde_json::from_str(event).unwrap());
            events.collect()
        }
    };
    let answers = messages
        .into_iter()
        .filter(|message| message.get("method").is_none());
    answers
        .map(|answer| (answer["id"].to_string(), answer))
        .collect()
}

#[tokio::test]
async fn every_request_of_a_batch_is_answered_and_nothing_else() {
    let (up, _weir, legacy) = up().await;
    let batch = json!([
        call(1, "quick"),
        note("notifications/progress", json!({})),
        {"jsonrpc": "2.0", "id": "ping", "method": "ping"},
        {"jsonrpc": "2.0", "id": 99, "result": {}},
        {"jsonrpc": "2.0", "id": 2, "method": "no/method"},
        {"jsonrpc": "1.0", "id": 3, "method": "ping"},
        7,
        call(4, "nope"),
    ]);
    let reply = legacy.post(&batch.to_string()).await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let answers = answers(&reply);
    assert_eq!(
        answers["1"]["result"]["content"][0]["text"],
        r#"up.quick {"id":1}"#
    );
    assert_eq!(answers["\"ping\""]["result"], json!({}));
    for (id, code) in [
        ("2", -32601),
        ("3", -32600),
        ("null", -32600),
        ("4", -32602),
    ] {
        assert_eq!(answers[id]["error"]["code"], code, "{answers:?}");
    }
    assert_eq!(answers.len(), 6);
    assert_eq!(up.count("tools/call"), 1);
    let silent =
        json!([note("notifications/x", json!({})), {"jsonrpc": "2.0", "id": 9, "result": {}}]);
    let reply = legacy.post(&silent.to_string()).await;
    assert_eq!((reply.status, reply.body.len()), (202, 0));
}

#[tokio::test]
async fn what_comes_before_an_answer_makes_a_batch_a_stream() {
    let (up, _weir, legacy) = up().await;
    let batch = json!([call(1, "quick"), call(2, "steps"), call(3, "steps")]).to_string();
    let reply = legacy.post(&batch).await;
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    assert_eq!(
        answers(&reply).into_keys().collect::<Vec<_>>(),
        ["1", "2", "3"]
    );
    for token in [2, 3] {
        let steps = reply.notifications("notifications/progress").into_iter();
        let steps = steps.filter(|step| step["params"]["progressToken"] == token);
        let steps: Vec<_> = steps
            .map(|step| step["params"]["progress"].clone())
            .collect();
        assert_eq!(steps, [1, 2, 3], "{reply:?}");
    }
    // A caller that accepts no streams gets the responses only.
    let ask = legacy.ask("x", "{}").header("accept", "application/json");
    let reply = ask.send_body(&batch).await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(answers(&reply).len(), 3);
    assert_eq!(up.count("tools/call"), 6);
}

#[tokio::test]
async fn a_request_of_a_batch_can_be_taken_back() {
    let (up, _weir, legacy) = up().await;
    let batch = json!([call(1, "slow"), call(2, "quick")]).to_string();
    let cancel = async {
        up.wait_running("slow", 1).await;
        let accepted = legacy
            .notify("notifications/cancelled", r#"{"requestId":1}"#)
            .await;
        assert_eq!(accepted.status, 202);
        up.wait_running("slow", 0).await;
    };
    let (reply, ()) = tokio::join!(legacy.post(&batch), cancel);
    assert_eq!(answers(&reply).into_keys().collect::<Vec<_>>(), ["2"]);
}

#[tokio::test]
async fn a_batch_goes_on_when_its_caller_leaves() {
    for tools in [["slow", "slow"], ["steps", "slow"]] {
        let (up, _weir, legacy) = up().await;
        let batch = json!([call(1, tools[0]), call(2, tools[1])]).to_string();
        let slow = tools.iter().filter(|tool| **tool == "slow").count();
        tokio::select! {
            reply = legacy.post(&batch) => panic!("nobody released it: {reply:?}"),
            () = up.wait_running("slow", slow) => {}
        }
        // That connection is closed. Another request passes meanwhile.
        assert!(legacy.call("up__quick", "{}").await.succeeded());
        up.wait_running("slow", slow).await;
        for _ in 0..slow {
            up.release("slow");
        }
        up.wait_running("slow", 0).await;
        assert_eq!(up.log().seen().cancelled, []);
    }
}

#[tokio::test]
async fn a_batch_is_bounded() {
    let (up, weir, legacy) = up().await;
    let pings = |count: usize| {
        let ping = |id| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
        Value::Array((0..count).map(ping).collect()).to_string()
    };
    assert_eq!(answers(&legacy.post(&pings(100)).await).len(), 100);
    let initialize = json!([call(1, "quick"), {"jsonrpc": "2.0", "id": 2, "method": "initialize", "params": {}}]);
    let mut refused = vec![pings(101), "[]".to_owned(), initialize.to_string()];
    refused.push(format!("[{}1]", "1,".repeat(2_000_000)));
    for batch in refused {
        let reply = legacy.post(&batch).await;
        let what = batch.chars().take(80).collect::<String>();
        assert_eq!((reply.status, reply.code()), (400, -32600), "{what}");
    }
    let broken = legacy.post("[{\"jsonrpc\":\"2.0\"},").await;
    assert_eq!((broken.status, broken.code()), (400, -32700));
    let stranger = Legacy::resume(weir.url(), "unknown", "2025-03-26");
    assert_eq!(stranger.post(&pings(1)).await.status, 404);
    assert_eq!(up.count("tools/call"), 0);
}

#[tokio::test]
async fn arrays_of_messages_of_an_upstream_are_taken_apart() {
    for shape in [Shape::Json, Shape::Sse] {
        for version in ["2025-03-26", "2025-11-25"] {
            let ann = Upstream::named("ann").tools(["search"]).legacy(version);
            let listed = On::Method("tools/list".to_owned());
            let called = On::Method("tools/call".to_owned());
            let ann = ann
                .json()
                .fault(listed, Times::Forever, Fault::Batch(shape))
                .fault(called, Times::Forever, Fault::Batch(shape));
            let ann = ann.start().await;
            let weir = Weir::over([&ann]).start().await;
            weir.wait_tools(["ann__search"]).await;
            works(&weir, "ann").await;
        }
    }
}

#[tokio::test]
async fn a_modern_upstream_has_no_arrays_of_messages() {
    let called = On::Method("tools/call".to_owned());
    let ann = Upstream::named("ann").tools(["search"]).modern().json();
    let ann = ann.fault(called, Times::Forever, Fault::Batch(Shape::Json));
    let ann = ann.start().await;
    let weir = Weir::over([&ann]).start().await;
    weir.wait_tools(["ann__search"]).await;
    failed(&weir.modern().call("ann__search", "{}").await, "ann");
}
