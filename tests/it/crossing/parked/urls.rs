//! Upstreams that refuse a call until a person has visited a URL (-32042).

use serde_json::json;

use super::{CALL, DONE, able, all, back, going_on, over, questions, server, state};
use crate::support::asking::{Asking, Call};
use crate::support::at;
use crate::support::client::{Modern, Reply};

const YES: &str = r#"{"action":"accept"}"#;
const REFUSED: &str = r#"{"code":-32042,"message":"visit","data":{"elicitations":[{"mode":"url","elicitationId":"e1","url":"https://a","message":"\u0041"}]}}"#;

async fn refuse(call: Call) -> Call {
    let id = &call.id;
    let error = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{REFUSED}}}"#);
    call.say(&error).await;
    call
}

/// Calls the tool, which its upstream refuses.
async fn refused(caller: &Modern, up: &Asking) -> (Reply, Call) {
    let upstream = async { refuse(up.call().await).await };
    tokio::join!(caller.request("tools/call", CALL), upstream)
}

#[tokio::test]
async fn a_demanded_url_is_asked_and_the_call_sent_again_when_the_person_is_done() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let (first, call) = refused(&caller, &up).await;
    let [(_, question)] = questions(&first).try_into().unwrap();
    assert_eq!(
        question,
        r#"{"method":"elicitation/create","params":{"mode":"url","url":"https://a","message":"\u0041"}}"#
    );
    let params = going_on(CALL, &state(&first), &all(&first, YES));
    let retry = caller.ask("tools/call", &params).meta("progressToken", "9");
    let begun = std::time::Instant::now();
    let upstream = async {
        let complete = r#"{"jsonrpc":"2.0","method":"notifications/elicitation/complete","params":{"elicitationId":"e1"}}"#;
        up.tell(&call.session, complete).await;
        let again = up.call().await;
        assert_ne!(again.id, call.id);
        assert_eq!(again.session, call.session);
        assert_eq!(
            again.request.raw(&["params", "arguments"]).as_deref(),
            Some(r#"{"n":1e400}"#)
        );
        again.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(retry.send(), upstream);
    assert_eq!(reply.text(), "done");
    // The notification may come before the answer, and then nothing is waited for but a second.
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
}

#[tokio::test]
async fn without_a_word_of_the_upstream_the_call_is_sent_until_it_runs() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let (first, call) = refused(&caller, &up).await;
    let upstream = async {
        let second = refuse(up.call().await).await;
        let third = up.call().await;
        let ids = [call.id.clone(), second.id.clone(), third.id.clone()];
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        third.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(back(&caller, &first, YES), upstream);
    assert_eq!(reply.text(), "done");
    assert_eq!(up.count("tools/call"), 3);
}

#[tokio::test]
async fn who_declines_a_url_gets_an_error_of_the_tool() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    for no in [r#"{"action":"decline"}"#, r#"{"action":"cancel"}"#] {
        let (first, _call) = refused(&caller, &up).await;
        let reply = back(&caller, &first, no).await;
        assert_eq!(reply.value()["isError"], json!(true));
        assert!(reply.text().contains("declined"), "{reply:?}");
    }
    let params = r#"{"name":"up__greet"}"#;
    let upstream = async { refuse(up.call().await).await };
    let (first, _call) = tokio::join!(caller.request("prompts/get", params), upstream);
    let answers = all(&first, r#"{"action":"decline"}"#);
    let params = going_on(params, &state(&first), &answers);
    let reply = caller.request("prompts/get", &params).await;
    assert_eq!(
        (reply.code(), &reply.error()["data"]["upstream"]),
        (-32603, &json!("up"))
    );
}

#[tokio::test]
async fn a_client_without_urls_gets_no_code_that_it_does_not_know() {
    let up = server().start().await;
    let weir = over(&up).await;
    for capabilities in ["{}", r#"{"elicitation":{}}"#] {
        let caller = super::caller(&weir, capabilities);
        let (reply, _call) = refused(&caller, &up).await;
        assert_eq!(reply.code(), -32603, "{reply:?}");
        let data = at(&reply.raw_error(), &["data", "upstream"]);
        assert_eq!(data.as_deref(), Some("\"up\""));
    }
}

#[tokio::test]
async fn a_caller_that_leaves_while_the_call_is_sent_again_cancels_it() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let (first, _call) = refused(&caller, &up).await;
    let params = going_on(CALL, &state(&first), &all(&first, YES));
    let sent = caller.ask("tools/call", &params).send();
    let upstream = async {
        let _second = refuse(up.call().await).await;
        up.call().await
    };
    let running = tokio::select! {
        reply = sent => panic!("nobody answered: {reply:?}"),
        running = upstream => running,
    };
    let id = running.id.clone();
    up.wait_for("a cancellation of the last attempt", |seen| {
        seen.of("notifications/cancelled")
            .any(|got| got.raw(&["params", "requestId"]).as_deref() == Some(&*id))
    })
    .await;
}
