//! `--reload`: the config is written again and reloaded a few times a second while callers call (weir only).
//!
//! 32 callers are on two upstreams that every version of the config has alike, one of which is logged in to; 8 are on
//! upstreams that come and go, are reached otherwise, or lose a tool to a rule. Every fifth version is wrong. A call
//! may fail where its tool is in no catalog meanwhile, with -32602, and for no other reason. What the unchanged upstreams
//! count (connections, sessions, tokens) stays where it was.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::caller::{Caller, Era};
use crate::http1::Connection;
use crate::measure::{TEXT_BYTES, text};
use crate::processes::Process;
use crate::report;
use crate::setup::{RunFiles, Setup, Shape, free_port, local};

const RELOADS: u64 = 200;
const UNCHANGED_CALLERS: usize = 32;
/// Upstreams, in the order of the ports: the first two never change.
const UPSTREAMS: [&str; 5] = ["still", "login", "rules", "moves", "comes"];
/// The tools that the callers on changing upstreams call.
const CHANGING: [&str; 4] = [
    "rules__echo",
    "rules__echo_slowly",
    "moves__echo_slowly",
    "comes__echo",
];
const CHANGING_CALLERS: usize = 8;
/// Calls before anything is counted: connections are opened then.
const WARM_UP: Duration = Duration::from_secs(3);

/// The results of the reloads.
#[derive(Default, Serialize)]
pub(crate) struct ReloadFigure {
    /// Configs that were written, and what `POST /reload` said to them.
    pub(crate) written: u64,
    pub(crate) applied: u64,
    pub(crate) unchanged: u64,
    pub(crate) refused: u64,
    pub(crate) slowest_ms: f64,
    pub(crate) calls_on_unchanged: u64,
    pub(crate) failed_on_unchanged: u64,
    pub(crate) calls_on_changing: u64,
    /// Calls of tools that were not there.
    pub(crate) unknown: u64,
    pub(crate) failed_on_changing: u64,
    /// Of each unchanged upstream: connections, sessions and other openings, tokens; before and after.
    pub(crate) before: Vec<[u64; 3]>,
    pub(crate) after: Vec<[u64; 3]>,
    pub(crate) errors: BTreeMap<String, u64>,
}

impl ReloadFigure {
    /// Connections come and go where callers meet; nothing else may move.
    pub(crate) fn moved(&self) -> bool {
        let steady = |counts: &Vec<[u64; 3]>| -> Vec<[u64; 2]> {
            counts
                .iter()
                .map(|[_, opens, tokens]| [*opens, *tokens])
                .collect()
        };
        steady(&self.before) != steady(&self.after)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.errors.values().sum::<u64>() + u64::from(self.moved())
    }
}

#[derive(Default)]
struct Tally {
    over: Cell<bool>,
    figure: RefCell<ReloadFigure>,
    /// Counts versions of the config; odd while one is written and not in force yet.
    version: Cell<u64>,
    /// Whether the version in force denies `rules__echo_slowly`.
    denied: Cell<bool>,
}

impl Tally {
    fn fail(&self, what: &str, error: &str) {
        let mut figure = self.figure.borrow_mut();
        *figure.errors.entry(format!("{what}: {error}")).or_default() += 1;
    }
}

impl Tally {
    /// Counts a call; false if it brought nothing.
    fn takes(&self, tool: &str, changing: bool, there: bool, done: Result<(), String>) -> bool {
        let mut figure = self.figure.borrow_mut();
        let Err(error) = done else {
            match changing {
                true => figure.calls_on_changing += 1,
                false => figure.calls_on_unchanged += 1,
            }
            return true;
        };
        if changing && !there && error.contains("-32602") {
            figure.unknown += 1;
            return false;
        }
        match changing {
            true => figure.failed_on_changing += 1,
            false => figure.failed_on_unchanged += 1,
        }
        drop(figure);
        self.fail(tool, &error);
        false
    }
}

/// A weir whose config is written again and again.
struct Written {
    file: PathBuf,
    admin: u16,
    port: u16,
    ports: Vec<u16>,
}

