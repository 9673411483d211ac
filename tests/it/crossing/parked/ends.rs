//! Calls that end while their callers are away, and those that go on in spite of everything.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::{
    CALL, DONE, FORM, ROOTS, SAMPLE, able, all, ask, asked, back, going_on, over, reason, server,
    state,
};
use crate::support::at;
use crate::support::weir::Weir;

const YES: &str = r#"{"action":"accept"}"#;

#[tokio::test]
async fn a_caller_that_never_comes_back_is_answered_for() {
    let up = server().start().await;
    let weir = Weir::with(&up.yaml()).top("defaults: { timeouts: { ask: 300ms } }");
    let weir = weir.start().await;
    let caller = able(&weir);
    let asks = [("1", FORM), ("2", SAMPLE), ("3", ROOTS)];
    let (first, call) = asked(&caller, &up, &asks).await;
    call.closed().await;
    up.left(&call.session).await;
    let got = up.answered("1").await;
    assert_eq!(
        at(&got, &["result"]).as_deref(),
        Some(r#"{"action":"cancel"}"#)
    );
    let code = async |id: &str| at(&up.answered(id).await, &["error", "code"]);
    assert_eq!(code("2").await.as_deref(), Some("-1"));
    assert_eq!(code("3").await.as_deref(), Some("-32603"));
    let cancelled = up.requests("notifications/cancelled");
    assert_eq!(cancelled.len(), 1);
    assert_eq!(
        cancelled[0].raw(&["params", "requestId"]),
        Some(call.id.clone())
    );
    let late = back(&caller, &first, YES).await;
    assert_eq!((late.status, late.code()), (200, -32602));
    assert_eq!(weir.metric("weir_parked_calls").await, 0);
}

#[tokio::test]
async fn an_upstream_that_takes_its_question_back_may_end_the_call() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let (first, call) = asked(&caller, &up, &[("1", FORM), ("2", ROOTS)]).await;
    for id in ["1", "2"] {
        let params = format!(r#"{{"requestId":{id},"reason":"too late"}}"#);
        let message =
            format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}"#);
        call.say(&message).await;
    }
    // All that was said before has arrived once it has an answer.
    call.say(r#"{"jsonrpc":"2.0","id":"ping","method":"ping"}"#)
        .await;
    up.answered("\"ping\"").await;
    call.answer(r#"{"content":[{"type":"text","text":"nobody"}],"isError":true}"#)
        .await;
    let reply = back(&caller, &first, YES).await;
    assert_eq!(
        (reply.text().as_str(), &reply.value()["isError"]),
        ("nobody", &json!(true))
    );
    assert!(up.answers("1").is_empty() && up.answers("2").is_empty());
}

#[tokio::test]
async fn a_question_that_is_taken_back_before_it_is_asked_is_not_asked() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let upstream = async {
        let call = up.call().await;
        let taken_back =
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
        call.write(&format!(
            "data: {}\n\ndata: {taken_back}\n\n",
            ask("1", FORM)
        ))
        .await;
        call.say(&ask("2", ROOTS)).await;
        call
    };
    let (first, call) = tokio::join!(caller.request("tools/call", CALL), upstream);
    let [(_, question)] = super::questions(&first).try_into().unwrap();
    assert_eq!(question, r#"{"method":"roots/list"}"#);
    let upstream = async {
        up.answered("2").await;
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(back(&caller, &first, r#"{"roots":[]}"#), upstream);
    assert_eq!(reply.text(), "done");
}

#[tokio::test]
async fn an_upstream_that_breaks_off_while_its_caller_is_away_is_named() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let (first, call) = asked(&caller, &up, &[("1", FORM)]).await;
    drop(call);
    let reply = back(&caller, &first, YES).await;
    assert_eq!((reply.status, reply.code()), (200, -32603), "{reply:?}");
    assert_eq!(reply.error()["data"]["upstream"], "up");
    let upstream = async { up.call().await.answer(DONE).await };
    let (next, ()) = tokio::join!(caller.request("tools/call", CALL), upstream);
    assert_eq!(next.text(), "done");
}

#[tokio::test]
async fn an_upstream_that_forgets_its_sessions_gets_the_call_in_another_one() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let call = async || {
        let upstream = async { up.call().await.answer(DONE).await };
        tokio::join!(caller.request("tools/call", CALL), upstream).0
    };
    assert_eq!(call().await.text(), "done");
    up.forget();
    assert_eq!(call().await.text(), "done");
    // The second attempt at the second call, unless weir has noticed before.
    assert!(up.count("tools/call") <= 3);
}

#[tokio::test]
async fn a_stream_that_pauses_is_read_on_while_the_caller_is_away() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let upstream = async {
        let call = up.call().await;
        call.write("id: here\nretry: 50\ndata:\n\n").await;
        call.say(&ask("1", FORM)).await;
        call
    };
    let (first, call) = tokio::join!(caller.request("tools/call", CALL), upstream);
    let id = call.id.clone();
    drop(call);
    let resumed = up.resumed().await;
    assert_eq!(resumed.request.header("last-event-id"), Some("here"));
    let upstream = async {
        up.answered("1").await;
        let response = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{DONE}}}"#);
        resumed.say(&response).await;
    };
    let (reply, ()) = tokio::join!(back(&caller, &first, YES), upstream);
    assert_eq!(reply.text(), "done");
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_the_call_before_and_after_its_answer() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let sent = caller.ask("tools/call", CALL).send();
    let call = tokio::select! {
        reply = sent => panic!("nobody answered: {reply:?}"),
        call = up.call() => call,
    };
    let first = up.wait_count("notifications/cancelled", 1).await;
    assert_eq!(first.raw(&["params", "requestId"]), Some(call.id.clone()));
    up.left(&call.session).await;
    let (asked, call) = asked(&caller, &up, &[("1", FORM)]).await;
    let params = going_on(CALL, &state(&asked), &all(&asked, YES));
    let sent = caller.ask("tools/call", &params).send();
    tokio::select! {
        reply = sent => panic!("nobody answered: {reply:?}"),
        _ = up.answered("1") => {}
    }
    let second = up.wait_count("notifications/cancelled", 2).await;
    assert_eq!(second.raw(&["params", "requestId"]), Some(call.id.clone()));
    up.left(&call.session).await;
    assert_eq!(up.count("notifications/cancelled"), 2);
}

