//! Thousands of idle streams: what each weighs, how long it takes to tell all of them of a change, and what
//! is left when they are gone.
//!
//! A session here is what an idle client keeps: a GET stream in a legacy session, or a `subscriptions/listen`.
//! Each has a connection of its own and no other.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::caller::{Caller, Era};
use crate::http1::Connection;
use crate::parts::{Plan, Results};
use crate::procfs;
use crate::report;
use crate::setup::{Kind, RunFiles, Setup, Shape, Subject, local};
use crate::sse::EventStream;

/// Streams of each era.
const STREAMS: usize = 2_000;
/// Opened and left before anything is measured, so that what is made once is there.
const WARM_UP: usize = 100;
/// The time for which weir is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(1);
/// The time that all of them may take to be told, and to be gone.
const LIMIT: Duration = Duration::from_secs(30);

/// The cost of idle streams, and what they leave behind.
#[derive(Serialize)]
pub(crate) struct StreamsFigure {
    /// Of each era.
    pub(crate) streams: usize,
    pub(crate) legacy_kib: f64,
    pub(crate) modern_kib: f64,
    /// Of both eras, that a change reached.
    pub(crate) told: usize,
    /// From the upstream's word to the middle one and the last one told.
    pub(crate) half_told_ms: f64,
    pub(crate) all_told_ms: f64,
    /// CPU of weir for telling all of them once.
    pub(crate) telling_cpu_ms: f64,
    pub(crate) descriptors: [usize; 3],
    /// Before, with all of them, after they left, and after as many others came and left.
    pub(crate) rss_kib: [u64; 4],
    /// Gauges that are not where they were.
    pub(crate) left: Vec<String>,
    pub(crate) errors: Vec<String>,
}

impl StreamsFigure {
    pub(crate) fn failures(&self) -> u64 {
        let untold = (2 * self.streams).saturating_sub(self.told);
        (untold + self.left.len() + self.errors.len()) as u64
    }

    /// One in the middle between the eras.
    pub(crate) fn kib_each(&self) -> f64 {
        f64::midpoint(self.legacy_kib, self.modern_kib)
    }
}

/// Streams that are open, and the legacy sessions they belong to.
struct OpenStreams {
    streams: Vec<EventStream>,
    sessions: Vec<String>,
}

pub(crate) async fn run(
    run_files: &RunFiles,
    plan: &Plan,
    results: &mut Results,
) -> Result<(), String> {
    if !plan.kinds.contains(&Kind::Weir) {
        return Ok(());
    }
    procfs::raise_descriptors(4 * STREAMS as u64);
    let shape = Shape {
        watched: true,
        ..plan.shape.clone()
    };
    let setup = Setup::start(run_files, shape, &[Kind::Weir]).await?;
    let streams = if plan.quick { STREAMS / 10 } else { STREAMS };
    for subject in &setup.subjects {
        let figure = measure(&setup, subject, streams).await?;
        results.streams.push(figure);
    }
    report::streams(&results.streams);
    setup.stop().await;
    Ok(())
}

async fn measure(setup: &Setup, subject: &Subject, count: usize) -> Result<StreamsFigure, String> {
    let pid = subject.pid().ok_or("nothing to measure")?;
    let rss = async || {
        sleep(SETTLE).await;
        procfs::memory(pid).rss_kib
    };
    let warm = open(subject, Era::Legacy, WARM_UP).await?;
    leave(subject, warm).await?;
    leave(subject, open(subject, Era::Modern, WARM_UP).await?).await?;
    let _ = gone(subject, pid, 0).await?;
    let (before, few) = (rss().await, procfs::descriptors(pid));
    let mut legacy = open(subject, Era::Legacy, count).await?;
    let with_legacy = rss().await;
    let mut modern = open(subject, Era::Modern, count).await?;
    let with_both = rss().await;
    let many = procfs::descriptors(pid);
    let cpu = procfs::cpu(pid);
    let mut told = tell(setup, &mut legacy, &mut modern).await?;
    let telling = procfs::cpu(pid) - cpu;
    leave(subject, legacy).await?;
    leave(subject, modern).await?;
    let _ = gone(subject, pid, few).await?;
    let after = rss().await;
    for era in [Era::Legacy, Era::Modern] {
        leave(subject, open(subject, era, count).await?).await?;
    }
    let left = gone(subject, pid, few).await?;
    let again = rss().await;
    told.times.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss, reason = "sizes far below 2^52 KiB")]
    let each = |from: u64, to: u64| to.saturating_sub(from) as f64 / count as f64;
    Ok(StreamsFigure {
        streams: count,
        legacy_kib: each(before, with_legacy),
        modern_kib: each(with_legacy, with_both),
        told: told.times.len(),
        half_told_ms: told
            .times
            .get(told.times.len() / 2)
            .copied()
            .unwrap_or(f64::NAN),
        all_told_ms: told.times.last().copied().unwrap_or(f64::NAN),
        telling_cpu_ms: telling.as_secs_f64() * 1e3,
        descriptors: [few, many, procfs::descriptors(pid)],
        rss_kib: [before, with_both, after, again],
        left,
        errors: told.errors,
    })
}

