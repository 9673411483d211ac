//! As many calls that wait for their callers as may: what one more gets, and what others notice.

use std::ops::Range;

use futures::future::join_all;
use serde_json::json;

use super::{CALL, DONE, FORM, able, ask, asked, back, questions, server};
use crate::support::asking::{Asking, Call};
use crate::support::at;
use crate::support::client::{Client, Modern, Reply};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const YES: &str = r#"{"action":"accept"}"#;
/// `limits.parked`, unless the config says otherwise.
const MOST: usize = 256;
/// Calls that are made, or gone on with, at the same time.
const AT_ONCE: usize = 32;
/// The error for a question that is one too many, or too large.
const UNAVAILABLE: &str = r#"{"code":-32603,"message":"the client cannot be asked now"}"#;

/// Calls the tool once for each number, which is what its upstream asks.
async fn park(caller: &Modern, up: &Asking, numbers: Range<usize>) -> (Vec<Reply>, Vec<Call>) {
    let calls = numbers.clone().map(|_| caller.request("tools/call", CALL));
    let upstream = async {
        let mut calls = Vec::new();
        for number in numbers {
            let call = up.call().await;
            let form = format!(
                r#""method":"elicitation/create","params":{{"message":"{number}","requestedSchema":{{"type":"object","properties":{{}}}}}}"#
            );
            call.say(&ask(&number.to_string(), &form)).await;
            calls.push(call);
        }
        calls
    };
    tokio::join!(join_all(calls), upstream)
}

/// Comes back to each of these calls, whose numbers these are. Each ends with its number.
async fn come_back(
    caller: &Modern,
    up: &Asking,
    (asked, calls): (Vec<Reply>, Vec<Call>),
    numbers: Range<usize>,
) {
    let upstream = async {
        up.wait_for("all answers", |seen| {
            let accepted = |number: &usize| {
                seen.of("").any(|got| {
                    got.value["id"] == *number && got.value["result"]["action"] == "accept"
                })
            };
            numbers.clone().all(|number| accepted(&number))
        })
        .await;
        for (call, number) in calls.into_iter().zip(numbers.clone()) {
            let text = json!({"content": [{"type": "text", "text": number.to_string()}]});
            call.answer(&text.to_string()).await;
        }
    };
    let replies = asked.iter().map(|asked| back(caller, asked, YES));
    let (replies, ()) = tokio::join!(join_all(replies), upstream);
    for (asked, reply) in asked.iter().zip(replies) {
        let [(_, question)] = questions(asked).try_into().unwrap();
        let message = at(&question, &["params", "message"]).unwrap();
        assert_eq!(format!("{:?}", reply.text()), message, "{reply:?}");
    }
}

/// Has the upstream ask this, which is refused. The call ends well all the same.
async fn refused(caller: &Modern, up: &Asking, id: &str, form: &str) {
    let upstream = async {
        let call = up.call().await;
        call.say(&ask(id, form)).await;
        let got = up.answered(id).await;
        assert_eq!(at(&got, &["error"]).as_deref(), Some(UNAVAILABLE));
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(caller.request("tools/call", CALL), upstream);
    assert_eq!(reply.text(), "done");
}

#[tokio::test]
async fn with_256_calls_waiting_one_more_question_is_refused_and_other_calls_go_on() {
    let up = server().start().await;
    let other = Upstream::named("other").tools(["search"]).start().await;
    let more = format!("  other:\n    url: \"{}\"\n", other.url());
    let weir = Weir::with(&(up.yaml() + &more)).start().await;
    let caller = able(&weir);
    let mut waiting = Vec::new();
    for first in (0..MOST - 1).step_by(AT_ONCE) {
        let numbers = first..(first + AT_ONCE).min(MOST - 1);
        let parked = park(&caller, &up, numbers.clone()).await;
        waiting.push((parked, numbers));
    }
    // There is room for one more, but not of this size.
    let message = "x".repeat(1 << 20);
    let large = format!(r#""method":"elicitation/create","params":{{"message":"{message}"}}"#);
    refused(&caller, &up, "\"large\"", &large).await;
    assert_eq!(weir.metric("weir_parked_calls").await, MOST as u64 - 1);
    let last = MOST - 1..MOST;
    waiting.push((park(&caller, &up, last.clone()).await, last));
    assert_eq!(weir.metric("weir_parked_calls").await, MOST as u64);
    refused(&caller, &up, "\"one more\"", FORM).await;

    // None of them has a place that another call needs.
    let in_flight = r#"weir_calls_in_flight{upstream="up"}"#;
    assert_eq!(weir.metric(in_flight).await, 0);
    for client in Client::both(&weir).await {
        let calls = (0..20).map(|_| client.call("other__search", "{}"));
        for reply in join_all(calls).await {
            assert_eq!(reply.text(), "other.search {}", "{}", client.era());
        }
        let upstream = async { up.call().await.answer(DONE).await };
        let (reply, ()) = tokio::join!(client.call("up__ask", "{}"), upstream);
        assert_eq!(reply.text(), "done", "{}", client.era());
    }

    for (parked, numbers) in waiting {
        come_back(&caller, &up, parked, numbers).await;
    }
    assert_eq!(weir.metric("weir_parked_calls").await, 0);
    let (again, call) = asked(&caller, &up, &[("\"again\"", FORM)]).await;
    let upstream = async {
        up.answered("\"again\"").await;
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(back(&caller, &again, YES), upstream);
    assert_eq!(reply.text(), "done");
}
