//! Calls: counted by upstream, method and tool, timed, and told to the log when they are over.

use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use foldhash::HashMap;

use crate::metrics::{Counter, Shared, blame_text};
use crate::name::UpstreamId;
use crate::protocol::error::{Blame, Fault};
use crate::protocol::trace::Trace;

/// Upper bounds of the histograms, in seconds: a factor of about five between two. Each one is a line for every tool; finer ones
/// would tell little about an upstream, whose own metrics are better.
pub(super) const BOUNDS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];

/// The tool that all count as that have no series of their own.
pub(super) const OTHER: &str = "other";

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a result.
    Ok,
    /// With an error of the upstream's own.
    Error,
    /// Without an answer that can be used.
    Failed,
    /// The caller took it back, or left.
    Cancelled,
}

impl Ending {
    pub(super) const ALL: [Self; 4] = [Self::Ok, Self::Error, Self::Failed, Self::Cancelled];

    /// The word for it.
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
pub(super) struct Series {
    /// In the order of [`Ending::ALL`].
    pub(super) endings: [Counter; 4],
    /// Each call in one of them: up to each of [`BOUNDS`], and above.
    pub(super) buckets: [Counter; BOUNDS.len() + 1],
    pub(super) nanoseconds: Counter,
}

impl Series {
    fn record(&self, ending: Ending, took: std::time::Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().filter(|bound| seconds > **bound).count();
        if let Some(counter) = self.buckets.get(bucket) {
            counter.add(1);
        }
        self.nanoseconds
            .add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        for (known, counter) in Ending::ALL.iter().zip(&self.endings) {
            if *known == ending {
                counter.add(1);
            }
        }
    }
}

/// The counters of one upstream.
#[derive(Debug)]
pub struct Upstream {
    id: UpstreamId,
    shared: Arc<Shared>,
    pub(super) tools: RwLock<HashMap<Box<str>, Arc<Series>>>,
    /// Tools that got no series of their own.
    pub(super) others: Arc<Series>,
    /// Whatever is no tool. A handful.
    pub(super) methods: RwLock<Vec<(&'static str, Arc<Series>)>>,
    pub(super) listed: Counter,
    pub(super) failed: Counter,
}

impl Upstream {
    pub(super) fn new(id: UpstreamId, shared: Arc<Shared>) -> Self {
        Self {
            id,
            shared,
            tools: RwLock::default(),
            others: Arc::default(),
            methods: RwLock::default(),
            listed: Counter::default(),
            failed: Counter::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &UpstreamId {
        &self.id
    }

    /// A request for this upstream begins. `tool` is the exposed name of a tool that there is.
    #[must_use]
    pub fn call(
        self: &Arc<Self>,
        method: &'static str,
        tool: Option<&str>,
        trace: &Trace,
    ) -> Measured {
        let series = match tool {
            Some(tool) => self.tool(tool),
            None => self.method(method),
        };
        let told = tracing::enabled!(target: "weir::calls", tracing::Level::DEBUG).then(|| Told {
            method,
            tool: tool.map(Box::from),
        });
        Measured {
            upstream: Arc::clone(self),
            series,
            started: Instant::now(),
            ending: Ending::Cancelled,
            blame: None,
            trace: trace.clone(),
            told,
        }
    }

    /// A listing ended, well or not.
    pub fn resynced(&self, well: bool) {
        if well { &self.listed } else { &self.failed }.add(1);
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
        let left = &self.shared.tools_left;
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

/// A call under way. Dropped, it is recorded as what was last said of it; if nothing was said, the caller has left.
#[derive(Debug)]
pub struct Measured {
    upstream: Arc<Upstream>,
    series: Arc<Series>,
    started: Instant,
    ending: Ending,
    blame: Option<Blame>,
    trace: Trace,
    /// Only where the log wants it.
    told: Option<Told>,
}

#[derive(Debug)]
struct Told {
    method: &'static str,
    tool: Option<Box<str>>,
}

impl Measured {
    /// What the request is called.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.trace.request_id()
    }

    /// The upstream has answered, with a result or with an error of its own.
    pub fn answered(&mut self, ending: Ending) {
        self.ending = ending;
    }

    /// Who has to act on an error that was not weir's.
    pub fn blame(&mut self, blame: Blame) {
        self.blame = Some(blame);
    }

    /// The call failed.
    pub fn failed(&mut self, fault: &Fault) {
        self.ending = Ending::Failed;
        self.blame = Some(fault.blame());
    }

    /// The call failed after it was begun to be answered, so that nobody else counts the error.
    pub fn failed_late(&mut self, fault: &Fault) {
        self.failed(fault);
        self.upstream.shared.refused(fault);
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.series.record(self.ending, took);
        let Some(told) = &self.told else { return };
        tracing::debug!(
            target: "weir::calls",
            upstream = %self.upstream.id,
            method = told.method,
            tool = told.tool.as_deref(),
            outcome = self.ending.as_str(),
            blame = self.blame.map(blame_text),
            ms = took.as_secs_f64() * 1000.0,
            request_id = self.trace.request_id(),
            trace_id = self.trace.trace_id(),
            "call"
        );
    }
}