async fn open(subject: &Subject, era: Era, count: usize) -> Result<OpenStreams, String> {
    let mut held = OpenStreams {
        streams: Vec::with_capacity(count),
        sessions: Vec::new(),
    };
    let mut caller = Caller::new(subject.targets[0].address, era);
    for number in 0..count {
        if era == Era::Legacy {
            caller.open().await?;
        }
        let mut stream = caller.notifications().await?;
        if era == Era::Modern {
            let first = timeout(LIMIT, stream.next()).await;
            first.map_err(|_| "no acknowledgement")??;
        }
        held.streams.push(stream);
        held.sessions.extend(caller.leave());
        if number % 100 == 0 {
            report::progress(&format!("{number} streams"));
        }
    }
    Ok(held)
}

/// Ends sessions and closes streams.
async fn leave(subject: &Subject, held: OpenStreams) -> Result<(), String> {
    let mut caller = Caller::new(subject.targets[0].address, Era::Legacy);
    drop(held.streams);
    for session in held.sessions {
        caller.enter(session);
        caller.close().await?;
    }
    Ok(())
}

/// Waits until nothing of the streams is left; gives the gauges that say otherwise.
async fn gone(subject: &Subject, pid: u32, few: usize) -> Result<Vec<String>, String> {
    let since = Instant::now();
    loop {
        let gauges = subject.gauges().await?;
        let counted = [
            "weir_legacy_sessions",
            "weir_get_streams",
            "weir_listen_streams",
        ];
        let mut left: Vec<String> = counted
            .into_iter()
            .filter_map(|name| Some((name, *gauges.get(name)?)))
            .filter(|(_, value)| *value != 0.0)
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        let open = procfs::descriptors(pid);
        if few > 0 && open > few {
            left.push(format!("{open} descriptors, {few} before"));
        }
        if left.is_empty() || since.elapsed() > LIMIT {
            return Ok(left);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

struct Notified {
    /// Milliseconds.
    times: Vec<f64>,
    errors: Vec<String>,
}

/// Changes an upstream's tools and waits until every stream has said so.
async fn tell(
    setup: &Setup,
    legacy: &mut OpenStreams,
    modern: &mut OpenStreams,
) -> Result<Notified, String> {
    let streams = legacy.streams.drain(..).chain(modern.streams.drain(..));
    let mut listening: JoinSet<_> = streams
        .map(|mut stream| async move {
            let told = timeout(LIMIT, hear(&mut stream)).await;
            let told = told.unwrap_or_else(|_| Err("a stream was told nothing".into()));
            (told.map(|()| Instant::now()), stream)
        })
        .fold(JoinSet::new(), |mut set, task| {
            set.spawn_local(task);
            set
        });
    // Until all of them wait.
    sleep(Duration::from_millis(300)).await;
    let port = setup.ports[0];
    let request = format!(
        "POST /admin/toggle HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: 0\r\n\r\n"
    );
    let began = Instant::now();
    let mut control = Connection::new(local(port));
    control.exchange(request.as_bytes(), None).await?;
    let mut told = Notified {
        times: Vec::new(),
        errors: Vec::new(),
    };
    while let Some(heard) = listening.join_next().await {
        let (heard, stream) = heard.map_err(|error| error.to_string())?;
        match heard {
            Ok(at) => told.times.push((at - began).as_secs_f64() * 1e3),
            Err(error) => told.errors.push(error),
        }
        legacy.streams.push(stream);
    }
    Ok(told)
}

async fn hear(stream: &mut EventStream) -> Result<(), String> {
    loop {
        let message: Value = serde_json::from_slice(&stream.next().await?).unwrap_or_default();
        if message["method"] == "notifications/tools/list_changed" {
            return Ok(());
        }
    }
}
