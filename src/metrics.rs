//! The metrics of weir, in the formats that Prometheus reads. Every name is in [`names`].
//!
//! A call costs a look-up in its upstream's table of series and a few atomic additions: no label is
//! built, nothing is allocated. States (slots in use, ages, counts) are not kept here: the request for
//! the metrics brings them along ([`Observed`]).
//!
//! Labels come from the config and from the catalog, never from a caller. A tool gets its own series
//! when it is first called, at most [`TOOLS`] in the process; later ones are counted as the tool `other`.

mod asks;
mod blame;
mod callers;
mod counter;
mod data;
mod exemplar;
mod figures;
mod guarded;
mod hooks;
mod last_error;
mod limited;
pub mod names;
mod observed;
mod process;
mod series;
mod text;
mod writer;

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use http::StatusCode;

use crate::caller::Caller;
use crate::metrics::blame::BLAMES;
use crate::metrics::callers::CallerCounters;
use crate::metrics::counter::{Counter, GuardCounter};
use crate::name::UpstreamId;
use crate::protocol::error::{Blame, Fault};
use crate::telemetry::Tracer;

pub use asks::AskOutcome;
pub(crate) use blame::blame_text;
pub(crate) use callers::caller_label;
pub use figures::{CallCounts, CallKey, last_errors};
pub use hooks::HookMetrics;
pub use last_error::LastError;
pub use limited::LimitCounter;
pub use observed::{Observed, ObservedCredentials, ObservedReloads, ObservedUpstream};
pub use process::ProcessMemory;
pub(crate) use series::Series;
pub use series::{Ending, UpstreamMetrics};
pub use text::MetricsFormat;

/// Most tools with their own series. One takes up to 40 lines of an answer: some 2 MiB in total.
pub const TOOLS: usize = 500;

/// The metrics of one weir. Created once, and passed on.
#[derive(Debug)]
pub struct Metrics {
    /// How many more tools get series of their own.
    tools_left: Arc<AtomicUsize>,
    /// In the order of [`BLAMES`].
    errors: [Counter; 3],
    /// In the order of [`DECISIONS`].
    decisions: [Counter; 3],
    /// In the order of [`REFUSALS`].
    refusals: [Counter; 5],
    /// In the order of [`FORWARDED`].
    forwarded: [Counter; 4],
    /// In the order of [`RECEIVED`].
    received: [Counter; 3],
    /// Weir stops, and requests under way have had their time.
    gave_up: AtomicBool,
    upstreams: Mutex<Vec<Arc<UpstreamMetrics>>>,
    limited: Mutex<Vec<Arc<LimitCounter>>>,
    guarded: Mutex<Vec<Arc<GuardCounter>>>,
    callers: CallerCounters,
    hooks: Mutex<Vec<Arc<HookMetrics>>>,
    observed_gauges: Mutex<Vec<ObservedGauge>>,
    /// Open GET streams of legacy sessions.
    pub get_streams: Gauge,
    /// Open `subscriptions/listen` streams of modern callers.
    pub listen_streams: Gauge,
    publications: Counter,
    /// Answers by HTTP status, from 100 on.
    responses: Box<[Counter]>,
    started: SystemTime,
    /// Where spans go.
    tracer: Arc<Tracer>,
}

/// The words for decisions of policy, as records have them.
const DECISIONS: [&str; 3] = ["allow", "deny", "would_deny"];

/// Why the credential of a caller may be refused.
const REFUSALS: [&str; 5] = [
    "missing",
    "malformed",
    "invalid_token",
    "insufficient_scope",
    "unavailable",
];

/// The outcomes of a request that this replica forwards to another one.
const FORWARDED: [&str; 4] = ["answered", "absent", "busy", "large"];

/// The outcomes of a request that another replica forwards to this one.
const RECEIVED: [&str; 3] = ["taken", "misdirected", "refused"];

/// A gauge whose value is asked for at each scrape.
struct ObservedGauge {
    family: &'static names::MetricFamily,
    value: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl std::fmt::Debug for ObservedGauge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.family.name)
    }
}

/// How many of something there are now.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicUsize>);

/// Adds one to a [`Gauge`] until it is dropped.
#[derive(Debug)]
pub struct GaugeIncrement(Gauge);

impl Gauge {
    /// Adds one, for as long as the returned value lives.
    #[must_use]
    pub fn hold(&self) -> GaugeIncrement {
        self.0.fetch_add(1, Ordering::Relaxed);
        GaugeIncrement(self.clone())
    }

