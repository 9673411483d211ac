//! Legacy callers over modern upstreams: what the upstream asks (`input_required`) becomes requests on
//! the stream of the call, and the call is sent again with the answers.

mod waited;

use serde_json::{Value, json};

use crate::support::asking::{Asking, Call};
use crate::support::client::{Legacy, Stream, call_params};
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::{Builder, Weir};
use crate::support::{at, unquote};

const V: &str = "2025-11-25";
const ABLE: &str = r#"{"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true},"tasks":{}}"#;
const FORM: &str = r#"{"method":"elicitation/create","params":{"mode":"form","message":"\u0041?","requestedSchema":{"type":"object","properties":{}}}}"#;
const SAMPLE: &str =
    r#"{"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1e400}}"#;
const ROOTS: &str = r#"{"method":"roots/list"}"#;
const DONE: &str = r#"{"resultType":"complete","content":[{"type":"text","text":"done"}]}"#;

async fn up() -> Asking {
    Asking::named("up").tools(["ask"]).modern().start().await
}

fn weir(up: &Asking) -> Builder {
    Weir::with(&up.yaml())
}

async fn able(weir: &Weir) -> Legacy {
    Legacy::open_with(weir.url(), V, ABLE).await
}

/// The result that asks this.
fn question(asks: &[(&str, &str)], state: &str) -> String {
    let asks: Vec<_> = asks
        .iter()
        .map(|(key, ask)| format!("{key:?}:{ask}"))
        .collect();
    let asks = asks.join(",");
    format!(
        r#"{{"resultType":"input_required","inputRequests":{{{asks}}},"requestState":{state}}}"#
    )
}

/// Begins a call of the tool, whose first answer is this.
async fn begun(caller: &Legacy, up: &Asking, first: &str) -> Stream {
    let ask = caller
        .ask("tools/call", &call_params("up__ask", r#"{"n":1e400}"#))
        .id("\"mine\"");
    let upstream = async { up.call().await.answer(first).await };
    tokio::join!(ask.stream(), upstream).0
}

/// Answers a request of weir's: `member` is `result` or `error`.
async fn answer(caller: &Legacy, asked: &str, member: &str, outcome: &str) {
    let id = at(asked, &["id"]).unwrap();
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"{member}":{outcome}}}"#);
    assert_eq!(caller.post(&body).await.status, 202);
}

fn param(call: &Call, key: &str) -> Option<String> {
    call.request.raw(&["params", key])
}

fn declared(call: &Call) -> Option<String> {
    let key = "io.modelcontextprotocol/clientCapabilities";
    call.request.raw(&["params", "_meta", key])
}

