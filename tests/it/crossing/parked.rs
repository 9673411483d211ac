//! Modern callers over legacy upstreams: what the upstream asks during a call becomes `input_required`,
//! and the call goes on when its caller comes back with the answers.

mod children;
mod ends;
mod many;
mod replicas;
mod states;
mod urls;
mod waiting;

use serde_json::{Value, json};

use crate::support::asking::{Asking, Builder, Call};
use crate::support::client::{Modern, Reply};
use crate::support::weir::Weir;
use crate::support::{at, fields, unquote};

const ABLE: &str = r#"{"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true},"experimental":{"x":{}}}"#;
const FORM: &str = r#""method":"elicitation/create","params":{"message":"\u0041?","requestedSchema":{"type":"object","properties":{}},"_meta":{"progressToken":7}}"#;
const ROOTS: &str = r#""method":"roots/list""#;
const SAMPLE: &str =
    r#""method":"sampling/createMessage","params":{"messages":[],"maxTokens":1e400,"tools":[ ]}"#;
const DONE: &str = r#"{"content":[{"type":"text","text":"done"}],"n":1.50}"#;
const CALL: &str = r#"{"name":"up__ask","arguments":{"n":1e400}}"#;
const CAPABILITIES: &str =
    r#"{"tools":{"listChanged":true},"resources":{},"prompts":{},"logging":{},"completions":{}}"#;

fn server() -> Builder {
    Asking::named("up")
        .tools(["ask"])
        .prompts(["greet"])
        .resources(["file:///a"])
        .capabilities(CAPABILITIES)
}

async fn over(up: &Asking) -> Weir {
    Weir::with(&up.yaml()).start().await
}

fn caller(weir: &Weir, capabilities: &str) -> Modern {
    let mut caller = weir.modern();
    caller.capabilities = capabilities.to_owned();
    caller
}

fn able(weir: &Weir) -> Modern {
    caller(weir, ABLE)
}

/// A request of the upstream with this id, as a message.
fn ask(id: &str, asked: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},{asked}}}"#)
}

/// Calls the tool, whose upstream asks this on the stream of the call. Returns what the caller gets, and
/// the call.
async fn asked(caller: &Modern, up: &Asking, asks: &[(&str, &str)]) -> (Reply, Call) {
    let upstream = async {
        let call = up.call().await;
        for (id, asked) in asks {
            call.say(&ask(id, asked)).await;
        }
        call
    };
    tokio::join!(caller.request("tools/call", CALL), upstream)
}

/// The questions of a result, by their names.
fn questions(reply: &Reply) -> Vec<(String, String)> {
    let kind = at(&reply.result(), &["resultType"]);
    assert_eq!(kind.as_deref(), Some("\"input_required\""), "{reply:?}");
    let requests = at(&reply.result(), &["inputRequests"]).unwrap();
    let requests = fields(&requests).unwrap().into_iter();
    requests
        .map(|(key, question)| (key, question.get().to_owned()))
        .collect()
}

fn state(reply: &Reply) -> String {
    unquote(&at(&reply.result(), &["requestState"]).unwrap()).unwrap()
}

/// The params of a request that goes on with these answers.
fn going_on(params: &str, state: &str, answers: &str) -> String {
    let open = params.strip_suffix('}').unwrap();
    format!(
        r#"{open},"inputResponses":{answers},"requestState":{}}}"#,
        json!(state)
    )
}

/// Comes back with this answer to each question.
async fn back(caller: &Modern, reply: &Reply, answer: &str) -> Reply {
    let answers = all(reply, answer);
    let params = going_on(CALL, &state(reply), &answers);
    caller.request("tools/call", &params).await
}

fn all(reply: &Reply, answer: &str) -> String {
    let each = questions(reply).into_iter();
    let each: Vec<_> = each.map(|(key, _)| format!("{key:?}:{answer}")).collect();
    format!("{{{}}}", each.join(","))
}

/// The capabilities that each session declares, raw.
fn declared(up: &Asking) -> Vec<String> {
    let opened = up.requests("initialize").into_iter();
    opened
        .map(|opened| opened.raw(&["params", "capabilities"]).unwrap())
        .collect()
}

