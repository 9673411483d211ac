//! No caller takes more than its share: of the calls of an upstream, of sessions and processes, of
//! connections. Callers are told apart by their addresses.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures::future::join_all;
use http::StatusCode;

use crate::support::bounded;
use crate::support::client::{Legacy, MODERN, Modern, call_params, http2, pool_from};
use crate::support::socket::{Socket, posting};
use crate::support::upstream::{Cancelled, Upstream};
use crate::support::weir::{Weir, child_upstream};

const GREEDY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
const VERSION: &str = "2025-11-25";

/// An upstream with a tool that answers when it is released, and one that answers at once.
async fn slow_upstream() -> Upstream {
    let builder = Upstream::named("up").gate("slow").tools(["search"]);
    builder.start().await
}

/// Weir over it, with so many places for calls.
async fn narrow(up: &Upstream, in_flight: usize) -> Weir {
    let limits = format!("limits: {{ in_flight: {in_flight} }}");
    Weir::over([up]).upstream("up", &limits).start().await
}

/// The bytes of a call in a legacy session.
fn legacy_call(session: &str, tool: &str) -> String {
    let head = [
        "content-type: application/json".to_owned(),
        "accept: application/json, text/event-stream".to_owned(),
        format!("mcp-protocol-version: {VERSION}"),
        format!("mcp-session-id: {session}"),
    ];
    let params = call_params(tool, "{}");
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    posting(&head, &body)
}

/// The bytes of a modern request.
fn modern_post(modern: &Modern, method: &str, params: &str) -> String {
    let body = modern.ask(method, params).body();
    let mut head = vec![
        "content-type: application/json".to_owned(),
        "accept: application/json, text/event-stream".to_owned(),
        format!("mcp-protocol-version: {MODERN}"),
        format!("mcp-method: {method}"),
    ];
    if method == "tools/call" {
        let name = crate::support::at(params, &["name"]).unwrap();
        head.push(format!("mcp-name: {}", name.trim_matches('"')));
    }
    posting(&head, &body)
}

/// The part of `/upstreams` about the calls of an upstream: in flight, queued.
async fn load(weir: &Weir) -> (u64, u64) {
    let told = weir.told("up").await;
    let of = |key: &str| told["calls"][key].as_u64().unwrap();
    (of("in_flight"), of("queued"))
}

