//! The end of weir: new connections are refused, calls under way finish or are answered with an
//! error.

use std::io::ErrorKind;
use std::process::ExitStatus;

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::client::{Client, Reply, call_params, pool};
use crate::support::socket::Socket;
use crate::support::upstream::{Cancelled, Upstream};
use crate::support::weir::{Weir, child_upstream};
use crate::support::{BOUND, bounded};

/// An upstream of either era whose tool `slow` says that it began, and waits to be released.
async fn slow(name: &str) -> Upstream {
    let upstream = Upstream::named(name).progress("slow", 1).gate("slow");
    match name {
        "new" => upstream.modern(),
        _ => upstream.legacy("2025-11-25"),
    }
    .start()
    .await
}

/// Returns the answer of the admin listener's `/readyz`, if weir still answers.
async fn readiness(weir: &Weir) -> Option<(u16, Value)> {
    let answer = pool().get(weir.admin_url("/readyz")).send().await.ok()?;
    let status = answer.status().as_u16();
    let body = answer.text().await.ok()?;
    Some((status, serde_json::from_str(&body).unwrap()))
}

/// Tells weir to stop and waits until it has heard.
async fn stop(weir: &Weir) {
    weir.signal(Signal::TERM);
    bounded("draining", async {
        loop {
            let (status, body) = readiness(weir).await.expect("operators are still answered");
            if status == 503 {
                assert_eq!(
                    (&body["ready"], &body["reason"]),
                    (&false.into(), &"draining".into())
                );
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    let address = weir.url();
    let address = address
        .trim_start_matches("http://")
        .trim_end_matches("/mcp");
    bounded("a closed door", async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn ended(weir: Weir) -> (ExitStatus, String) {
    let (status, _, stderr) = weir.ended().await;
    (status, stderr)
}

/// Calls of `slow` at each upstream by a client of each era, under way when this returns.
async fn under_way(weir: &Weir, ups: &[Upstream; 2]) -> JoinSet<Reply> {
    let mut calls = JoinSet::new();
    for up in ups {
        for client in Client::both(weir).await {
            let tool = format!("{}__slow", up.name());
            calls.spawn(async move { client.call(&tool, "{}").await });
        }
        up.wait_running("slow", 2).await;
    }
    calls
}

#[tokio::test]
async fn calls_under_way_finish_and_nobody_else_is_let_in() {
    let ups = [slow("old").await, slow("new").await];
    let weir = Weir::over(&ups).listen("drain: 60s").start().await;
    let calls = under_way(&weir, &ups).await;
    let (status, ready) = readiness(&weir).await.unwrap();
    assert_eq!(
        (status, &ready["ready"], &ready["reason"]),
        (200, &true.into(), &Value::Null)
    );
    stop(&weir).await;
    for up in &ups {
        up.release("slow");
        up.release("slow");
    }
    for reply in bounded("the calls", calls.join_all()).await {
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.text().ends_with(".slow {}"), "{reply:?}");
    }
    let (status, stderr) = ended(weir).await;
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(!stderr.contains("WARN"), "{stderr}");
    assert_eq!(ups[0].sessions(), 0, "every session was ended");
}

/// A `GET /ping` on a connection that is kept.
const PING: &str = "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn connections_that_are_open_take_a_last_request() {
    let up = Upstream::named("up").tools(["search"]).start().await;
    let weir = Weir::over([&up]).listen("drain: 60s").start().await;
    let mut kept = Socket::connect(weir.port()).await;
    assert!(kept.send(PING).await);
    let before = kept.answer().await.unwrap();
    assert_eq!((before.status, before.header("connection")), (200, None));
    let mut unused = Socket::connect(weir.port()).await;
    weir.signal(Signal::TERM);
    bounded("draining", async {
        while readiness(&weir)
            .await
            .is_some_and(|(status, _)| status == 200)
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    for socket in [&mut kept, &mut unused] {
        assert!(socket.send(PING).await);
        let last = socket.answer().await.expect("a last answer");
        assert_eq!(
            (last.status, last.header("connection")),
            (200, Some("close"))
        );
        assert_eq!(socket.answer().await.map(|more| more.status), None);
    }
    assert_eq!(ended(weir).await.0.code(), Some(0));
}

/// Makes requests, each on a connection of its own, until no connection can be made. Returns how many
/// were answered.
async fn request_until_refused(port: u16) -> usize {
    for answered in 0.. {
        let connected = bounded("a connection", TcpStream::connect(("127.0.0.1", port))).await;
        let mut stream = match connected {
            Ok(stream) => stream,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
                return answered;
            }
        };
        let mut answer = Vec::new();
        let sent = stream.write_all(PING.as_bytes()).await;
        sent.expect("who is connected can send");
        while !answer.ends_with(b"}") {
            let read = bounded("an answer", stream.read_buf(&mut answer)).await;
            assert!(read.expect("an answer, no reset") > 0, "closed unanswered");
        }
    }
    unreachable!("it ends when it is refused")
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_can_connect_while_weir_stops_is_answered() {
    let up = Upstream::named("up").tools(["search"]).start().await;
    let weir = Weir::over([&up]).listen("drain: 60s").start().await;
    let port = weir.port();
    let mut clients = JoinSet::new();
    for _ in 0..24 {
        clients.spawn(request_until_refused(port));
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    weir.signal(Signal::TERM);
    for answered in bounded("the clients", clients.join_all()).await {
        assert!(answered > 0);
    }
    assert_eq!(ended(weir).await.0.code(), Some(0));
}

#[tokio::test]
async fn streams_end_before_the_calls_do() {
    let ups = [slow("old").await, slow("new").await];
    let weir = Weir::over(&ups).listen("drain: 60s").start().await;
    let legacy = weir.legacy("2025-11-25").await;
    let (mut get, modern) = (legacy.listen().await, weir.modern());
    let mut listen = modern
        .listen("\"mine\"", r#"{"toolsListChanged":true}"#)
        .await;
    listen.next_value().await;
    let calls = under_way(&weir, &ups).await;
    stop(&weir).await;
    let last = listen.next_value().await;
    assert_eq!(
        (&last["id"], &last["result"]["resultType"]),
        (&"mine".into(), &"complete".into())
    );
    assert_eq!(listen.next().await, None);
    assert_eq!(get.next().await, None);
    for up in &ups {
        up.wait_running("slow", 2).await;
        up.release("slow");
        up.release("slow");
    }
    assert!(calls.join_all().await.iter().all(Reply::succeeded));
    assert_eq!(ended(weir).await.0.code(), Some(0));
}

#[tokio::test]
async fn what_takes_too_long_is_told_so_and_cancelled() {
    for name in ["old", "new"] {
        let up = slow(name).await;
        let weir = Weir::over([&up]).listen("drain: 300ms").start().await;
        let (mut calls, mut streams) = (JoinSet::new(), Vec::new());
        let clients = Client::both(&weir).await;
        for client in &clients {
            let params = call_params(&format!("{name}__slow"), "{}");
            let ask = client.ask("tools/call", &params).id("\"told\"");
            let mut stream = ask.meta("progressToken", "1").stream().await;
            assert_eq!(
                stream.next_value().await["method"],
                "notifications/progress"
            );
            streams.push(stream);
        }
        for client in Client::both(&weir).await {
            calls.spawn(async move { client.call(&format!("{name}__slow"), "{}").await });
        }
        up.wait_running("slow", 4).await;
        weir.signal(Signal::TERM);
        for reply in bounded("the calls", calls.join_all()).await {
            assert_eq!((reply.status, reply.code()), (200, -32603), "{reply:?}");
            assert!(reply.id().is_some_and(|id| id != "null"), "{reply:?}");
            assert_eq!(reply.error()["message"], "shutting down");
        }
        for mut stream in streams {
            let last = stream.next_value().await;
            assert_eq!(
                (&last["id"], &last["error"]["code"]),
                (&"told".into(), &(-32603).into())
            );
            assert_eq!(stream.next().await, None);
        }
        let tool = || "slow".to_owned();
        up.wait_cancelled(match name {
            "new" => Cancelled::Closed { tool: tool() },
            _ => Cancelled::Notified { tool: tool() },
        })
        .await;
        let (status, stderr) = ended(weir).await;
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("did not finish in time"), "{stderr}");
    }
}

#[tokio::test]
async fn a_call_whose_caller_has_gone_holds_nothing_up() {
    let up = slow("old").await;
    let weir = Weir::over([&up]).listen("drain: 60s").start().await;
    let client = weir.legacy("2025-11-25").await;
    let mut call = JoinSet::new();
    call.spawn(async move { client.call("old__slow", "{}").await });
    up.wait_running("slow", 1).await;
    // To legacy that means nothing: the call goes on.
    call.shutdown().await;
    assert!(weir.modern().request("tools/list", "{}").await.succeeded());
    up.wait_running("slow", 1).await;
    weir.signal(Signal::TERM);
    let (status, stderr) = ended(weir).await;
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(!stderr.contains("grace period"), "{stderr}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_leaves_no_child() {
    let home = tempfile::tempdir().unwrap();
    let pid = home.path().join("pid");
    let args = [
        "--tools",
        "hang",
        "--ignore-sigterm",
        "--pid",
        pid.to_str().unwrap(),
    ];
    let weir = Weir::with(&child_upstream("kid", &args))
        .listen("drain: 60s")
        .start()
        .await;
    weir.wait_tools(["kid__hang"]).await;
    let client = weir.modern();
    let mut call = JoinSet::new();
    call.spawn(async move { client.call("kid__hang", "{}").await });
    let pid: u32 = std::fs::read_to_string(pid).unwrap().parse().unwrap();
    bounded("the call", async {
        let metrics = || async {
            let got = pool().get(weir.admin_url("/metrics")).send().await;
            got.unwrap().text().await.unwrap()
        };
        while !metrics()
            .await
            .contains("weir_calls_in_flight{upstream=\"kid\"} 1")
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    stop(&weir).await;
    weir.signal(Signal::TERM);
    let (status, stderr) = ended(weir).await;
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("told to stop twice"), "{stderr}");
    let alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    let gone = async {
        while alive() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(BOUND, gone)
        .await
        .expect("the child ends");
}