#[tokio::test]
async fn questions_of_one_round_come_at_once_and_the_call_goes_on_with_all_answers() {
    let up = up().await;
    let weir = weir(&up).start().await;
    let caller = able(&weir).await;
    let asks = [("a", FORM), ("b", SAMPLE), ("c", ROOTS)];
    let mut stream = begun(&caller, &up, &question(&asks, r#""s\/1""#)).await;
    let mut asked = Vec::new();
    for (_, ask) in asks {
        let message = stream.next().await.unwrap();
        assert_eq!(at(&message, &["method"]), at(ask, &["method"]));
        assert_eq!(at(&message, &["params"]), at(ask, &["params"]));
        asked.push(message);
    }
    answer(&caller, &asked[2], "result", r#"{"roots":[ ]}"#).await;
    answer(
        &caller,
        &asked[0],
        "result",
        r#"{"action":"accept","content":{"n":1e400}}"#,
    )
    .await;
    assert_eq!(up.count("tools/call"), 1, "one answer is missing");
    answer(
        &caller,
        &asked[1],
        "result",
        r#"{"role":"assistant","content":[],"model":"m"}"#,
    )
    .await;

    let retry = up.call().await;
    assert_eq!(
        param(&retry, "inputResponses").as_deref(),
        Some(
            r#"{"a":{"action":"accept","content":{"n":1e400}},"b":{"role":"assistant","content":[],"model":"m"},"c":{"roots":[ ]}}"#
        )
    );
    assert_eq!(param(&retry, "requestState").as_deref(), Some(r#""s\/1""#));
    assert_eq!(
        param(&retry, "arguments").as_deref(),
        Some(r#"{"n":1e400}"#)
    );
    let first = &up.requests("tools/call")[0];
    assert_ne!(first.raw(&["id"]), retry.request.raw(&["id"]));
    let capabilities = r#"{"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}},"roots":{}}"#;
    assert_eq!(declared(&retry).as_deref(), Some(capabilities));
    retry.answer(DONE).await;
    let reply = stream.finish().await;
    assert_eq!(reply.text(), "done");
    assert_eq!(reply.id().as_deref(), Some("\"mine\""));
    assert_eq!(up.count("tools/call"), 2);
}

#[tokio::test]
async fn a_call_asks_in_as_many_rounds_as_it_takes() {
    let up = up().await;
    let weir = weir(&up).start().await;
    let caller = able(&weir).await;
    let mut stream = begun(&caller, &up, &question(&[("a", FORM)], "\"1\"")).await;
    for round in 1..=9 {
        let asked = stream.next().await.unwrap();
        answer(
            &caller,
            &asked,
            "result",
            &format!(r#"{{"action":"accept","content":{{"n":{round}}}}}"#),
        )
        .await;
        let retry = up.call().await;
        assert_eq!(param(&retry, "requestState"), Some(format!("\"{round}\"")));
        retry
            .answer(&question(&[("a", FORM)], &format!("\"{}\"", round + 1)))
            .await;
    }
    let asked = stream.next().await.unwrap();
    answer(&caller, &asked, "result", r#"{"action":"decline"}"#).await;
    let retry = up.call().await;
    retry.answer(&question(&[("a", FORM)], "\"11\"")).await;
    let reply = stream.finish().await;
    assert_eq!(reply.value()["isError"], true, "{reply:?}");
    assert!(reply.text().contains("10 rounds"), "{}", reply.text());
    assert_eq!(up.count("tools/call"), 11);
}

#[tokio::test]
async fn a_state_alone_goes_back_after_a_moment() {
    let up = up().await;
    let weir = weir(&up).start().await;
    let caller = able(&weir).await;
    let state = r#"{"resultType":"input_required","requestState":"s"}"#;
    let begun = tokio::time::Instant::now();
    let upstream = async {
        up.call().await.answer(state).await;
        let retry = up.call().await;
        assert_eq!(param(&retry, "requestState").as_deref(), Some("\"s\""));
        assert_eq!(param(&retry, "inputResponses"), None);
        retry.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(caller.call("up__ask", "{}"), upstream);
    assert_eq!(reply.text(), "done");
    assert!(begun.elapsed() >= std::time::Duration::from_millis(250));
}

#[tokio::test]
async fn a_state_goes_back_to_the_round_that_it_came_with_only() {
    let up = up().await;
    let weir = weir(&up).start().await;
    let caller = able(&weir).await;
    let without = question(&[("a", FORM)], "null").replace(r#","requestState":null"#, "");
    let with = question(&[("a", FORM)], "\"s\"");
    let mut stream = begun(&caller, &up, &with).await;
    for (sent, next) in [
        (Some("\"s\""), &*without),
        (None, &*with),
        (Some("\"s\""), DONE),
    ] {
        let asked = stream.next().await.unwrap();
        answer(&caller, &asked, "result", r#"{"action":"accept"}"#).await;
        let retry = up.call().await;
        assert_eq!(param(&retry, "requestState").as_deref(), sent);
        retry.answer(next).await;
    }
    assert_eq!(stream.finish().await.text(), "done");
}

#[tokio::test]
async fn a_refused_form_is_cancelled_and_a_refused_model_ends_the_call() {
    let up = up().await;
    let weir = weir(&up).start().await;
    let caller = able(&weir).await;
    let refused = r#"{"code":-1,"message":"no"}"#;
    let mut stream = begun(&caller, &up, &question(&[("a", FORM)], "\"1\"")).await;
    let asked = stream.next().await.unwrap();
    answer(&caller, &asked, "error", refused).await;
    let retry = up.call().await;
    let responses = r#"{"a":{"action":"cancel"}}"#;
    assert_eq!(param(&retry, "inputResponses").as_deref(), Some(responses));
    retry.answer(DONE).await;
    assert_eq!(stream.finish().await.text(), "done");

    let asks = [("a", FORM), ("b", SAMPLE)];
    let mut stream = begun(&caller, &up, &question(&asks, "\"1\"")).await;
    let (form, sample) = (stream.next().await.unwrap(), stream.next().await.unwrap());
    answer(&caller, &sample, "error", refused).await;
    let taken_back = stream.next_value().await;
    assert_eq!(taken_back["method"], "notifications/cancelled");
    let id: Value = serde_json::from_str(&at(&form, &["id"]).unwrap()).unwrap();
    assert_eq!(taken_back["params"]["requestId"], id);
    let reply = stream.finish().await;
    assert_eq!(reply.value()["isError"], true, "{reply:?}");
    assert!(
        reply.text().contains("`sampling`, and the client refused"),
        "{}",
        reply.text()
    );
    assert_eq!(up.count("tools/call"), 3, "the upstream hears nothing more");
}

#[tokio::test]
async fn a_call_that_is_cancelled_takes_its_questions_back() {
    let up = up().await;
    let weir = weir(&up).start().await;
    let caller = able(&weir).await;
    let mut stream = begun(&caller, &up, &question(&[("a", FORM)], "\"1\"")).await;
    let asked = stream.next_value().await;
    caller
        .notify("notifications/cancelled", r#"{"requestId":"mine"}"#)
        .await;
    let taken_back = stream.next_value().await;
    assert_eq!(taken_back["method"], "notifications/cancelled");
    assert_eq!(taken_back["params"]["requestId"], asked["id"]);
    assert_eq!(stream.next().await, None);
    answer(
        &caller,
        &asked.to_string(),
        "result",
        r#"{"action":"accept"}"#,
    )
    .await;
    assert_eq!(caller.call("up__none", "{}").await.code(), -32602);
    assert_eq!(up.count("tools/call"), 1, "nothing runs upstream");
}

#[tokio::test]
async fn a_question_that_nobody_answers_ends_in_time() {
    let up = up().await;
    let weir = weir(&up).top("defaults: { timeouts: { ask: 300ms, call: 10s } }");
    let weir = weir.start().await;
    let caller = able(&weir).await;
    let mut stream = begun(&caller, &up, &question(&[("a", FORM)], "\"1\"")).await;
    stream.next().await.unwrap();
    let retry = up.call().await;
    let responses = r#"{"a":{"action":"cancel"}}"#;
    assert_eq!(param(&retry, "inputResponses").as_deref(), Some(responses));
    let taken_back = stream.next_value().await;
    assert_eq!(taken_back["method"], "notifications/cancelled");
    retry.answer(&question(&[("a", ROOTS)], "\"1\"")).await;
    stream.next().await.unwrap();
    let reply = stream.finish().await;
    assert_eq!(reply.value()["isError"], true, "{reply:?}");
    assert!(
        reply.text().contains("did not answer in time"),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn the_time_of_a_call_stands_still_while_its_caller_is_asked() {
    let up = up().await;
    let weir = weir(&up).top("defaults: { timeouts: { call: 600ms } , limits: { in_flight: 1 } }");
    let weir = weir.start().await;
    let caller = able(&weir).await;
    let mut stream = begun(&caller, &up, &question(&[("a", FORM)], "\"1\"")).await;
    let asked = stream.next().await.unwrap();
    // Another call takes the place meanwhile.
    for _ in 0..3 {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let other = async { up.call().await.answer(DONE).await };
        let (reply, ()) = tokio::join!(caller.call("up__ask", "{}"), other);
        assert_eq!(reply.text(), "done");
    }
    answer(&caller, &asked, "result", r#"{"action":"accept"}"#).await;
    up.call().await.answer(DONE).await;
    assert_eq!(stream.finish().await.text(), "done");
}

#[tokio::test]
async fn the_wait_for_a_place_after_an_answer_is_time_of_the_call() {
    let up = up().await;
    let weir = weir(&up).top("defaults: { timeouts: { call: 3s } , limits: { in_flight: 1 } }");
    let weir = weir.start().await;
    let caller = able(&weir).await;
    let mut stream = begun(&caller, &up, &question(&[("a", FORM)], "\"1\"")).await;
    let asked = stream.next().await.unwrap();
    let asked_call = async {
        // Another call has the place.
        let other = up.call().await;
        let begun = tokio::time::Instant::now();
        answer(&caller, &asked, "result", r#"{"action":"accept"}"#).await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        other.answer(DONE).await;
        let _unanswered = up.call().await;
        (stream.finish().await, begun.elapsed())
    };
    let (other, (reply, took)) = tokio::join!(caller.call("up__ask", "{}"), asked_call);
    assert_eq!(other.text(), "done");
    assert_eq!(reply.code(), -32603, "{reply:?}");
    assert!(took < std::time::Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn a_caller_is_not_asked_for_what_it_does_not_declare() {
    let ask = question(&[("a", FORM), ("b", ROOTS)], "\"s\"");
    let needs =
        r#"{"code":-32021,"message":"needs roots","data":{"requiredCapabilities":{"roots":{}}}}"#;
    let up = Upstream::named("up")
        .answers("ask", &ask)
        .errors("checks", needs)
        .answers_as(Kind::Prompts, "ask", &ask)
        .modern()
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    for (capabilities, sent, missing) in [
        ("{}", "{}", "elicitation"),
        (r#"{"elicitation":{}}"#, r#"{"elicitation":{}}"#, "roots"),
    ] {
        let caller = Legacy::open_with(weir.url(), V, capabilities).await;
        let reply = caller.call("up__ask", "{}").await;
        assert_eq!(
            (reply.status, reply.value()["isError"].clone()),
            (200, json!(true))
        );
        let text = format!("upstream `up` asks its client for `{missing}`, which");
        assert!(reply.text().starts_with(&text), "{}", reply.text());
        let reply = caller.request("prompts/get", r#"{"name":"up__ask"}"#).await;
        assert_eq!((reply.status, reply.code()), (200, -32603), "{reply:?}");
        let data = json!({"upstream": "up", "reason": "asks for what cannot be answered", "capability": missing});
        assert_eq!(reply.error()["data"], data);
        let key = "io.modelcontextprotocol/clientCapabilities";
        let declared = up.last("tools/call").raw(&["params", "_meta", key]);
        assert_eq!(declared.as_deref(), Some(sent));
        let reply = caller.call("up__checks", "{}").await;
        assert_eq!(reply.value()["isError"], true, "{reply:?}");
        assert_eq!(
            reply.text(),
            r#"needs roots: this client does not declare {"roots":{}}"#
        );
    }
    assert_eq!(up.count("tools/call"), 4, "once each");
}

#[tokio::test]
async fn a_caller_that_reads_no_stream_declares_nothing() {
    let up = Upstream::named("up")
        .asks_input("who")
        .modern()
        .start()
        .await;
    let weir = Weir::over([&up]).start().await;
    let caller = able(&weir).await;
    let ask = caller.ask("tools/call", &call_params("up__who", "{}"));
    let reply = ask.header("accept", "application/json").send().await;
    assert_eq!(reply.value()["isError"], true, "{reply:?}");
    let key = "io.modelcontextprotocol/clientCapabilities";
    let declared = up.last("tools/call").raw(&["params", "_meta", key]);
    assert_eq!(declared.as_deref(), Some("{}"));
}

#[tokio::test]
async fn prompts_and_resources_ask_too_and_completions_do_not() {
    let up = Asking::named("up")
        .resources(["file:///a"])
        .modern()
        .start()
        .await;
    let weir = weir(&up).start().await;
    let caller = able(&weir).await;
    let ask = caller.ask("resources/read", r#"{"uri":"file:///a"}"#);
    let upstream = async {
        let first = up.call().await;
        first.answer(&question(&[("a", FORM)], "\"1\"")).await;
    };
    let (mut stream, ()) = tokio::join!(ask.stream(), upstream);
    let asked = stream.next().await.unwrap();
    answer(&caller, &asked, "result", r#"{"action":"accept"}"#).await;
    let retry = up.call().await;
    assert_eq!(param(&retry, "uri").as_deref(), Some("\"file:///a\""));
    assert!(param(&retry, "inputResponses").is_some());
    let contents = r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","contents":[]}"#;
    retry.answer(contents).await;
    assert!(stream.finish().await.succeeded());

    let reference =
        r#"{"ref":{"type":"ref/resource","uri":"file:///a"},"argument":{"name":"x","value":""}}"#;
    let upstream = async {
        let call = up.call().await;
        call.answer(&question(&[("a", FORM)], "\"1\"")).await;
    };
    let (reply, ()) = tokio::join!(caller.request("completion/complete", reference), upstream);
    assert_eq!((reply.status, reply.code()), (200, -32603), "{reply:?}");
}

#[tokio::test]
async fn a_person_is_asked_once_for_a_url_and_told_when_it_is_done() {
    let up = up().await;
    let weir = weir(&up).start().await;
    let caller = able(&weir).await;
    let url = r#"{"method":"elicitation/create","params":{"mode":"url","message":"?","url":"https://u"}}"#;
    let ask = question(&[("a", url)], "\"1\"");
    let mut stream = begun(&caller, &up, &ask).await;
    let asked = stream.next().await.unwrap();
    let id = at(&asked, &["params", "elicitationId"]).and_then(|id| unquote(&id));
    assert!(id.as_ref().is_some_and(|id| !id.is_empty()), "{asked}");
    answer(&caller, &asked, "result", r#"{"action":"accept"}"#).await;
    // The person is still at it.
    up.call().await.answer(&ask).await;
    let retry = up.call().await;
    let responses = r#"{"a":{"action":"accept"}}"#;
    assert_eq!(param(&retry, "inputResponses").as_deref(), Some(responses));
    retry.answer(DONE).await;
    let complete = stream.next_value().await;
    assert_eq!(complete["method"], "notifications/elicitation/complete");
    assert_eq!(complete["params"], json!({ "elicitationId": id }));
    assert_eq!(stream.finish().await.text(), "done");
}

#[tokio::test]
async fn a_client_of_an_older_version_gets_questions_of_its_version() {
    let up = up().await;
    let weir = weir(&up).start().await;
    let caller = Legacy::open_with(weir.url(), "2025-06-18", ABLE).await;
    let form = r#"{"method":"elicitation/create","params":{"mode":"form","message":"?","requestedSchema":{"type":"object","properties":{"c":{"type":"string","oneOf":[{"const":"r","title":"Red"}],"default":"r"}}}}}"#;
    let sample = r#"{"method":"sampling/createMessage","params":{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"maxTokens":1}}"#;
    let asks = [("a", form), ("b", sample)];
    let mut stream = begun(&caller, &up, &question(&asks, "\"1\"")).await;
    let form = stream.next().await.unwrap();
    assert_eq!(
        at(&form, &["params"]).as_deref(),
        Some(
            r#"{"message":"?","requestedSchema":{"type":"object","properties":{"c":{"type":"string","enum":["r"],"enumNames":["Red"]}}}}"#
        )
    );
    let sample = stream.next_value().await;
    assert_eq!(sample["params"]["messages"][0]["content"]["text"], "a");
    drop(stream);
    let last = up.requests("tools/call").remove(0);
    let key = "io.modelcontextprotocol/clientCapabilities";
    let declared = last.raw(&["params", "_meta", key]);
    let expected = r#"{"sampling":{},"elicitation":{},"roots":{}}"#;
    assert_eq!(declared.as_deref(), Some(expected));

    let several = r#"{"method":"elicitation/create","params":{"requestedSchema":{"properties":{"c":{"type":"array"}}}}}"#;
    let stream = begun(&caller, &up, &question(&[("a", several)], "\"1\"")).await;
    let reply = stream.finish().await;
    assert_eq!(reply.value()["isError"], true, "{reply:?}");
    assert!(reply.text().contains("does not have"), "{}", reply.text());
}

#[tokio::test]
async fn a_caller_that_lost_its_stream_finds_the_question_on_the_next_one() {
    let up = up().await;
    let weir = weir(&up).start().await;
    let caller = able(&weir).await;
    let mut stream = begun(&caller, &up, &question(&[("a", FORM)], "\"1\"")).await;
    let asked = stream.next().await.unwrap();
    let last = stream.last_id().unwrap();
    let (number, _) = last.split_once('-').unwrap();
    drop(stream);
    let mut stream = caller.read_on(&format!("{number}-0")).await;
    let again = stream.next().await.unwrap();
    assert_eq!(again, asked);
    answer(&caller, &again, "result", r#"{"action":"accept"}"#).await;
    up.call().await.answer(DONE).await;
    assert_eq!(stream.finish().await.text(), "done");
}

#[tokio::test]
async fn a_question_that_no_client_knows_is_the_upstreams_fault() {
    let up = up().await;
    let weir = weir(&up).start().await;
    let caller = able(&weir).await;
    let voice = r#"{"method":"voice/call","params":{}}"#;
    for first in [
        question(&[("a", voice)], "\"1\""),
        r#"{"resultType":"input_required"}"#.to_owned(),
    ] {
        let reply = begun(&caller, &up, &first).await.finish().await;
        assert_eq!(reply.value()["isError"], true, "{reply:?}");
        assert!(
            reply.text().starts_with("upstream `up`: "),
            "{}",
            reply.text()
        );
    }
}

#[tokio::test]
async fn progress_only_increases_though_each_round_counts_anew() {
    let up = up().await;
    let weir = weir(&up).start().await;
    let caller = able(&weir).await;
    let progress = |call: &Call, done: u32| {
        let token = call
            .request
            .raw(&["params", "_meta", "progressToken"])
            .unwrap();
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{done}}}}}"#
        )
    };
    let ask = caller.ask("tools/call", &call_params("up__ask", "{}"));
    let ask = ask.meta("progressToken", "\"t\"");
    let upstream = async {
        let call = up.call().await;
        call.say(&progress(&call, 1)).await;
        call.say(&progress(&call, 5)).await;
        call.answer(&question(&[("a", FORM)], "\"1\"")).await;
    };
    let (mut stream, ()) = tokio::join!(ask.stream(), upstream);
    for done in [1, 5] {
        let told = stream.next_value().await;
        assert_eq!(
            told["params"],
            json!({"progressToken": "t", "progress": done})
        );
    }
    let asked = stream.next().await.unwrap();
    answer(&caller, &asked, "result", r#"{"action":"accept"}"#).await;
    let retry = up.call().await;
    for done in [1, 5, 6] {
        retry.say(&progress(&retry, done)).await;
    }
    retry.answer(DONE).await;
    let told = stream.next_value().await;
    assert_eq!(told["params"]["progress"], 6);
    assert_eq!(stream.finish().await.text(), "done");
}

#[tokio::test]
async fn log_messages_cross_at_the_level_of_the_session() {
    let up = up().await;
    let weir = weir(&up).start().await;
    let caller = able(&weir).await;
    let log = |level| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}","data":"x"}}}}"#
        )
    };
    for (level, below) in [("info", "debug"), ("error", "warning")] {
        if level != "info" {
            let params = format!(r#"{{"level":"{level}"}}"#);
            let set = caller.request("logging/setLevel", &params).await;
            assert!(set.succeeded(), "{set:?}");
        }
        let upstream = async {
            let call = up.call().await;
            let key = "io.modelcontextprotocol/logLevel";
            let sent = call.request.raw(&["params", "_meta", key]);
            assert_eq!(sent, Some(format!("\"{level}\"")));
            // Not every upstream does as it is asked.
            call.say(&log(below)).await;
            call.say(&log("error")).await;
            call.answer(DONE).await;
        };
        let (reply, ()) = tokio::join!(caller.call("up__ask", "{}"), upstream);
        let told = reply.notifications("notifications/message");
        let told: Vec<_> = told.iter().map(|one| &one["params"]["level"]).collect();
        assert_eq!(told, ["error"], "{reply:?}");
    }
}
