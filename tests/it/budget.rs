//! `limits.memory`: what callers and upstreams make weir keep is bounded as a whole, and those who
//! want little get it whatever others take.

use std::time::Duration;

use crate::support::bounded;
use crate::support::client::{Legacy, Modern, call_params, pool};
use crate::support::socket::{Socket, posting};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const MIB: usize = 1 << 20;
/// The budget of these weirs, and how much more they may grow: copies on their way, and what the
/// allocator keeps.
const BUDGET: usize = 32 * MIB;
const SLACK: usize = 64 * MIB;

async fn start(upstream: &Upstream, listen: &str) -> Weir {
    let weir = Weir::over([upstream])
        .top("limits: { memory: 32MiB }")
        .listen(listen)
        .start();
    let weir = weir.await;
    weir.wait_tools([
        &format!("{}__echo", upstream.name()),
        &format!("{}__big", upstream.name()),
    ])
    .await;
    weir
}

async fn upstream() -> Upstream {
    let upstream = Upstream::named("up").tools(["echo", "big"]).start().await;
    let text = "x".repeat(8 * MIB);
    upstream.set_answer(
        "big",
        &format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#),
    );
    upstream
}

/// Calls that want little are answered, in both eras.
async fn honest(weir: &Weir) {
    let modern = Modern::new(weir.url());
    let legacy = Legacy::open(weir.url(), "2025-06-18").await;
    for _ in 0..5 {
        let reply = bounded("a modern call", modern.call("up__echo", "{}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let reply = bounded("a legacy call", legacy.call("up__echo", "{}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

fn assert_bounded(weir: &Weir, before: u64, what: &str) {
    let grown = usize::try_from(weir.peak_memory() - before).unwrap();
    assert!(grown < BUDGET + SLACK, "{what} hold {} MiB", grown / MIB);
}

const HEAD: [&str; 2] = [
    "Content-Type: application/json",
    "Accept: application/json, text/event-stream",
];

fn head() -> Vec<String> {
    HEAD.map(str::to_owned).to_vec()
}

#[tokio::test]
async fn bodies_that_stop_short_of_their_end_hold_no_more_than_the_budget() {
    let up = upstream().await;
    let weir = start(&up, "body_timeout: 20s").await;
    honest(&weir).await;
    let before = weir.peak_memory();
    let body = "x".repeat(4 * MIB);
    let text = posting(&head(), &body);
    let short = &text[..text.len() - 1];
    let mut sockets = Vec::new();
    for _ in 0..40 {
        let mut socket = Socket::connect(weir.port()).await;
        socket.send(short).await;
        sockets.push(socket);
    }
    honest(&weir).await;
    assert_bounded(&weir, before, "bodies");
    let mut refused = 0;
    for mut socket in sockets {
        let answered = tokio::time::timeout(Duration::from_millis(20), socket.answer()).await;
        if let Ok(Some(answer)) = answered {
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert_eq!(answer.header("retry-after"), Some("1"));
            refused += 1;
        }
    }
    assert!(refused > 20, "{refused} are refused");
}

#[tokio::test]
async fn answers_that_nobody_reads_hold_no_more_than_the_budget() {
    let up = upstream().await;
    let weir = start(&up, "keep_alive: 15s").await;
    honest(&weir).await;
    let before = weir.peak_memory();
    let mut sockets = Vec::new();
    let session = Legacy::open(weir.url(), "2025-06-18").await;
    for n in 0..30 {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{n},"method":"tools/call","params":{}}}"#,
            call_params("up__big", "{}")
        );
        let mut lines = head();
        lines.push(format!(
            "Mcp-Session-Id: {}",
            session.session.as_deref().unwrap()
        ));
        let mut socket = Socket::connect(weir.port()).await;
        socket.send(posting(&lines, &body)).await;
        sockets.push(socket);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    honest(&weir).await;
    assert_bounded(&weir, before, "answers");
}

#[tokio::test]
async fn the_answers_to_a_batch_are_sent_as_they_come() {
    let up = upstream().await;
    let weir = start(&up, "keep_alive: 15s").await;
    honest(&weir).await;
    let session = Legacy::open(weir.url(), "2025-03-26").await;
    let before = weir.peak_memory();
    for accept in ["application/json", "application/json, text/event-stream"] {
        let calls: Vec<_> = (0..40)
            .map(|n| {
                format!(
                    r#"{{"jsonrpc":"2.0","id":{n},"method":"tools/call","params":{}}}"#,
                    call_params("up__big", "{}")
                )
            })
            .collect();
        let body = format!("[{}]", calls.join(","));
        let mut lines = vec![HEAD[0].to_owned(), format!("Accept: {accept}")];
        lines.push(format!(
            "Mcp-Session-Id: {}",
            session.session.as_deref().unwrap()
        ));
        let mut socket = Socket::connect(weir.port()).await;
        socket.send(posting(&lines, &body)).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        honest(&weir).await;
        assert_bounded(&weir, before, accept);
    }
}

#[tokio::test]
async fn one_connection_of_http2_has_one_share() {
    let up = upstream().await;
    let weir = start(&up, "body_timeout: 20s").await;
    honest(&weir).await;
    let before = weir.peak_memory();
    let client = crate::support::client::http2();
    let mut sent = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let body = "x".repeat(4 * MIB - 1);
        let pending = futures::stream::unfold(Some(body), |body| async move {
            match body {
                Some(body) => Some((Ok::<_, std::io::Error>(body), None)),
                None => std::future::pending().await,
            }
        });
        let request = client
            .post(weir.url())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(reqwest::Body::wrap_stream(pending));
        sent.spawn(request.send());
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    honest(&weir).await;
    assert_bounded(&weir, before, "the bodies of one connection");
}

#[tokio::test]
async fn a_batch_of_large_answers_is_one_array_or_one_event_each() {
    let up = Upstream::named("up").tools(["echo", "big"]).start().await;
    let text = "x".repeat(100_000);
    let result = format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#);
    up.set_answer("big", &result);
    let weir = start(&up, "keep_alive: 15s").await;
    let session = Legacy::open(weir.url(), "2025-03-26").await;
    let calls = (0..5).map(|n| {
        let tool = if n == 2 { "up__echo" } else { "up__big" };
        let params = call_params(tool, "{}");
        format!(r#"{{"jsonrpc":"2.0","id":{n},"method":"tools/call","params":{params}}}"#)
    });
    let body = format!("[{}]", calls.collect::<Vec<_>>().join(","));
    for accept in ["application/json", "application/json, text/event-stream"] {
        let request = pool()
            .post(weir.url())
            .header("content-type", "application/json")
            .header("accept", accept)
            .header("mcp-session-id", session.session.as_deref().unwrap());
        let response = bounded("a batch", request.body(body.clone()).send()).await;
        let response = response.unwrap();
        let is_json = response.headers()["content-type"] == "application/json";
        assert_eq!(is_json, accept == "application/json");
        let mut text = bounded("its answers", response.text()).await.unwrap();
        if !is_json {
            let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
            text = format!("[{}]", events.collect::<Vec<_>>().join(","));
        }
        let answers: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let mut ids: Vec<_> = answers
            .iter()
            .map(|one| one["id"].as_i64().unwrap())
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, [0, 1, 2, 3, 4], "{accept}");
        let big = answers.iter().filter(|one| one.to_string().len() > 100_000);
        assert_eq!(big.count(), 4, "{accept}");
    }
}

#[tokio::test]
async fn idle_sessions_of_the_caller_with_most_make_room_while_the_process_has_too_much() {
    const SESSIONS: usize = 600;
    let up = Upstream::named("up").legacy("2025-11-25");
    let up = up.tools(["echo"]).start().await;
    let weir = Weir::over([&up])
        .top("limits: { memory: 16MiB }")
        .start()
        .await;
    weir.wait_tools(["up__echo"]).await;
    let few = Legacy::open(weir.url(), "2025-11-25").await;
    assert!(few.call("up__echo", "{}").await.succeeded());
    let address = "127.0.0.2".parse().unwrap();
    let mut many = Vec::new();
    for _ in 0..SESSIONS {
        let client = Legacy::open_at(weir.url(), "2025-11-25", address).await;
        assert!(client.call("up__echo", "{}").await.succeeded());
        many.push(client);
    }
    let opened = up.count("initialize");
    assert!(opened > SESSIONS, "each has one of its own");
    // The process has more than that without any session.
    let gone = async {
        while up.sessions() > SESSIONS / 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    bounded("the end of most", gone).await;
    // The one that has few was not looked at, and the others go on.
    assert!(few.call("up__echo", "{}").await.succeeded());
    assert_eq!(up.count("initialize"), opened);
    let first = many.first().unwrap();
    assert!(first.call("up__echo", "{}").await.succeeded());
    assert_eq!(up.count("initialize"), opened + 1);
}
