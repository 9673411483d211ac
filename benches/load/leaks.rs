//! Calls that end in every way there is, in both eras and over upstreams of both: afterwards weir is what it was.
//!
//! Rounds of the same work: the first fills pools and tables, and between the later ones memory may not grow.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::caller::{Caller, Era};
use crate::http1::Connection;
use crate::parts::{Plan, Results};
use crate::procfs;
use crate::report;
use crate::setup::{Kind, RunFiles, Setup, Shape, Subject, Target};
use crate::sse::EventStream;
use crate::tools::{ECHO, ECHO_IN_STEPS, HANG, SLOW_ECHO};
use crate::upstream::UpstreamEras;

const CALLS: usize = 100_000;
const CALLERS: usize = 64;
const ROUNDS: usize = 4;
/// The time that weir may take to come to rest, and for which it is left alone before its memory is
/// read.
const LIMIT: Duration = Duration::from_secs(30);
const SETTLE: Duration = Duration::from_secs(2);
/// The most descriptors and tasks in addition: connections to upstreams that wait for the next
/// call.
pub(crate) const POOLED: usize = 16;
/// The most by which memory may grow from the second round to the last.
pub(crate) const GROWTH_KIB: u64 = 4 << 10;

/// The ways in which a call ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Ending {
    /// A result.
    Done,
    /// A result behind progress, in an event stream.
    Streamed,
    /// weir's own error: no such tool.
    Unknown,
    /// The upstream's error.
    Refused,
    /// The caller's connection closes while nothing was said yet.
    Left,
    /// The caller's connection closes in the middle of an event stream.
    LeftStream,
    /// `notifications/cancelled`, before anything was said (legacy).
    Cancelled,
    /// The same, in the middle of an event stream (legacy).
    CancelledStream,
    /// The upstream takes too long.
    TimedOut,
}

const ENDINGS: [Ending; 9] = [
    Ending::Done,
    Ending::Streamed,
    Ending::Unknown,
    Ending::Refused,
    Ending::Left,
    Ending::LeftStream,
    Ending::Cancelled,
    Ending::CancelledStream,
    Ending::TimedOut,
];

/// The resources that weir holds when idle.
#[derive(Clone, Default, Serialize)]
pub(crate) struct IdleUsage {
    pub(crate) rss_kib: u64,
    pub(crate) descriptors: usize,
    /// Of a weir that says.
    pub(crate) tasks: Option<f64>,
}

/// The resources that calls over upstreams of one era left behind.
#[derive(Serialize)]
pub(crate) struct LeaksFigure {
    upstreams: &'static str,
    pub(crate) calls: usize,
    endings: BTreeMap<Ending, u64>,
    /// Calls that did not end as intended.
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) before: IdleUsage,
    /// After each round.
    pub(crate) rounds: Vec<IdleUsage>,
    /// Gauges that are not where they were.
    pub(crate) left: Vec<String>,
}

impl LeaksFigure {
    pub(crate) fn name(&self) -> &'static str {
        self.upstreams
    }

    /// From the second round to the last.
    pub(crate) fn grown_kib(&self) -> u64 {
        let rss = |at: usize| self.rounds.get(at).map_or(0, |rest| rest.rss_kib);
        rss(self.rounds.len().saturating_sub(1)).saturating_sub(rss(1))
    }

    /// From the first round to the last: descriptors and tasks.
    pub(crate) fn more(&self) -> (usize, f64) {
        let (Some(first), Some(last)) = (self.rounds.first(), self.rounds.last()) else {
            return (0, 0.0);
        };
        let tasks = last.tasks.unwrap_or(0.0) - first.tasks.unwrap_or(0.0);
        (last.descriptors.saturating_sub(first.descriptors), tasks)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.left.len() as u64 + self.errors.values().sum::<u64>()
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
    let upstreams = match plan.shape.speaks {
        UpstreamEras::Both => vec![UpstreamEras::Modern, UpstreamEras::Legacy],
        one @ (UpstreamEras::Legacy | UpstreamEras::Modern) => vec![one],
    };
    let calls = if plan.quick { CALLS / 20 } else { CALLS } / upstreams.len();
    for speaks in upstreams {
        let shape = Shape {
            watched: true,
            speaks,
            ..plan.shape.clone()
        };
        let setup = Setup::start(run_files, shape, &[Kind::Weir]).await?;
        for subject in &setup.subjects {
            results.leaks.push(measure(subject, speaks, calls).await?);
        }
        setup.stop().await;
    }
    report::leaks(&results.leaks);
    Ok(())
}