#[tokio::test]
async fn a_form_is_asked_and_the_answer_goes_to_the_upstream() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    for (id, answer) in [
        ("\"q\"", r#"{"action":"accept","content":{"n":1e400}}"#),
        ("7", r#"{"action":"decline"}"#),
        ("\"7\"", r#"{"action":"cancel"}"#),
    ] {
        let (first, call) = asked(&caller, &up, &[(id, FORM)]).await;
        assert_eq!(first.status, 200);
        let [(_, question)] = questions(&first).try_into().unwrap();
        assert_eq!(
            question,
            r#"{"method":"elicitation/create","params":{"message":"\u0041?","requestedSchema":{"type":"object","properties":{}}}}"#
        );
        let upstream = async {
            let got = up.answered(id).await;
            assert_eq!(
                got,
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{answer}}}"#)
            );
            call.answer(DONE).await;
        };
        let (reply, ()) = tokio::join!(back(&caller, &first, answer), upstream);
        assert_eq!(
            reply.result(),
            r#"{"content":[{"type":"text","text":"done"}],"n":1.50,"resultType":"complete"}"#
        );
        assert_eq!(up.answers(id).len(), 1);
    }
    assert_eq!(up.count("tools/call"), 3, "no call is sent twice");
    assert_eq!(
        up.count("initialize"),
        2,
        "calls one after the other share a session"
    );
    assert_eq!(
        declared(&up)[1],
        r#"{"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}},"roots":{},"experimental":{"x":{}}}"#
    );
}