async fn wait_load(weir: &Weir, expected: (u64, u64)) {
    bounded(&format!("{expected:?} calls"), async {
        while load(weir).await != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn callers_who_hang_up_keep_no_newcomer_of_their_address_waiting() {
    let up = slow_upstream().await;
    let weir = narrow(&up, 4).await;
    let legacy = weir.legacy(VERSION).await;
    let request = legacy_call(legacy.session.as_deref().unwrap(), "up__slow");
    let send = async |number: usize| {
        let mut calls = Vec::new();
        for _ in 0..number {
            let mut socket = Socket::connect(weir.port()).await;
            assert!(socket.send(&request).await);
            calls.push(socket);
        }
        calls
    };
    let running = send(4).await;
    up.wait_running("slow", 4).await;
    let waiting = send(18).await;
    wait_load(&weir, (4, 16)).await;
    // A call that had not been sent is not sent any more; one that had been goes on.
    drop(waiting);
    wait_load(&weir, (4, 0)).await;
    drop(running);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(load(&weir).await, (4, 0), "nobody waits, so they go on");
    assert_eq!(up.count("tools/call"), 4);
    // Until somebody waits for a place.
    let newcomer = weir.legacy(VERSION).await;
    assert!(newcomer.call("up__search", "{}").await.succeeded());
    let given_up = Cancelled::Notified {
        tool: "slow".to_owned(),
    };
    up.wait_cancelled(given_up).await;
    assert_eq!(
        load(&weir).await.0,
        3,
        "one place was needed, and one taken"
    );
    assert!(weir.modern().call("up__search", "{}").await.succeeded());
}

#[tokio::test]
async fn an_answer_that_streams_to_nobody_gives_way_too() {
    let up = slow_upstream().await;
    let weir = Weir::over([&up])
        .upstream("up", "limits: { in_flight: 1 }")
        .listen("keep_alive: 200ms")
        .start()
        .await;
    let legacy = weir.legacy(VERSION).await;
    let request = legacy_call(legacy.session.as_deref().unwrap(), "up__slow");
    let mut socket = Socket::connect(weir.port()).await;
    assert!(socket.send(&request).await);
    let head = socket.head().await.expect("the head of a stream");
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    drop(socket);
    let newcomer = legacy.call("up__search", "{}").await;
    assert!(newcomer.succeeded(), "{newcomer:?}");
    let given_up = Cancelled::Notified {
        tool: "slow".to_owned(),
    };
    up.wait_cancelled(given_up).await;
}

#[tokio::test]
async fn what_waits_of_a_batch_is_dropped_with_its_caller_and_what_runs_goes_on() {
    let up = slow_upstream().await;
    let weir = narrow(&up, 1).await;
    let legacy = weir.legacy("2025-03-26").await;
    let call = |id: u8| {
        let params = call_params("up__slow", "{}");
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#)
    };
    let head = [
        "content-type: application/json".to_owned(),
        "accept: application/json, text/event-stream".to_owned(),
        format!("mcp-session-id: {}", legacy.session.as_deref().unwrap()),
    ];
    let request = posting(&head, &format!("[{},{},{}]", call(1), call(2), call(3)));
    let mut socket = Socket::connect(weir.port()).await;
    assert!(socket.send(&request).await);
    wait_load(&weir, (1, 2)).await;
    up.wait_running("slow", 1).await;
    drop(socket);
    wait_load(&weir, (1, 0)).await;
    up.release("slow");
    wait_load(&weir, (0, 0)).await;
    assert_eq!(up.count("tools/call"), 1);
}

#[tokio::test]
async fn a_full_queue_has_a_place_for_another_address_and_its_turn_comes_first() {
    let up = slow_upstream().await;
    let weir = narrow(&up, 2).await;
    let greedy = Modern::at(weir.url(), GREEDY);
    let greedy = async { join_all((0..12).map(|_| greedy.call("up__slow", "{}"))).await };
    let other = Modern::at(weir.url(), OTHER);
    let script = async {
        wait_load(&weir, (2, 8)).await;
        let other = other.call("up__search", "{}");
        let release = async {
            bounded("the newcomer to wait", async {
                // Another process; nothing tells.
                tokio::time::sleep(Duration::from_millis(300)).await;
            })
            .await;
            // One of the address that waited before, then it is the turn of the other.
            up.release("slow");
            up.release("slow");
        };
        let (reply, ()) = tokio::join!(other, release);
        assert_eq!(reply.text(), "up.search {}", "{reply:?}");
        for _ in 0..9 {
            up.release("slow");
        }
    };
    let (replies, ()) = tokio::join!(greedy, script);
    let answered = replies.iter().filter(|reply| reply.succeeded()).count();
    assert_eq!(answered, 9, "two were too many, and one made room");
}

#[tokio::test]
async fn the_last_eighth_of_the_places_is_for_the_others() {
    let up = slow_upstream().await;
    let weir = narrow(&up, 16).await;
    let other = Modern::at(weir.url(), OTHER);
    assert!(other.call("up__search", "{}").await.succeeded());
    let greedy = Modern::at(weir.url(), GREEDY);
    let greedy = async { join_all((0..30).map(|_| greedy.call("up__slow", "{}"))).await };
    let script = async {
        wait_load(&weir, (14, 16)).await;
        assert!(other.call("up__search", "{}").await.succeeded());
        for _ in 0..30 {
            up.release("slow");
        }
    };
    let (replies, ()) = tokio::join!(greedy, script);
    assert!(replies.iter().all(|reply| reply.succeeded()));
}

#[tokio::test]
async fn one_address_alone_has_all_places() {
    let up = slow_upstream().await;
    let weir = narrow(&up, 16).await;
    let modern = weir.modern();
    let calls = async { join_all((0..16).map(|_| modern.call("up__slow", "{}"))).await };
    let script = async {
        wait_load(&weir, (16, 0)).await;
        for _ in 0..16 {
            up.release("slow");
        }
    };
    let (replies, ()) = tokio::join!(calls, script);
    assert!(replies.iter().all(|reply| reply.succeeded()));
}

/// Whether a modern call on a connection of this address is answered.
async fn answered_from(weir: &Weir, address: IpAddr) -> bool {
    let request = modern_post(
        &weir.modern(),
        "tools/call",
        &call_params("up__search", "{}"),
    );
    let mut socket = Socket::connect_from(address, weir.port()).await;
    socket.send(request).await
        && socket
            .answer()
            .await
            .is_some_and(|answer| answer.status == 200)
}

async fn crowded(up: &Upstream) -> Weir {
    let listen = "connections: 8, header_timeout: 1h";
    Weir::over([up]).listen(listen).start().await
}

#[tokio::test]
async fn idle_connections_make_room_for_a_newcomer_of_any_address() {
    let up = slow_upstream().await;
    let weir = crowded(&up).await;
    let request = modern_post(
        &weir.modern(),
        "tools/call",
        &call_params("up__search", "{}"),
    );
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut socket = Socket::connect_from(GREEDY, weir.port()).await;
        assert!(socket.send(&request).await);
        assert_eq!(socket.answer().await.expect("an answer").status, 200);
        idle.push(socket);
    }
    assert!(answered_from(&weir, OTHER).await);
    assert!(answered_from(&weir, GREEDY).await);
    // The one that was used last is still there.
    let last = idle.last_mut().unwrap();
    assert!(last.send(&request).await);
    assert_eq!(last.answer().await.expect("an answer").status, 200);
}

#[tokio::test]
async fn connections_that_say_nothing_make_room_too() {
    let up = slow_upstream().await;
    let weir = crowded(&up).await;
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(Socket::connect_from(GREEDY, weir.port()).await);
    }
    assert!(answered_from(&weir, OTHER).await);
    assert!(answered_from(&weir, GREEDY).await);
}

/// Fills all connections with streams of one address. They make room for calls, the oldest first.
async fn streams_make_room(weir: &Weir, requests: &[String]) {
    let mut streams = Vec::new();
    for request in requests {
        let mut socket = Socket::connect_from(GREEDY, weir.port()).await;
        assert!(socket.send(request).await);
        let head = socket.head().await.expect("an answer");
        assert_eq!(head.status, 200, "{}", head.head);
        streams.push(socket);
    }
    assert!(answered_from(weir, OTHER).await);
    assert!(answered_from(weir, GREEDY).await);
    bounded("the oldest stream to end", streams.remove(0).closed()).await;
}

#[tokio::test]
async fn streams_of_modern_callers_make_room_for_calls() {
    let up = slow_upstream().await;
    let weir = crowded(&up).await;
    let params = r#"{"notifications":{"toolsListChanged":true}}"#;
    let listen = modern_post(&weir.modern(), "subscriptions/listen", params);
    streams_make_room(&weir, &vec![listen; 8]).await;
}

#[tokio::test]
async fn streams_of_legacy_callers_make_room_for_calls() {
    let up = slow_upstream().await;
    let weir = crowded(&up).await;
    let mut gets = Vec::new();
    for _ in 0..8 {
        let session = weir.legacy(VERSION).await.session.unwrap();
        gets.push(format!(
            "GET /mcp HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nmcp-session-id: {session}\r\n\r\n"
        ));
    }
    streams_make_room(&weir, &gets).await;
}

#[tokio::test]
async fn probes_are_answered_and_calls_told_to_come_back_when_all_connections_are_busy() {
    let up = slow_upstream().await;
    let weir = crowded(&up).await;
    let slow = modern_post(&weir.modern(), "tools/call", &call_params("up__slow", "{}"));
    let mut busy = Vec::new();
    bounded("all places to be taken", async {
        while busy.len() < 8 {
            let mut socket = Socket::connect(weir.port()).await;
            assert!(socket.send(&slow).await);
            busy.push(socket);
        }
    })
    .await;
    up.wait_running("slow", 8).await;
    for path in ["/healthz", "/readyz", "/ping"] {
        let mut socket = Socket::connect(weir.port()).await;
        let probe = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert!(socket.send(probe).await);
        let answer = socket.answer().await.expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        socket.closed().await;
        let over_http2 = bounded(path, http2().get(weir.path(path)).send()).await;
        assert_eq!(over_http2.unwrap().status(), StatusCode::OK, "{path}");
    }
    let mut socket = Socket::connect(weir.port()).await;
    assert!(socket.send(&slow).await);
    let answer = socket.answer().await.expect("an answer");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    socket.closed().await;
    // A connection that keeps a place for probes is not there for long either.
    let mut hoarded = Vec::new();
    for _ in 0..100 {
        hoarded.push(Socket::connect(weir.port()).await);
    }
    let mut socket = Socket::connect(weir.port()).await;
    assert!(
        socket
            .send("GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
    );
    assert_eq!(socket.answer().await.expect("an answer").status, 200);
    for _ in 0..8 {
        up.release("slow");
    }
    for mut socket in busy {
        assert_eq!(socket.answer().await.expect("an answer").status, 200);
    }
}

/// The settings frame that a server sends first over HTTP/2 (RFC 9113 §6.5): id to value.
async fn http2_settings(port: u16) -> Vec<(u16, u32)> {
    let mut socket = Socket::connect(port).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    assert!(socket.send(preface).await);
    let frame = socket.bytes(9).await;
    let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
    assert_eq!(frame[3], 4, "a settings frame");
    let body = socket.bytes(length as usize).await;
    let pairs = body.chunks_exact(6).map(|pair| {
        let id = u16::from_be_bytes([pair[0], pair[1]]);
        (id, u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]))
    });
    pairs.collect()
}