pub(crate) async fn run(
    run_files: &RunFiles,
    shape: &Shape,
    time: Duration,
    figures: &mut Vec<ReloadFigure>,
) -> Result<(), String> {
    let shape = Shape {
        servers: UPSTREAMS.len(),
        ..shape.clone()
    };
    let setup = Setup::start(run_files, shape, &[]).await?;
    let free = || free_port().map_err(|error| format!("a free port: {error}"));
    let written = Written {
        file: run_files.folder.join("reloaded.yaml"),
        admin: free()?,
        port: free()?,
        ports: setup.ports.clone(),
    };
    written.write(&written.version(0))?;
    let weir = start(run_files, &written).await?;
    figures.push(under_reloads(&written, time).await?);
    weir.stop().await;
    setup.stop().await;
    report::reloads(figures);
    Ok(())
}

async fn start(run_files: &RunFiles, written: &Written) -> Result<Process, String> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let arguments = ["serve".into(), "-c".into(), path(&written.file)];
    let log = written.file.with_extension("log");
    let mut weir = Process::guarded(&run_files.weir, &arguments, &log).await?;
    let since = Instant::now();
    let mut asking = Connection::new(local(written.port));
    let request = format!(
        "GET /readyz HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n\r\n",
        written.port
    );
    loop {
        let answer = asking.exchange(request.as_bytes(), None).await;
        if answer.is_ok_and(|answer| answer.status == 200) {
            return Ok(weir);
        }
        if weir.has_ended() || since.elapsed() > Duration::from_secs(10) {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("weir did not get ready; it said:\n{said}"));
        }
        sleep(Duration::from_millis(10)).await;
    }
}

impl Written {
    /// Version number `version` of the config: valid, if that is not 4 modulo 5.
    fn version(&self, version: u64) -> String {
        let Self {
            admin, port, ports, ..
        } = self;
        let mut config = format!(
            "version: 1\nlisten: {{ address: \"127.0.0.1:{port}\" }}\nadmin: {{ address: \"127.0.0.1:{admin}\", token: {{ value: bench }}, reading: open }}\nupstreams:\n"
        );
        for (name, port) in UPSTREAMS.iter().zip(ports) {
            let more = match *name {
                "login" => format!(
                    "auth: {{ type: oauth2_client_credentials, token_url: \"http://127.0.0.1:{port}/admin/token\", client_id: load, client_secret: {{ value: not-a-secret }} }}"
                ),
                "rules" if denies(version) => "tools: { deny: [echo_slowly] }".to_owned(),
                "moves" => format!("resync: {}s", 60 + version),
                "comes" if version % 5 == 1 => continue,
                _ => String::new(),
            };
            let comma = if more.is_empty() { "" } else { ", " };
            config += &format!(
                "  {name}: {{ connector: on_prem, url: \"http://127.0.0.1:{port}/mcp\"{comma}{more} }}\n"
            );
        }
        if version % 5 == 4 {
            config += "nonsense: true\n";
        }
        config
    }

    /// Puts a config in the place of the one that is there, as editors do.
    fn write(&self, config: &str) -> Result<(), String> {
        let beside = self.file.with_extension("new");
        let written = std::fs::write(&beside, config);
        let written = written.and_then(|()| std::fs::rename(&beside, &self.file));
        written.map_err(|error| format!("{}: {error}", self.file.display()))
    }
}

fn denies(version: u64) -> bool {
    version % 5 == 2
}

async fn under_reloads(written: &Written, time: Duration) -> Result<ReloadFigure, String> {
    let tally = Rc::new(Tally::default());
    let callers = callers(written, &tally);
    sleep(WARM_UP).await;
    let still: Vec<u16> = written.ports.iter().copied().take(2).collect();
    let mut counting: Vec<_> = still
        .iter()
        .map(|port| Connection::new(local(*port)))
        .collect();
    let before = counts(&mut counting).await?;
    reloads(written, time, &tally).await;
    let after = counts(&mut counting).await?;
    tally.over.set(true);
    for caller in callers {
        if let Err(error) = caller.await {
            tally.fail("caller", &error.to_string());
        }
    }
    Ok(ReloadFigure {
        before,
        after,
        ..tally.figure.take()
    })
}

