//! Connections, taken, kept and ended: slow ones, too many, none left.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::net::TcpStream;

use crate::support::client::{MODERN, Modern, http2};
use crate::support::socket::{Socket, posting};
use crate::support::upstream::Upstream;
use crate::support::weir::{Process, Weir};
use crate::support::{bounded, free_port};

/// Impatient with headers and bodies.
const HASTE: &str = "header_timeout: 400ms, body_timeout: 400ms";

async fn jira(listen: &str) -> (Upstream, Weir) {
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let weir = Weir::over([&jira]).listen(listen).start().await;
    (jira, weir)
}

/// A call that goes out in one piece.
fn call(modern: &Modern) -> String {
    let ask = modern.ask("tools/call", r#"{"name":"jira__search","arguments":{}}"#);
    let head = [
        "content-type: application/json".to_owned(),
        "accept: application/json, text/event-stream".to_owned(),
        format!("mcp-protocol-version: {MODERN}"),
        "mcp-method: tools/call".to_owned(),
        "mcp-name: jira__search".to_owned(),
    ];
    posting(&head, &ask.body())
}

/// Calls on this connection; whether it is answered.
async fn answered(socket: &mut Socket, request: &str) -> bool {
    if !socket.send(request).await {
        return false;
    }
    let answer = socket.answer().await;
    answer.is_some_and(|answer| answer.status == 200 && answer.body.contains("jira.search"))
}

/// Sends a header byte by byte for as long as the other side bears it. Returns when it was closed.
async fn dribble(mut socket: Socket) -> Instant {
    assert!(socket.send("POST /mcp HTTP/1.1\r\nx-slow: ").await);
    bounded("a slow connection to be closed", async {
        loop {
            tokio::select! {
                () = socket.closed() => return,
                () = tokio::time::sleep(Duration::from_millis(30)) => {}
            }
            if !socket.send("x").await {
                return;
            }
        }
    })
    .await;
    Instant::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_who_dribble_their_headers_hold_up_nobody_and_are_closed() {
    let (_jira, weir) = jira("header_timeout: 3s").await;
    let modern = weir.modern();
    let mut slow = Vec::new();
    for _ in 0..200 {
        // The time of a header begins when weir accepts the connection, before it is known here.
        let begun = Instant::now();
        slow.push((begun, Socket::connect(weir.port()).await));
    }
    let slow = join_all(slow.into_iter().map(|(begun, socket)| async move {
        let closed = dribble(socket).await;
        (closed, closed - begun)
    }));
    let others = async {
        for _ in 0..50 {
            assert!(modern.call("jira__search", "{}").await.succeeded());
        }
        Instant::now()
    };
    let (slow, others) = tokio::join!(slow, others);
    let (first, _) = *slow.iter().min().unwrap();
    let shortest = slow.iter().map(|(_, took)| *took).min().unwrap();
    assert!(
        shortest >= Duration::from_millis(2900),
        "closed too early: {shortest:?}"
    );
    assert!(others < first, "waited for them: {:?}", others - first);
}

/// Waits until a connection that says nothing has been closed: so much time has passed for sure.
async fn a_timeout(port: u16) {
    let begun = Instant::now();
    Socket::connect(port).await.closed().await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(350), "{took:?}");
}

#[tokio::test]
async fn who_says_nothing_is_closed_on_both_listeners() {
    let (_jira, weir) = jira(HASTE).await;
    a_timeout(weir.port()).await;
    a_timeout(weir.admin_port()).await;
    // HTTP/2 has begun, and no request comes.
    let mut socket = Socket::connect(weir.port()).await;
    let settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    assert!(socket.send(settings).await);
    socket.closed().await;
}

#[tokio::test]
async fn an_idle_connection_and_a_long_stream_outlive_the_timeouts() {
    let (jira, weir) = jira(HASTE).await;
    let (modern, request) = (weir.modern(), call(&weir.modern()));
    let legacy = weir.legacy("2025-11-25").await;
    let mut listen = modern.listen("1", r#"{"toolsListChanged":true}"#).await;
    listen.next_value().await;
    let mut stream = legacy.listen().await;
    let mut socket = Socket::connect(weir.port()).await;
    let http2 = http2();
    let health = || http2.get(weir.path("/healthz")).send();
    for _ in 0..3 {
        assert!(answered(&mut socket, &request).await);
        let health = bounded("an answer over HTTP/2", health()).await.unwrap();
        assert_eq!(health.version(), http::Version::HTTP_2);
        assert_eq!(health.text().await.unwrap(), "ok\n");
        a_timeout(weir.port()).await;
        a_timeout(weir.port()).await;
    }
    jira.add_tool("added");
    weir.resync("jira").await;
    for stream in [&mut listen, &mut stream] {
        let told = stream.next_value().await;
        assert_eq!(told["method"], "notifications/tools/list_changed");
    }
    // And a request on a connection that has been used is given no more time than the first.
    let begun = Instant::now();
    assert!(socket.send("POST /mcp HTTP/1.1\r\n").await);
    socket.closed().await;
    assert!(begun.elapsed() >= Duration::from_millis(350));
}

#[tokio::test]
async fn a_call_may_take_longer_than_its_header() {
    let up = Upstream::named("up").gate("slow").start().await;
    let weir = Weir::over([&up]).listen(HASTE).start().await;
    let modern = weir.modern();
    let release = async {
        up.wait_running("slow", 1).await;
        a_timeout(weir.port()).await;
        a_timeout(weir.port()).await;
        up.release("slow");
    };
    let (reply, ()) = tokio::join!(modern.call("up__slow", "{}"), release);
    assert_eq!(reply.text(), "up.slow {}");
}

/// Opens connections with a call that is not answered yet, until one more is turned away.
async fn fill(weir: &Weir, jira: &Upstream, request: &str) -> Vec<Socket> {
    let mut open: Vec<Socket> = Vec::new();
    loop {
        let mut socket = Socket::connect(weir.port()).await;
        assert!(socket.send(request).await);
        let running = open.len() + 1;
        tokio::select! {
            () = jira.wait_running("search", running) => {}
            () = socket.closed() => return open,
        }
        open.push(socket);
        assert!(open.len() < 100, "no bound");
    }
}

// Idle connections make room: see `shares`.
#[tokio::test]
async fn one_connection_too_many_is_turned_away_and_the_others_go_on() {
    let jira = Upstream::named("jira").gate("search").start().await;
    let listen = "connections: 8, header_timeout: 1h";
    let weir = Weir::over([&jira]).listen(listen).start().await;
    let request = call(&weir.modern());
    let open = fill(&weir, &jira, &request).await;
    assert_eq!(open.len(), 8);
    weir.wait_stderr("connections turned away").await;
    // Operators have places of their own.
    assert_eq!(
        weir.admin("/upstreams").await["upstreams"][0]["name"],
        "jira"
    );
    for _ in &open {
        jira.release("search");
    }
    for mut socket in open {
        let answer = socket.answer().await.expect("an answer");
        assert_eq!(answer.status, 200, "those inside stay inside");
    }
    // A place that is let go is free again.
    jira.release("search");
    bounded("a place", async {
        while !answered(&mut Socket::connect(weir.port()).await, &request).await {}
    })
    .await;
}

#[tokio::test]
async fn a_large_body_is_refused_and_its_sender_reads_why() {
    let (jira, weir) = jira("request_bytes: 64KiB").await;
    let modern = weir.modern();
    let head = ["content-type: application/json".to_owned()];
    let large = posting(&head, &"x".repeat(8 << 20));
    for _ in 0..5 {
        let mut socket = Socket::connect(weir.port()).await;
        // All of it goes out before anything is read, as simple clients do.
        assert!(
            socket.send(&large).await,
            "weir takes in what it will not use"
        );
        let answer = socket.answer().await.expect("an answer");
        assert_eq!(answer.status, 413);
        assert!(
            answered(&mut socket, &call(&modern)).await,
            "the connection goes on"
        );
    }
    // A client that asks first is told before it sends.
    let mut socket = Socket::connect(weir.port()).await;
    let asking = "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 9000000\r\n\r\n";
    assert!(socket.send(asking).await);
    assert_eq!(socket.answer().await.unwrap().status, 413);
    assert_eq!(jira.count("tools/call"), 5);
}

#[tokio::test]
async fn a_large_header_is_refused_and_its_sender_reads_why() {
    let (jira, weir) = jira("header_timeout: 2s").await;
    let refused = async |socket: &mut Socket| {
        let large = format!(
            "GET /mcp HTTP/1.1\r\nhost: localhost\r\nx: {}",
            "x".repeat(99_999)
        );
        assert!(socket.send(large).await);
        let answer = socket.answer().await.expect("an answer");
        assert_eq!(answer.status, 431);
    };
    let mut socket = Socket::connect(weir.port()).await;
    refused(&mut socket).await;
    // The rest of it goes out after the answer is there, as with clients that send before they read.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(
            socket.send("x".repeat(10_000)).await,
            "weir takes in what it will not use"
        );
    }
    socket.closed().await;
    // Nobody is waited for longer than a header may take, and however much comes.
    let begun = Instant::now();
    let mut socket = Socket::connect(weir.port()).await;
    refused(&mut socket).await;
    while socket.send("x").await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(1900));
    let mut socket = Socket::connect(weir.port()).await;
    refused(&mut socket).await;
    let mut sent = 0;
    while socket.send("x".repeat(1 << 20)).await {
        sent += 1;
        assert!(sent < 100, "no bound");
    }
    assert!(sent >= 16, "{sent} MiB");
    assert_eq!(jira.count("tools/call"), 0);
}

