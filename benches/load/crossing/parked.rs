//! Thousands of calls of modern callers that their legacy upstreams asked something: the weight of each
//! while it waits for its caller, what other calls notice of them, and what is left when they are over.
//!
//! Each has a session at its upstream to itself, with two connections: the stream of the call, and the
//! session's own. Their callers need no connection meanwhile.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde::Serialize;
use tokio::time::sleep;

use crate::caller::{ASKABLE, Caller, Era, Question};
use crate::measure;
use crate::page::{self, at};
use crate::parts::Plan;
use crate::procfs;
use crate::report::{self, mebibytes, number, say, time};
use crate::setup::{Kind, RunFiles, Setup, Shape, Subject};
use crate::tools::{ASK, ECHO};
use crate::upstream::UpstreamEras;

/// As many as may wait at all.
const PARKED: usize = 4_096;
/// Parked and answered before anything is measured, so that what is made once is there.
const WARM_UP: usize = 100;
/// The capabilities of their callers: others, so that their sessions serve no call that is measured.
const OTHERS: &str = r#"{"elicitation":{},"experimental":{"warm":{}}}"#;
/// Callers that make these calls.
const CALLERS: usize = 32;
/// The time for which weir is left alone before its memory is read: connections to upstreams that nobody
/// uses are closed in the meantime.
const SETTLE: Duration = Duration::from_secs(5);
/// The time in which nothing may be left of calls that are over.
const LIMIT: Duration = Duration::from_secs(30);

/// The cost of calls that wait for their callers, and what they leave behind.
#[derive(Serialize)]
pub(crate) struct ParkedFigure {
    pub(crate) calls: usize,
    /// Those whose answers came to their upstream, and whose callers got the result.
    pub(crate) answered: usize,
    /// From the first call until all wait, and from the first answer until all are over.
    asking_ms: f64,
    answering_ms: f64,
    /// CPU of weir for one: until it waits, and from its answer on.
    cpu_us: [f64; 2],
    /// Before, with all of them, after they are answered, and after as many others.
    descriptors: [usize; 4],
    rss_kib: [u64; 4],
    /// Calls that ask nothing, in microseconds: before, and while all others wait.
    calm: Vec<f64>,
    beside: Vec<f64>,
    /// Gauges that are not where they were.
    pub(crate) left: Vec<String>,
    errors: Vec<String>,
}

impl ParkedFigure {
    #[allow(clippy::cast_precision_loss, reason = "sizes far below 2^52 KiB")]
    pub(crate) fn kib_each(&self) -> f64 {
        let [before, with_all, ..] = self.rss_kib;
        with_all.saturating_sub(before) as f64 / self.calls as f64
    }

    pub(crate) fn failures(&self) -> u64 {
        let unanswered = self.calls.saturating_sub(self.answered);
        (unanswered + self.left.len() + self.errors.len()) as u64
    }
}

/// A caller, and its calls that wait: tool, text and question.
struct Waiting {
    caller: Caller,
    calls: Vec<(String, String, Question)>,
}

pub(super) async fn run(run_files: &RunFiles, plan: &Plan) -> Result<ParkedFigure, String> {
    procfs::raise_descriptors(4 * PARKED as u64);
    let shape = Shape {
        speaks: UpstreamEras::Legacy,
        watched: true,
        parks: true,
        ..plan.shape.clone()
    };
    let setup = Setup::start(run_files, shape, &[Kind::Weir]).await?;
    let calls = if plan.quick { PARKED / 16 } else { PARKED };
    let figure = measure(&setup.subjects[0], plan, calls).await;
    setup.stop().await;
    figure
}

async fn measure(subject: &Subject, plan: &Plan, calls: usize) -> Result<ParkedFigure, String> {
    let pid = subject.pid().ok_or("nothing to measure")?;
    let rest = async || {
        sleep(SETTLE).await;
        (procfs::memory(pid).rss_kib, procfs::descriptors(pid))
    };
    answer(park(subject, OTHERS, WARM_UP).await?).await?;
    let calm = page::calls(subject, plan).await?;
    let before = rest().await;
    let (began, cpu) = (Instant::now(), procfs::cpu(pid));
    let waiting = park(subject, ASKABLE, calls).await?;
    let asking = (began.elapsed(), procfs::cpu(pid) - cpu);
    let with_all = rest().await;
    let parked = subject.gauges().await?.get("weir_parked_calls").copied();
    let mut errors = Vec::new();
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let number = calls as f64;
    if parked != Some(number) {
        errors.push(format!(
            "weir_parked_calls is {parked:?} with {calls} of them"
        ));
    }
    let beside = page::calls(subject, plan).await?;
    let (began, cpu) = (Instant::now(), procfs::cpu(pid));
    let answered = answer(waiting).await?;
    let answering = (began.elapsed(), procfs::cpu(pid) - cpu);
    let mut left = gone(subject).await?;
    let after = rest().await;
    answer(park(subject, ASKABLE, calls).await?).await?;
    left.extend(gone(subject).await?);
    let again = rest().await;
    let each = [before, with_all, after, again];
    let per_call = |cpu: Duration| cpu.as_secs_f64() * 1e6 / number;
    Ok(ParkedFigure {
        calls,
        answered,
        asking_ms: asking.0.as_secs_f64() * 1e3,
        answering_ms: answering.0.as_secs_f64() * 1e3,
        cpu_us: [asking.1, answering.1].map(per_call),
        descriptors: each.map(|(_, descriptors)| descriptors),
        rss_kib: each.map(|(rss, _)| rss),
        calm,
        beside,
        left,
        errors,
    })
}

