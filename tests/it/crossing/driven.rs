//! Tasks do not cross eras: weir follows them to their end, and the caller gets that as the answer to
//! its call.

use serde_json::json;

use crate::support::asking::{Asking, Call};
use crate::support::client::{Legacy, Reply, call_params, encoded};
use crate::support::weir::Weir;
use crate::support::{at, quote};

const V: &str = "2025-11-25";
const ABLE: &str = r#"{"elicitation":{},"tasks":{}}"#;
const TASKS: &str = "io.modelcontextprotocol/tasks";
const EXTENSION: &str = r#"{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
const FORM: &str = r#"{"method":"elicitation/create","params":{"mode":"form","message":"\u0041?","requestedSchema":{"type":"object","properties":{}}}}"#;
/// The id of the task, which no header carries as it is.
const ID: &str = "t\u{e9} 1";
const DONE: &str = r#"{"content":[{"type":"text","text":"done"}],"n":1e400}"#;

async fn modern() -> Asking {
    Asking::named("up")
        .tools(["slow"])
        .capabilities(EXTENSION)
        .modern()
        .start()
        .await
}

async fn able(weir: &Weir) -> Legacy {
    Legacy::open_with(weir.url(), V, ABLE).await
}

/// The answer of a modern server to a call.
fn made() -> String {
    let id = quote(ID);
    format!(
        r#"{{"resultType":"task","taskId":{id},"status":"working","createdAt":"x","lastUpdatedAt":"x","ttlMs":1e400,"pollIntervalMs":100}}"#
    )
}

/// Its answer to `tasks/get`.
fn state(status: &str, more: &str) -> String {
    let id = quote(ID);
    format!(
        r#"{{"resultType":"complete","taskId":{id},"status":"{status}","pollIntervalMs":100{more}}}"#
    )
}

/// The next request, which has this method. Cancellations come whenever they come.
async fn next(up: &Asking, method: &str) -> Call {
    loop {
        let call = up.call().await;
        if call.request.method != "tasks/cancel" {
            assert_eq!(call.request.method, method);
            return call;
        }
    }
}

/// The next request about the task.
async fn about(up: &Asking, method: &str) -> Call {
    let call = next(up, method).await;
    let id = call.request.raw(&["params", "taskId"]);
    assert_eq!(id, Some(quote(ID)), "{method}");
    call
}

/// Makes a call, which becomes a task and then has these states.
async fn driven(caller: &Legacy, up: &Asking, states: &[String]) -> Reply {
    let upstream = async {
        next(up, "tools/call").await.answer(&made()).await;
        for state in states {
            about(up, "tasks/get").await.answer(state).await;
        }
    };
    let (reply, ()) = tokio::join!(caller.call("up__slow", "{}"), upstream);
    reply
}

