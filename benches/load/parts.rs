//! The parts of a run: what is set up, what is measured there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use crate::caller::{Caller, Era};
use crate::counts::Counts;
use crate::crossing::{CrossedSample, ParkedFigure};
use crate::governed::GovernedLists;
use crate::leaks::LeaksFigure;
use crate::measure::{self, Pace, Point, Sample, Work};
use crate::page::PageFigure;
use crate::procfs::Memory;
use crate::report;
use crate::scale::ScaleFigure;
use crate::setup::{Kind, RunFiles, Setup, Shape, Subject};
use crate::streams::StreamsFigure;

/// Sessions that are opened and kept, to see what one weighs.
const HELD_SESSIONS: usize = 2000;
/// The argument of a call that is signed.
const KIB: usize = 1024;
const START_LIMIT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Part {
    /// tools/call over two upstreams
    Call,
    /// tools/list of 2,000 tools over 20 upstreams, against one server that has them all
    List,
    /// Opening sessions
    Session,
    /// From exec to the first complete list
    Start,
    /// Thousands of idle streams of both eras, and a list change for all of them (weir only)
    Streams,
    /// tools/call with 1 KiB of argument: unsigned, and signed with SigV4
    Login,
    /// tools/call and tools/list with API keys, tokens and policies
    Governed,
    /// tools/call with spans: of none, of a tenth, of all calls, and with nobody who takes them
    Traced,
    /// Instructions and allocations of a call, against those of the last accepted build (valgrind)
    Counts,
    /// tools/call with each rule, and with all of them: what each costs
    Prices,
    /// 100,000 calls that end in every way there is, and what is left of them (weir only)
    Leaks,
    /// 1,000 upstreams with 100 tools each: start, memory, changes, lists under resyncs (weir only)
    Merge,
    /// The page for operators over 1,000 upstreams with 100 tools each (weir only)
    Page,
    /// tools/call between the eras, with and without a question to the caller, and 4,096 calls that wait
    /// for their callers (weir only)
    Crossing,
}

/// The plan of a run, from the options.
pub(crate) struct Plan {
    pub(crate) pace: Pace,
    pub(crate) quick: bool,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) eras: Vec<Era>,
    pub(crate) callers: Vec<usize>,
    /// Two upstreams; the other worlds differ from this one in numbers only.
    pub(crate) shape: Shape,
    pub(crate) list_page_size: usize,
    /// Whether what is counted is accepted.
    pub(crate) accepts_counts: bool,
}

/// Everything measured, as it goes to `--json`.
#[derive(Default, Serialize)]
pub(crate) struct Results {
    pub(crate) samples: Vec<Sample>,
    pub(crate) memory: Vec<MemoryFigure>,
    pub(crate) sessions: Vec<SessionFigure>,
    pub(crate) starts: Vec<StartFigure>,
    pub(crate) streams: Vec<StreamsFigure>,
    pub(crate) leaks: Vec<LeaksFigure>,
    pub(crate) scales: Vec<ScaleFigure>,
    pub(crate) pages: Vec<PageFigure>,
    pub(crate) crossed: Vec<CrossedSample>,
    pub(crate) parked: Vec<ParkedFigure>,
    pub(crate) governed: Vec<GovernedLists>,
    pub(crate) counts: BTreeMap<String, Counts>,
}

#[derive(Serialize)]
pub(crate) struct MemoryFigure {
    pub(crate) part: &'static str,
    pub(crate) upstreams: usize,
    pub(crate) tools_each: usize,
    pub(crate) subject: Kind,
    pub(crate) idle: Memory,
    pub(crate) after: Memory,
}

/// Measures the memory of open sessions, each after one call to each upstream.
#[derive(Serialize)]
pub(crate) struct SessionFigure {
    pub(crate) subject: Kind,
    pub(crate) sessions: usize,
    pub(crate) grown_kib: u64,
    pub(crate) errors: u64,
}

#[derive(Serialize)]
pub(crate) struct StartFigure {
    pub(crate) subject: Kind,
    pub(crate) upstreams: usize,
    pub(crate) tools: usize,
    /// The upstreams are down, and their listings stored.
    pub(crate) stored: bool,
    pub(crate) accepts_ms: f64,
    pub(crate) first_page_ms: f64,
    pub(crate) lists_ms: f64,
    pub(crate) error: Option<String>,
}

impl SessionFigure {
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(crate) fn kib_each(&self) -> f64 {
        self.grown_kib as f64 / self.sessions as f64
    }
}

