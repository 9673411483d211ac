//! An upstream that hangs or dies harms no other: other calls and all lists go on, and it comes
//! back by itself.
//!
//! The failing upstreams are processes of their own, so that they can be stopped and killed.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::client::Client;
use crate::support::upstream::Upstream;
use crate::support::weir::{Weir, child_upstream};
use crate::support::{bounded, prompt};
use crate::upstreams::failed;

/// The number of callers of each era.
const CALLERS: usize = 3;
/// The number of calls of each caller while nothing fails, to compare with.
const CALM: usize = 15;
const QUERY: &str = r#"{"q":1}"#;
/// Calls to a failing upstream time out after a second, and it is listed every second.
const IMPATIENT: &str = "    timeouts: { connect: 1s, list: 1s, call: 1s }\n    resync: 1s\n    stale: { max_age: 1h }\n";

/// The callers of the other upstreams.
struct Others<'w> {
    weir: &'w Weir,
    tools: Vec<String>,
}

/// The slowest calls of the healthy upstream.
struct Slowest {
    p99: Duration,
}

impl<'w> Others<'w> {
    /// Begins while everything works: the tools must stay as they are now.
    async fn watch<const N: usize>(weir: &'w Weir, tools: [&str; N]) -> Self {
        weir.wait_tools(tools).await;
        Self {
            weir,
            tools: weir.tool_names().await,
        }
    }

    /// Calls the healthy upstream and lists until `script` is over. No call may fail, no list may
    /// differ.
    async fn during<T>(&self, script: impl Future<Output = T>) -> (T, Slowest) {
        let over = AtomicBool::new(false);
        let script = async {
            let result = script.await;
            over.store(true, Ordering::Relaxed);
            result
        };
        let others = self.watch_until(|_| over.load(Ordering::Relaxed));
        tokio::join!(script, others)
    }

    /// Measures while no upstream fails.
    async fn calm(&self) -> Slowest {
        self.watch_until(|rounds| rounds >= CALM).await
    }

    /// Calls `over` after each round of a caller, with the number of rounds so far.
    async fn watch_until(&self, over: impl Fn(usize) -> bool) -> Slowest {
        let mut callers = Vec::new();
        for _ in 0..CALLERS {
            callers.extend(Client::both(self.weir).await);
        }
        let callers = callers.iter().map(|caller| self.work(caller, &over));
        let times = futures::future::join_all(callers).await;
        let mut times: Vec<Duration> = times.into_iter().flatten().collect();
        times.sort_unstable();
        let p99 = times[times.len() * 99 / 100];
        Slowest { p99 }
    }

