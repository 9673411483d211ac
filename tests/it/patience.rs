//! Calls that take long: what may end them, and what their callers hear meanwhile.

use std::time::Duration;

use crate::support::client::{Client, Stream, call_params};
use crate::support::upstream::{Cancelled, Fault, On, Times, Upstream};
use crate::support::weir::Weir;

/// More than `idle` in these tests.
const SILENCE: Duration = Duration::from_millis(900);

#[tokio::test]
async fn a_silent_event_stream_lasts_as_long_as_its_call() {
    let old = Upstream::named("old").legacy("2025-11-25");
    let new = Upstream::named("new").modern();
    let (old, new) = (old.sse().gate("work"), new.sse().gate("work"));
    let (old, new) = (old.start().await, new.start().await);
    let weir = Weir::over([&old, &new])
        .top("defaults: { timeouts: { idle: 300ms, call: 60s } }")
        .start()
        .await;
    for caller in Client::both(&weir).await {
        for up in [&old, &new] {
            let tool = format!("{}__work", up.name());
            let release = async {
                up.wait_running("work", 1).await;
                tokio::time::sleep(SILENCE).await;
                up.release("work");
            };
            let (reply, ()) = tokio::join!(caller.call(&tool, "{}"), release);
            assert!(reply.succeeded(), "{tool}: {reply:?}");
        }
    }
}

/// Comments come this often in these tests.
const OFTEN: &str = "keep_alive: 150ms";

/// A call that is not answered yet: its caller gets comments, as a stream.
async fn waits(caller: &Client, tool: &str) -> Stream {
    let params = call_params(tool, "{}");
    let mut stream = caller.ask("tools/call", &params).stream().await;
    let kind = stream.header("content-type").map(str::to_owned);
    assert_eq!(kind.as_deref(), Some("text/event-stream"));
    assert_eq!(stream.status, 200);
    assert!(stream.header("x-request-id").is_some());
    stream.wait_comments(2).await;
    stream
}

/// The stream ends with the response, and nothing else is in it.
async fn answered(stream: Stream) {
    let reply = stream.finish().await;
    assert!(reply.succeeded(), "{reply:?}");
    assert_eq!(reply.events.len(), 1, "{reply:?}");
}

#[tokio::test]
async fn callers_hear_comments_until_the_head_of_an_answer_comes() {
    let old = Upstream::named("old").legacy("2025-11-25");
    let new = Upstream::named("new").modern();
    let (old, new) = (old.json().gate("work"), new.json().gate("work"));
    let (old, new) = (old.start().await, new.start().await);
    let weir = Weir::over([&old, &new]).listen(OFTEN).start().await;
    for caller in Client::both(&weir).await {
        for up in [&old, &new] {
            let stream = waits(&caller, &format!("{}__work", up.name())).await;
            up.release("work");
            answered(stream).await;
        }
    }
}

#[tokio::test]
async fn callers_hear_comments_while_they_wait_for_a_place() {
    let up = Upstream::named("up").json().gate("work").start().await;
    let weir = Weir::over([&up])
        .upstream("up", "limits: { in_flight: 1 }")
        .listen(OFTEN)
        .start()
        .await;
    for caller in Client::both(&weir).await {
        let first = waits(&caller, "up__work").await;
        let second = waits(&caller, "up__work").await;
        up.wait_running("work", 1).await;
        up.release("work");
        answered(first).await;
        up.release("work");
        answered(second).await;
    }
}

#[tokio::test]
async fn callers_hear_comments_while_their_session_is_opened() {
    let up = Upstream::named("up").legacy("2025-11-25").tools(["work"]);
    let up = up.start().await;
    let weir = Weir::over([&up])
        .top("defaults: { timeouts: { list: 1s } }")
        .listen(OFTEN)
        .start()
        .await;
    let legacy = weir.legacy("2025-11-25").await;
    let stalls = On::Method("initialize".into());
    up.fault(stalls, Times::Next(1), Fault::StallHeaders);
    let stream = waits(&Client::Legacy(legacy), "up__work").await;
    let reply = stream.finish().await;
    // Weir's last message is an event too.
    assert_eq!(reply.events.len(), 1, "{reply:?}");
    assert_eq!(reply.code(), -32603, "{reply:?}");
}

#[tokio::test]
async fn a_caller_of_json_only_waits_for_its_answer() {
    let up = Upstream::named("up").json().gate("work").start().await;
    let weir = Weir::over([&up]).listen(OFTEN).start().await;
    for caller in Client::both(&weir).await {
        let params = call_params("up__work", "{}");
        let ask = caller.ask("tools/call", &params);
        let release = async {
            up.wait_running("work", 1).await;
            tokio::time::sleep(Duration::from_millis(400)).await;
            up.release("work");
        };
        let asked = ask.header("accept", "application/json").send();
        let (reply, ()) = tokio::join!(asked, release);
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert!(reply.succeeded(), "{reply:?}");
    }
}

#[tokio::test]
async fn a_caller_that_leaves_while_it_waits_is_treated_by_its_eras_rule() {
    let up = Upstream::named("up").modern().json().gate("work");
    let up = up.start().await;
    let weir = Weir::over([&up]).listen(OFTEN).start().await;
    let [modern, legacy] = Client::both(&weir).await;
    drop(waits(&modern, "up__work").await);
    let tool = || "work".to_owned();
    up.wait_cancelled(Cancelled::Closed { tool: tool() }).await;
    drop(waits(&legacy, "up__work").await);
    up.wait_running("work", 1).await;
    // A call goes on without its legacy caller, and may still be cancelled.
    up.release("work");
    up.wait_running("work", 0).await;
    assert_eq!(up.log().seen().cancelled.len(), 1);
}

#[tokio::test]
async fn a_weir_that_stops_answers_those_who_wait() {
    let up = Upstream::named("up").json().gate("work").start().await;
    let weir = Weir::over([&up])
        .listen("keep_alive: 150ms, drain: 300ms")
        .start()
        .await;
    let [modern, legacy] = Client::both(&weir).await;
    let streams = [
        waits(&modern, "up__work").await,
        waits(&legacy, "up__work").await,
    ];
    weir.signal(rustix::process::Signal::TERM);
    for stream in streams {
        let reply = stream.finish().await;
        assert!(!reply.broken && reply.events.len() == 1, "{reply:?}");
        assert_eq!(reply.error()["code"], -32603, "{reply:?}");
    }
}