#[tokio::test]
async fn no_more_calls_wait_for_their_callers_than_may() {
    let up = server().start().await;
    let weir = Weir::with(&up.yaml()).top("defaults: { limits: { parked: 2 } }");
    let weir = weir.start().await;
    let caller = able(&weir);
    let (first, call) = asked(&caller, &up, &[("1", FORM)]).await;
    let (_second, _other) = asked(&caller, &up, &[("2", FORM)]).await;
    let refused = async || {
        let upstream = async {
            let call = up.call().await;
            call.say(&ask("\"over\"", FORM)).await;
            let got = up.answered("\"over\"").await;
            assert_eq!(at(&got, &["error", "code"]).as_deref(), Some("-32603"));
            call.answer(DONE).await;
        };
        tokio::join!(caller.request("tools/call", CALL), upstream).0
    };
    assert_eq!(refused().await.text(), "done");
    let upstream = async {
        up.answered("1").await;
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(back(&caller, &first, YES), upstream);
    assert_eq!(reply.text(), "done");
    let (third, _call) = asked(&caller, &up, &[("3", FORM)]).await;
    assert_eq!(super::questions(&third).len(), 1);
}

#[tokio::test]
async fn a_question_that_is_too_large_is_refused() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let message = "x".repeat(1 << 20);
    let large = format!(r#""method":"elicitation/create","params":{{"message":"{message}"}}"#);
    let upstream = async {
        let call = up.call().await;
        call.say(&ask("1", &large)).await;
        let got = up.answered("1").await;
        assert_eq!(at(&got, &["error", "code"]).as_deref(), Some("-32603"));
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(caller.request("tools/call", CALL), upstream);
    assert_eq!(reply.text(), "done");
}

#[tokio::test]
async fn a_tool_that_is_taken_away_ends_the_calls_that_wait_for_their_callers() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let (first, call) = asked(&caller, &up, &[("1", FORM)]).await;
    up.set_tools(&[r#"{"name":"new","inputSchema":{"type":"object"}}"#]);
    weir.resync("up").await;
    call.closed().await;
    let got = up.answered("1").await;
    assert_eq!(
        at(&got, &["result"]).as_deref(),
        Some(r#"{"action":"cancel"}"#)
    );
    let cancelled = up.wait_count("notifications/cancelled", 1).await;
    assert_eq!(
        cancelled.raw(&["params", "requestId"]),
        Some(call.id.clone())
    );
    let reply = back(&caller, &first, YES).await;
    assert_eq!(reply.error()["message"], "Unknown tool: up__ask");
}

#[tokio::test]
async fn a_swap_and_a_reload_change_nothing_for_a_call_that_waits() {
    let up = server().start().await;
    let weir = Weir::with(&up.yaml()).unwatched().start().await;
    let caller = able(&weir);
    let (first, call) = asked(&caller, &up, &[("1", FORM)]).await;
    up.set_tools(&[
        r#"{"name":"ask","inputSchema":{"type":"object"},"description":"new"}"#,
        r#"{"name":"more","inputSchema":{"type":"object"}}"#,
    ]);
    weir.resync("up").await;
    weir.wait_tools(["up__ask", "up__more"]).await;
    let config = weir.home.path().join("weir.yaml");
    let yaml = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{yaml}    limits: {{ tools: 7 }}\n")).unwrap();
    let reloaded = weir.operate("/reload").send().await.unwrap();
    assert!(reloaded.status().is_success());
    let upstream = async {
        up.answered("1").await;
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(back(&caller, &first, YES), upstream);
    assert_eq!(reply.text(), "done");
}

#[tokio::test]
async fn a_weir_that_stops_ends_the_calls_that_wait_for_their_callers() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let (_first, call) = asked(&caller, &up, &[("1", FORM)]).await;
    let upstream = async { up.call().await.answer(DONE).await };
    tokio::join!(caller.request("tools/call", CALL), upstream);
    weir.signal(Signal::TERM);
    call.closed().await;
    let got = up.answered("1").await;
    assert_eq!(
        at(&got, &["result"]).as_deref(),
        Some(r#"{"action":"cancel"}"#)
    );
    let cancelled = up.wait_count("notifications/cancelled", 1).await;
    assert_eq!(
        cancelled.raw(&["params", "requestId"]),
        Some(call.id.clone())
    );
    let ended = tokio::time::timeout(Duration::from_secs(8), weir.ended()).await;
    assert!(ended.unwrap().0.success());
    assert!(up.sessions().is_empty(), "idle sessions end, too");
}

#[tokio::test]
async fn a_call_that_is_over_without_an_answer_leaves_no_state() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let (first, call) = asked(&caller, &up, &[("1", FORM)]).await;
    drop(call);
    let failed = back(&caller, &first, YES).await;
    assert_eq!(failed.code(), -32603);
    let again = back(&caller, &first, YES).await;
    assert_eq!(*reason(&again.error()), *"exchange_over");
}

#[tokio::test]
async fn what_became_of_questions_is_counted() {
    let up = server().start().await;
    let weir = Weir::with(&up.yaml()).top("defaults: { timeouts: { ask: 1s } }");
    let weir = weir.start().await;
    let caller = able(&weir);
    // Of two questions one is answered, and then the other.
    let (first, call) = asked(&caller, &up, &[("1", FORM), ("2", ROOTS)]).await;
    let (key, _) = super::questions(&first).remove(0);
    let params = going_on(CALL, &state(&first), &format!("{{{key:?}:{YES}}}"));
    let second = caller.request("tools/call", &params).await;
    let upstream = async {
        up.answered("2").await;
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(back(&caller, &second, YES), upstream);
    assert_eq!(reply.text(), "done");
    // Nobody comes back.
    let (_first, call) = asked(&caller, &up, &[("3", FORM)]).await;
    call.closed().await;
    // This caller cannot be asked.
    let unable = super::caller(&weir, r#"{"sampling":{}}"#);
    let upstream = async {
        let call = up.call().await;
        call.say(&ask("4", FORM)).await;
        up.answered("4").await;
        call.answer(DONE).await;
    };
    tokio::join!(unable.request("tools/call", CALL), upstream);
    let expected = json!({"asked": 3, "answered": 2, "expired": 1, "refused": 1});
    let about = weir.admin("/upstreams").await["upstreams"][0].clone();
    assert_eq!(about["asks"], expected);
}