#[tokio::test]
async fn a_legacy_caller_gets_the_result_of_a_modern_task() {
    let up = modern().await;
    let weir = Weir::with(&up.yaml()).start().await;
    let caller = able(&weir).await;
    assert!(caller.welcome["capabilities"].get("tasks").is_none());
    let params = r#"{"name":"up__slow","arguments":{"n":1e400},"task":{"ttl":1}}"#;
    let ask = caller.ask("tools/call", params).id("\"mine\"");
    let upstream = async {
        let call = up.call().await;
        let raw = |call: &Call, path: &[&str]| call.request.raw(path);
        let token = raw(&call, &["params", "_meta", "progressToken"]).unwrap();
        assert_eq!(raw(&call, &["params", "task"]), None);
        let key = "io.modelcontextprotocol/clientCapabilities";
        let declared = raw(&call, &["params", "_meta", key]).unwrap();
        assert_eq!(at(&declared, &["elicitation"]).as_deref(), Some("{}"));
        assert_eq!(at(&declared, &["extensions", TASKS]).as_deref(), Some("{}"));
        let trace = raw(&call, &["params", "_meta", "traceparent"]);
        call.answer(&made()).await;

        let poll = about(&up, "tasks/get").await;
        assert_eq!(poll.request.header("mcp-method"), Some("tasks/get"));
        let name = encoded(ID);
        assert_eq!(poll.request.header("mcp-name"), Some(name.as_str()));
        assert_eq!(raw(&poll, &["params", "arguments"]), None);
        assert_eq!(raw(&poll, &["params", "_meta", "progressToken"]), None);
        assert_eq!(raw(&poll, &["params", "_meta", "traceparent"]), trace);
        assert_eq!(raw(&poll, &["params", "_meta", key]), Some(declared));
        poll.say(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#
        ))
        .await;
        poll.answer(&state("working", "")).await;
        let poll = about(&up, "tasks/get").await;
        poll.answer(&state("completed", &format!(r#","result":{DONE}"#)))
            .await;
    };
    let ask = ask.meta("progressToken", "\"t\"");
    let (reply, ()) = tokio::join!(ask.send(), upstream);
    assert_eq!(reply.id().as_deref(), Some("\"mine\""));
    assert_eq!(reply.result(), DONE);
    let told = reply.notifications("notifications/progress");
    let expected = json!({"progressToken": "t", "progress": 1});
    assert_eq!(told.len(), 1, "{reply:?}");
    assert_eq!(told[0]["params"], expected);
    assert_eq!((up.count("tools/call"), up.count("tasks/get")), (1, 2));
    // It is over there, so nothing is cancelled.
    assert!(caller.request("ping", "{}").await.succeeded());
    assert_eq!(up.count("tasks/cancel"), 0);
}

#[tokio::test]
async fn a_modern_task_that_fails_ends_the_call_as_its_caller_knows_it() {
    let up = modern().await;
    let weir = Weir::with(&up.yaml()).start().await;
    let caller = able(&weir).await;
    let failed = r#"{"content":[],"isError":true}"#;
    let completed = state("completed", &format!(r#","result":{failed}"#));
    assert_eq!(driven(&caller, &up, &[completed]).await.result(), failed);

    let error = r#"{"code":-5,"message":"\u0041","data":1e400}"#;
    let failed = state("failed", &format!(r#","error":{error}"#));
    let reply = driven(&caller, &up, &[state("working", ""), failed]).await;
    assert_eq!((reply.status, reply.raw_error().as_str()), (200, error));
    assert_eq!(up.count("tasks/cancel"), 0);

    for (state, words) in [
        (state("cancelled", ""), "was cancelled there"),
        (state("completed", ""), "the state of its task is not MCP"),
        (state("paused", ""), "the state of its task is not MCP"),
    ] {
        let reply = driven(&caller, &up, &[state]).await;
        assert_eq!(reply.value()["isError"], true, "{reply:?}");
        assert!(reply.text().starts_with("upstream `up`: "), "{reply:?}");
        assert!(reply.text().ends_with(words), "{}", reply.text());
    }
    // One that goes on as far as weir knows is cancelled.
    up.wait_count("tasks/cancel", 2).await;
}

#[tokio::test]
async fn the_questions_of_a_modern_task_reach_its_legacy_caller_once() {
    let up = modern().await;
    let weir = Weir::with(&up.yaml()).start().await;
    let caller = able(&weir).await;
    let asks = |keys: &[&str]| {
        let asks = keys.iter().map(|key| format!("\"{key}\":{FORM}"));
        let asks = asks.collect::<Vec<_>>().join(",");
        state("input_required", &format!(r#","inputRequests":{{{asks}}}"#))
    };
    let ask = caller.ask("tools/call", &call_params("up__slow", "{}"));
    let begun = async {
        next(&up, "tools/call").await.answer(&made()).await;
        about(&up, "tasks/get").await.answer(&asks(&["a"])).await;
    };
    let (mut stream, ()) = tokio::join!(ask.stream(), begun);
    for (key, next) in [("a", asks(&["a", "b"])), ("b", state("working", ""))] {
        let asked = stream.next().await.unwrap();
        assert_eq!(at(&asked, &["params"]), at(FORM, &["params"]));
        let id = at(&asked, &["id"]).unwrap();
        let answer = r#"{"action":"accept","content":{"n":1e400}}"#;
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{answer}}}"#);
        assert_eq!(caller.post(&body).await.status, 202);

        let update = about(&up, "tasks/update").await;
        assert_eq!(update.request.header("mcp-method"), Some("tasks/update"));
        let responses = update.request.raw(&["params", "inputResponses"]);
        assert_eq!(responses, Some(format!(r#"{{"{key}":{answer}}}"#)));
        assert_eq!(update.request.raw(&["params", "requestState"]), None);
        update.answer(r#"{"resultType":"complete"}"#).await;
        about(&up, "tasks/get").await.answer(&next).await;
    }
    let poll = about(&up, "tasks/get").await;
    poll.answer(&state("completed", &format!(r#","result":{DONE}"#)))
        .await;
    assert_eq!(stream.finish().await.result(), DONE);
    assert_eq!((up.count("tools/call"), up.count("tasks/update")), (1, 2));
}

#[tokio::test]
async fn a_modern_task_whose_question_has_no_answer_is_cancelled() {
    let up = modern().await;
    let weir = Weir::with(&up.yaml()).start().await;
    let roots = r#","inputRequests":{"a":{"method":"roots/list"}}"#;
    let asks = state("input_required", roots);
    for (at, capabilities) in ["{}", ABLE].into_iter().enumerate() {
        let caller = Legacy::open_with(weir.url(), V, capabilities).await;
        let reply = driven(&caller, &up, std::slice::from_ref(&asks)).await;
        assert_eq!(reply.value()["isError"], true, "{reply:?}");
        let text = "upstream `up` asks its client for `roots`, which";
        assert!(reply.text().starts_with(text), "{}", reply.text());
        let cancel = up.wait_count("tasks/cancel", at + 1).await;
        assert_eq!(cancel.raw(&["params", "taskId"]), Some(quote(ID)));
    }
}

#[tokio::test]
async fn a_caller_that_cancels_its_call_cancels_the_task() {
    let up = modern().await;
    let weir = Weir::with(&up.yaml()).start().await;
    let caller = able(&weir).await;
    let ask = caller.ask("tools/call", &call_params("up__slow", "{}"));
    let ask = ask.id("\"mine\"");
    let call = async {
        let _ = ask.send().await;
        std::future::pending::<()>().await;
    };
    let cancelled = async {
        next(&up, "tools/call").await.answer(&made()).await;
        let poll = about(&up, "tasks/get").await;
        poll.answer(&state("working", "")).await;
        let params = r#"{"requestId":"mine"}"#;
        caller.notify("notifications/cancelled", params).await;
        up.wait_count("tasks/cancel", 1).await
    };
    let cancel = tokio::select! {
        () = call => panic!("a call that never ends"),
        cancel = cancelled => cancel,
    };
    assert_eq!(cancel.raw(&["params", "taskId"]), Some(quote(ID)));
    assert_eq!(cancel.header("mcp-method"), Some("tasks/cancel"));
    assert_eq!(cancel.header("mcp-name"), Some(encoded(ID).as_str()));
}

#[tokio::test]
async fn a_modern_task_has_the_time_of_its_call_and_is_then_cancelled() {
    let up = modern().await;
    let weir = Weir::with(&up.yaml()).top("defaults: { timeouts: { call: 700ms } }");
    let weir = weir.start().await;
    let caller = able(&weir).await;
    let begun = tokio::time::Instant::now();
    let working = async {
        next(&up, "tools/call").await.answer(&made()).await;
        for _ in 0..100 {
            let poll = about(&up, "tasks/get").await;
            poll.answer(&state("working", "")).await;
        }
    };
    let reply = tokio::select! {
        reply = caller.call("up__slow", "{}") => reply,
        () = working => panic!("it was asked about 100 times"),
    };
    assert_eq!((reply.status, reply.code()), (200, -32603), "{reply:?}");
    assert_eq!(reply.error()["data"]["upstream"], "up");
    let took = begun.elapsed().as_millis();
    assert!((600..3000).contains(&took), "{took} ms");
    assert!(up.count("tasks/get") >= 2);
    up.wait_count("tasks/cancel", 1).await;
}

#[tokio::test]
async fn a_request_about_a_task_that_breaks_off_is_made_again() {
    let up = modern().await;
    let weir = Weir::with(&up.yaml()).start().await;
    let caller = able(&weir).await;
    let upstream = async {
        next(&up, "tools/call").await.answer(&made()).await;
        for _ in 0..3 {
            drop(about(&up, "tasks/get").await);
        }
        let poll = about(&up, "tasks/get").await;
        poll.answer(&state("completed", &format!(r#","result":{DONE}"#)))
            .await;
    };
    let (reply, ()) = tokio::join!(caller.call("up__slow", "{}"), upstream);
    assert_eq!(reply.result(), DONE);

    let upstream = async {
        next(&up, "tools/call").await.answer(&made()).await;
        for _ in 0..4 {
            drop(about(&up, "tasks/get").await);
        }
    };
    let (reply, ()) = tokio::join!(caller.call("up__slow", "{}"), upstream);
    assert_eq!((reply.status, reply.code()), (200, -32603), "{reply:?}");
    up.wait_count("tasks/cancel", 1).await;
}

#[tokio::test]
async fn a_task_keeps_the_place_of_its_call() {
    let up = modern().await;
    let weir = Weir::with(&up.yaml()).top("defaults: { limits: { in_flight: 1 } }");
    let weir = weir.start().await;
    let (caller, other) = (able(&weir).await, able(&weir).await);
    let upstream = async {
        next(&up, "tools/call").await.answer(&made()).await;
        for _ in 0..2 {
            let poll = about(&up, "tasks/get").await;
            poll.answer(&state("working", "")).await;
        }
        let poll = about(&up, "tasks/get").await;
        assert_eq!(up.count("tools/call"), 1, "the other call waits");
        poll.answer(&state("completed", &format!(r#","result":{DONE}"#)))
            .await;
        let call = next(&up, "tools/call").await;
        call.answer(r#"{"resultType":"complete","content":[]}"#)
            .await;
    };
    let second = async {
        up.wait_count("tasks/get", 1).await;
        other.call("up__slow", "{}").await
    };
    let (first, second, ()) = tokio::join!(caller.call("up__slow", "{}"), second, upstream);
    assert_eq!(first.result(), DONE);
    assert!(second.succeeded(), "{second:?}");
}

#[tokio::test]
async fn a_caller_that_reads_no_stream_gets_the_result_of_a_task_too() {
    let up = modern().await;
    let weir = Weir::with(&up.yaml()).start().await;
    let caller = able(&weir).await;
    let ask = caller.ask("tools/call", &call_params("up__slow", "{}"));
    let ask = ask.header("accept", "application/json");
    let upstream = async {
        let call = up.call().await;
        let key = "io.modelcontextprotocol/clientCapabilities";
        let declared = call.request.raw(&["params", "_meta", key]);
        let expected = format!(r#"{{"extensions":{{"{TASKS}":{{}}}}}}"#);
        assert_eq!(declared, Some(expected));
        call.answer(&made()).await;
        let poll = about(&up, "tasks/get").await;
        poll.answer(&state("completed", &format!(r#","result":{DONE}"#)))
            .await;
    };
    let (reply, ()) = tokio::join!(ask.send(), upstream);
    assert_eq!(reply.result(), DONE);
}

#[tokio::test]
async fn a_modern_task_is_followed_through_three_weirs() {
    let up = modern().await;
    let near = Weir::with(&up.yaml()).start().await;
    let over = |weir: &Weir| {
        let url = weir.url().to_string();
        Weir::with(&format!(
            "  next:\n    url: \"{url}\"\n    namespace: \"\"\n"
        ))
    };
    let middle = over(&near).start().await;
    let far = over(&middle).start().await;
    let caller = able(&far).await;
    let done = state("completed", &format!(r#","result":{DONE}"#));
    let reply = driven(&caller, &up, &[state("working", ""), done]).await;
    assert_eq!(reply.result(), DONE);
    // A modern caller that declares the extension gets the task itself.
    let modern = far.modern();
    let ask = modern.ask("tools/call", &call_params("up__slow", "{}"));
    let key = "io.modelcontextprotocol/clientCapabilities";
    let ask = ask.meta(key, &format!(r#"{{"extensions":{{"{TASKS}":{{}}}}}}"#));
    let upstream = async { next(&up, "tools/call").await.answer(&made()).await };
    let (reply, ()) = tokio::join!(ask.send(), upstream);
    let result = reply.result();
    assert_eq!(at(&result, &["resultType"]).as_deref(), Some("\"task\""));
    let id = at(&result, &["taskId"]).unwrap();
    assert!(id.starts_with("\"next.next.up."), "{id}");
}

const LEGACY_TASKS: &str =
    r#"{"tools":{},"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}}"#;
const RELATED: &str = "io.modelcontextprotocol/related-task";

/// The same result as a modern caller gets it.
fn complete() -> String {
    DONE.replace(r#""n":1e400"#, r#""n":1e400,"resultType":"complete""#)
}

/// A legacy server with a tool for each kind of `taskSupport`.
async fn legacy(capabilities: &str) -> Asking {
    let up = Asking::named("up").capabilities(capabilities);
    let up = up.start().await;
    let tool = |name: &str| {
        format!(
            r#"{{"name":"{name}","inputSchema":{{"type":"object"}},"execution":{{"taskSupport":"{name}"}}}}"#
        )
    };
    let tools = ["required", "optional", "forbidden"].map(tool);
    up.set_tools(&tools.each_ref().map(String::as_str));
    up
}

/// The answer of a legacy server to a call that has the member `task`.
fn made_legacy(status: &str) -> String {
    let id = quote(ID);
    format!(
        r#"{{"task":{{"taskId":{id},"status":"{status}","createdAt":"x","ttl":1e400,"pollInterval":100}}}}"#
    )
}

#[tokio::test]
async fn a_modern_caller_gets_the_result_of_a_legacy_task() {
    let up = legacy(LEGACY_TASKS).await;
    let weir = Weir::with(&up.yaml()).start().await;
    let caller = weir.modern();
    let listed = caller.list_all("tools/list").await;
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert!(!listed.concat().contains("taskSupport"), "{listed:?}");
    let upstream = async {
        let call = next(&up, "tools/call").await;
        let ttl = call.request.raw(&["params", "task", "ttl"]).unwrap();
        let ttl: u64 = ttl.parse().unwrap();
        assert!((60_000..=180_000).contains(&ttl), "{ttl}");
        let token = call.request.raw(&["params", "_meta", "progressToken"]);
        let token = token.unwrap();
        call.answer(&made_legacy("working")).await;
        let poll = about(&up, "tasks/get").await;
        assert_eq!(poll.request.header("mcp-method"), None);
        let meta = poll.request.raw(&["params", "_meta"]).unwrap_or_default();
        assert!(!meta.contains("io.modelcontextprotocol/"), "{meta}");
        let status = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{{"taskId":{},"status":"working"}}}}"#,
            quote(ID)
        );
        poll.say(&status).await;
        poll.say(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#
        ))
        .await;
        poll.answer(&state("working", "")).await;
        about(&up, "tasks/get")
            .await
            .answer(&state("completed", ""))
            .await;
        let result = about(&up, "tasks/result").await;
        let related = format!(r#""_meta":{{"{RELATED}":{{"taskId":{}}}}}"#, quote(ID));
        result
            .answer(&DONE.replace(r#""n""#, &format!(r#"{related},"n""#)))
            .await;
    };
    let ask = caller.ask("tools/call", &call_params("up__required", "{}"));
    let ask = ask.meta("progressToken", "\"t\"");
    let (reply, ()) = tokio::join!(ask.send(), upstream);
    assert_eq!(reply.result(), complete());
    assert_eq!(reply.notifications("notifications/progress").len(), 1);
    let statuses = reply.notifications("notifications/tasks/status");
    assert_eq!(statuses.len(), 0, "{reply:?}");
    assert_eq!(up.count("tasks/cancel"), 0);
}

#[tokio::test]
async fn a_tool_that_need_not_be_a_task_is_called_as_it_is() {
    let up = legacy(LEGACY_TASKS).await;
    let weir = Weir::with(&up.yaml()).start().await;
    // Without the capability, what a tool says of tasks says nothing (2025-11-25).
    let without = legacy(r#"{"tools":{}}"#).await;
    let other = Weir::with(&without.yaml()).start().await;
    for (weir, up, tool) in [
        (&weir, &up, "optional"),
        (&weir, &up, "forbidden"),
        (&other, &without, "required"),
    ] {
        let caller = weir.modern();
        let upstream = async {
            let call = next(up, "tools/call").await;
            assert_eq!(call.request.raw(&["params", "task"]), None, "{tool}");
            call.answer(DONE).await;
        };
        let tool = format!("up__{tool}");
        let (reply, ()) = tokio::join!(caller.call(&tool, "{}"), upstream);
        assert_eq!(reply.result(), complete());
    }
    // A legacy caller decides by itself.
    let caller = able(&weir).await;
    let upstream = async {
        let call = next(&up, "tools/call").await;
        assert_eq!(call.request.raw(&["params", "task"]), None);
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(caller.call("up__required", "{}"), upstream);
    assert_eq!(reply.result(), DONE);
}

#[tokio::test]
async fn a_legacy_task_that_fails_ends_the_call_as_its_caller_knows_it() {
    let up = legacy(LEGACY_TASKS).await;
    let weir = Weir::with(&up.yaml()).start().await;
    let caller = weir.modern();
    let error = r#"{"code":-5,"message":"\u0041","data":1e400}"#;
    let upstream = async {
        next(&up, "tools/call")
            .await
            .answer(&made_legacy("working"))
            .await;
        about(&up, "tasks/get")
            .await
            .answer(&state("failed", ""))
            .await;
        let result = about(&up, "tasks/result").await;
        let id = &result.id;
        result
            .say(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
            .await;
    };
    let (reply, ()) = tokio::join!(caller.call("up__required", "{}"), upstream);
    assert_eq!((reply.status, reply.raw_error().as_str()), (200, error));

    let upstream = async {
        next(&up, "tools/call")
            .await
            .answer(&made_legacy("working"))
            .await;
        about(&up, "tasks/get")
            .await
            .answer(&state("cancelled", ""))
            .await;
    };
    let (reply, ()) = tokio::join!(caller.call("up__required", "{}"), upstream);
    assert_eq!(reply.value()["isError"], true, "{reply:?}");
    assert!(reply.text().ends_with("was cancelled there"), "{reply:?}");
    assert_eq!(up.count("tasks/cancel"), 0);
}

#[tokio::test]
async fn a_legacy_task_that_asks_is_refused_and_goes_on() {
    let up = legacy(LEGACY_TASKS).await;
    let weir = Weir::with(&up.yaml()).start().await;
    let mut caller = weir.modern();
    caller.capabilities =
        r#"{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}"#.to_owned();
    let asked = ["elicitation/create", "sampling/createMessage", "roots/list"];
    let upstream = async {
        next(&up, "tools/call")
            .await
            .answer(&made_legacy("working"))
            .await;
        let poll = about(&up, "tasks/get").await;
        poll.answer(&state("input_required", "")).await;
        let result = about(&up, "tasks/result").await;
        // On the stream of the request, and on that of its session.
        for (number, method) in asked.into_iter().enumerate() {
            for place in ["post", "get"] {
                let id = format!("\"{place}-{number}\"");
                let message =
                    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{}}}}"#);
                match place {
                    "post" => result.say(&message).await,
                    _ => up.tell(&result.session, &message).await,
                }
                let refused = up.answered(&id).await;
                assert_eq!(at(&refused, &["error", "code"]).as_deref(), Some("-32601"));
            }
        }
        result.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(caller.call("up__required", "{}"), upstream);
    assert_eq!(reply.result(), complete());
    let opened = up.requests("initialize");
    let declared = opened
        .iter()
        .map(|one| one.raw(&["params", "capabilities"]));
    assert_eq!(
        declared.collect::<Vec<_>>(),
        [Some("{}".to_owned())],
        "the task is in the session that declares nothing"
    );
    assert_eq!(weir.metric("weir_parked_calls").await, 0);
}

#[tokio::test]
async fn a_modern_caller_that_leaves_cancels_the_legacy_task() {
    let up = legacy(LEGACY_TASKS).await;
    let weir = Weir::with(&up.yaml()).start().await;
    let caller = weir.modern();
    let upstream = async {
        next(&up, "tools/call")
            .await
            .answer(&made_legacy("working"))
            .await;
        let poll = about(&up, "tasks/get").await;
        poll.answer(&state("working", "")).await;
    };
    tokio::select! {
        reply = caller.call("up__required", "{}") => panic!("it has no end: {reply:?}"),
        () = upstream => {}
    }
    let cancel = up.wait_count("tasks/cancel", 1).await;
    assert_eq!(cancel.raw(&["params", "taskId"]), Some(quote(ID)));
}
