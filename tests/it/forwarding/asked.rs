//! Requests of upstreams to legacy callers: sampling, elicitation, roots.

use serde_json::json;

use super::{able, begun, calls, over};
use crate::support::asking::Asking;
use crate::support::client::Legacy;
use crate::support::{at, unquote};

/// Params that a typed model would change.
const ODD: &str = r#"{"z":1e400,"message":"\u0041\/","requestedSchema":{"type":"object", "x":[ 1 ]},"a":12345678901234567890123}"#;

fn asks(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

fn id_of(message: &str) -> String {
    at(message, &["id"]).unwrap()
}

async fn up() -> Asking {
    Asking::named("up").tools(["ask"]).start().await
}

#[tokio::test]
async fn a_request_during_a_call_reaches_its_caller_and_the_answer_goes_back_byte_for_byte() {
    let up = up().await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    for (number, method) in ["sampling/createMessage", "elicitation/create", "x/unknown"]
        .into_iter()
        .enumerate()
    {
        let theirs = format!(r#""q\u002d{number}""#);
        let ask = calls(&caller, "up__ask").id("\"mine\"");
        let (mut stream, call) = begun(ask, &up, &asks(&theirs, method, ODD)).await;
        let asked = stream.next().await.unwrap();
        assert_eq!(at(&asked, &["params"]).as_deref(), Some(ODD));
        assert_eq!(at(&asked, &["method"]), Some(format!("\"{method}\"")));
        let id = id_of(&asked);
        assert_ne!(id, theirs);

        let outcomes = [
            ("result", r#"{"action":"accept", "n":1e400,"t":"\u0041"}"#),
            ("error", r#"{"code":-1,"message":"\u0041","data":1e400}"#),
            ("result", r#"{"role":"assistant","content":[]}"#),
        ];
        let (member, outcome) = outcomes[number];
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"{member}":{outcome}}}"#);
        let accepted = caller.post(&body).await;
        assert_eq!((accepted.status, accepted.body.len()), (202, 0));
        let back = up.answered(&theirs).await;
        assert_eq!(at(&back, &[member]).as_deref(), Some(outcome));
        assert_eq!(back.matches("\"id\":").count(), 1);

        call.answer(r#"{"content":[],"x":1e400}"#).await;
        let reply = stream.finish().await;
        assert_eq!(reply.result(), r#"{"content":[],"x":1e400}"#);
        assert_eq!(reply.id().as_deref(), Some("\"mine\""));
    }
}

#[tokio::test]
async fn a_request_without_params_stays_without() {
    let up = up().await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    let bare = r#"{"jsonrpc":"2.0","id":0,"method":"roots/list"}"#;
    let (mut stream, call) = begun(calls(&caller, "up__ask"), &up, bare).await;
    let asked = stream.next().await.unwrap();
    assert_eq!(at(&asked, &["params"]), None);
    let id = id_of(&asked);
    caller
        .post(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"roots":[]}}}}"#
        ))
        .await;
    up.answered("0").await;
    call.answer("{}").await;
    assert!(stream.finish().await.succeeded());
}

#[tokio::test]
async fn two_callers_with_the_same_ids_upstream_do_not_mix() {
    let up = up().await;
    let weir = over([&up]).await;
    let (one, two) = (able(&weir).await, able(&weir).await);
    let question = |who: &str| {
        asks(
            "1",
            "elicitation/create",
            &format!(r#"{{"message":"{who}"}}"#),
        )
    };
    let (mut first, call_one) = begun(calls(&one, "up__ask").id("1"), &up, &question("one")).await;
    let (mut second, call_two) = begun(calls(&two, "up__ask").id("1"), &up, &question("two")).await;
    assert_ne!(call_one.session, call_two.session);
    let (ask_one, ask_two) = (first.next().await.unwrap(), second.next().await.unwrap());
    assert!(ask_one.contains("\"one\"") && ask_two.contains("\"two\""));
    let answer = |asked: &str, says: &str| {
        let id = id_of(asked);
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"says":"{says}"}}}}"#)
    };
    // The id means nothing in the other session, unless that happens to have the same one.
    if id_of(&ask_one) != id_of(&ask_two) {
        assert_eq!(two.post(&answer(&ask_one, "stolen")).await.status, 202);
    }
    two.post(&answer(&ask_two, "two")).await;
    one.post(&answer(&ask_one, "one")).await;
    up.wait_for("both answers", |seen| {
        seen.of("")
            .filter(|got| got.raw(&["id"]).as_deref() == Some("1"))
            .count()
            >= 2
    })
    .await;
    for (call, says) in [(&call_one, "one"), (&call_two, "two")] {
        let got: Vec<_> = up
            .requests("")
            .into_iter()
            .filter(|got| {
                got.header("mcp-session-id") == Some(&call.session) && !got.body.is_empty()
            })
            .map(|got| got.value["result"]["says"].clone())
            .collect();
        assert_eq!(got, [json!(says)]);
    }
    call_one.answer("{}").await;
    call_two.answer("{}").await;
    assert!(first.finish().await.succeeded() && second.finish().await.succeeded());
}

