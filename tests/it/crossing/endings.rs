//! Calls between the eras that end in every way they can, and leave nothing behind: no memory, no descriptor, no task,
//! no session at an upstream. `WEIR_ENDINGS=100000` makes as many calls.

mod server;

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::server::Server;
use crate::leaks::until;
use crate::support::bounded;
use crate::support::client::{Legacy, Modern, Reply, Stream};
use crate::support::weir::Weir;

/// The clients of each era that call at once, at least and at most: one for so many calls.
const CLIENTS: (usize, usize) = (8, 24);
const CALLS_OF_ONE: usize = 200;
/// The calls of one round, if nothing else is wanted.
const USUAL: usize = 400;
/// The most by which memory may grow from the second round to the third.
const GROWTH: f64 = 6.0 * 1024.0 * 1024.0;
/// The time that a caller has to answer.
const ASK: Duration = Duration::from_secs(2);
const FORM: &str = r#"{"elicitation":{"form":{},"url":{}}}"#;

/// The ways in which a call of a modern caller over a legacy upstream ends, but for two: one that fails the upstream,
/// which weir would leave alone after five in a row, and one at which the upstream forgets its sessions.
const MODERN: [&str; 19] = [
    "plain",
    "accepted",
    "declined",
    "cancelled",
    "rounds",
    "get",
    "never back",
    "left before",
    "left after",
    "withdraws",
    "not declared",
    "large",
    "url declined",
    "bad state",
    "used state",
    "other request",
    "no answers",
    "error",
    "unknown tool",
];
/// Those of a legacy caller over a modern upstream.
const LEGACY: [&str; 13] = [
    "plain",
    "accepted",
    "declined",
    "refused",
    "rounds",
    "endless",
    "state",
    "never answered",
    "taken back",
    "stream lost",
    "not declared",
    "made up",
    "error",
];
/// The first of them, one in so many calls.
const RARE: usize = 64;

