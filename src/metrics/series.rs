//! Counters of requests that went to an upstream: by upstream, method and tool, and by how long they took.

use foldhash::HashMap;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::metrics::asks::{AskCounters, AskOutcome};
use crate::metrics::blame::BLAMES;
use crate::metrics::counter::Counter;
use crate::metrics::exemplar::Exemplars;
use crate::metrics::last_error::LastError;
use crate::name::UpstreamId;
use crate::protocol::error::Blame;
use crate::telemetry::{SpanContext, Tracer};

/// Upper bounds of the durations, in seconds: a factor of two or two and a half between two, so that the 95th and the 99th
/// percentile can be told. Each one is a line for every tool.
pub(super) const BOUNDS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Upper bounds of the time that weir adds, in seconds: from 25 µs on.
pub(super) const ADDED_BOUNDS: [f64; 12] = [
    0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5,
];

/// The tool that all count as that have no series of their own.
pub(super) const OTHER: &str = "other";

/// The way a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a result.
    Ok,
    /// With an error of the upstream's own.
    Error,
    /// With an error of weir's own.
    Failed,
    /// Without an answer: the caller cancelled it, or left.
    Cancelled,
}

impl Ending {
    pub(super) const ALL: [Self; 4] = [Self::Ok, Self::Error, Self::Failed, Self::Cancelled];

    /// Returns the word for it in metrics and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The counters of one method or tool.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// In the order of [`Ending::ALL`].
    pub(super) endings: [Counter; 4],
    /// Each call in one of them: up to each of [`BOUNDS`], and above.
    pub(super) buckets: [Counter; BOUNDS.len() + 1],
    pub(super) nanoseconds: Counter,
    /// Of the calls that were answered: up to each of [`ADDED_BOUNDS`], and above.
    pub(super) added_buckets: [Counter; ADDED_BOUNDS.len() + 1],
    pub(super) added_nanoseconds: Counter,
    pub(super) exemplars: Exemplars<{ BOUNDS.len() + 1 }>,
    pub(super) added_exemplars: Exemplars<{ ADDED_BOUNDS.len() + 1 }>,
    /// Calls that did not end well, in the order of [`BLAMES`].
    pub(super) blames: [Counter; BLAMES.len()],
    last_error: Mutex<Option<Box<LastError>>>,
}

impl Series {
    /// Counts a request that is over.
    pub(crate) fn record(&self, ending: Ending, took: Duration) {
        observe(took, &BOUNDS, &self.buckets, &self.nanoseconds);
        for (known, counter) in Ending::ALL.iter().zip(&self.endings) {
            if *known == ending {
                counter.add(1);
            }
        }
    }

    /// Counts the time that weir added to a request that was answered.
    pub(crate) fn record_added(&self, added: Duration) {
        let buckets = &self.added_buckets;
        observe(added, &ADDED_BOUNDS, buckets, &self.added_nanoseconds);
    }

    /// Keeps the recorded trace of a request that was counted, as an example of what takes so long.
    pub(crate) fn note_trace(&self, trace: &SpanContext, took: Duration, added: Option<Duration>) {
        self.exemplars.keep(bucket_of(took, &BOUNDS), took, trace);
        if let Some(added) = added {
            let bucket = bucket_of(added, &ADDED_BOUNDS);
            self.added_exemplars.keep(bucket, added, trace);
        }
    }

    /// Counts a request that did not end well, by who has to act.
    pub(crate) fn record_blame(&self, blame: Blame) {
        for ((known, _), counter) in BLAMES.iter().zip(&self.blames) {
            if *known == blame {
                counter.add(1);
            }
        }
    }
}

impl Series {
    /// Keeps the error with which a request ended, in place of the one before.
    pub(crate) fn note_error(&self, error: LastError) {
        *self.last_error.lock() = Some(Box::new(error));
    }

    /// Returns the error that was kept last.
    pub(super) fn last_error(&self) -> Option<LastError> {
        self.last_error.lock().as_deref().cloned()
    }
}

/// Counts a duration in a histogram.
fn observe(took: Duration, bounds: &[f64], buckets: &[Counter], nanoseconds: &Counter) {
    if let Some(counter) = buckets.get(bucket_of(took, bounds)) {
        counter.add(1);
    }
    nanoseconds.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
}