/// Makes calls of modern callers until so many wait for an answer.
async fn park(
    subject: &Subject,
    capabilities: &'static str,
    count: usize,
) -> Result<Vec<Waiting>, String> {
    let target = &subject.targets[0];
    report::progress(&format!("{count} calls that wait for their callers"));
    let callers = (0..CALLERS).map(|number| async move {
        let caller = Caller::new(target.address, Era::Modern);
        let mut waiting = Waiting {
            caller: caller.with_capabilities(capabilities),
            calls: Vec::new(),
        };
        for call in (number..count).step_by(CALLERS) {
            // Both upstreams in turn.
            let turn = call / CALLERS % target.tools.len();
            let tool = target.tools[turn].replace(ECHO, ASK);
            let text = measure::text(number, call, measure::TEXT_BYTES);
            let (_, question) = waiting.caller.ask(&tool, &text).await?;
            waiting.calls.push((tool, text, question));
        }
        Ok::<_, String>(waiting)
    });
    try_join_all(callers).await
}

/// Answers all calls that wait; gives their number.
async fn answer(waiting: Vec<Waiting>) -> Result<usize, String> {
    let callers = waiting.into_iter().map(|mut waiting| async move {
        for (tool, text, question) in &waiting.calls {
            waiting.caller.answer(tool, text, question).await?;
        }
        Ok::<_, String>(waiting.calls.len())
    });
    Ok(try_join_all(callers).await?.into_iter().sum())
}

/// Waits until no call is left; gives the gauges that say otherwise.
async fn gone(subject: &Subject) -> Result<Vec<String>, String> {
    let since = Instant::now();
    loop {
        let gauges = subject.gauges().await?;
        let counted = [
            "weir_parked_calls",
            "weir_calls_in_flight",
            "weir_calls_queued",
        ];
        let left: Vec<String> = counted
            .into_iter()
            .map(|name| (name, gauges.get(name).copied().unwrap_or(f64::NAN)))
            .filter(|(_, value)| *value != 0.0)
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        if left.is_empty() || since.elapsed() > LIMIT {
            return Ok(left);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

pub(super) fn print(figures: &[ParkedFigure]) {
    let mut table = report::table(&["calls that wait for their callers", ""]);
    for figure in figures {
        let beside = [50, 99].map(|percent| {
            let times = [&figure.calm, &figure.beside].map(|times| at(times, percent));
            let ratio = number(times[1] / times[0], 2);
            format!("{} / {} ({ratio} ×)", time(times[0]), time(times[1]))
        });
        let [asking, answering] = figure.cpu_us.map(time);
        let rss = figure.rss_kib.map(mebibytes).join(" / ");
        let descriptors = figure.descriptors.map(|count| count.to_string());
        let [p50, p99] = beside;
        let rows = [
            ("calls", figure.calls.to_string()),
            (
                "memory of each",
                format!("{} KiB", number(figure.kib_each(), 1)),
            ),
            ("all wait after", time(figure.asking_ms * 1e3)),
            ("all are answered after", time(figure.answering_ms * 1e3)),
            (
                "CPU of weir for each: until it waits / from its answer on",
                format!("{asking} / {answering}"),
            ),
            (
                "descriptors: before / with all / answered / after as many again",
                descriptors.join(" / "),
            ),
            (
                "RSS MiB: before / with all / answered / after as many again",
                rss,
            ),
            ("other calls, p50: before / beside", p50),
            ("other calls, p99: before / beside", p99),
            ("answered", figure.answered.to_string()),
            ("not back to where it was", figure.left.join(", ")),
        ];
        for (what, measured) in rows {
            report::row(&mut table, vec![what.to_owned(), measured]);
        }
    }
    say(&format!("\n{table}"));
    for error in figures.iter().flat_map(|figure| &figure.errors) {
        say(&format!("  {error}"));
    }
}
