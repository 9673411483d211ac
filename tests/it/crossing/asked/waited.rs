//! The time that the caller takes to answer, and what is kept and told meanwhile.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{DONE, FORM, V, able, answer, begun, question, up, weir};
use crate::leaks::until;
use crate::support::asking::Asking;
use crate::support::client::{Legacy, Stream, call_params};
use crate::support::otlp::{OtlpReceiver, SentSpan};
use crate::support::upstream::Recorded;
use crate::support::weir::Weir;
use crate::support::{at, bounded, unquote};

const YES: &str = r#"{"action":"accept"}"#;
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Calls the tool with this `_meta`, whose first answer is a form; returns the stream and the question.
async fn asked(caller: &Legacy, up: &Asking, meta: (&str, &str)) -> (Stream, String) {
    let ask = caller.ask("tools/call", &call_params("up__ask", "{}"));
    let ask = ask.meta(meta.0, meta.1);
    let first = question(&[("a", FORM)], "\"1\"");
    let upstream = async { up.call().await.answer(&first).await };
    let (mut stream, ()) = tokio::join!(ask.stream(), upstream);
    let asked = stream.next().await.unwrap();
    (stream, asked)
}

#[tokio::test]
async fn a_weir_that_stops_takes_back_what_it_has_asked() {
    let up = up().await;
    let weir = weir(&up).listen("drain: 300ms").start().await;
    let caller = able(&weir).await;
    let mut stream = begun(&caller, &up, &question(&[("a", FORM)], "\"1\"")).await;
    let asked = stream.next().await.unwrap();
    weir.signal(Signal::TERM);
    let taken_back = stream.next().await.unwrap();
    let method = at(&taken_back, &["method"]).unwrap();
    assert_eq!(unquote(&method).unwrap(), "notifications/cancelled");
    assert_eq!(
        at(&taken_back, &["params", "requestId"]),
        at(&asked, &["id"])
    );
    let reply = stream.finish().await;
    assert_eq!(reply.id().as_deref(), Some("\"mine\""));
    assert!(!reply.succeeded(), "{reply:?}");
    assert!(weir.ended().await.0.success());
    assert_eq!(up.count("tools/call"), 1, "it is not sent again");
}

#[tokio::test]
async fn progress_passes_as_it_comes_until_the_call_is_sent_again() {
    let up = up().await;
    let weir = weir(&up).start().await;
    let caller = able(&weir).await;
    let ask = caller.ask("tools/call", &call_params("up__ask", "{}"));
    let ask = ask.meta("progressToken", "7");
    let upstream = async {
        let call = up.call().await;
        for done in [2, 1, 1, 3] {
            call.report(done).await;
        }
        call.answer(&question(&[("a", FORM)], "\"1\"")).await;
    };
    let (mut stream, ()) = tokio::join!(ask.stream(), upstream);
    for done in [2, 1, 1, 3] {
        let told = stream.next_value().await;
        let expected = json!({"progressToken": 7, "progress": done});
        assert_eq!(told["params"], expected);
    }
    let asked = stream.next().await.unwrap();
    answer(&caller, &asked, "result", YES).await;
    let retry = up.call().await;
    for done in [3, 4, 2] {
        retry.report(done).await;
    }
    retry.answer(DONE).await;
    let reply = stream.finish().await;
    let told = reply.notifications("notifications/progress");
    let told: Vec<_> = told.iter().map(|one| &one["params"]["progress"]).collect();
    assert_eq!(told, [4]);
    assert_eq!(reply.text(), "done");
}

#[tokio::test]
async fn the_longest_time_of_a_call_stands_still_while_its_caller_is_asked() {
    let up = up().await;
    let rule =
        "    tools: { override: { ask: { timeout: 500ms, timeout_resets_on_progress: true } } }\n";
    let weir = Weir::with(&(up.yaml() + rule)).start().await;
    let caller = able(&weir).await;
    let (stream, asked) = asked(&caller, &up, ("progressToken", "7")).await;
    // Longer than the call may take in all, whatever progress it reports.
    sleep(Duration::from_millis(5_200)).await;
    answer(&caller, &asked, "result", YES).await;
    let retry = up.call().await;
    let upstream = async {
        for done in 1..=6 {
            sleep(Duration::from_millis(200)).await;
            retry.report(done).await;
        }
        retry.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(stream.finish(), upstream);
    assert_eq!(reply.text(), "done");
}

/// The parent that a call names.
fn parent(call: &Recorded) -> String {
    let parent = call.raw(&["params", "_meta", "traceparent"]).unwrap();
    let parent = unquote(&parent).unwrap();
    assert_eq!(call.header("traceparent"), Some(&*parent));
    parent
}

/// Waits for the span that a call names as its parent: it is sent once it is over.
async fn ended(receiver: &OtlpReceiver, parent: &str) -> SentSpan {
    let wait = async {
        loop {
            let spans = receiver.spans();
            if let Some(span) = spans.into_iter().find(|span| parent.contains(&span.id)) {
                return span;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    bounded("the span of an attempt", wait).await
}

#[tokio::test]
async fn the_time_of_a_person_is_no_time_of_an_attempt_and_none_of_the_call() {
    let (up, receiver) = (up().await, OtlpReceiver::start().await);
    let weir = weir(&up).top(&receiver.setting()).start().await;
    let caller = able(&weir).await;
    let meta = ("traceparent", format!("\"{TRACE}\""));
    let (stream, asked) = asked(&caller, &up, (meta.0, &meta.1)).await;
    let since = Instant::now();
    let first = parent(&up.requests("tools/call")[0]);
    let first_span = ended(&receiver, &first).await;
    tokio::time::sleep_until(since + Duration::from_secs(3)).await;
    answer(&caller, &asked, "result", YES).await;
    let retry = up.call().await;
    let second = parent(&retry.request);
    assert_ne!(first, second, "another attempt");
    retry.answer(DONE).await;
    assert_eq!(stream.finish().await.text(), "done");
    let second_span = ended(&receiver, &second).await;
    for span in [&first_span, &second_span] {
        assert_eq!((span.kind, &*span.name), (3, "tools/call ask"));
        assert!(!span.has_failed);
        assert_eq!(span.parent, first_span.parent, "both are of one call");
    }
    // The record is written a moment after the answer.
    let figures = until(&weir, "one call", |figures| {
        figures.get("weir_call_duration_seconds_count") == Some(&1.0)
    });
    let figures = figures.await;
    let took = figures["weir_call_duration_seconds_sum"];
    assert!(took < 2.0, "{took} s");
}

#[tokio::test]
async fn a_request_that_may_be_sent_again_counts_in_the_memory() {
    let up = up().await;
    let weir = weir(&up).start().await;
    let arguments = json!({"text": "x".repeat(1 << 20)}).to_string();
    let kept = async |caller: &Legacy| {
        let held = async {
            let call = up.call().await;
            let kept = weir.metric("weir_kept_memory_bytes").await;
            call.answer(DONE).await;
            kept
        };
        let (reply, kept) = tokio::join!(caller.call("up__ask", &arguments), held);
        assert_eq!(reply.text(), "done");
        kept
    };
    let plain = kept(&Legacy::open(weir.url(), V).await).await;
    let askable = kept(&able(&weir).await).await;
    assert!(askable > plain + 1_000_000, "{askable} and {plain} bytes");
    let wait = async {
        while weir.metric("weir_kept_memory_bytes").await > plain {
            sleep(Duration::from_millis(10)).await;
        }
    };
    bounded("what was kept to be given back", wait).await;
}