pub(crate) async fn call(
    run_files: &RunFiles,
    plan: &Plan,
    results: &mut Results,
) -> Result<(), String> {
    let setup = Setup::start(run_files, plan.shape.clone(), &plan.kinds).await?;
    for era in &plan.eras {
        let modern = *era == Era::Modern;
        // Beside the legacy one, the modern era is measured at the load that matters most.
        let only_32 = modern && plan.eras.len() > 1 && plan.callers.contains(&32);
        for callers in plan
            .callers
            .iter()
            .filter(|callers| !only_32 || **callers == 32)
        {
            let point = Point {
                work: Work::Call,
                modern,
                callers: *callers,
                text: measure::TEXT_BYTES,
            };
            measure_at(point, &setup, plan, results).await;
        }
    }
    remember("call", &setup, results);
    setup.stop().await;
    Ok(())
}

/// Measures the cost of credentials: calls without and with signed requests.
pub(crate) async fn login(
    run_files: &RunFiles,
    plan: &Plan,
    results: &mut Results,
) -> Result<(), String> {
    let kinds = [Kind::Route, Kind::Weir, Kind::Saas, Kind::Sigv4];
    let setup = Setup::start(run_files, plan.shape.clone(), &kinds).await?;
    for callers in [1, 32] {
        let point = Point {
            work: Work::Call,
            modern: false,
            callers,
            text: KIB,
        };
        measure_at(point, &setup, plan, results).await;
    }
    remember("login", &setup, results);
    setup.stop().await;
    Ok(())
}

/// Measures the cost of spans.
pub(crate) async fn traced(
    run_files: &RunFiles,
    plan: &Plan,
    results: &mut Results,
) -> Result<(), String> {
    let kinds = [
        Kind::Route,
        Kind::Weir,
        Kind::Sampled,
        Kind::Traced,
        Kind::Unheard,
    ];
    let setup = Setup::start(run_files, plan.shape.clone(), &kinds).await?;
    for callers in [1, 32] {
        let point = Point {
            work: Work::Call,
            modern: false,
            callers,
            text: measure::TEXT_BYTES,
        };
        measure_at(point, &setup, plan, results).await;
    }
    remember("traced", &setup, results);
    setup.stop().await;
    Ok(())
}

async fn measure_at(point: Point, setup: &Setup, plan: &Plan, results: &mut Results) {
    let samples = measure::rounds(setup, point, plan.pace).await;
    report::point(&samples);
    results.samples.extend(samples);
}

pub(crate) async fn list(
    run_files: &RunFiles,
    plan: &Plan,
    results: &mut Results,
) -> Result<(), String> {
    let shape = Shape {
        servers: 20,
        tools: 100,
        one_with_all: true,
        page_size: plan.list_page_size,
        weir_page_size: plan.list_page_size,
        ..plan.shape.clone()
    };
    // A router does not merge, so it has no list of 2,000 tools to give.
    let kinds: Vec<Kind> = plan
        .kinds
        .iter()
        .copied()
        .filter(|kind| *kind != Kind::Route)
        .collect();
    let setup = Setup::start(run_files, shape, &kinds).await?;
    for callers in if plan.quick { &[1][..] } else { &[1, 8] } {
        let point = Point {
            work: Work::List,
            modern: false,
            callers: *callers,
            text: measure::TEXT_BYTES,
        };
        measure_at(point, &setup, plan, results).await;
    }
    remember("list", &setup, results);
    setup.stop().await;
    Ok(())
}

pub(crate) async fn session(
    run_files: &RunFiles,
    plan: &Plan,
    results: &mut Results,
) -> Result<(), String> {
    let setup = Setup::start(run_files, plan.shape.clone(), &plan.kinds).await?;
    for work in [Work::Open, Work::OpenClose] {
        let point = Point {
            work,
            modern: false,
            callers: 8,
            text: measure::TEXT_BYTES,
        };
        measure_at(point, &setup, plan, results).await;
    }
    for subject in setup
        .subjects
        .iter()
        .filter(|subject| subject.process.is_some())
    {
        results.sessions.push(hold_sessions(subject).await);
    }
    report::sessions(&results.sessions);
    remember("session", &setup, results);
    setup.stop().await;
    Ok(())
}

/// One connection opens session after session and leaves each of them open.
async fn hold_sessions(subject: &Subject) -> SessionFigure {
    let target = &subject.targets[0];
    let mut caller = Caller::new(target.address, Era::Legacy);
    let before = subject.memory();
    let mut errors = 0;
    for session in 0..HELD_SESSIONS {
        let opened = caller.open().await;
        errors += u64::from(opened.is_err());
        for tool in &target.tools {
            let called = caller
                .call(tool, &measure::text(0, session, measure::TEXT_BYTES))
                .await;
            errors += u64::from(called.is_err());
        }
    }
    SessionFigure {
        subject: subject.kind,
        sessions: HELD_SESSIONS,
        grown_kib: subject.memory().rss_kib.saturating_sub(before.rss_kib),
        errors,
    }
}