#[tokio::test]
async fn what_is_asked_at_once_is_one_round() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let asks = [("1", FORM), ("2", SAMPLE), ("3", ROOTS)];
    let (first, call) = asked(&caller, &up, &asks).await;
    let found = questions(&first);
    let methods: Vec<_> = found.iter().map(|(_, one)| at(one, &["method"])).collect();
    let expected = ["elicitation/create", "sampling/createMessage", "roots/list"];
    let expected: Vec<_> = expected.map(|method| Some(format!("{method:?}"))).into();
    assert_eq!(methods, expected);
    let sampled = at(&found[1].1, &["params"]).unwrap();
    assert_eq!(sampled, r#"{"messages":[],"maxTokens":1e400,"tools":[ ]}"#);
    let answers = [
        r#"{"action":"accept"}"#,
        r#"{"role":"assistant"}"#,
        r#"{"roots":[ ]}"#,
    ];
    let each = found.iter().zip(answers);
    let each: Vec<_> = each
        .map(|((key, _), answer)| format!("{key:?}:{answer}"))
        .collect();
    let params = going_on(CALL, &state(&first), &format!("{{{}}}", each.join(",")));
    let upstream = async {
        for (id, answer) in [("1", answers[0]), ("2", answers[1]), ("3", answers[2])] {
            let got = up.answered(id).await;
            assert_eq!(at(&got, &["result"]).as_deref(), Some(answer));
        }
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(caller.request("tools/call", &params), upstream);
    assert_eq!(reply.text(), "done");
}

#[tokio::test]
async fn calls_that_are_asked_outside_of_their_streams_are_told_apart() {
    let up = server().start().await;
    let weir = over(&up).await;
    let (one, other) = (able(&weir), able(&weir));
    let upstream = async {
        let (first, second) = (up.call().await, up.call().await);
        assert_ne!(first.session, second.session);
        for call in [&first, &second] {
            let message = format!(
                r#""method":"elicitation/create","params":{{"message":{}}}"#,
                json!(call.session)
            );
            up.tell(&call.session, &ask("7", &message)).await;
        }
        (first, second)
    };
    let (left, right, (first, second)) = tokio::join!(
        one.request("tools/call", CALL),
        other.request("tools/call", CALL),
        upstream
    );
    let sessions = [first.session.clone(), second.session.clone()];
    let answering = async {
        for call in [first, second] {
            up.wait_for("the answer", |seen| {
                seen.of("").any(|got| {
                    got.header("mcp-session-id") == Some(&call.session)
                        && got.raw(&["result", "content", "to"])
                            == Some(json!(call.session).to_string())
                })
            })
            .await;
            let text = json!({"content": [{"type": "text", "text": call.session}]});
            call.answer(&text.to_string()).await;
        }
    };
    let come_back = async |caller: &Modern, asked: &Reply| {
        let [(_, question)] = questions(asked).try_into().unwrap();
        let session = at(&question, &["params", "message"]).unwrap();
        let answer = format!(r#"{{"action":"accept","content":{{"to":{session}}}}}"#);
        let reply = back(caller, asked, &answer).await;
        assert_eq!(json!(reply.text()).to_string(), session);
    };
    tokio::join!(answering, come_back(&one, &left), come_back(&other, &right));
    for session in sessions {
        up.left(&session).await;
    }
}

#[tokio::test]
async fn a_call_asks_in_as_many_rounds_as_it_takes() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let (mut reply, call) = asked(&caller, &up, &[("0", FORM)]).await;
    let mut states = vec![state(&reply)];
    for round in 1..12 {
        let upstream = async {
            up.answered(&(round - 1).to_string()).await;
            let asked = if round == 11 { SAMPLE } else { FORM };
            call.say(&ask(&round.to_string(), asked)).await;
        };
        let (next, ()) = tokio::join!(back(&caller, &reply, r#"{"action":"accept"}"#), upstream);
        assert!(!states.contains(&state(&next)));
        states.push(state(&next));
        reply = next;
    }
    let upstream = async {
        up.answered("11").await;
        call.answer(DONE).await;
    };
    let (last, ()) = tokio::join!(back(&caller, &reply, "{}"), upstream);
    assert_eq!(last.text(), "done");
}

#[tokio::test]
async fn prompts_and_resources_ask_too_and_completions_cannot() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    for (method, params) in [
        ("prompts/get", r#"{"name":"up__greet"}"#),
        ("resources/read", r#"{"uri":"file:///a"}"#),
    ] {
        let upstream = async {
            let call = up.call().await;
            call.say(&ask(&json!(method).to_string(), ROOTS)).await;
            call
        };
        let (first, call) = tokio::join!(caller.request(method, params), upstream);
        let answers = all(&first, r#"{"roots":[]}"#);
        let again = going_on(params, &state(&first), &answers);
        let upstream = async {
            up.answered(&json!(method).to_string()).await;
            call.answer(r#"{"messages":[],"contents":[]}"#).await;
        };
        let (reply, ()) = tokio::join!(caller.request(method, &again), upstream);
        assert_eq!(reply.value()["resultType"], "complete", "{reply:?}");
    }
    let reference =
        r#"{"ref":{"type":"ref/prompt","name":"up__greet"},"argument":{"name":"a","value":"b"}}"#;
    let upstream = async {
        let call = up.call().await;
        call.say(&ask("\"c\"", ROOTS)).await;
        let refused = up.answered("\"c\"").await;
        assert_eq!(at(&refused, &["error", "code"]).as_deref(), Some("-32601"));
        call.answer(r#"{"completion":{"values":[]}}"#).await;
    };
    let (reply, ()) = tokio::join!(caller.request("completion/complete", reference), upstream);
    assert_eq!(reply.value()["completion"], json!({"values": []}));
}

#[tokio::test]
async fn an_upstream_is_told_what_the_caller_can_do_and_nothing_else() {
    let up = server().start().await;
    let weir = over(&up).await;
    for (capabilities, expected) in [
        ("{}", None),
        (r#"{"experimental":{"x":{}}}"#, None),
        (r#"{"sampling":{}}"#, Some(r#"{"sampling":{}}"#)),
        (r#"{"elicitation":{ }}"#, Some(r#"{"elicitation":{ }}"#)),
        (
            r#"{"roots":{"listChanged":true},"tasks":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#,
            Some(r#"{"roots":{},"extensions":{}}"#),
        ),
    ] {
        let before = up.count("initialize");
        let caller = caller(&weir, capabilities);
        let upstream = async { up.call().await.answer(DONE).await };
        let (reply, ()) = tokio::join!(caller.request("tools/call", CALL), upstream);
        assert_eq!(reply.text(), "done");
        let opened = declared(&up).into_iter().skip(before);
        assert_eq!(
            opened.collect::<Vec<_>>(),
            Vec::from_iter(expected),
            "{capabilities}"
        );
    }
    assert_eq!(declared(&up)[0], "{}", "the shared session");
}

/// Requests that their callers do not declare to take: the capabilities, the id and the request, the code of the
/// refusal, and the capability that is named.
fn undeclared() -> Vec<(
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Value,
)> {
    const URL: &str = r#""method":"elicitation/create","params":{"mode":"url","url":"https://a","elicitationId":"e","message":"m"}"#;
    let form_only = r#"{"elicitation":{}}"#;
    vec![
        (
            form_only,
            "\"u\"",
            URL,
            "-32602",
            json!({"elicitation": {"url": {}}}),
        ),
        (
            form_only,
            "\"s\"",
            SAMPLE,
            "-32601",
            json!({"sampling": {"tools": {}}}),
        ),
        // Such a caller shares a session with others.
        (
            "{}",
            "\"f\"",
            FORM,
            "-32601",
            json!({"elicitation": {"form": {}}}),
        ),
        ("{}", "\"r\"", ROOTS, "-32601", json!({"roots": {}})),
    ]
}

#[tokio::test]
async fn a_call_that_fails_for_want_of_a_capability_says_which() {
    let up = server().start().await;
    let weir = over(&up).await;
    for (capabilities, id, asked, code, required) in undeclared() {
        let caller = caller(&weir, capabilities);
        for (outcome, is_good) in [
            (r#""result":{"content":[],"isError":true}"#, false),
            (r#""error":{"code":-32603,"message":"no"}"#, false),
            (
                r#""result":{"content":[{"type":"text","text":"plan B"}]}"#,
                true,
            ),
        ] {
            let before = up.answers(id).len();
            let upstream = async {
                let call = up.call().await;
                call.say(&ask(id, asked)).await;
                up.wait_for("a refusal", |seen| {
                    let refusals = seen
                        .of("")
                        .filter(|got| got.raw(&["id"]).as_deref() == Some(id));
                    refusals.count() > before
                })
                .await;
                let refused = up.answers(id).pop().unwrap();
                assert_eq!(at(&refused, &["error", "code"]).as_deref(), Some(code));
                let response = format!(r#"{{"jsonrpc":"2.0","id":{},{outcome}}}"#, call.id);
                call.say(&response).await;
            };
            let (reply, ()) = tokio::join!(caller.request("tools/call", CALL), upstream);
            if is_good {
                assert_eq!(reply.text(), "plan B");
                continue;
            }
            assert_eq!((reply.status, reply.code()), (400, -32021), "{reply:?}");
            assert_eq!(reply.error()["data"]["requiredCapabilities"], required);
        }
    }
}

#[tokio::test]
async fn what_is_not_answered_is_asked_again() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let (first, call) = asked(&caller, &up, &[("1", FORM), ("2", ROOTS)]).await;
    let [(form, _), (roots, listing)] = questions(&first).try_into().unwrap();
    let answers = format!(r#"{{{form:?}:{{"action":"accept"}},"other":{{}}}}"#);
    let params = going_on(CALL, &state(&first), &answers);
    let second = caller.request("tools/call", &params).await;
    assert_eq!(questions(&second), [(roots, listing)]);
    up.answered("1").await;
    assert!(up.answers("2").is_empty());
    let upstream = async {
        up.answered("2").await;
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(back(&caller, &second, r#"{"roots":[]}"#), upstream);
    assert_eq!(reply.text(), "done");
}

#[tokio::test]
async fn progress_goes_to_the_newest_token_and_the_newest_waits_for_the_caller() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let progress = |token: &str, done: u32| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{done}}}}}"#
        )
    };
    let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"x"}}"#;
    let call = caller
        .ask("tools/call", CALL)
        .meta("progressToken", "\"a\"");
    let upstream = async {
        let call = up.call().await;
        let token = call
            .request
            .raw(&["params", "_meta", "progressToken"])
            .unwrap();
        call.say(&progress(&token, 1)).await;
        call.say(log).await;
        call.say(&ask("1", FORM)).await;
        (call, token)
    };
    let (first, (call, token)) = tokio::join!(call.send(), upstream);
    let told = first.notifications("notifications/progress");
    assert_eq!(told.len(), 1, "{first:?}");
    assert_eq!(
        told[0]["params"],
        json!({"progressToken": "a", "progress": 1})
    );
    assert!(first.notifications("notifications/message").is_empty());
    for done in 2..5 {
        call.say(&progress(&token, done)).await;
    }
    call.say(&ask("\"p\"", r#""method":"ping""#)).await;
    let pong = up.answered("\"p\"").await;
    assert_eq!(pong, r#"{"jsonrpc":"2.0","id":"p","result":{}}"#);
    let params = going_on(CALL, &state(&first), &all(&first, r#"{"action":"accept"}"#));
    let retry = caller.ask("tools/call", &params).meta("progressToken", "9");
    let upstream = async {
        up.answered("1").await;
        call.say(&progress(&token, 5)).await;
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(retry.send(), upstream);
    let told = reply.notifications("notifications/progress");
    let told: Vec<_> = told.iter().map(|one| one["params"].clone()).collect();
    let expected = [4, 5].map(|done| json!({"progressToken": 9, "progress": done}));
    assert_eq!(told, expected);
}

#[tokio::test]
async fn the_level_of_log_messages_is_set_for_the_call_that_names_one() {
    let up = server().start().await;
    let weir = over(&up).await;
    let caller = able(&weir);
    let log = |level: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}","data":"{level}"}}}}"#
        )
    };
    let level = "io.modelcontextprotocol/logLevel";
    let call = caller.ask("tools/call", CALL).meta(level, "\"warning\"");
    let upstream = async {
        let call = up.call().await;
        call.say(&log("info")).await;
        call.say(&log("error")).await;
        up.tell(&call.session, &log("alert")).await;
        call
    };
    let (mut stream, call) = tokio::join!(call.stream(), upstream);
    let mut told = [stream.next_value().await, stream.next_value().await];
    told.sort_by_key(|one| one["params"]["data"].to_string());
    let told: Vec<_> = told
        .iter()
        .map(|one| one["params"]["data"].clone())
        .collect();
    assert_eq!(told, [json!("alert"), json!("error")]);
    call.answer(DONE).await;
    assert_eq!(stream.finish().await.text(), "done");
    let set = up.requests("logging/setLevel");
    assert_eq!(set.len(), 1);
    assert_eq!(set[0].value["params"], json!({"level": "warning"}));
}

#[tokio::test]
async fn a_call_that_waits_for_its_caller_takes_no_place_and_no_time() {
    let up = server().start().await;
    let weir = Weir::with(&up.yaml());
    let defaults = "defaults: { limits: { in_flight: 1 }, timeouts: { call: 2s } }";
    let weir = weir.top(defaults).start().await;
    let caller = able(&weir);
    let (first, call) = asked(&caller, &up, &[("1", FORM)]).await;
    assert_eq!(weir.metric("weir_parked_calls").await, 1);
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_millis(2_500) {
        let upstream = async { up.call().await.answer(DONE).await };
        let (reply, ()) = tokio::join!(caller.request("tools/call", CALL), upstream);
        assert_eq!(reply.text(), "done");
    }
    let upstream = async {
        up.answered("1").await;
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(back(&caller, &first, r#"{"action":"accept"}"#), upstream);
    assert_eq!(reply.text(), "done");
    assert_eq!(weir.metric("weir_parked_calls").await, 0);
}

/// Why a state is refused.
fn reason(error: &Value) -> &Value {
    &error["data"]["reason"]
}
