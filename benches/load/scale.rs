//! A weir over 1,000 upstreams with 100 tools each (weir only): its start, its memory, how soon a change is told,
//! and how lists fare while all upstreams are listed again and some of them change.
//!
//! Lists are read at rest and under resyncs in turn, the first page of 1,000 tools each time. Listing is work for
//! callers' and upstreams' cores too; at [`RESYNCS_PER_SECOND`] every upstream is listed six times a minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::caller::{Caller, Era};
use crate::http1::Connection;
use crate::parts::{self, Plan, Results};
use crate::processes::single_threaded;
use crate::procfs::Memory;
use crate::report;
use crate::setup::{Kind, RunFiles, Setup, Shape, Subject, local};
use crate::sse::EventStream;
use crate::summary::median;

const UPSTREAMS: usize = 1_000;
const TOOLS: usize = 100;
const PAGE_SIZE: usize = 1_000;
/// Changes that are timed one by one.
const CHANGES: usize = 50;
const RESYNCS_PER_SECOND: u64 = 100;
/// One resync out of this many finds another list.
const CHANGED: u64 = 10;
/// Between two lists of the caller.
const PAUSE: Duration = Duration::from_millis(20);
/// The time for which weir is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);
/// The time that a change may take to be told.
const LIMIT: Duration = Duration::from_secs(10);

/// The cost of many upstreams.
#[derive(Serialize)]
pub(crate) struct ScaleFigure {
    pub(crate) upstreams: usize,
    pub(crate) tools_each: usize,
    /// Until the first page is there, and every tool is listed.
    pub(crate) first_page_ms: f64,
    pub(crate) start_ms: f64,
    /// With one upstream that has no tools, and with all of them.
    pub(crate) bare: Memory,
    pub(crate) loaded: Memory,
    /// From the upstream's word to the caller who is told, each change.
    pub(crate) told_ms: Vec<f64>,
    pub(crate) rest: Lists,
    pub(crate) resyncing: Lists,
    pub(crate) resyncs: u64,
    pub(crate) errors: Vec<String>,
}

/// Times of the first page of `tools/list`, in microseconds.
#[derive(Default, Serialize)]
pub(crate) struct Lists {
    pub(crate) times: Vec<f64>,
}

impl Lists {
    pub(crate) fn at(&self, percent: usize) -> f64 {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        let at = times.len().saturating_sub(1) * percent / 100;
        times.get(at).copied().unwrap_or(f64::NAN)
    }
}

impl ScaleFigure {
    #[allow(clippy::cast_precision_loss, reason = "sizes far below 2^52 KiB")]
    pub(crate) fn mib_per_1000_tools(&self) -> f64 {
        let grown = self.loaded.rss_kib.saturating_sub(self.bare.rss_kib);
        let thousands = (self.upstreams * self.tools_each) as f64 / 1e3;
        grown as f64 / 1024.0 / thousands
    }

    pub(crate) fn told(&self) -> (f64, f64) {
        let worst = self.told_ms.iter().copied().fold(f64::NAN, f64::max);
        (median(self.told_ms.iter().copied()), worst)
    }
}

pub(crate) async fn run(
    run_files: &RunFiles,
    plan: &Plan,
    results: &mut Results,
) -> Result<(), String> {
    if !plan.kinds.contains(&Kind::Weir) {
        return Ok(());
    }
    let shape = Shape {
        servers: 1,
        tools: 0,
        watched: true,
        weir_page_size: PAGE_SIZE,
        ..plan.shape.clone()
    };
    let small = Setup::start(run_files, shape.clone(), &[Kind::Weir]).await?;
    sleep(SETTLE).await;
    let bare = small.subjects.first().map(Subject::memory);
    small.stop().await;
    let shape = Shape {
        servers: if plan.quick {
            UPSTREAMS / 10
        } else {
            UPSTREAMS
        },
        tools: TOOLS,
        ..shape
    };
    let setup = Setup::start(run_files, shape, &[]).await?;
    let mut subject = setup.subject(run_files, Kind::Weir).await?;
    let figure = measure(&setup, &mut subject, plan, bare.unwrap_or_default()).await;
    subject.stop().await;
    setup.stop().await;
    results.scales.push(figure?);
    report::scales(&results.scales);
    Ok(())
}