    fn value(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn count_word(words: &[&str], counters: &[Counter], word: &str) {
    let place = words.iter().position(|known| *known == word);
    if let Some(counter) = place.and_then(|place| counters.get(place)) {
        counter.add(1);
    }
}

impl Drop for GaugeIncrement {
    fn drop(&mut self) {
        let Self(Gauge(count)) = self;
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Creates metrics that start at zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            tools_left: Arc::new(AtomicUsize::new(TOOLS)),
            errors: Default::default(),
            decisions: Default::default(),
            refusals: Default::default(),
            forwarded: Default::default(),
            received: Default::default(),
            gave_up: AtomicBool::new(false),
            upstreams: Mutex::default(),
            limited: Mutex::default(),
            guarded: Mutex::default(),
            callers: CallerCounters::default(),
            hooks: Mutex::default(),
            observed_gauges: Mutex::default(),
            get_streams: Gauge::default(),
            listen_streams: Gauge::default(),
            publications: Counter::default(),
            responses: (100..600).map(|_| Counter::default()).collect(),
            started: SystemTime::now(),
            tracer: Arc::default(),
        })
    }

    /// Counts a decision of policy, by its word in records.
    pub fn count_decision(&self, word: &str) {
        count_word(&DECISIONS, &self.decisions, word);
    }

    /// Returns how many decisions of policy there were, by their words.
    #[must_use]
    pub fn decision_counts(&self) -> [(&'static str, u64); 3] {
        let counts = self.decisions.each_ref().map(Counter::value);
        let mut words = DECISIONS.into_iter();
        counts.map(|count| (words.next().unwrap_or_default(), count))
    }

    /// Counts a caller that was not let in, by the word for the reason.
    pub fn count_refusal(&self, word: &str) {
        count_word(&REFUSALS, &self.refusals, word);
    }

    /// Counts a request that this replica forwarded to another one, by what became of it.
    pub fn count_forwarded(&self, word: &str) {
        count_word(&FORWARDED, &self.forwarded, word);
    }

    /// Counts a request that another replica forwarded to this one, by what became of it.
    pub fn count_received(&self, word: &str) {
        count_word(&RECEIVED, &self.received, word);
    }

    /// Returns the counters of one upstream; the same ones for the same name.
    #[must_use]
    pub fn upstream(&self, id: &UpstreamId) -> Arc<UpstreamMetrics> {
        let mut upstreams = lock(&self.upstreams);
        if let Some(known) = upstreams.iter().find(|known| known.id() == id) {
            return Arc::clone(known);
        }
        let new = Arc::new(UpstreamMetrics::new(
            id.clone(),
            Arc::clone(&self.tools_left),
            Arc::clone(&self.tracer),
        ));
        upstreams.push(Arc::clone(&new));
        new
    }

    /// Returns the counters of one hook; the same ones for the same name.
    #[must_use]
    pub fn hook(&self, name: &UpstreamId) -> Arc<HookMetrics> {
        let mut hooks = lock(&self.hooks);
        if let Some(known) = hooks.iter().find(|known| known.name() == name) {
            return Arc::clone(known);
        }
        let new = Arc::new(HookMetrics::new(name.clone()));
        hooks.push(Arc::clone(&new));
        new
    }

    /// Registers a gauge without labels, whose value is computed at each scrape. Call it once per family;
    /// `value` must not block.
    pub fn observe(
        &self,
        family: &'static names::MetricFamily,
        value: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let value = Box::new(value);
        lock(&self.observed_gauges).push(ObservedGauge { family, value });
    }

    /// Notes that weir stops and aborts the requests under way: those without an ending were not
    /// cancelled by their callers.
    pub fn give_up(&self) {
        self.gave_up.store(true, Ordering::Relaxed);
    }

    /// Returns whether weir aborted the requests under way.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.gave_up.load(Ordering::Relaxed)
    }

    /// Counts a request that weir answers with an error of its own.
    pub fn refused(&self, fault: &Fault) {
        for ((blame, _), counter) in BLAMES.iter().zip(&self.errors) {
            if *blame == fault.blame() {
                counter.add(1);
            }
        }
    }

    /// Counts an HTTP answer of the MCP endpoint.
    pub fn responded(&self, status: StatusCode) {
        let counter = self.responses.get(usize::from(status.as_u16()) - 100);
        if let Some(counter) = counter {
            counter.add(1);
        }
    }

    /// Counts a request that is over, by its caller.
    pub(crate) fn count_caller(&self, caller: &Caller, ending: Ending, blame: Option<Blame>) {
        self.callers.count(caller, ending, blame);
    }

    /// Returns where spans go.
    #[must_use]
    pub fn tracer(&self) -> &Arc<Tracer> {
        &self.tracer
    }

    /// Counts a snapshot that replaced another.
    pub fn published(&self) {
        self.publications.add(1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

#[cfg(test)]
mod tests;