/// Returns the place of a duration's bucket among those of a histogram.
fn bucket_of(took: Duration, bounds: &[f64]) -> usize {
    let seconds = took.as_secs_f64();
    bounds.iter().filter(|bound| seconds > **bound).count()
}

/// The labels of a finding: the part of a call (`arguments`, `results`), what was found, and what
/// became of it.
pub(super) type FindingLabels = [&'static str; 3];

/// The counters of one upstream.
#[derive(Debug)]
pub struct UpstreamMetrics {
    id: UpstreamId,
    /// How many more tools get series of their own, of all upstreams.
    tools_left: Arc<AtomicUsize>,
    tracer: Arc<Tracer>,
    pub(super) tools: RwLock<HashMap<Box<str>, Arc<Series>>>,
    /// Tools that got no series of their own.
    pub(super) others: Arc<Series>,
    /// Methods that call no tool. A handful.
    pub(super) methods: RwLock<Vec<(&'static str, Arc<Series>)>>,
    /// The findings of checks of data, by part, kind and consequence. A handful.
    pub(super) findings: RwLock<Vec<(FindingLabels, Arc<Counter>)>>,
    /// The ends of questions to callers of the other era.
    asks: AskCounters,
    pub(super) listed: Counter,
    pub(super) failed: Counter,
}

impl UpstreamMetrics {
    pub(super) fn new(id: UpstreamId, tools_left: Arc<AtomicUsize>, tracer: Arc<Tracer>) -> Self {
        Self {
            id,
            tools_left,
            tracer,
            tools: RwLock::default(),
            others: Arc::default(),
            methods: RwLock::default(),
            findings: RwLock::default(),
            asks: AskCounters::default(),
            listed: Counter::default(),
            failed: Counter::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &UpstreamId {
        &self.id
    }

    /// Returns where spans go.
    #[must_use]
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Returns the counters of a method; of the tool, where `tool` is the exposed name of one that there is.
    #[must_use]
    pub(crate) fn series(&self, method: &'static str, tool: Option<&str>) -> Arc<Series> {
        match tool {
            Some(tool) => self.tool(tool),
            None => self.method(method),
        }
    }

    /// A listing ended, well or not.
    pub fn resynced(&self, well: bool) {
        if well { &self.listed } else { &self.failed }.add(1);
    }

    /// Counts questions to callers of the other era of which the same became.
    pub fn count_asks(&self, outcome: AskOutcome, count: usize) {
        self.asks.add(outcome, count);
    }

    /// Returns how many such questions there were, by the word for what became of them.
    #[must_use]
    pub fn ask_counts(&self) -> [(&'static str, u64); 4] {
        self.asks.values()
    }

    /// Counts what a check of data found.
    pub fn found(&self, part: &'static str, kind: &'static str, consequence: &'static str) {
        let labels = [part, kind, consequence];
        let find = |known: &[(FindingLabels, Arc<Counter>)]| {
            let found = known.iter().find(|(known, _)| *known == labels);
            found.map(|(_, counter)| Arc::clone(counter))
        };
        let known = find(&self.findings.read());
        let counter = known.unwrap_or_else(|| {
            let mut findings = self.findings.write();
            find(&findings).unwrap_or_else(|| {
                let new = Arc::<Counter>::default();
                findings.push((labels, Arc::clone(&new)));
                new
            })
        });
        counter.add(1);
    }

    fn tool(&self, tool: &str) -> Arc<Series> {
        if tool == OTHER {
            return Arc::clone(&self.others);
        }
        let known = self.tools.read();
        if let Some(series) = known.get(tool) {
            return Arc::clone(series);
        }
        drop(known);
        let mut known = self.tools.write();
        if let Some(series) = known.get(tool) {
            return Arc::clone(series);
        }
        let left = &self.tools_left;
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        if taken.is_err() {
            return Arc::clone(&self.others);
        }
        Arc::clone(known.entry(tool.into()).or_default())
    }

    fn method(&self, method: &'static str) -> Arc<Series> {
        let find = |known: &[(&'static str, Arc<Series>)]| {
            let found = known.iter().find(|(name, _)| *name == method);
            found.map(|(_, series)| Arc::clone(series))
        };
        let known = self.methods.read();
        if let Some(series) = find(&known) {
            return series;
        }
        drop(known);
        let mut known = self.methods.write();
        find(&known).unwrap_or_else(|| {
            let new = Arc::<Series>::default();
            known.push((method, Arc::clone(&new)));
            new
        })
    }
}
