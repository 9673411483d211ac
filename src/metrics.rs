//! What weir counts, and how Prometheus reads it. Every name is in [`names`].
//!
//! A call costs a look-up in its upstream's table of series and a few atomic additions: no label is put together, nothing is
//! allocated. What is a state rather than an event (places taken, ages, counts) is not kept here at all; whoever asks
//! for the metrics brings it along ([`Observed`]).
//!
//! Labels come from the config and from the catalog, never from a caller. A tool gets series of its own when it is first called;
//! there are at most [`TOOLS`] of them in the process, and what comes later is counted as the tool `other`.

mod counter;
pub mod names;
mod observed;
mod process;
mod series;
mod text;

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use http::StatusCode;

use crate::metrics::counter::Counter;
use crate::name::UpstreamId;
use crate::protocol::error::{Blame, Fault};

pub use observed::{Observed, ObservedCredentials, ObservedReloads, ObservedUpstream};
pub(crate) use series::Series;
pub use series::{Ending, UpstreamMetrics};
pub use text::MetricsFormat;

/// Most tools that have series of their own. One takes up to 15 lines of an answer, so this is some 700 KiB at most.
pub const TOOLS: usize = 500;

/// The counters of one weir. Made once, handed down.
#[derive(Debug)]
pub struct Metrics {
    /// How many more tools get series of their own.
    tools_left: Arc<AtomicUsize>,
    /// In the order of [`BLAMES`].
    errors: [Counter; 3],
    /// Weir stops, and requests under way have had their time.
    gave_up: AtomicBool,
    upstreams: Mutex<Vec<Arc<UpstreamMetrics>>>,
    observed_gauges: Mutex<Vec<ObservedGauge>>,
    /// Legacy GET streams that are open.
    pub get_streams: Gauge,
    /// Modern `subscriptions/listen` streams that are open.
    pub listen_streams: Gauge,
    publications: Counter,
    /// By HTTP status, from 100 on.
    responses: Box<[Counter]>,
    started: SystemTime,
}

const BLAMES: [(Blame, &str); 3] = [
    (Blame::Caller, "caller"),
    (Blame::Upstream, "upstream"),
    (Blame::Weir, "weir"),
];

/// A gauge that somebody else knows the value of.
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

/// One more on a [`Gauge`], until it is dropped.
#[derive(Debug)]
pub struct GaugeIncrement(Gauge);

impl Gauge {
    /// One more, for as long as the answer lives.
    #[must_use]
    pub fn hold(&self) -> GaugeIncrement {
        self.0.fetch_add(1, Ordering::Relaxed);
        GaugeIncrement(self.clone())
    }

    fn value(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for GaugeIncrement {
    fn drop(&mut self) {
        let Self(Gauge(count)) = self;
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            tools_left: Arc::new(AtomicUsize::new(TOOLS)),
            errors: Default::default(),
            gave_up: AtomicBool::new(false),
            upstreams: Mutex::default(),
            observed_gauges: Mutex::default(),
            get_streams: Gauge::default(),
            listen_streams: Gauge::default(),
            publications: Counter::default(),
            responses: (100..600).map(|_| Counter::default()).collect(),
            started: SystemTime::now(),
        })
    }

    /// The counters of one upstream; the same ones for the same name.
    #[must_use]
    pub fn upstream(&self, id: &UpstreamId) -> Arc<UpstreamMetrics> {
        let mut upstreams = lock(&self.upstreams);
        if let Some(known) = upstreams.iter().find(|known| known.id() == id) {
            return Arc::clone(known);
        }
        let new = Arc::new(UpstreamMetrics::new(
            id.clone(),
            Arc::clone(&self.tools_left),
        ));
        upstreams.push(Arc::clone(&new));
        new
    }

    /// From now on `family`, a gauge without labels, is what `value` says whenever somebody asks. Say it once for a family;
    /// `value` must not wait.
    pub fn observe(
        &self,
        family: &'static names::MetricFamily,
        value: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let value = Box::new(value);
        lock(&self.observed_gauges).push(ObservedGauge { family, value });
    }

    /// Notes that weir stops and gives up the requests under way: those that have no ending yet were not cancelled by
    /// their callers.
    pub fn give_up(&self) {
        self.gave_up.store(true, Ordering::Relaxed);
    }

    /// Returns whether weir gave up the requests under way.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.gave_up.load(Ordering::Relaxed)
    }

    /// Counts a request that is answered with an error of weir's own.
    pub fn refused(&self, fault: &Fault) {
        for ((blame, _), counter) in BLAMES.iter().zip(&self.errors) {
            if *blame == fault.blame() {
                counter.add(1);
            }
        }
    }

    /// The MCP endpoint answers over HTTP.
    pub fn responded(&self, status: StatusCode) {
        let counter = self.responses.get(usize::from(status.as_u16()) - 100);
        if let Some(counter) = counter {
            counter.add(1);
        }
    }

    /// A snapshot takes the place of another.
    pub fn published(&self) {
        self.publications.add(1);
    }
}

/// Returns the word for a blame in metrics and in the log.
pub(crate) fn blame_text(blame: Blame) -> &'static str {
    match blame {
        Blame::Caller => "caller",
        Blame::Upstream => "upstream",
        Blame::Weir => "weir",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

#[cfg(test)]
mod tests;