#[tokio::test]
async fn progress_with_a_request_of_an_upstream_has_the_token_of_the_upstream() {
    let up = up().await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    let params = r#"{"x":1e400,"_meta":{"a":1e400,"progressToken":"t\u0031","b":2}}"#;
    let question = asks("7", "sampling/createMessage", params);
    let (mut stream, call) = begun(calls(&caller, "up__ask"), &up, &question).await;
    let asked = stream.next().await.unwrap();
    let token = at(&asked, &["params", "_meta", "progressToken"]).unwrap();
    assert_ne!(token, r#""t\u0031""#);
    let meta = at(&asked, &["params", "_meta"]).unwrap();
    assert_eq!(
        meta,
        format!(r#"{{"a":1e400,"progressToken":{token},"b":2}}"#)
    );
    for (token, step) in [("999999", 1), (token.as_str(), 2)] {
        let progress = format!(r#"{{"progressToken":{token},"progress":{step},"y":1e400}}"#);
        caller.notify("notifications/progress", &progress).await;
    }
    let got = up.wait_count("notifications/progress", 1).await;
    let expected = r#"{"progressToken":"t\u0031","progress":2,"y":1e400}"#;
    assert_eq!(got.raw(&["params"]).as_deref(), Some(expected));
    assert_eq!(got.header("mcp-session-id"), Some(call.session.as_str()));
    call.answer("{}").await;
    stream.finish().await;
    assert_eq!(up.count("notifications/progress"), 1);
}

#[tokio::test]
async fn a_request_that_the_upstream_cancels_is_cancelled_under_the_id_of_the_caller() {
    let up = up().await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    let question = asks("\"q\"", "elicitation/create", ODD);
    let (mut stream, call) = begun(calls(&caller, "up__ask"), &up, &question).await;
    let id = id_of(&stream.next().await.unwrap());
    let cancel = |id: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"\u0041","x":1e400}}}}"#
        )
    };
    call.say(&cancel("\"another\"")).await;
    call.say(&cancel("\"q\"")).await;
    assert_eq!(stream.next().await.unwrap(), cancel(&id));
    // An answer that comes too late is dropped.
    let late = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
    assert_eq!(caller.post(&late).await.status, 202);
    call.answer("{}").await;
    assert!(stream.finish().await.succeeded());
    assert_eq!(up.answers("\"q\""), [""; 0]);
}

#[tokio::test]
async fn an_answer_to_no_request_is_accepted_and_dropped() {
    let up = up().await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    let question = asks("1", "roots/list", "{}");
    let (mut stream, call) = begun(calls(&caller, "up__ask"), &up, &question).await;
    let id = id_of(&stream.next().await.unwrap());
    let answer = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"roots":[]}}}}"#);
    for other in [
        "1",
        "\"x\"",
        "-1",
        "18446744073709551616",
        &format!("\"{id}\""),
    ] {
        assert_eq!(caller.post(&answer(other)).await.status, 202, "{other}");
    }
    caller.post(&answer(&id)).await;
    caller.post(&answer(&id)).await;
    up.answered("1").await;
    call.answer("{}").await;
    stream.finish().await;
    assert_eq!(up.answers("1").len(), 1);
    let sent = up.requests("").into_iter();
    assert_eq!(sent.filter(|got| !got.body.is_empty()).count(), 1);
}