#[derive(Default)]
struct Tally {
    endings: BTreeMap<Ending, u64>,
    errors: BTreeMap<String, u64>,
}

async fn measure(
    subject: &Subject,
    speaks: UpstreamEras,
    calls: usize,
) -> Result<LeaksFigure, String> {
    let tally = Rc::new(RefCell::new(Tally::default()));
    let (before, _) = at_rest(subject).await?;
    let (mut rounds, mut left) = (Vec::new(), Vec::new());
    let each = calls / ROUNDS / CALLERS;
    for round in 0..ROUNDS {
        report::progress(&format!(
            "calls of every ending, round {} of {ROUNDS}",
            round + 1
        ));
        let callers: Vec<_> = (0..CALLERS)
            .map(|number| {
                let work = work(subject.targets.clone(), number, each, tally.clone());
                tokio::task::spawn_local(work)
            })
            .collect();
        for caller in callers {
            caller.await.map_err(|error| error.to_string())??;
        }
        let (rest, more) = at_rest(subject).await?;
        rounds.push(rest);
        left = more;
    }
    let tally = tally.take();
    Ok(LeaksFigure {
        upstreams: match speaks {
            UpstreamEras::Legacy => "legacy",
            UpstreamEras::Modern | UpstreamEras::Both => "modern",
        },
        calls: each * ROUNDS * CALLERS,
        endings: tally.endings,
        errors: tally.errors,
        before,
        rounds,
        left,
    })
}

/// Waits until weir says that nothing is going on; gives what it holds, and the gauges that say otherwise.
async fn at_rest(subject: &Subject) -> Result<(IdleUsage, Vec<String>), String> {
    let pid = subject.pid().ok_or("nothing to measure")?;
    let (since, mut left) = (Instant::now(), vec![String::new()]);
    let mut gauges = BTreeMap::new();
    while !left.is_empty() && since.elapsed() < LIMIT {
        sleep(Duration::from_millis(20)).await;
        gauges = subject.gauges().await?;
        let counted = [
            "weir_calls_in_flight",
            "weir_calls_queued",
            "weir_legacy_sessions",
            "weir_get_streams",
            "weir_listen_streams",
        ];
        left = counted
            .into_iter()
            .filter_map(|name| Some((name, *gauges.get(name)?)))
            .filter(|(_, value)| *value != 0.0)
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
    }
    sleep(SETTLE).await;
    gauges.extend(subject.gauges().await?);
    let rest = IdleUsage {
        rss_kib: procfs::memory(pid).rss_kib,
        descriptors: procfs::descriptors(pid),
        tasks: gauges.get("weir_tasks").copied(),
    };
    Ok((rest, left))
}

/// One client of each era; every call ends in another way than the one before.
async fn work(
    targets: Rc<[Target]>,
    number: usize,
    calls: usize,
    tally: Rc<RefCell<Tally>>,
) -> Result<(), String> {
    let target = &targets[number % targets.len()];
    let mut callers = [Era::Legacy, Era::Modern].map(|era| Caller::new(target.address, era));
    callers[0].open().await?;
    for call in 0..calls {
        let era = if call % 2 == 0 {
            Era::Legacy
        } else {
            Era::Modern
        };
        let ending = match (ENDINGS[(number + call / 2) % ENDINGS.len()], era) {
            // In the modern era, closing is cancelling.
            (Ending::Cancelled, Era::Modern) => Ending::Left,
            (Ending::CancelledStream, Era::Modern) => Ending::LeftStream,
            // Two callers, twice each: at the end of a round, when the others are done, five in a row
            // would open the circuit of that upstream.
            (Ending::TimedOut, _) if !number.is_multiple_of(32) => Ending::Done,
            (ending, _) => ending,
        };
        // Both upstreams in turn.
        let tool = &target.tools[call / 2 % target.tools.len()];
        let ended = end(&mut callers[call % 2], ending, tool).await;
        let mut tally = tally.borrow_mut();
        *tally.endings.entry(ending).or_default() += 1;
        if let Err(error) = ended {
            let error = error.get(..160).unwrap_or(&error).to_owned();
            *tally
                .errors
                .entry(format!("{ending:?}, {era:?}: {error}"))
                .or_default() += 1;
        }
    }
    callers[0].close().await
}

