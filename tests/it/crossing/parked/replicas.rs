//! Two replicas, and a caller whose next request comes to the other one: it is forwarded to the replica
//! that has the call.

use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{
    ABLE, CALL, DONE, FORM, ROOTS, SAMPLE, able, all, ask, asked, back, going_on, questions,
    reason, server, state,
};
use crate::support::asking::{Asking, Call};
use crate::support::client::{Legacy, Modern, Reply, call_params};
use crate::support::principals::Issuer;
use crate::support::tls::{Ca, Client};
use crate::support::weir::{Builder, Weir};
use crate::support::{at, bounded, free_port};

const V: &str = "2025-11-25";
const YES: &str = r#"{"action":"accept","content":{"n":1e400}}"#;

/// Two replicas over an upstream, which know each other.
fn builders(up: &Asking) -> [Builder; 2] {
    let ports = [free_port(), free_port()];
    let [one, two] = ports;
    let shared = format!(
        "instance: edge\nsealing_key: {{ value: the key of all replicas that is long }}\n\
         replicas: {{ peers: [ 'http://127.0.0.1:{one}', 'http://localhost:{two}' ] }}"
    );
    ports.map(|port| Weir::with(&up.yaml()).top(&shared).on(port))
}

async fn pair(up: &Asking) -> [Weir; 2] {
    let [one, two] = builders(up);
    let (one, two) = tokio::join!(one.start(), two.start());
    [one, two]
}

#[tokio::test]
async fn an_answer_at_the_other_replica_goes_on_with_the_call() {
    let up = server().start().await;
    let [one, two] = pair(&up).await;
    let callers = [able(&one), able(&two)];
    for (id, answer) in [
        ("\"q\"", YES),
        ("7", r#"{"action":"decline"}"#),
        ("\"7\"", r#"{"action":"cancel"}"#),
    ] {
        for [here, there] in [[0, 1], [1, 0]] {
            let (first, call) = asked(&callers[here], &up, &[(id, FORM)]).await;
            let before = up.answers(id).len();
            let upstream = async {
                up.wait_for("the answer", |seen| {
                    let answers = seen
                        .of("")
                        .filter(|got| got.raw(&["id"]).as_deref() == Some(id));
                    answers.count() > before
                })
                .await;
                assert_eq!(
                    up.answers(id)[before],
                    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{answer}}}"#)
                );
                call.answer(DONE).await;
            };
            let (reply, ()) = tokio::join!(back(&callers[there], &first, answer), upstream);
            assert_eq!(
                reply.result(),
                r#"{"content":[{"type":"text","text":"done"}],"n":1.50,"resultType":"complete"}"#
            );
            assert_eq!(reply.header("content-type"), Some("application/json"));
            // Its state is used up, at both.
            for caller in &callers {
                let again = back(caller, &first, answer).await;
                assert_eq!((again.status, again.code()), (200, -32602));
                assert_eq!(reason(&again.error()), "invalid_request_state");
            }
        }
    }
    assert_eq!(up.count("tools/call"), 6);
    assert_eq!(up.count("notifications/cancelled"), 0);
}