#[tokio::test]
async fn an_http2_connection_has_few_streams() {
    let up = slow_upstream().await;
    let weir = Weir::over([&up]).start().await;
    let settings = http2_settings(weir.port()).await;
    let streams = settings.iter().find(|(id, _)| *id == 3);
    assert!(streams.is_some_and(|(_, most)| *most <= 64), "{settings:?}");
}

#[tokio::test]
async fn processes_of_one_caller_make_room_for_another_one() {
    let kid = child_upstream("kid", &["--tools", "count"]) + "    sessions: per_caller\n";
    let weir = Weir::with(&kid).start().await;
    weir.wait_tools(["kid__count"]).await;
    let mut callers = Vec::new();
    for _ in 0..64 {
        let caller = Legacy::open_at(weir.url(), VERSION, GREEDY).await;
        assert_eq!(caller.call("kid__count", "{}").await.text(), "1");
        callers.push(caller);
    }
    let other = Legacy::open_at(weir.url(), VERSION, OTHER).await;
    assert_eq!(other.call("kid__count", "{}").await.text(), "1");
    // The one that was used longest ago made room. Its session is valid and gets another process.
    assert_eq!(callers[63].call("kid__count", "{}").await.text(), "2");
    assert_eq!(callers[0].call("kid__count", "{}").await.text(), "1");
    assert_eq!(other.call("kid__count", "{}").await.text(), "2");
}

