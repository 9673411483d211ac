//! The attacks, in a process of their own.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::task::JoinSet;

use crate::support::client::{Legacy, Modern, call_params, http2, pool};
use crate::support::socket::{Socket, posting};
use crate::support::upstream::{Kind, Upstream};

/// The facts that the attackers need of the weir.
#[derive(Clone)]
struct Target {
    url: Arc<str>,
    port: u16,
    rounds: Arc<AtomicUsize>,
}

impl Target {
    /// Counts a round.
    fn count(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// The bytes that attackers give the system at a time. While a system call lasts, the kernel may leave the
/// processor to nobody else, and 4 MiB would last for milliseconds: on a machine of their own, nobody would
/// wait for that.
const STEP: u32 = 64 << 10;

async fn connect(target: &Target) -> Socket {
    Socket::connect_with_buffer(STEP, target.port).await
}

fn lines(more: &[(&str, &str)]) -> Vec<String> {
    let usual = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ];
    let all = usual.iter().chain(more);
    all.map(|(name, value)| format!("{name}: {value}"))
        .collect()
}

fn call(id: usize, tool: &str) -> String {
    let params = call_params(tool, "{}");
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#)
}

async fn session(url: &str, version: &str) -> Option<String> {
    let params = format!(
        r#"{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"x","version":"1"}}}}"#
    );
    let body = format!(r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{params}}}"#);
    let request = pool()
        .post(url)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    let response = request.body(body).send().await.ok()?;
    let id = response.headers().get("mcp-session-id")?;
    id.to_str().ok().map(str::to_owned)
}