#[tokio::test]
async fn rounds_of_several_questions_go_to_and_fro_between_replicas() {
    let up = server().start().await;
    let [one, two] = pair(&up).await;
    let callers = [able(&one), able(&two)];
    let asks = [("1", FORM), ("2", SAMPLE), ("3", ROOTS)];
    let (mut last, call) = asked(&callers[0], &up, &asks).await;
    assert_eq!(questions(&last).len(), 3);
    let answer = r#"{"action":"accept","roots":[],"role":"user","content":[],"model":"m"}"#;
    let (mut states, mut open) = (vec![state(&last)], "3".to_owned());
    for round in 1..=3 {
        let next = format!("{}", 10 + round);
        let params = going_on(CALL, &state(&last), &all(&last, answer));
        let upstream = async {
            up.answered(&open).await;
            call.say(&ask(&next, FORM)).await;
        };
        let caller = &callers[round % 2];
        (last, ()) = tokio::join!(caller.request("tools/call", &params), upstream);
        assert!(!states.contains(&state(&last)));
        states.push(state(&last));
        open = next;
    }
    let upstream = async {
        up.answered("13").await;
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(back(&callers[1], &last, YES), upstream);
    assert_eq!(reply.text(), "done");
    assert_eq!(up.count("tools/call"), 1);
}

#[tokio::test]
async fn without_its_replica_a_call_is_over_and_runs_nowhere_else() {
    let up = server().start().await;
    let [one, two] = pair(&up).await;
    let (first, call) = asked(&able(&one), &up, &[("1", FORM)]).await;
    one.signal(Signal::KILL);
    call.closed().await;
    for _ in 0..2 {
        let reply = back(&able(&two), &first, YES).await;
        assert_eq!((reply.status, reply.code()), (200, -32602), "{reply:?}");
        assert_eq!(reason(&reply.error()), "exchange_over");
    }
    assert_eq!(up.count("tools/call"), 1);
    assert!(up.answers("1").is_empty());
}

#[tokio::test]
async fn a_replica_that_ends_during_its_answer_leaves_an_error_and_not_silence() {
    let up = server().start().await;
    let [one, two] = pair(&up).await;
    let caller = able(&one);
    let asking = caller.ask("tools/call", CALL).meta("progressToken", "1");
    let upstream = async {
        let call = up.call().await;
        call.say(&ask("1", FORM)).await;
        call
    };
    let (first, call) = tokio::join!(asking.send(), upstream);
    let params = going_on(CALL, &state(&first), &all(&first, YES));
    let caller = able(&two);
    let asking = caller.ask("tools/call", &params).id("\"mine\"");
    let asking = asking.meta("progressToken", "2");
    let upstream = async {
        up.answered("1").await;
        let token = call.request.raw(&["params", "_meta", "progressToken"]);
        let params = format!(r#"{{"progressToken":{},"progress":1}}"#, token.unwrap());
        let method = "notifications/progress";
        let progress = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
        call.say(&progress).await;
    };
    let (mut stream, ()) = tokio::join!(asking.stream(), upstream);
    assert_eq!(
        stream.next_value().await["method"],
        "notifications/progress"
    );
    one.signal(Signal::KILL);
    let last = stream.next_value().await;
    assert_eq!(
        (&last["id"], &last["error"]["code"], reason(&last["error"])),
        (&"mine".into(), &(-32602).into(), &"exchange_over".into())
    );
    assert_eq!(stream.next().await, None);
    assert_eq!(up.count("tools/call"), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_the_other_replica_cancels_the_call() {
    let up = server().start().await;
    let [one, two] = pair(&up).await;
    let (first, call) = asked(&able(&one), &up, &[("1", FORM)]).await;
    let caller = able(&two);
    tokio::select! {
        reply = back(&caller, &first, YES) => panic!("nobody answered: {reply:?}"),
        _ = up.answered("1") => {}
    }
    let cancelled = up.wait_count("notifications/cancelled", 1).await;
    assert_eq!(
        cancelled.raw(&["params", "requestId"]),
        Some(call.id.clone())
    );
    call.closed().await;
}

#[tokio::test]
async fn a_caller_is_the_same_at_the_replica_that_has_its_call_without_its_token() {
    let up = server().start().await;
    let issuer = Issuer::new();
    let [one, two] = builders(&up);
    let (one, two) = tokio::join!(
        issuer.start(one, "page_size: 100"),
        issuer.start(two, "page_size: 100")
    );
    let client = |weir: &Weir, subject: &str| {
        let mut client = Modern::with(weir.url(), &issuer.token(subject));
        client.capabilities = ABLE.to_owned();
        client
    };
    let (first, call) = asked(&client(&one, "mine"), &up, &[("1", FORM)]).await;
    let stolen = back(&client(&two, "other"), &first, YES).await;
    assert_eq!((stolen.status, stolen.code()), (200, -32602));
    assert_eq!(reason(&stolen.error()), "invalid_request_state");
    let mine = client(&two, "mine");
    let upstream = async {
        up.answered("1").await;
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(back(&mine, &first, YES), upstream);
    assert_eq!(reply.text(), "done");
}

/// Posts a request with this token of a replica.
async fn with_token(weir: &Weir, token: &str) -> Reply {
    let caller = weir.modern();
    let asking = caller
        .ask("tools/list", "{}")
        .header("weir-forwarded", token);
    asking.send().await
}

#[tokio::test]
async fn nobody_but_a_replica_forwards() {
    let up = server().start().await;
    let [one, _two] = pair(&up).await;
    let long = "A".repeat(1000);
    for token in ["", "x", "AAAA", &long] {
        assert_eq!(with_token(&one, token).await.status, 403, "{token}");
    }
    assert!(one.modern().request("tools/list", "{}").await.succeeded());
    // Where nothing is forwarded, the header means nothing.
    let alone = Weir::with(&up.yaml()).start().await;
    assert!(with_token(&alone, "x").await.succeeded());
}

/// Reads the request that a replica forwards to here. It is not answered.
async fn swallowed(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut text = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0);
        let request = String::from_utf8(text.clone()).unwrap();
        let Some((head, body)) = request.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        if body.len() == length {
            return (stream, request);
        }
    }
}

/// Sends a request as it is, and returns the beginning of the answer up to this text.
async fn send_as_it_is(port: u16, request: &str, until: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&text).contains(until) {
            assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "{until}");
        }
    };
    bounded("the answer", reading).await;
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn what_a_replica_forwards_is_good_once_and_as_it_is() {
    let up = server().start().await;
    let (between, ports) = (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        [free_port(), free_port()],
    );
    let way = between.local_addr().unwrap().port();
    let shared = format!(
        "instance: edge\nsealing_key: {{ value: the key of all replicas that is long }}\n\
         replicas: {{ peers: [ 'http://127.0.0.1:{way}', 'http://localhost:{}' ] }}",
        ports[1]
    );
    let [one, two] = ports.map(|port| Weir::with(&up.yaml()).top(&shared).on(port).start());
    let (one, two) = tokio::join!(one, two);
    let (first, call) = asked(&able(&one), &up, &[("1", FORM)]).await;
    // Somebody in between takes what the other replica forwards, twice.
    let mut taken = Vec::new();
    for _ in 0..2 {
        let caller = able(&two);
        let (_stream, request) = tokio::select! {
            reply = back(&caller, &first, YES) => panic!("nobody answered: {reply:?}"),
            taken = swallowed(&between) => taken,
        };
        assert!(request.contains("weir-forwarded: "), "{request}");
        taken.push(request.replace(&format!(":{way}"), &format!(":{}", one.port())));
    }
    let [changed, whole] = taken.try_into().unwrap();
    let changed = changed.replace("\"accept\"", "\"cancel\"");
    let refused = send_as_it_is(one.port(), &changed, "\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    assert!(up.answers("1").is_empty());
    let upstream = async {
        up.answered("1").await;
        call.answer(DONE).await;
    };
    let sent = send_as_it_is(one.port(), &whole, "\"done\"");
    let (answer, ()) = tokio::join!(sent, upstream);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let again = send_as_it_is(one.port(), &whole, "\r\n\r\n").await;
    assert!(again.starts_with("HTTP/1.1 403 "), "{again}");
    assert_eq!(up.answers("1").len(), 1);
}

/// The same session at the other replica.
fn elsewhere(caller: &Legacy, weir: &Weir) -> Legacy {
    Legacy::resume(weir.url(), caller.session.as_deref().unwrap(), V)
}

async fn answer(caller: &Legacy, asked: &str, outcome: &str) {
    let id = at(asked, &["id"]).unwrap();
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{outcome}}}"#);
    assert_eq!(caller.post(&body).await.status, 202);
}

