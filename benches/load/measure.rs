//! One measurement: a closed loop of callers against one subject for one window of time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::caller::{ASKABLE, Caller, Era};
use crate::catalog::Catalog;
use crate::http1::Connection;
use crate::procfs;
use crate::report;
use crate::setup::{Kind, Setup, Subject, Target, local};
use crate::tools::{ASK, ECHO};

/// With more of the machine taken by other processes, in percent, a window counts as disturbed. What one
/// call costs depends on it by a factor of three here: a busy neighbour keeps a virtual core awake.
const CALM: f64 = 10.0;
/// A caller that failed waits this long, so that a subject that is down is not hammered.
const PENALTY: Duration = Duration::from_millis(5);
/// The arguments of a call, unless others are needed.
pub(crate) const TEXT_BYTES: usize = 64;

/// The repeated work of callers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    /// tools/call, the upstreams in turn
    Call,
    /// the same, by callers that can be asked for forms
    AskableCall,
    /// the same, of a tool that asks for a form, and the answer
    AskingCall,
    /// tools/list, all pages
    List,
    /// initialize and notifications/initialized, a new session each time
    Open,
    /// the same, and DELETE
    OpenClose,
}

/// The measurement of one row of a table, for every subject.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) work: Work,
    #[serde(skip)]
    pub(crate) modern: bool,
    pub(crate) callers: usize,
    /// Bytes of a call's argument.
    #[serde(skip)]
    pub(crate) text: usize,
}

#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) rounds: usize,
    pub(crate) warmup: Duration,
    pub(crate) window: Duration,
    /// The most repetitions of a window that other processes disturbed.
    pub(crate) patience: usize,
}

/// The figures of one window.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) subject: Kind,
    #[serde(flatten)]
    pub(crate) point: Point,
    pub(crate) era: Era,
    pub(crate) round: usize,
    pub(crate) done: usize,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    /// CPU per piece of work in the subject's process; nothing for `direct`.
    pub(crate) cpu_us: Option<f64>,
    pub(crate) client_cpu_us: f64,
    pub(crate) upstream_cpu_us: f64,
    /// tools/list requests that the upstreams saw, warm-up included.
    pub(crate) upstream_lists: u64,
    /// Share of the machine that processes outside this bench took, in percent.
    pub(crate) others_percent: f64,
    pub(crate) memory: procfs::Memory,
    /// Failures of any phase: opening, warm-up, window.
    pub(crate) errors: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Warmup,
    Window,
    Over,
}

/// Counts that the callers of one measurement share.
struct Tally {
    phase: Cell<Phase>,
    /// Callers that have opened, or given up.
    open: Cell<usize>,
    nanos: RefCell<Vec<u64>>,
    errors: RefCell<BTreeMap<String, u64>>,
}

/// CPU times at one moment.
struct Usage {
    at: Instant,
    subject: Option<Duration>,
    client: Duration,
    upstream: Duration,
    machine: Duration,
}

impl Work {
    /// The capabilities that its callers declare.
    fn capabilities(self) -> &'static str {
        match self {
            Self::AskableCall | Self::AskingCall => ASKABLE,
            Self::Call | Self::List | Self::Open | Self::OpenClose => "{}",
        }
    }
}

impl Point {
    pub(crate) fn era(self) -> Era {
        if self.modern {
            Era::Modern
        } else {
            Era::Legacy
        }
    }
}