/// Bodies that stop short of their end.
async fn stop_short(target: Target) {
    let text = posting(&lines(&[]), &"x".repeat(4 << 20));
    loop {
        target.count();
        let mut sockets = Vec::new();
        for _ in 0..20 {
            let mut socket = connect(&target).await;
            socket.send(&text.as_bytes()[..text.len() - 1]).await;
            sockets.push(socket);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Calls, batches and listings whose answers nobody reads.
async fn read_nothing(target: Target) {
    loop {
        target.count();
        let mut sockets = Vec::new();
        for version in ["2025-03-26", "2025-11-25"] {
            let Some(id) = session(&target.url, version).await else {
                continue;
            };
            for n in 0..10 {
                let body = match version {
                    "2025-03-26" => {
                        let calls: Vec<_> = (0..50).map(|n| call(n, "wild__big")).collect();
                        format!("[{}]", calls.join(","))
                    }
                    _ => call(n, "wild__big"),
                };
                let head = lines(&[("Mcp-Session-Id", &id)]);
                let mut socket = connect(&target).await;
                socket.send(posting(&head, &body)).await;
                sockets.push(socket);
            }
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

/// Calls of a slow tool whose callers hang up, in both eras.
async fn hang_up(target: Target) {
    loop {
        target.count();
        let mut calls = JoinSet::new();
        for n in 0..60 {
            let url = Arc::clone(&target.url);
            calls.spawn(async move {
                let wait = Duration::from_millis(200);
                if n % 2 == 0 {
                    let modern = Modern::new(&*url);
                    let _ = tokio::time::timeout(wait, modern.call("good__slow", "{}")).await;
                } else if let Some(id) = session(&url, "2025-06-18").await {
                    let legacy = Legacy::resume(&*url, &id, "2025-06-18");
                    let _ = tokio::time::timeout(wait, legacy.call("good__slow", "{}")).await;
                }
            });
        }
        while calls.join_next().await.is_some() {}
    }
}

/// Sessions by the hundred, each with a call and a change of roots.
async fn open_sessions(target: Target) {
    loop {
        target.count();
        for _ in 0..50 {
            let Some(id) = session(&target.url, "2025-11-25").await else {
                continue;
            };
            let legacy = Legacy::resume(&*target.url, &id, "2025-11-25");
            legacy
                .notify("notifications/roots/list_changed", "{}")
                .await;
            let _ = legacy.call("wild__echo", "{}").await;
        }
    }
}

/// Streams for more topics than there are, with long names and long ids.
async fn listen_for_all(target: Target) {
    let names: Vec<_> = (0..40_000).map(|n| format!("\"file:///{n}\"")).collect();
    let topics = format!(r#"{{"resourceSubscriptions":[{}]}}"#, names.join(","));
    loop {
        target.count();
        let modern = Modern::new(&*target.url);
        let params = format!(r#"{{"notifications":{topics}}}"#);
        let _ = modern.request("subscriptions/listen", &params).await;
        let long = "x".repeat(1 << 20);
        let params = format!(r#"{{"uri":"file:///{long}"}}"#);
        let _ = modern.request("resources/read", &params).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Idle streams, opened again and again.
async fn hold_streams(target: Target) {
    loop {
        target.count();
        let mut held = Vec::new();
        for n in 0..40 {
            let modern = Modern::new(&*target.url);
            let wanted = r#"{"toolsListChanged":true}"#;
            let opening = async { modern.listen(&n.to_string(), wanted).await };
            if let Ok(stream) = tokio::time::timeout(Duration::from_secs(2), opening).await {
                held.push(stream);
            }
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// One connection of HTTP/2 with bodies that never end.
async fn multiplex(target: Target) {
    loop {
        target.count();
        let client = http2();
        let mut sent = JoinSet::new();
        for _ in 0..60 {
            let body = futures::stream::unfold(Some(()), |first| async move {
                match first {
                    Some(()) => Some((Ok::<_, std::io::Error>("x".repeat(3 << 20)), None)),
                    None => std::future::pending().await,
                }
            });
            let request = client
                .post(&*target.url)
                .header("content-type", "application/json")
                .header("accept", "application/json, text/event-stream")
                .body(reqwest::Body::wrap_stream(body));
            sent.spawn(request.send());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Requests that are refused and logged: hosts, origins, versions with line breaks, control
/// characters.
async fn provoke_logs(target: Target) {
    loop {
        target.count();
        for (name, value) in [
            ("Host", "evil.example"),
            ("Origin", "http://evil.example"),
            ("MCP-Protocol-Version", "2025-99-99"),
            ("Mcp-Session-Id", "\u{7f}forged"),
        ] {
            let body = call(1, "no__such\\n\\u001b[2J");
            let mut socket = connect(&target).await;
            socket.send(posting(&lines(&[(name, value)]), &body)).await;
            let _ = tokio::time::timeout(Duration::from_secs(1), socket.answer()).await;
        }
    }
}

/// Changes what a hostile upstream lists, as fast as it can.
async fn change_lists(upstream: Arc<Upstream>, target: Target) {
    let mut n = 0;
    loop {
        target.count();
        n += 1;
        let text = format!("{n} {}", "x".repeat(512 << 10));
        let tool = format!(
            r#"{{"name":"other","description":"{text}","inputSchema":{{"type":"object"}}}}"#
        );
        upstream.remove_tool("other");
        upstream.add_raw(Kind::Tools, &tool);
        upstream.notify_list_changed(Kind::Tools);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The upstream that pings without end, changes its listing and has large answers.
async fn wild() -> Arc<Upstream> {
    let wild = Upstream::named("wild").tools(["echo", "big", "other"]);
    let ping = r#"{"jsonrpc":"2.0","id":{n},"method":"ping"}"#;
    let wild = wild.legacy("2025-11-25").floods(ping);
    let wild = wild.send_buffer(STEP).start().await;
    let text = "x".repeat(2 << 20);
    let big = format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#);
    wild.set_answer("big", &big);
    Arc::new(wild)
}

/// Begins all attacks, or those that `WEIR_SOAK_ONLY` names, with commas between them.
#[allow(
    clippy::disallowed_methods,
    reason = "which of them is not a matter of the weir"
)]
fn begin(target: &Target, wild: &Arc<Upstream>) -> JoinSet<()> {
    let only = std::env::var("WEIR_SOAK_ONLY").ok();
    let of = || target.clone();
    let attacks: [(&str, BoxFuture<'static, ()>); 9] = [
        ("stop_short", stop_short(of()).boxed()),
        ("read_nothing", read_nothing(of()).boxed()),
        ("hang_up", hang_up(of()).boxed()),
        ("open_sessions", open_sessions(of()).boxed()),
        ("listen_for_all", listen_for_all(of()).boxed()),
        ("hold_streams", hold_streams(of()).boxed()),
        ("multiplex", multiplex(of()).boxed()),
        ("provoke_logs", provoke_logs(of()).boxed()),
        ("change_lists", change_lists(Arc::clone(wild), of()).boxed()),
    ];
    let mut begun = JoinSet::new();
    for (name, attack) in attacks {
        let named = |only: &String| only.split(',').any(|one| one == name);
        if only.as_ref().is_none_or(named) {
            begun.spawn(attack);
        }
    }
    begun
}

/// Runs the hostile upstream and tells its URL. Keeps the processors busy with nothing if it is told to,
/// until it reads another line. Attacks the weir whose port it reads, until it reads another line; then
/// tells how much it did, and ends.
pub(super) async fn run() {
    let tell = |text: String| {
        let mut out = std::io::stdout();
        writeln!(out, "\n{}{text}", super::TOLD).expect("standard output");
        out.flush().expect("standard output");
    };
    let line = async || {
        let read = || {
            let mut line = String::new();
            std::io::stdin()
                .lock()
                .read_line(&mut line)
                .expect("a line");
            line
        };
        tokio::task::spawn_blocking(read).await.expect("a line")
    };
    let wild = wild().await;
    tell(wild.url());
    let port = loop {
        let order = line().await;
        if order.trim() != super::OCCUPY {
            break order.trim().parse().expect("a port");
        }
        let over = Arc::new(AtomicBool::new(false));
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..processors {
            let over = Arc::clone(&over);
            std::thread::spawn(move || while !over.load(Ordering::Relaxed) {});
        }
        line().await;
        over.store(true, Ordering::Relaxed);
        tell("idle".to_owned());
    };
    let target = Target {
        url: format!("http://127.0.0.1:{port}/mcp").into(),
        port,
        rounds: Arc::default(),
    };
    let attacks = begin(&target, &wild);
    line().await;
    drop(attacks);
    tell(format!("{} rounds", target.rounds.load(Ordering::Relaxed)));
}