#[tokio::test]
async fn a_legacy_caller_may_answer_at_the_other_replica() {
    let up = Asking::named("up").tools(["ask"]).modern().start().await;
    let [one, two] = pair(&up).await;
    let caller = Legacy::open_with(one.url(), V, ABLE).await;
    let other = elsewhere(&caller, &two);
    let form = r#"{"method":"elicitation/create","params":{"message":"A?","requestedSchema":{"type":"object","properties":{}}}}"#;
    let first = format!(
        r#"{{"resultType":"input_required","inputRequests":{{"a":{form},"b":{{"method":"roots/list"}}}},"requestState":"s"}}"#
    );
    let asking = caller
        .ask("tools/call", &call_params("up__ask", "{}"))
        .id("\"mine\"");
    let upstream = async { up.call().await.answer(&first).await };
    let (mut stream, ()) = tokio::join!(asking.stream(), upstream);
    let questions = [stream.next().await.unwrap(), stream.next().await.unwrap()];
    answer(&other, &questions[1], r#"{"roots":[ ]}"#).await;
    answer(&other, &questions[0], YES).await;
    let retry = up.call().await;
    assert_eq!(
        retry.request.raw(&["params", "inputResponses"]).as_deref(),
        Some(format!(r#"{{"a":{YES},"b":{{"roots":[ ]}}}}"#).as_str())
    );
    retry
        .answer(r#"{"resultType":"complete","content":[{"type":"text","text":"done"}]}"#)
        .await;
    assert_eq!(stream.finish().await.text(), "done");
    assert_eq!(up.count("tools/call"), 2);
    // The same once more finds nothing, and does no harm.
    answer(&other, &questions[0], YES).await;
    answer(&caller, &questions[0], YES).await;
    // And where the replica is gone, there is nobody to tell.
    one.signal(Signal::KILL);
    answer(&other, &questions[0], YES).await;
}

/// Calls in a session, of which nothing is heard, and waits until the upstream has the call.
async fn calling(caller: &Legacy, up: &Asking) -> Call {
    let params = call_params("up__ask", "{}");
    let asking = caller.ask("tools/call", &params).id("\"mine\"");
    tokio::select! {
        reply = asking.send() => panic!("nobody answered: {reply:?}"),
        call = up.call() => call,
    }
}

#[tokio::test]
async fn a_legacy_caller_may_cancel_at_the_other_replica() {
    let up = server().start().await;
    let [one, two] = pair(&up).await;
    let caller = Legacy::open_with(one.url(), V, "{}").await;
    // To legacy that the connection ends means nothing.
    let call = calling(&caller, &up).await;
    let other = elsewhere(&caller, &two);
    let params = json!({ "requestId": "mine", "reason": "changed my mind" });
    let told = other
        .notify("notifications/cancelled", &params.to_string())
        .await;
    assert_eq!(told.status, 202);
    let cancelled = up.wait_count("notifications/cancelled", 1).await;
    assert_eq!(
        cancelled.raw(&["params", "requestId"]),
        Some(call.id.clone())
    );
}

#[tokio::test]
async fn replicas_reach_each_other_by_tls() {
    let up = server().start().await;
    let ca = Ca::new("servers");
    let (pair, files) = (ca.server("localhost"), tempfile::tempdir().unwrap());
    for (name, text) in [
        ("ca.pem", &ca.pem),
        ("cert.pem", &pair.cert),
        ("key.pem", &pair.key),
    ] {
        std::fs::write(files.path().join(name), text).unwrap();
    }
    let (folder, ports) = (files.path().display(), [free_port(), free_port()]);
    let [one, two] = ports;
    let tls = format!("tls: {{ cert: {folder}/cert.pem, key: {{ file: {folder}/key.pem }} }}");
    let peers = format!("'https://localhost:{one}', 'https://localhost:{two}'");
    let start = |trust: &str, port: u16| {
        let shared = format!(
            "instance: edge\nsealing_key: {{ value: the key of all replicas that is long }}\n\
             replicas: {{ peers: [ {peers} ]{trust} }}"
        );
        let weir = Weir::with(&up.yaml()).top(&shared).secure(&tls).on(port);
        weir.start()
    };
    let trusting = format!(", peer_tls: {{ ca: {folder}/ca.pem }}");
    let weirs = tokio::join!(start(&trusting, one), start("", two));
    let caller = |weir: &Weir| {
        let mut caller = Modern::over(Client::of(&ca).pool(), weir.secure_url());
        caller.capabilities = ABLE.to_owned();
        caller
    };
    // The one that trusts the certificate reaches the other; not the other way round.
    let (one, two) = (caller(&weirs.0), caller(&weirs.1));
    let (first, call) = asked(&two, &up, &[("1", FORM)]).await;
    let upstream = async {
        up.answered("1").await;
        call.answer(DONE).await;
    };
    let (reply, ()) = tokio::join!(back(&one, &first, YES), upstream);
    assert_eq!(reply.text(), "done");
    let (first, _call) = asked(&one, &up, &[("2", FORM)]).await;
    let reply = back(&two, &first, YES).await;
    assert_eq!(reason(&reply.error()), "exchange_over");
    assert!(up.answers("2").is_empty());
}

#[tokio::test]
async fn what_becomes_of_forwarded_requests_is_counted() {
    let up = server().start().await;
    let [one, two] = pair(&up).await;
    let sent = async |weir: &Weir| counts(weir, "forwarded", ["answered", "absent"]).await;
    let got =
        async |weir: &Weir| counts(weir, "received", ["taken", "misdirected", "refused"]).await;
    assert_eq!((sent(&one).await, got(&one).await), ([0; 2], [0; 3]));
    // The first of the peers is the first replica, which is asked first by both.
    for (from, to, id) in [(&one, &two, "1"), (&two, &one, "2")] {
        let (first, call) = asked(&able(from), &up, &[(id, FORM)]).await;
        let caller = able(to);
        let upstream = async {
            up.answered(id).await;
            call.answer(DONE).await;
        };
        let (reply, ()) = tokio::join!(back(&caller, &first, YES), upstream);
        assert_eq!(reply.text(), "done");
    }
    assert_eq!((sent(&one).await, got(&one).await), ([1, 0], [1, 1, 0]));
    assert_eq!((sent(&two).await, got(&two).await), ([1, 0], [1, 0, 0]));
    with_token(&two, "x").await;
    assert_eq!(got(&two).await, [1, 0, 1]);
    let (first, _call) = asked(&able(&one), &up, &[("3", FORM)]).await;
    one.signal(Signal::KILL);
    let reply = back(&able(&two), &first, YES).await;
    assert_eq!(reason(&reply.error()), "exchange_over");
    assert_eq!((sent(&two).await, got(&two).await), ([1, 1], [1, 1, 1]));
}

/// The values of a counter of requests between replicas.
async fn counts<const N: usize>(weir: &Weir, what: &str, outcomes: [&str; N]) -> [u64; N] {
    let mut found = [0; N];
    for (found, outcome) in found.iter_mut().zip(outcomes) {
        let name = format!("weir_replicas_{what}_total{{outcome=\"{outcome}\"}}");
        *found = weir.metric(&name).await;
    }
    found
}