/// Makes a call that ends like this; anything else is an error. `echo` is the name of the tool that echoes.
async fn end(caller: &mut Caller, ending: Ending, echo: &str) -> Result<(), String> {
    let named = |tool: &str| echo.replace(ECHO, tool);
    let text = r#""arguments":{"text":"x"}"#;
    let token = r#""progressToken":"t""#;
    match ending {
        Ending::Done => caller.call(echo, "x").await.map(drop),
        Ending::Unknown => refused(
            caller.call(&named("nothing"), "x").await.map(drop),
            "-32602",
        ),
        Ending::TimedOut => refused(caller.call(&named(HANG), "x").await.map(drop), "-32603"),
        Ending::Refused => {
            let (id, request) = caller.unsent(echo, "", "");
            let mut connection = Connection::new(caller.address());
            connection.exchange(request.as_bytes(), Some(id)).await?;
            let answer = String::from_utf8_lossy(connection.message()).into_owned();
            refused(Err(answer), "-32602")
        }
        Ending::Streamed => {
            let (_, request) = caller.unsent(&named(ECHO_IN_STEPS), text, token);
            let mut stream = progressing(caller, &request).await?;
            let answer = timeout(LIMIT, stream.next()).await;
            let answer = answer.map_err(|_| "no response in the stream")??;
            match String::from_utf8_lossy(&answer).contains("\"result\"") {
                true => Ok(()),
                false => Err("no result in the stream".into()),
            }
        }
        Ending::Left => {
            let (_, request) = caller.unsent(&named(SLOW_ECHO), text, "");
            let failed = |error: std::io::Error| error.to_string();
            let mut socket = TcpStream::connect(caller.address()).await.map_err(failed)?;
            socket.write_all(request.as_bytes()).await.map_err(failed)?;
            sleep(Duration::from_millis(5)).await;
            Ok(())
        }
        Ending::LeftStream => {
            let (_, request) = caller.unsent(&named(ECHO_IN_STEPS), text, token);
            progressing(caller, &request).await.map(drop)
        }
        Ending::Cancelled => {
            let (id, request) = caller.unsent(&named(SLOW_ECHO), text, "");
            let mut connection = Connection::new(caller.address());
            let cancel = async {
                sleep(Duration::from_millis(5)).await;
                caller.cancel(id).await
            };
            // Whether it is answered, and with what, is left open.
            let (_, cancelled) =
                tokio::join!(connection.exchange(request.as_bytes(), None), cancel);
            cancelled
        }
        Ending::CancelledStream => {
            let (id, request) = caller.unsent(&named(ECHO_IN_STEPS), text, token);
            let mut stream = progressing(caller, &request).await?;
            caller.cancel(id).await?;
            let ended = timeout(LIMIT, async { while stream.next().await.is_ok() {} }).await;
            ended.map_err(|_| "a cancelled stream did not end".into())
        }
    }
}

/// Sends a call on a connection of its own, and reads up to its progress.
async fn progressing(caller: &Caller, request: &str) -> Result<EventStream, String> {
    let mut stream = EventStream::open(caller.address(), request.as_bytes()).await?;
    let first = timeout(LIMIT, stream.next()).await;
    let first = first.map_err(|_| "no progress")??;
    match String::from_utf8_lossy(&first).contains("notifications/progress") {
        true => Ok(stream),
        false => Err("something else than progress".into()),
    }
}

fn refused(ended: Result<(), String>, code: &str) -> Result<(), String> {
    match ended {
        Ok(()) => Err("not refused".into()),
        Err(error) if error.contains(code) => Ok(()),
        Err(error) => Err(error),
    }
}