    async fn work(&self, caller: &Client, over: &impl Fn(usize) -> bool) -> Vec<Duration> {
        let mut times = Vec::new();
        while times.is_empty() || !over(times.len()) {
            let begun = Instant::now();
            let reply = caller.call("well__search", QUERY).await;
            times.push(begun.elapsed());
            assert_eq!(reply.text(), r#"well.search {"q":1}"#);
            assert_eq!(caller.tool_names().await, self.tools);
        }
        times
    }
}

impl Slowest {
    /// A call that waits for the dead upstream takes a second. Calls of the others must stay well
    /// below that.
    fn is_like(&self, calm: &Self) {
        let most = calm.p99 * 20 + Duration::from_millis(200);
        assert!(self.p99 < most, "{:?}, calm {:?}", self.p99, calm.p99);
    }
}

/// Checks that calls in both eras fail in time and name the upstream.
async fn is_out(weir: &Weir, upstream: &str) {
    let callers = Client::both(weir).await;
    let tool = format!("{upstream}__search");
    let calls = async || {
        let begun = Instant::now();
        // Several at once, so that they are seen not to wait for each other.
        let calls = callers.iter().flat_map(|caller| {
            [
                caller.call(&tool, QUERY),
                caller.call(&tool, QUERY),
                caller.call(&tool, QUERY),
            ]
        });
        for reply in futures::future::join_all(calls).await {
            failed(&reply, upstream);
        }
        begun.elapsed()
    };
    prompt(Duration::from_secs(4), calls).await;
}

/// Waits until the admin listener reports this state.
async fn stands(weir: &Weir, upstream: &str, state: &str) {
    bounded(state, async {
        loop {
            let page = weir.admin("/upstreams").await;
            let rows = page["upstreams"].as_array().unwrap();
            let row = rows.iter().find(|row| row["name"] == upstream).unwrap();
            if row["state"] == state {
                return;
            }
            // Polls, because the state is that of another process.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Waits until the upstream is listed and can be called again. Nothing asks weir to try, not even a
/// call.
async fn comes_back(weir: &Weir, upstream: &str) {
    stands(weir, upstream, "up").await;
    let tool = format!("{upstream}__search");
    for client in Client::both(weir).await {
        bounded(&format!("{upstream} to come back"), async {
            loop {
                let reply = client.call(&tool, QUERY).await;
                if reply.succeeded() {
                    assert_eq!(reply.text(), format!(r#"{upstream}.search {{"q":1}}"#));
                    return;
                }
                failed(&reply, upstream);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

/// Waits for the pid that a child wrote.
async fn pid(file: &Path) -> Pid {
    bounded("the child's pid", async {
        loop {
            if let Ok(text) = std::fs::read_to_string(file) {
                return Pid::from_raw(text.parse().unwrap()).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Waits until a child's log contains this text `times` times.
async fn arrived(log: &Path, what: &str, times: usize) {
    bounded(what, async {
        let read = || std::fs::read_to_string(log).unwrap_or_default();
        while read().matches(what).count() < times {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

async fn well() -> Upstream {
    Upstream::named("well")
        .tools(["search"])
        .modern()
        .start()
        .await
}

/// Starts a weir over a healthy upstream and a child process.
async fn over_a_child(well: &Upstream, era: &str, home: &Path) -> Weir {
    let (url, pid, log) = (well.url(), home.join("pid"), home.join("log"));
    let files = [&pid, &log].map(|file| file.to_str().unwrap());
    let mut args = vec!["--era", era, "--tools", "search,hang"];
    args.extend(["--pid", files[0], "--log", files[1]]);
    let kid = child_upstream("kid", &args);
    Weir::with(&format!("  well:\n    url: \"{url}\"\n{kid}{IMPATIENT}"))
        .start()
        .await
}

/// A running `http_server.py`.
struct Server {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    port: u16,
}

impl Server {
    async fn start(era: &str, port: u16) -> Self {
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/support/http_server.py"
        );
        let mut process = Command::new("python3")
            .args([script, "--name", "far", "--era", era])
            .args(["--port", &port.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = bounded("the server's port", lines.next_line()).await;
        let port = line.unwrap().expect("it starts").parse().unwrap();
        Self {
            process,
            lines,
            port,
        }
    }

    /// Kills the server while a call is in flight. Its port is free again.
    async fn kill_in_a_call(mut self) -> u16 {
        let line = bounded("a slow call", self.lines.next_line()).await;
        assert_eq!(line.unwrap().as_deref(), Some("slow"));
        self.process.kill().await.unwrap();
        self.port
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }
}

async fn over_a_server(well: &Upstream, far: &Server) -> Weir {
    let (url, port) = (well.url(), far.port);
    let far = format!("  far:\n    url: \"http://127.0.0.1:{port}/mcp\"\n{IMPATIENT}");
    Weir::with(&format!("  well:\n    url: \"{url}\"\n{far}"))
        .start()
        .await
}

#[tokio::test]
async fn a_stopped_child_holds_up_nobody_and_goes_on_where_it_was() {
    for era in ["legacy", "modern"] {
        let (home, well) = (tempfile::tempdir().unwrap(), well().await);
        let file = home.path().join("pid");
        let weir = over_a_child(&well, era, home.path()).await;
        let kid = pid(&file).await;
        let others = Others::watch(&weir, ["well__search", "kid__search", "kid__hang"]).await;
        let calm = others.calm().await;
        let script = async {
            kill_process(kid, Signal::STOP).unwrap();
            is_out(&weir, "kid").await;
            stands(&weir, "kid", "failing").await;
            is_out(&weir, "kid").await;
            kill_process(kid, Signal::CONT).unwrap();
            comes_back(&weir, "kid").await;
        };
        others.during(script).await.1.is_like(&calm);
        assert_eq!(pid(&file).await, kid, "the same process, {era}");
    }
}

#[tokio::test]
async fn a_killed_child_fails_its_calls_alone_and_is_started_again() {
    let (home, well) = (tempfile::tempdir().unwrap(), well().await);
    let file = home.path().join("pid");
    let weir = over_a_child(&well, "legacy", home.path()).await;
    let others = Others::watch(&weir, ["well__search", "kid__search", "kid__hang"]).await;
    let calm = others.calm().await;
    let script = async {
        for (round, stopped_first) in [(1, false), (2, true)] {
            let kid = pid(&file).await;
            std::fs::remove_file(&file).unwrap();
            let modern = weir.modern();
            let kill = async {
                arrived(&home.path().join("log"), r#""name":"hang""#, round).await;
                if stopped_first {
                    kill_process(kid, Signal::STOP).unwrap();
                    stands(&weir, "kid", "failing").await;
                }
                kill_process(kid, Signal::KILL).unwrap();
            };
            let (hanging, ()) = tokio::join!(modern.call("kid__hang", "{}"), kill);
            failed(&hanging, "kid");
            if !stopped_first {
                assert_eq!(hanging.error()["data"]["reason"], "the process ended");
            }
            assert_ne!(pid(&file).await, kid, "another process");
            comes_back(&weir, "kid").await;
        }
    };
    others.during(script).await.1.is_like(&calm);
}

#[tokio::test]
async fn a_stopped_server_holds_up_nobody_and_goes_on_where_it_was() {
    for era in ["legacy", "modern"] {
        let (well, far) = (well().await, Server::start(era, 0).await);
        let weir = over_a_server(&well, &far).await;
        let others = Others::watch(&weir, ["well__search", "far__search", "far__slow"]).await;
        comes_back(&weir, "far").await;
        let calm = others.calm().await;
        let script = async {
            far.signal(Signal::STOP);
            is_out(&weir, "far").await;
            stands(&weir, "far", "failing").await;
            is_out(&weir, "far").await;
            far.signal(Signal::CONT);
            comes_back(&weir, "far").await;
        };
        others.during(script).await.1.is_like(&calm);
    }
}

#[tokio::test]
async fn a_killed_server_fails_its_calls_alone_and_is_found_again_when_it_returns() {
    for era in ["legacy", "modern"] {
        let (well, far) = (well().await, Server::start(era, 0).await);
        let weir = over_a_server(&well, &far).await;
        let others = Others::watch(&weir, ["well__search", "far__search", "far__slow"]).await;
        let calm = others.calm().await;
        let script = async {
            let modern = weir.modern();
            let (slow, port) = tokio::join!(modern.call("far__slow", "{}"), far.kill_in_a_call());
            failed(&slow, "far");
            assert_eq!(slow.error()["data"]["reason"], "the connection broke off");
            is_out(&weir, "far").await;
            stands(&weir, "far", "failing").await;
            is_out(&weir, "far").await;
            let far = Server::start(era, port).await;
            comes_back(&weir, "far").await;
            far
        };
        let (_far, during) = others.during(script).await;
        during.is_like(&calm);
    }
}
