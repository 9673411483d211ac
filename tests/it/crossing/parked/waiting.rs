//! Callers that take their time: the upstream is told so, memory is kept meanwhile, and sessions serve the next call.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{
    CALL, DONE, FORM, ROOTS, able, all, ask, asked, back, caller, going_on, over, server, state,
};
use crate::support::asking::Call;
use crate::support::client::{Modern, Reply};
use crate::support::upstream::{Fault, On, Times, Upstream};
use crate::support::weir::{Weir, child_upstream};

const YES: &str = r#"{"action":"accept"}"#;

#[tokio::test]
async fn an_upstream_that_wants_progress_is_told_that_its_question_waits() {
    let up = server().start().await;
    // Every 20 seconds, or four times in the time of the caller.
    let weir = Weir::with(&up.yaml()).top("defaults: { timeouts: { ask: 2s } }");
    let weir = weir.start().await;
    let caller = able(&weir);
    let (first, call) = asked(&caller, &up, &[("1", FORM), ("2", ROOTS)]).await;
    up.wait_count("notifications/progress", 2).await;
    let upstream = async {
        up.answered("1").await;
        let told = up.requests("notifications/progress");
        for (number, told) in told.iter().enumerate() {
            let expected = json!({"progressToken": 7, "progress": number + 1});
            assert_eq!(told.value["params"], expected, "of the form only");
            assert_eq!(told.header("mcp-session-id"), Some(&*call.session));
        }
        // Nobody is asked any more, so nothing more is told.
        sleep(Duration::from_millis(700)).await;
        assert_eq!(up.count("notifications/progress"), told.len());
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(back(&caller, &first, YES), upstream);
    assert_eq!(reply.text(), "done");
}

#[tokio::test]
async fn the_longest_time_of_a_call_stands_still_while_its_caller_is_away() {
    let up = server().start().await;
    let rule =
        "    tools: { override: { ask: { timeout: 500ms, timeout_resets_on_progress: true } } }\n";
    let weir = Weir::with(&(up.yaml() + rule)).start().await;
    let caller = able(&weir);
    let (first, call) = asked(&caller, &up, &[("1", FORM)]).await;
    // Longer than the call may take in all, whatever progress it reports.
    sleep(Duration::from_millis(5_200)).await;
    let upstream = async {
        up.answered("1").await;
        for done in 1..=5 {
            sleep(Duration::from_millis(200)).await;
            call.report(done).await;
        }
        call.say(&ask("2", ROOTS)).await;
    };
    let (second, ()) = tokio::join!(back(&caller, &first, YES), upstream);
    let upstream = async {
        up.answered("2").await;
        sleep(Duration::from_millis(100)).await;
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(back(&caller, &second, r#"{"roots":[]}"#), upstream);
    assert_eq!(reply.text(), "done");
}

#[tokio::test]
async fn all_rounds_of_a_call_have_one_longest_time() {
    let up = server().start().await;
    let rule =
        "    tools: { override: { ask: { timeout: 500ms, timeout_resets_on_progress: true } } }\n";
    let weir = Weir::with(&(up.yaml() + rule)).start().await;
    let caller = able(&weir);
    // Reports progress for three seconds, of five that it has.
    let works = async |call: &Call| {
        for done in 1..=20 {
            call.report(done).await;
            sleep(Duration::from_millis(150)).await;
        }
    };
    let upstream = async {
        let call = up.call().await;
        works(&call).await;
        call.say(&ask("1", FORM)).await;
        call
    };
    let (first, call) = tokio::join!(caller.request("tools/call", CALL), upstream);
    let begun = tokio::time::Instant::now();
    let upstream = async {
        up.answered("1").await;
        for done in 21..60 {
            let gone = tokio::time::timeout(Duration::from_millis(100), call.closed()).await;
            if gone.is_ok() {
                return;
            }
            call.report(done).await;
        }
        panic!("it goes on for ever");
    };
    let (reply, ()) = tokio::join!(back(&caller, &first, YES), upstream);
    assert_eq!(reply.code(), -32603, "{reply:?}");
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(3_500), "{took:?}");
}

#[tokio::test]
async fn a_request_that_may_be_sent_again_after_a_url_counts_in_the_memory() {
    let up = server().start().await;
    let weir = over(&up).await;
    let text = "x".repeat(1 << 20);
    let params = json!({"name": "up__ask", "arguments": {"text": text}}).to_string();
    let kept = async |capabilities: &str| {
        let caller = caller(&weir, capabilities);
        let held = async {
            let call = up.call().await;
            let kept = weir.metric("weir_kept_memory_bytes").await;
            call.answer(DONE).await;
            kept
        };
        let (reply, kept) = tokio::join!(caller.request("tools/call", &params), held);
        assert_eq!(reply.text(), "done");
        kept
    };
    let plain = kept(r#"{"elicitation":{"form":{}}}"#).await;
    let with_urls = kept(r#"{"elicitation":{"form":{},"url":{}}}"#).await;
    assert!(
        with_urls > plain + 1_000_000,
        "{with_urls} and {plain} bytes"
    );
}

#[tokio::test]
async fn an_upstream_that_refuses_a_second_session_is_not_asked_with_each_call() {
    let up = Upstream::named("up").tools(["ask"]).legacy("2025-11-25");
    let up = up.start().await;
    let weir = Weir::over([&up]).start().await;
    weir.wait_tools(["up__ask"]).await;
    up.fault(
        On::Method("initialize".into()),
        Times::Forever,
        Fault::Status(400),
    );
    let caller = able(&weir);
    let (shared, mut first) = (up.count("initialize"), None);
    for _ in 0..5 {
        let reply = caller.request("tools/call", CALL).await;
        assert!(reply.succeeded(), "{reply:?}");
        let tried = up.count("initialize");
        assert_eq!(
            *first.get_or_insert(tried),
            tried,
            "only with the first call"
        );
    }
    assert!(first.unwrap() > shared, "it was asked for one");
}

/// Has a process ask, and answers.
async fn answered(caller: &Modern) -> Reply {
    let params = r#"{"name":"kid__ask","arguments":{}}"#;
    let asked = caller.request("tools/call", params).await;
    let params = going_on(params, &state(&asked), &all(&asked, YES));
    caller.request("tools/call", &params).await
}

#[tokio::test]
async fn a_process_that_has_asked_serves_the_next_call() {
    let kid = child_upstream("kid", &["--tools", "ask,count"]) + "    sessions: per_caller\n";
    let weir = Weir::with(&kid).start().await;
    let caller = able(&weir);
    for expected in ["1", "2", "3"] {
        let reply = answered(&caller).await;
        assert!(reply.text().contains("accept"), "{reply:?}");
        let counted = caller.call("kid__count", "{}").await;
        assert_eq!(counted.text(), expected, "the calls of this process");
    }
}