#[tokio::test]
async fn who_is_in_the_middle_of_a_header_does_not_hold_up_the_end() {
    let (_jira, weir) = jira("header_timeout: 1h").await;
    let request = call(&weir.modern());
    let mut used = Socket::connect(weir.port()).await;
    assert!(answered(&mut used, &request).await);
    let fresh = Socket::connect(weir.port()).await;
    let mut slow = Socket::connect(weir.port()).await;
    assert!(slow.send("POST /mcp HTTP/1.1\r\nx-slow: ").await);
    assert!(answered(&mut used, &request).await);
    let (status, ..) = weir.interrupt().await;
    assert!(status.success(), "{status}");
    used.closed().await;
    slow.closed().await;
    drop(fresh);
}

/// Weir with so few descriptors that connections use them up.
#[tokio::test]
async fn without_descriptors_weir_waits_and_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let (config, port) = (home.path().join("weir.yaml"), free_port());
    let yaml = format!("listen: {{ address: \"127.0.0.1:{port}\", header_timeout: 1h }}\n");
    std::fs::write(&config, yaml).unwrap();
    let script = format!(
        "ulimit -n 40; exec {} serve -c \"$0\"",
        env!("CARGO_BIN_EXE_weir")
    );
    let process = Process::start_program("sh", ["-c", &script, config.to_str().unwrap()]);
    bounded("weir to listen", async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    process
        .wait_stderr("fewer connections than configured")
        .await;
    // They wait for the rest of their bodies, so none makes room for another.
    let mut open = Vec::new();
    for _ in 0..60 {
        let mut socket = Socket::connect(port).await;
        let begin = "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n";
        let _ = socket.send(begin).await;
        open.push(socket);
    }
    process.wait_stderr("no connection can be accepted").await;
    // It does not spin: a few lines in the time that a few pauses take.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let lines = process
        .stderr()
        .matches("no connection can be accepted")
        .count();
    assert!((1..=20).contains(&lines), "{lines}");
    drop(open);
    bounded("weir to take connections again", async {
        loop {
            let mut socket = Socket::connect(port).await;
            let asked = socket
                .send("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
                .await;
            if asked
                && socket
                    .answer()
                    .await
                    .is_some_and(|answer| answer.status == 200)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    process.stop().await;
}

#[tokio::test]
async fn a_header_block_of_http2_that_does_not_end_is_cut_though_a_request_was_good() {
    let (_jira, weir) = jira(HASTE).await;
    let mut socket = Socket::connect(weir.port()).await;
    let settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    assert!(socket.send(settings).await);
    // GET /healthz, in fields of the static table and literals (RFC 7541).
    let fields = b"\x82\x86\x44\x08/healthz\x41\x09localhost";
    let mut headers = vec![0, 0, u8::try_from(fields.len()).unwrap(), 1, 5, 0, 0, 0, 1];
    headers.extend(fields);
    assert!(socket.send(headers).await);
    assert!(socket.more().await.is_some());
    let open = [&[0, 0, 1, 1, 1, 0, 0, 0, 3, 0x82][..]].concat();
    assert!(socket.send(open).await);
    let begun = Instant::now();
    bounded("its end", async {
        loop {
            tokio::select! {
                () = socket.closed() => return,
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
            if !socket.send([0, 0, 0, 9, 0, 0, 0, 0, 3]).await {
                return;
            }
        }
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}