pub(crate) async fn start(
    run_files: &RunFiles,
    plan: &Plan,
    results: &mut Results,
) -> Result<(), String> {
    let times = if plan.quick { 2 } else { 3 * plan.pace.rounds };
    let kinds = [Kind::Route, Kind::Weir];
    let kinds: Vec<Kind> = kinds
        .into_iter()
        .filter(|kind| plan.kinds.contains(kind))
        .collect();
    for (servers, tools) in [(2, 50), (20, 100)] {
        let shape = Shape {
            servers,
            tools,
            ..plan.shape.clone()
        };
        let setup = Setup::start(run_files, shape, &[]).await?;
        starts(run_files, &setup, &kinds, times, results).await?;
        setup.stop().await;
    }
    let many = if plan.quick { 100 } else { 1_000 };
    for (servers, times) in [(20, times), (many, times.div_ceil(3))] {
        if !kinds.contains(&Kind::Weir) {
            break;
        }
        let shape = Shape {
            servers,
            tools: 100,
            stores: true,
            ..plan.shape.clone()
        };
        let mut setup = Setup::start(run_files, shape, &[Kind::Weir]).await?;
        setup.bereave(run_files).await?;
        starts(run_files, &setup, &[Kind::Weir], times, results).await?;
        setup.stop().await;
    }
    report::starts(&results.starts);
    Ok(())
}

/// Starts each subject this many times, in turn.
async fn starts(
    run_files: &RunFiles,
    setup: &Setup,
    kinds: &[Kind],
    times: usize,
    results: &mut Results,
) -> Result<(), String> {
    for round in 0..times {
        for kind in kinds {
            report::progress(&format!("start {} of {times}", round + 1));
            let mut subject = setup.subject(run_files, *kind).await?;
            let timed = time_start(&mut subject).await;
            let never = [f64::NAN; 3];
            let [accepts_ms, first_page_ms, lists_ms] = timed.as_ref().copied().unwrap_or(never);
            results.starts.push(StartFigure {
                subject: *kind,
                upstreams: setup.shape.servers,
                tools: subject.catalog.len(),
                stored: setup.shape.stores,
                accepts_ms,
                first_page_ms,
                lists_ms,
                error: timed.err(),
            });
            subject.stop().await;
        }
    }
    Ok(())
}

/// Milliseconds from exec to a connection, to the first page of a list, and to a complete list. In a long list, reading it
/// takes the client longer than anything else.
///
/// Asking is work for what is being started: weir is asked for a list only when it says it is ready.
pub(crate) async fn time_start(subject: &mut Subject) -> Result<[f64; 3], String> {
    let address = subject.targets[0].address;
    let Some(process) = &mut subject.process else {
        return Err("nothing to start".into());
    };
    let started = process.started;
    let millis = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    while std::net::TcpStream::connect(address).is_err() {
        if process.has_ended() || started.elapsed() > START_LIMIT {
            return Err("it did not start".into());
        }
        nap();
    }
    let accepts = millis(started);
    while subject.kind == Kind::Weir && subject.readiness().await? != 200 {
        if started.elapsed() > START_LIMIT {
            return Err("it did not get ready".into());
        }
        nap();
    }
    let mut caller = Caller::new(address, Era::Legacy);
    caller.open().await?;
    loop {
        match caller.list(&subject.catalog).await {
            Ok(listed) => {
                let first = listed.first.duration_since(started).as_secs_f64() * 1e3;
                return Ok([accepts, first, millis(started)]);
            }
            Err(error) if started.elapsed() > START_LIMIT => return Err(error),
            Err(_) => nap(),
        }
    }
}

/// Shorter than tokio's timer can wait. Nothing else runs in this thread while a start is timed.
#[allow(
    clippy::disallowed_methods,
    reason = "a start is timed in tenths of a millisecond"
)]
fn nap() {
    std::thread::sleep(Duration::from_micros(200));
}

fn remember(part: &'static str, setup: &Setup, results: &mut Results) {
    let with_process = |subject: &&Subject| subject.process.is_some();
    for subject in setup.subjects.iter().filter(with_process) {
        results.memory.push(MemoryFigure {
            part,
            upstreams: setup.shape.servers,
            tools_each: setup.shape.tools,
            subject: subject.kind,
            idle: subject.idle,
            after: subject.memory(),
        });
    }
}
