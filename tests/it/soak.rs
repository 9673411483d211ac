//! Anonymous callers and two hostile upstreams do all at once what they can, while callers of both
//! eras work and measure. 20 s; with `WEIR_SOAK=SECONDS` as long as that, and then the times count
//! too: `WEIR_SOAK=1800 cargo test --release --test it soak -- --nocapture`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinSet;

use crate::support::client::{Legacy, Modern, call_params, http2, pool};
use crate::support::socket::{Socket, posting};
use crate::support::upstream::{Fault, Kind, On, Times, Upstream};
use crate::support::weir::Weir;

const MIB: u64 = 1 << 20;
/// `limits.memory` of the weir, and what it may have besides.
const MEMORY: u64 = 128 * MIB;
const BESIDES: u64 = 64 * MIB;
/// The time after which everything has to be as it was before.
const RECOVERY: Duration = Duration::from_secs(30);
/// The most lines of log in a second, in the long run.
const LINES: u64 = 40;
/// The most tasks and descriptors at once, while it is attacked.
const TASKS: u64 = 5_000;
const DESCRIPTORS: u64 = 3_000;
/// The pause of an honest caller between two calls.
const PACE: Duration = Duration::from_millis(20);

/// How long the attack lasts, and whether the times are compared.
#[allow(
    clippy::disallowed_methods,
    reason = "how long is not a matter of the weir"
)]
fn length() -> (Duration, bool) {
    let seconds = std::env::var("WEIR_SOAK").ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    (
        Duration::from_secs(seconds.unwrap_or(20)),
        seconds.is_some(),
    )
}

/// The measurements of honest callers.
#[derive(Default)]
struct Measured {
    times: Vec<Duration>,
    failed: Vec<String>,
}

impl Measured {
    fn quantile(&mut self, part: f64) -> Duration {
        self.times.sort_unstable();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a place in a list"
        )]
        let at = (self.times.len() as f64 * part) as usize;
        self.times.get(at).copied().unwrap_or_default()
    }
}