/// The number of calls that are wanted.
#[allow(
    clippy::disallowed_methods,
    reason = "the number of calls is no setting of weir's"
)]
fn wanted() -> usize {
    let wanted = std::env::var("WEIR_ENDINGS").ok();
    wanted.map_or(USUAL, |wanted| wanted.parse().expect("a number of calls"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_between_the_eras_that_end_in_every_way_leave_nothing_behind() {
    let calls = wanted();
    let (old, new) = (Server::start(false).await, Server::start(true).await);
    let weir = Weir::over([]).and("old", old.url()).and("new", new.url());
    let timeouts = format!("timeouts: {{ ask: {}ms, call: 10s }}", ASK.as_millis());
    let weir = weir.top(&format!("defaults: {{ {timeouts} }}"));
    let weir = weir.start().await;
    weir.wait_tools(["old__ask", "new__ask"]).await;
    let clients = (calls / CALLS_OF_ONE).clamp(CLIENTS.0, CLIENTS.1);
    let mut rests = Vec::new();
    for _ in 0..3 {
        round(&weir, clients, calls / 3).await;
        rests.push(at_rest(&weir, clients, &old, &new).await);
    }
    let memory = |at: usize| -> f64 { rests[at] };
    let all = [memory(0), memory(1), memory(2)].map(|bytes| bytes / 1e6);
    assert!(memory(2) - memory(1) < GROWTH, "{all:?} MB");
    // A call that waits for its caller ends when weir stops.
    let mut caller = weir.modern();
    caller.capabilities = FORM.to_owned();
    let asked = call(&caller, "form").await;
    assert_eq!(asked.value()["resultType"], "input_required");
    weir.signal(Signal::TERM);
    let (status, _, stderr) = weir.ended().await;
    assert!(status.success(), "{stderr}");
    let left = || {
        let old = [old.sessions(), old.running(), old.unanswered()];
        old.into_iter().sum::<usize>() + new.running()
    };
    bounded("the end of everything at the upstreams", async {
        while left() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Makes so many calls, half of them from each era.
async fn round(weir: &Weir, clients: usize, calls: usize) {
    let each = (calls / 2).div_ceil(clients);
    let mut running = JoinSet::new();
    for number in 0..clients {
        let mut modern = weir.modern();
        modern.capabilities = FORM.to_owned();
        running.spawn(async move {
            for call in 0..each {
                match (number + call * clients) % RARE {
                    0 => modern_call(&modern, "breaks").await,
                    at => modern_call(&modern, MODERN[at % MODERN.len()]).await,
                }
            }
        });
        let url = weir.url();
        running.spawn(async move {
            let legacy = Legacy::open_with(url, "2025-11-25", FORM).await;
            for call in 0..each {
                match (number + call * clients) % RARE {
                    0 => legacy_call(&legacy, "breaks").await,
                    at => legacy_call(&legacy, LEGACY[at % LEGACY.len()]).await,
                }
            }
            legacy.delete().await;
        });
    }
    while let Some(client) = running.join_next().await {
        client.unwrap();
    }
    // Nothing else runs: weir takes it that an upstream that forgot one session forgot all.
    let mut modern = weir.modern();
    modern.capabilities = FORM.to_owned();
    for _ in 0..each.div_ceil(RARE) {
        modern_call(&modern, "gone").await;
    }
}

/// Waits until nothing is under way, and what is kept is what the next calls use. Returns the memory of the process.
async fn at_rest(weir: &Weir, clients: usize, old: &Server, new: &Server) -> f64 {
    // For each client a connection to weir, one to each upstream, and a session that is idle with its stream.
    let (most, sessions) = (60.0 + 6.0 * clients as f64, 1 + 2 * clients);
    let rest = until(weir, "rest after calls that ended in every way", |gauges| {
        let nothing = [
            "weir_calls_in_flight",
            "weir_calls_queued",
            "weir_legacy_sessions",
            "weir_get_streams",
            "weir_parked_calls",
        ];
        nothing.iter().all(|name| gauges[*name] == 0.0)
            && gauges["weir_tasks"] <= most
            && gauges["process_open_fds"] <= most
            && (old.running(), new.running(), old.unanswered()) == (0, 0, 0)
            && old.sessions() <= sessions
    })
    .await;
    rest["process_resident_memory_bytes"]
}

fn params(upstream: &str, play: &str) -> String {
    // The number tells calls apart whose session is forgotten once.
    let number: u64 = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), ());
    let arguments = json!({"do": play, "n": number >> 12});
    json!({"name": format!("{upstream}__ask"), "arguments": arguments}).to_string()
}

async fn call(caller: &Modern, play: &str) -> Reply {
    caller.request("tools/call", &params("old", play)).await
}

/// Returns the params of a request that goes on with a call.
fn going_on(params: &str, asked: &Reply, answer: &Value) -> String {
    let mut params: Value = serde_json::from_str(params).unwrap();
    let asked = asked.value();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let keys = asked["inputRequests"].as_object().unwrap().keys();
    let answers = keys.map(|key| (key.clone(), answer.clone()));
    params["inputResponses"] = Value::Object(answers.collect());
    params["requestState"] = asked["requestState"].clone();
    params.to_string()
}

#[allow(clippy::too_many_lines, reason = "an arm for each ending")]
async fn modern_call(caller: &Modern, ending: &str) {
    let yes = json!({"action": "accept", "content": {}});
    let send = async |params: &str| caller.request("tools/call", params).await;
    let asked = async |play: &str| {
        let params = params("old", play);
        let asked = send(&params).await;
        (params, asked)
    };
    let back = async |params: &str, asked: &Reply, answer: &Value| {
        send(&going_on(params, asked, answer)).await
    };
    match ending {
        "plain" | "gone" | "large" => {
            let reply = call(caller, ending).await;
            assert!(reply.succeeded() && is_good(&reply), "{ending}: {reply:?}");
        }
        "accepted" | "declined" | "cancelled" => {
            let action = match ending {
                "accepted" => "accept",
                "declined" => "decline",
                _ => "cancel",
            };
            let (params, first) = asked("form").await;
            let reply = back(&params, &first, &json!({"action": action})).await;
            assert_eq!(reply.text(), action);
        }
        "rounds" => {
            let (params, mut reply) = asked("rounds").await;
            for _ in 0..3 {
                reply = back(&params, &reply, &yes).await;
            }
            assert_eq!(reply.text(), "done");
        }
        "get" => {
            let (params, first) = asked("get").await;
            assert_eq!(back(&params, &first, &yes).await.text(), "done");
        }
        "never back" => drop(asked("form").await),
        "left before" => leave(call(caller, "waits")).await,
        "left after" => {
            let (params, first) = asked("forgets").await;
            leave(back(&params, &first, &yes)).await;
        }
        "withdraws" | "breaks" => {
            let (params, mut reply) = asked(ending).await;
            // On a busy machine it may be over before its caller is asked.
            if is_question(&reply) {
                tokio::time::sleep(Duration::from_millis(120)).await;
                reply = back(&params, &reply, &yes).await;
            }
            match ending {
                "breaks" => assert_eq!(reply.code(), -32603, "{reply:?}"),
                _ => assert_eq!(reply.text(), "nobody answered"),
            }
        }
        "not declared" => {
            let reply = call(caller, "sampling").await;
            assert_eq!((reply.status, reply.code()), (400, -32021), "{reply:?}");
        }
        "url declined" => {
            let (params, first) = asked("url").await;
            let reply = back(&params, &first, &json!({"action": "decline"})).await;
            assert_eq!(reply.value()["isError"], true, "{reply:?}");
        }
        "bad state" | "other request" | "no answers" | "used state" => {
            let (params, first) = asked("form").await;
            let good = going_on(&params, &first, &yes);
            let bad = match ending {
                "bad state" => {
                    let mut bad: Value = serde_json::from_str(&good).unwrap();
                    bad["requestState"] = json!("made up");
                    bad.to_string()
                }
                "other request" => good.replace("\"do\":\"form\"", "\"do\":\"plain\""),
                "no answers" => going_on(&params, &first, &json!(7)),
                _ => good.clone(),
            };
            if ending == "used state" {
                assert_eq!(send(&good).await.text(), "accept");
            }
            let refused = send(&bad).await;
            assert_eq!(refused.code(), -32602, "{ending}: {refused:?}");
            if ending != "used state" {
                assert_eq!(send(&good).await.text(), "accept");
            }
        }
        "error" => assert_eq!(call(caller, "error").await.code(), -5),
        "unknown tool" => {
            let reply = send(r#"{"name":"old__none","arguments":{}}"#).await;
            assert_eq!(reply.code(), -32602);
        }
        _ => panic!("no such ending: {ending}"),
    }
}

#[allow(clippy::too_many_lines, reason = "an arm for each ending")]
async fn legacy_call(caller: &Legacy, ending: &str) {
    let ask = |play: &str| caller.ask("tools/call", &params("new", play));
    let yes = json!({"result": {"action": "accept", "content": {}}});
    match ending {
        "plain" | "state" => {
            let reply = ask(ending).send().await;
            assert!(is_good(&reply), "{ending}: {reply:?}");
        }
        "accepted" | "declined" | "refused" => {
            let (outcome, expected) = match ending {
                "accepted" => (yes, "accept"),
                "declined" => (json!({"result": {"action": "decline"}}), "decline"),
                _ => (json!({"error": {"code": -1, "message": "no"}}), "cancel"),
            };
            let mut stream = ask("form").stream().await;
            answer(caller, &mut stream, &outcome).await;
            assert_eq!(stream.finish().await.text(), expected);
        }
        "rounds" | "endless" | "breaks" => {
            let rounds = match ending {
                "rounds" => 3,
                "endless" => 10,
                _ => 1,
            };
            let mut stream = ask(ending).stream().await;
            for _ in 0..rounds {
                answer(caller, &mut stream, &yes).await;
            }
            let reply = stream.finish().await;
            assert_eq!(is_good(&reply), ending == "rounds", "{ending}: {reply:?}");
        }
        "never answered" => {
            let reply = ask("form").send().await;
            assert_eq!(reply.text(), "cancel");
        }
        "taken back" => {
            let mut stream = ask("form").id("\"mine\"").stream().await;
            stream.next_value().await;
            let id = r#"{"requestId":"mine"}"#;
            caller.notify("notifications/cancelled", id).await;
            assert_eq!(
                stream.next_value().await["method"],
                "notifications/cancelled"
            );
        }
        "stream lost" => {
            let mut stream = ask("form").stream().await;
            stream.next_value().await;
        }
        "not declared" | "made up" => {
            let play = match ending {
                "made up" => "unknown",
                _ => "sampling",
            };
            let reply = ask(play).send().await;
            assert!(!is_good(&reply), "{ending}: {reply:?}");
        }
        "error" => assert_eq!(ask("error").send().await.code(), -5),
        _ => panic!("no such ending: {ending}"),
    }
}

/// Answers the next question of a stream.
async fn answer(caller: &Legacy, stream: &mut Stream, outcome: &Value) {
    let asked = stream.next_value().await;
    assert_eq!(asked["method"], "elicitation/create", "{asked}");
    let mut response = outcome.clone();
    response["jsonrpc"] = json!("2.0");
    response["id"] = asked["id"].clone();
    assert_eq!(caller.post(&response.to_string()).await.status, 202);
}

fn is_question(reply: &Reply) -> bool {
    reply.succeeded() && reply.value()["resultType"] == "input_required"
}

/// Returns whether a reply is a result, and none that says that the tool failed.
fn is_good(reply: &Reply) -> bool {
    reply.succeeded() && reply.value()["isError"] != true
}

/// Gives a request up that is not answered.
async fn leave<T: std::fmt::Debug>(request: impl Future<Output = T>) {
    let left = tokio::time::timeout(Duration::from_millis(60), request).await;
    assert!(left.is_err(), "answered: {left:?}");
}