#[tokio::test]
async fn a_caller_that_accepts_only_json_is_not_asked_and_the_upstream_knows_at_once() {
    let up = up().await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    let ask = calls(&caller, "up__ask").header("accept", "application/json");
    let upstream = async {
        let call = up.call().await;
        call.say(&asks("\"q\"", "elicitation/create", ODD)).await;
        let refused = up.answered("\"q\"").await;
        assert_eq!(at(&refused, &["error", "code"]).as_deref(), Some("-32601"));
        call.answer(r#"{"content":[]}"#).await;
    };
    let (reply, ()) = tokio::join!(ask.send(), upstream);
    assert_eq!(reply.result(), r#"{"content":[]}"#);
    assert!(reply.events.is_empty());
}

#[tokio::test]
async fn a_caller_of_a_batch_is_asked_if_it_accepts_streams_and_not_otherwise() {
    let up = up().await;
    let weir = over([&up]).await;
    let version = "2025-03-26";
    let caller = Legacy::open_with(weir.url(), version, super::ABLE).await;
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"up__ask"}},{"jsonrpc":"2.0","id":2,"method":"ping"}]"#;
    let json = calls(&caller, "").header("accept", "application/json");
    let upstream = async {
        let call = up.call().await;
        call.say(&asks("\"a\"", "roots/list", "{}")).await;
        let refused = up.answered("\"a\"").await;
        assert_eq!(at(&refused, &["error", "code"]).as_deref(), Some("-32601"));
        call.answer("{}").await;
    };
    let (reply, ()) = tokio::join!(json.send_body(batch), upstream);
    let all: Vec<serde_json::Value> = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(all.len(), 2);

    let upstream = async {
        let call = up.call().await;
        call.say(&asks("\"b\"", "roots/list", "{}")).await;
        // The upstream's request may be relayed or refused, but it never waits for ever.
        call.answer("{}").await;
    };
    let (reply, ()) = tokio::join!(caller.post(batch), upstream);
    let ids = reply.events.iter().filter_map(|event| {
        let answered = at(event, &["result"])?;
        Some((id_of(event), answered))
    });
    let mut ids: Vec<_> = ids.collect();
    ids.sort();
    assert_eq!(
        ids,
        [
            ("1".to_owned(), "{}".to_owned()),
            ("2".to_owned(), "{}".to_owned())
        ]
    );
    let asked = reply
        .events
        .iter()
        .any(|event| event.contains("roots/list"));
    assert!(asked || !up.answers("\"b\"").is_empty());
}

#[tokio::test]
async fn weir_answers_every_ping_of_an_upstream_itself() {
    let up = up().await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    let ping = r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#;
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
    let (mut stream, call) = begun(calls(&caller, "up__ask"), &up, progress).await;
    assert_eq!(stream.next().await.unwrap(), progress);
    call.say(ping).await;
    assert_eq!(
        at(&up.answered("\"p\"").await, &["result"]).as_deref(),
        Some("{}")
    );
    let _own = caller.listen().await;
    let ping = ping.replace("\"p\"", "\"q\"");
    up.tell(&call.session, &ping).await;
    assert_eq!(
        at(&up.answered("\"q\"").await, &["result"]).as_deref(),
        Some("{}")
    );
    call.answer("{}").await;
    let reply = stream.finish().await;
    assert!(reply.events.iter().all(|event| !event.contains("ping")));
}

#[tokio::test]
async fn a_request_outside_of_calls_goes_to_the_stream_of_the_caller() {
    let up = up().await;
    let weir = over([&up]).await;
    let (caller, other) = (able(&weir).await, able(&weir).await);
    let (mut own, mut others) = (caller.listen().await, other.listen().await);
    let answer = async {
        let call = up.call().await;
        let session = call.session.clone();
        call.answer("{}").await;
        session
    };
    let (_, session) = tokio::join!(calls(&caller, "up__ask").send(), answer);
    up.tell(&session, &asks("5", "elicitation/create", ODD))
        .await;
    let asked = own.next().await.unwrap();
    assert_eq!(at(&asked, &["params"]).as_deref(), Some(ODD));
    let id = id_of(&asked);
    let result = r#"{"action":"decline","x":1e400}"#;
    caller
        .post(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
        ))
        .await;
    assert_eq!(
        at(&up.answered("5").await, &["result"]).as_deref(),
        Some(result)
    );
    // It is cancelled there too.
    up.tell(&session, &asks("6", "sampling/createMessage", ODD))
        .await;
    let id = id_of(&own.next().await.unwrap());
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":6}}"#;
    up.tell(&session, cancel).await;
    assert_eq!(
        own.next().await.unwrap(),
        cancel.replace("\"requestId\":6", &format!("\"requestId\":{id}"))
    );
    // The other caller gets none of it, although its stream works.
    let (answer, ()) = tokio::join!(calls(&other, "up__ask").send(), async {
        let call = up.call().await;
        up.tell(
            &call.session,
            r#"{"jsonrpc":"2.0","method":"notifications/x"}"#,
        )
        .await;
        call.answer("{}").await;
    });
    assert!(answer.succeeded());
    let first = others.next().await.unwrap();
    assert_eq!(
        at(&first, &["method"])
            .and_then(|name| unquote(&name))
            .unwrap(),
        "notifications/x"
    );
}

#[tokio::test]
async fn a_request_that_the_caller_does_not_answer_ends_with_its_call() {
    let up = up().await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    // More calls, one after the other, than requests may wait at once.
    for round in 0..70 {
        let question = asks(&round.to_string(), "roots/list", "{}");
        let (mut stream, call) = begun(calls(&caller, "up__ask"), &up, &question).await;
        let asked = stream.next().await.unwrap();
        assert!(asked.contains("roots/list"), "{round}: {asked}");
        call.answer("{}").await;
        stream.finish().await;
    }
    assert_eq!(up.answers("69"), [""; 0]);
}