/// Eight callers, four of each era, call at their pace until `end`.
async fn measure(weir: &Weir, end: Instant) -> Measured {
    let mut callers = JoinSet::new();
    for n in 0..8 {
        let url = weir.url();
        callers.spawn(async move {
            let mut measured = Measured::default();
            let modern = Modern::new(&url);
            let legacy = match n % 2 {
                0 => Some(Legacy::open(&url, "2025-06-18").await),
                _ => None,
            };
            while Instant::now() < end {
                let begun = Instant::now();
                let arguments = format!(r#"{{"q":"{n}"}}"#);
                let reply = match &legacy {
                    Some(legacy) => legacy.call("good__echo", &arguments).await,
                    None => modern.call("good__echo", &arguments).await,
                };
                measured.times.push(begun.elapsed());
                if !reply.succeeded() {
                    measured
                        .failed
                        .push(format!("{} {}", reply.status, reply.text()));
                }
                tokio::time::sleep(PACE).await;
            }
            measured
        });
    }
    let mut all = Measured::default();
    while let Some(one) = callers.join_next().await {
        let one = one.expect("a caller");
        all.times.extend(one.times);
        all.failed.extend(one.failed);
    }
    all
}

/// The facts that the attackers need of the weir.
#[derive(Clone)]
struct Target {
    url: Arc<str>,
    port: u16,
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
}

impl Target {
    fn goes_on(&self) -> bool {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        !self.stop.load(Ordering::Relaxed)
    }
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
    while target.goes_on() {
        let mut sockets = Vec::new();
        for _ in 0..20 {
            let mut socket = Socket::connect(target.port).await;
            socket.send(&text.as_bytes()[..text.len() - 1]).await;
            sockets.push(socket);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Calls, batches and listings whose answers nobody reads.
async fn read_nothing(target: Target) {
    while target.goes_on() {
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
                let mut socket = Socket::connect(target.port).await;
                socket.send(posting(&head, &body)).await;
                sockets.push(socket);
            }
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

/// Calls of a slow tool whose callers hang up, in both eras.
async fn hang_up(target: Target) {
    while target.goes_on() {
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
    while target.goes_on() {
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
    while target.goes_on() {
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
    while target.goes_on() {
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
    while target.goes_on() {
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
    while target.goes_on() {
        for (name, value) in [
            ("Host", "evil.example"),
            ("Origin", "http://evil.example"),
            ("MCP-Protocol-Version", "2025-99-99"),
            ("Mcp-Session-Id", "\u{7f}forged"),
        ] {
            let body = call(1, "no__such\\n\\u001b[2J");
            let mut socket = Socket::connect(target.port).await;
            socket.send(posting(&lines(&[(name, value)]), &body)).await;
            let _ = tokio::time::timeout(Duration::from_secs(1), socket.answer()).await;
        }
    }
}

/// Changes what a hostile upstream lists, as fast as it can.
async fn change_lists(upstream: Arc<Upstream>, target: Target) {
    let mut n = 0;
    while target.goes_on() {
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

/// What attacks, on a runtime of its own.
struct Attackers(Option<Runtime>);

impl Attackers {
    /// Its threads come last at the processors, as if they were on machines of their own: what is
    /// measured is the weir.
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .on_thread_start(|| {
                rustix::process::setpriority_process(None, 19).expect("a lower priority");
            })
            .enable_all()
            .build();
        Self(Some(runtime.expect("a runtime")))
    }

    fn handle(&self) -> &Handle {
        self.0
            .as_ref()
            .expect("it runs until it is dropped")
            .handle()
    }

    fn begin(&self, target: &Target, wild: &Arc<Upstream>) -> JoinSet<()> {
        let (mut attacks, on) = (JoinSet::new(), self.handle());
        attacks.spawn_on(stop_short(target.clone()), on);
        attacks.spawn_on(read_nothing(target.clone()), on);
        attacks.spawn_on(hang_up(target.clone()), on);
        attacks.spawn_on(open_sessions(target.clone()), on);
        attacks.spawn_on(listen_for_all(target.clone()), on);
        attacks.spawn_on(hold_streams(target.clone()), on);
        attacks.spawn_on(multiplex(target.clone()), on);
        attacks.spawn_on(provoke_logs(target.clone()), on);
        attacks.spawn_on(change_lists(Arc::clone(wild), target.clone()), on);
        attacks
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What the weir has at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Has {
    descriptors: u64,
    tasks: u64,
}

impl Has {
    async fn now(weir: &Weir) -> Self {
        Self {
            descriptors: weir.descriptors() as u64,
            tasks: weir.metric("weir_tasks").await,
        }
    }

    /// The most of each, looked at every half second until `end`.
    async fn most(weir: &Weir, end: Instant) -> Self {
        let mut most = Self::default();
        while Instant::now() < end {
            let now = Self::now(weir).await;
            most.descriptors = most.descriptors.max(now.descriptors);
            most.tasks = most.tasks.max(now.tasks);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        most
    }
}

/// A weir over an upstream that works, one that floods it with all it can, and one that is mute.
struct Rig {
    weir: Weir,
    wild: Arc<Upstream>,
    _others: [Upstream; 2],
    attackers: Attackers,
}

/// The upstream that pings without end, changes its listing and has large answers.
async fn wild() -> Arc<Upstream> {
    let wild = Upstream::named("wild").tools(["echo", "big", "other"]);
    let ping = r#"{"jsonrpc":"2.0","id":{n},"method":"ping"}"#;
    let wild = wild.legacy("2025-11-25").floods(ping).start().await;
    let text = "x".repeat(2 << 20);
    let big = format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#);
    wild.set_answer("big", &big);
    Arc::new(wild)
}

impl Rig {
    async fn start() -> Self {
        let attackers = Attackers::new();
        let good = Upstream::named("good").tools(["echo", "slow"]).gate("slow");
        let good = good.start().await;
        let wild = attackers.handle().spawn(wild()).await.expect("an upstream");
        let mute = Upstream::named("mute").tools(["echo"]).start().await;
        let stalls = On::Method("tools/call".to_owned());
        mute.fault(stalls, Times::Forever, Fault::StallHeaders);
        let weir = Weir::over([&good, &*wild, &mute])
            .top("limits: { memory: 128MiB }")
            .listen("body_timeout: 10s")
            .upstream("good", "timeouts: { call: 20s }")
            .start()
            .await;
        let tools = ["good__echo", "good__slow", "wild__echo", "wild__big"];
        let [echo, slow, wild_echo, big] = tools;
        weir.wait_tools([echo, slow, wild_echo, big, "wild__other", "mute__echo"])
            .await;
        Self {
            weir,
            wild,
            _others: [good, mute],
            attackers,
        }
    }

    fn target(&self) -> Target {
        Target {
            url: self.weir.url().into(),
            port: self.weir.port(),
            stop: Arc::default(),
            rounds: Arc::default(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::print_stdout, reason = "the figures of a long run")]
async fn honest_callers_are_served_while_everything_is_attacked_at_once() {
    let (length, compares) = length();
    let rig = Rig::start().await;
    let weir = &rig.weir;
    let calm = (length / 6).min(Duration::from_secs(60));
    let mut calm = measure(weir, Instant::now() + calm).await;
    let before = Has::now(weir).await;
    let logged = weir.stderr().lines().count();
    let target = rig.target();
    let attacks = rig.attackers.begin(&target, &rig.wild);
    let end = Instant::now() + length;
    let (mut attacked, most) = tokio::join!(measure(weir, end), Has::most(weir, end));
    target.stop.store(true, Ordering::Relaxed);
    drop(attacks);

    let log_lines = (weir.stderr().lines().count() - logged) as u64;
    let peak = weir.peak_memory() / MIB;
    println!(
        "calm p50 {:?} p99 {:?}; attacked p50 {:?} p99 {:?} of {} calls, {} failed; peak {peak} MiB, {most:?}; {log_lines} lines; {} rounds",
        calm.quantile(0.5),
        calm.quantile(0.99),
        attacked.quantile(0.5),
        attacked.quantile(0.99),
        attacked.times.len(),
        attacked.failed.len(),
        target.rounds.load(Ordering::Relaxed),
    );
    attacked.failed.truncate(5);
    assert!(attacked.failed.is_empty(), "{:?}", attacked.failed);
    assert!(peak <= (MEMORY + BESIDES) / MIB, "{peak} MiB");
    assert!(
        most.tasks <= TASKS && most.descriptors <= DESCRIPTORS,
        "{most:?}"
    );
    let most = 500 + LINES * length.as_secs();
    assert!(log_lines <= most, "{log_lines} lines, more than {most}");
    if compares {
        assert!(attacked.quantile(0.99) <= 3 * calm.quantile(0.99));
    }
    let ended = Instant::now();
    loop {
        let now = Has::now(weir).await;
        if now.descriptors <= before.descriptors + 16 && now.tasks <= before.tasks + 32 {
            break;
        }
        assert!(ended.elapsed() < RECOVERY, "{now:?}, before {before:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