#[tokio::test]
#[ignore = "takes a minute or two; `upstream::sessions` shows the same with fewer"]
async fn ten_thousand_sessions_of_one_caller_lock_no_newcomer_out() {
    let up = Upstream::named("up").tools(["search"]);
    let up = up.legacy(VERSION).start().await;
    let weir = Weir::over([&up]).start().await;
    let http = pool_from(GREEDY);
    let open = async || {
        let params = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}"#;
        let initialize =
            format!(r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{params}}}"#);
        let params = call_params("up__search", "{}");
        let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let post = |body: String| {
            let request = http.post(weir.url()).body(body);
            let request = request.header("content-type", "application/json");
            request.header("accept", "application/json, text/event-stream")
        };
        let opened = post(initialize).send().await.unwrap();
        let session = opened.headers()["mcp-session-id"].clone();
        let called = post(call).header("mcp-session-id", session).send().await;
        let text = called.unwrap().text().await.unwrap();
        assert!(text.contains("up.search"), "{text}");
    };
    for _ in 0..10_050 / 10 {
        join_all((0..10).map(|_| open())).await;
    }
    let newcomer = Legacy::open_at(weir.url(), VERSION, OTHER).await;
    let reply = newcomer.call("up__search", "{}").await;
    assert_eq!(reply.text(), "up.search {}");
    assert!(up.sessions() <= 10_001, "{}", up.sessions());
}