async fn measure(
    setup: &Setup,
    subject: &mut Subject,
    plan: &Plan,
    bare: Memory,
) -> Result<ScaleFigure, String> {
    let [_, first_page_ms, start_ms] = parts::time_start(subject).await?;
    sleep(SETTLE).await;
    let mut figure = ScaleFigure {
        upstreams: setup.shape.servers,
        tools_each: setup.shape.tools,
        first_page_ms,
        start_ms,
        bare,
        loaded: subject.memory(),
        told_ms: Vec::new(),
        rest: Lists::default(),
        resyncing: Lists::default(),
        resyncs: 0,
        errors: Vec::new(),
    };
    report::progress("changes");
    let mut caller = Caller::new(subject.targets[0].address, Era::Legacy);
    caller.open().await?;
    let mut stream = caller.notifications().await?;
    for change in 0..CHANGES {
        match tell(setup, &mut stream, change * 7 % setup.shape.servers).await {
            Ok(millis) => figure.told_ms.push(millis),
            Err(error) => figure.errors.push(error),
        }
    }
    drop(stream);
    for round in 0..plan.pace.rounds {
        report::progress(&format!("lists, round {}", round + 1));
        lists(&mut caller, plan.pace.window, &mut figure.rest).await?;
        let over = Arc::new(AtomicBool::new(false));
        let ports = setup.ports.clone();
        let admin = subject.admin.ok_or("weir is not watched")?;
        let work = resyncs(ports, admin.port(), Arc::clone(&over));
        // On a thread of its own: the caller's would read its lists later for it.
        let runtime = single_threaded().map_err(|error| error.to_string())?;
        let work = tokio::task::spawn_blocking(move || runtime.block_on(work));
        sleep(plan.pace.warmup).await;
        lists(&mut caller, plan.pace.window, &mut figure.resyncing).await?;
        over.store(true, Ordering::Relaxed);
        let (resyncs, errors) = work.await.map_err(|error| error.to_string())?;
        figure.resyncs += resyncs;
        figure.errors.extend(errors);
    }
    Ok(figure)
}

/// Has one upstream change; gives milliseconds until the caller is told.
async fn tell(setup: &Setup, stream: &mut EventStream, upstream: usize) -> Result<f64, String> {
    // Late notifications of the change before.
    sleep(PAUSE).await;
    while timeout(Duration::from_millis(1), stream.next())
        .await
        .is_ok()
    {}
    let since = Instant::now();
    toggle(*setup.ports.get(upstream).ok_or("no such upstream")?).await?;
    loop {
        let left = LIMIT.saturating_sub(since.elapsed());
        let data = timeout(left, stream.next()).await;
        let data = data.map_err(|_| "a change was not told")??;
        let message: Value = serde_json::from_slice(&data).unwrap_or_default();
        if message["method"] == "notifications/tools/list_changed" {
            return Ok(since.elapsed().as_secs_f64() * 1e3);
        }
    }
}

async fn toggle(port: u16) -> Result<(), String> {
    post(port, "/admin/toggle").await
}

async fn post(port: u16, path: &str) -> Result<(), String> {
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer bench\r\ncontent-length: 0\r\n\r\n"
    );
    let mut connection = Connection::new(local(port));
    match connection.exchange(request.as_bytes(), None).await?.status {
        200 => Ok(()),
        status => Err(format!("POST {path}: HTTP {status}")),
    }
}

/// Lists for a while, with pauses.
async fn lists(caller: &mut Caller, time: Duration, lists: &mut Lists) -> Result<(), String> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        let took = caller.first_page().await?;
        lists.times.push(took.as_secs_f64() * 1e6);
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Has one upstream after the other listed again, some of them after a change, until it is over: how many were, and what
/// went wrong.
async fn resyncs(ports: Vec<u16>, admin: u16, over: Arc<AtomicBool>) -> (u64, Vec<String>) {
    let mut ticks = interval(Duration::from_millis(1000 / RESYNCS_PER_SECOND));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut round, mut errors) = (0, Vec::new());
    for (number, port) in ports.iter().enumerate().cycle() {
        ticks.tick().await;
        if over.load(Ordering::Relaxed) {
            break;
        }
        round += 1;
        let done = match round % CHANGED {
            // It says so itself, and is listed for it.
            0 => toggle(*port).await,
            _ => post(admin, &format!("/upstreams/u{number:02}/resync")).await,
        };
        errors.extend(done.err());
    }
    (round - errors.len() as u64, errors)
}