fn callers(written: &Written, tally: &Rc<Tally>) -> Vec<JoinHandle<()>> {
    let on_unchanged = (0..UNCHANGED_CALLERS).map(|number| {
        let upstream = UPSTREAMS[number / 2 % 2];
        let tool = ["echo", "echo_slowly"][number / 4 % 2];
        (number, format!("{upstream}__{tool}"), false)
    });
    let on_changing = (0..CHANGING_CALLERS)
        .map(|number| (number, CHANGING[number % CHANGING.len()].to_owned(), true));
    let callers = on_unchanged
        .chain(on_changing)
        .map(|(number, tool, changing)| {
            // Neighbours on the same tool speak different eras.
            let turn = if changing {
                number / CHANGING.len()
            } else {
                number
            };
            let era = [Era::Legacy, Era::Modern][turn % 2];
            let caller = Caller::new(local(written.port), era);
            tokio::task::spawn_local(call(caller, number, tool, changing, Rc::clone(tally)))
        });
    callers.collect()
}

/// Calls one tool until it is over.
async fn call(mut caller: Caller, number: usize, tool: String, changing: bool, tally: Rc<Tally>) {
    if let Err(error) = caller.open().await {
        tally.fail("opening", &error);
        return;
    }
    let mut count = 0;
    while !tally.over.get() {
        count += 1;
        let version = tally.version.get();
        let outcome = caller.call(&tool, &text(number, count, TEXT_BYTES)).await;
        let steady = version == tally.version.get() && version.is_multiple_of(2);
        let there = match tool.as_str() {
            "rules__echo_slowly" => steady && !tally.denied.get(),
            // When it is back, it has to be listed first.
            "comes__echo" => false,
            _ => true,
        };
        if !tally.takes(&tool, changing, there, outcome.map(|_| ())) {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn reloads(written: &Written, time: Duration, tally: &Tally) {
    let every = Duration::from_secs(60) / u32::try_from(RELOADS).unwrap_or(1);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut admin = Connection::new(local(written.admin));
    let until = Instant::now() + time;
    let mut version = 0;
    while Instant::now() < until {
        ticks.tick().await;
        version += 1;
        tally.version.set(2 * version - 1);
        if let Err(error) = reload(written, version, &mut admin, tally).await {
            tally.fail("reload", &error);
        }
        // A wrong one changes nothing.
        let in_force = if version % 5 == 4 {
            version - 1
        } else {
            version
        };
        tally.denied.set(denies(in_force));
        tally.version.set(2 * version);
        report::progress(&format!("{version} reloads"));
    }
}

/// Writes a version and has it read; it is in force afterwards, even if the watch read it first.
async fn reload(
    written: &Written,
    version: u64,
    admin: &mut Connection,
    tally: &Tally,
) -> Result<(), String> {
    written.write(&written.version(version))?;
    let since = Instant::now();
    let request = format!(
        "POST /reload HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Bearer bench\r\ncontent-length: 0\r\n\r\n",
        written.admin
    );
    let status = admin.exchange(request.as_bytes(), None).await?.status;
    let answer: Value = serde_json::from_slice(admin.message()).unwrap_or_default();
    let mut figure = tally.figure.borrow_mut();
    figure.written += 1;
    figure.slowest_ms = figure.slowest_ms.max(since.elapsed().as_secs_f64() * 1e3);
    match (status, answer["outcome"].as_str()) {
        (422, Some("refused")) if version % 5 == 4 => figure.refused += 1,
        (200, Some("applied")) if version % 5 != 4 => figure.applied += 1,
        (200, Some("unchanged")) if version % 5 != 4 => figure.unchanged += 1,
        _ => return Err(format!("version {version}: HTTP {status} {answer}")),
    }
    Ok(())
}

/// Connections, openings and tokens of each upstream. The connections it is asked over are the same each time.
async fn counts(upstreams: &mut [Connection]) -> Result<Vec<[u64; 3]>, String> {
    let mut all = Vec::new();
    for upstream in upstreams {
        let request = format!(
            "GET /admin/stats HTTP/1.1\r\nhost: {}\r\n\r\n",
            upstream.address()
        );
        upstream.exchange(request.as_bytes(), None).await?;
        let told: Value = serde_json::from_slice(upstream.message()).unwrap_or_default();
        all.push(["sockets", "opens", "tokens"].map(|of| told[of].as_u64().unwrap_or(0)));
    }
    Ok(all)
}