impl Sample {
    pub(crate) fn failures(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl Tally {
    fn fail(&self, error: String) {
        *self.errors.borrow_mut().entry(error).or_default() += 1;
    }
}

impl Usage {
    fn now(setup: &Setup, subject: &Subject) -> Self {
        Self {
            at: Instant::now(),
            subject: subject.pid().map(procfs::cpu),
            client: procfs::cpu(std::process::id()),
            upstream: procfs::cpu(setup.upstream.pid),
            machine: procfs::machine_busy(),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            at: self.at,
            subject: self
                .subject
                .zip(before.subject)
                .map(|(now, then)| now - then),
            client: self.client - before.client,
            upstream: self.upstream - before.upstream,
            machine: self.machine.saturating_sub(before.machine),
        }
    }
}

/// Measures every subject in turn, round after round, each round beginning with another one.
pub(crate) async fn rounds(setup: &Setup, point: Point, pace: Pace) -> Vec<Sample> {
    let mut samples = Vec::new();
    for round in 0..pace.rounds {
        for turn in 0..setup.subjects.len() {
            let subject = &setup.subjects[(round + turn) % setup.subjects.len()];
            report::progress(&format!(
                "{} round {} of {}: {}",
                report::title(point),
                round + 1,
                pace.rounds,
                report::name(subject.kind)
            ));
            samples.push(calmest(setup, subject, point, pace, round).await);
        }
    }
    samples
}

/// Repeats a disturbed window as often as the pace says, and takes the least disturbed.
pub(crate) async fn calmest(
    setup: &Setup,
    subject: &Subject,
    point: Point,
    pace: Pace,
    round: usize,
) -> Sample {
    let mut best = window(setup, subject, point, pace, round).await;
    for _ in 0..pace.patience {
        if best.others_percent <= CALM {
            break;
        }
        let mut again = window(setup, subject, point, pace, round).await;
        if again.others_percent < best.others_percent {
            std::mem::swap(&mut best, &mut again);
        }
        // Errors in the discarded window count all the same.
        for (error, count) in again.errors {
            *best.errors.entry(error).or_default() += count;
        }
    }
    best
}

async fn window(
    setup: &Setup,
    subject: &Subject,
    point: Point,
    pace: Pace,
    round: usize,
) -> Sample {
    let lists_before = upstream_lists(setup, point).await;
    let tally = Rc::new(Tally {
        phase: Cell::new(Phase::Warmup),
        open: Cell::new(0),
        nanos: RefCell::default(),
        errors: RefCell::default(),
    });
    let callers: Vec<_> = (0..point.callers)
        .map(|number| {
            let (targets, catalog) = (subject.targets.clone(), subject.catalog.clone());
            tokio::task::spawn_local(work(number, point, targets, catalog, tally.clone()))
        })
        .collect();
    while tally.open.get() < point.callers {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(pace.warmup).await;
    let before = Usage::now(setup, subject);
    tally.phase.set(Phase::Window);
    sleep(pace.window).await;
    let after = Usage::now(setup, subject);
    tally.phase.set(Phase::Over);
    for mut caller in callers {
        if timeout(crate::http1::LIMIT, &mut caller).await.is_err() {
            caller.abort();
            tally.fail("a caller did not come to an end".into());
        }
    }
    let seconds = (after.at - before.at).as_secs_f64();
    let used = after.since(&before);
    let mut nanos = tally.nanos.take();
    nanos.sort_unstable();
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let per_piece = |used: Duration| used.as_secs_f64() * 1e6 / nanos.len() as f64;
    let ours = used.subject.unwrap_or_default() + used.client + used.upstream;
    let others = used.machine.saturating_sub(ours).as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    Sample {
        subject: subject.kind,
        point,
        era: point.era(),
        round,
        done: nanos.len(),
        seconds,
        per_second: nanos.len() as f64 / seconds,
        p50_us: percentile(&nanos, 0.5),
        p99_us: percentile(&nanos, 0.99),
        p999_us: percentile(&nanos, 0.999),
        max_us: percentile(&nanos, 1.0),
        cpu_us: used.subject.map(per_piece),
        client_cpu_us: per_piece(used.client),
        upstream_cpu_us: per_piece(used.upstream),
        upstream_lists: upstream_lists(setup, point).await - lists_before,
        others_percent: 100.0 * others / (seconds * procfs::cores() as f64),
        memory: subject.memory(),
        errors: tally.errors.take(),
    }
}

/// One caller, from its session's opening to its end.
async fn work(
    number: usize,
    point: Point,
    targets: Rc<[Target]>,
    catalog: Rc<Catalog>,
    tally: Rc<Tally>,
) {
    let target = &targets[number % targets.len()];
    let mut caller = Caller::new(target.address, point.era());
    caller = caller
        .with_credential(target.credential(number))
        .with_capabilities(point.work.capabilities())
        .over(target.transport.clone());
    let keeps_session = !matches!(point.work, Work::Open | Work::OpenClose);
    let mut opened = !keeps_session;
    if !opened {
        opened = open(&mut caller, &tally).await;
    }
    tally.open.set(tally.open.get() + 1);
    let mut count = number;
    while opened && tally.phase.get() != Phase::Over {
        count += 1;
        if target.presents_new {
            caller.present(target.credential(number + count * point.callers));
        }
        let done = match point.work {
            Work::Call | Work::AskableCall => {
                let tool = &target.tools[count % target.tools.len()];
                caller.call(tool, &text(number, count, point.text)).await
            }
            Work::AskingCall => {
                let tool = &target.tools[count % target.tools.len()];
                let text = text(number, count, point.text);
                caller.exchange(&tool.replace(ECHO, ASK), &text).await
            }
            Work::List => caller.list(&catalog).await.map(|listed| listed.took),
            Work::Open => caller.open().await,
            Work::OpenClose => match caller.open().await {
                Ok(took) => caller.close().await.map(|()| took),
                Err(error) => Err(error),
            },
        };
        match done {
            // Calls that end in the window count, whenever they began.
            Ok(took) if tally.phase.get() == Phase::Window => {
                let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                tally.nanos.borrow_mut().push(nanos);
            }
            Ok(_) => {}
            Err(error) => {
                tally.fail(error);
                sleep(PENALTY).await;
            }
        }
    }
    if keeps_session
        && opened
        && let Err(error) = caller.close().await
    {
        tally.fail(error);
    }
}

/// Opens a caller's session, or says at the third attempt that it cannot be opened.
async fn open(caller: &mut Caller, tally: &Tally) -> bool {
    for _ in 0..3 {
        match caller.open().await {
            Ok(_) => return true,
            Err(error) => {
                tally.fail(format!("opening: {error}"));
                sleep(20 * PENALTY).await;
            }
        }
    }
    false
}

/// A text like no other of the run, so that an answer to another call is noticed.
pub(crate) fn text(caller: usize, count: usize, bytes: usize) -> String {
    let mut text = format!("caller {caller} call {count} ");
    let more = bytes.saturating_sub(text.len());
    text.extend(std::iter::repeat_n('x', more));
    text
}

async fn upstream_lists(setup: &Setup, point: Point) -> u64 {
    if point.work != Work::List {
        return 0;
    }
    let mut lists = 0;
    for port in &setup.ports {
        lists += upstream_stats(*port).await["lists"].as_u64().unwrap_or(0);
    }
    lists
}

async fn upstream_stats(port: u16) -> Value {
    let mut connection = Connection::new(local(port));
    let request = format!("GET /admin/stats HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n");
    match connection.exchange(request.as_bytes(), None).await {
        Ok(_) => serde_json::from_slice(connection.message()).unwrap_or_default(),
        Err(_) => Value::Null,
    }
}

/// Nearest rank, in microseconds.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and nanoseconds far below 2^52"
)]
fn percentile(sorted: &[u64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    let nanos = sorted.get(rank.max(1) - 1);
    nanos.map_or(f64::NAN, |nanos| *nanos as f64 / 1e3)
}
