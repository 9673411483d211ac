//! `GET /calls`: how often each tool is called of late, how that ends, and how long it takes.
//!
//! Counters grow from the start of weir. What they were a minute ago is kept from look to look, so
//! that it costs nothing while nobody looks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use crate::admin::last_errors::LastErrorFigure;
use crate::admin::work::answer_with;
use crate::live::Live;
use crate::metrics::{CallCounts, CallKey, Ending, LastError};

/// The most rows of an answer.
const ROWS: usize = 100;
/// The time that the figures are about.
const WINDOW: Duration = Duration::from_secs(60);
/// Counts before that are too old to compare with.
const OLDEST: Duration = Duration::from_secs(5 * 60);
/// The least time between two looks that are kept.
const STEP: Duration = Duration::from_secs(20);
/// The most looks that are kept.
const LOOKS: usize = 5;

/// The counters as they stood at a time.
#[derive(Debug)]
struct Look {
    at: Instant,
    counts: BTreeMap<CallKey, CallCounts>,
}

/// The last looks at the counters.
#[derive(Debug)]
pub struct CallWindow {
    /// When counting began.
    started: Instant,
    looks: Mutex<VecDeque<Look>>,
}

/// The figures of calls of late.
#[derive(Clone, Debug, Serialize)]
pub struct CallFigures {
    /// The time that they are about: about a minute, or since weir started if nobody looked before.
    pub over_seconds: f64,
    /// All calls together.
    pub all: CallFigure,
    /// Tools and methods that were called, the most called first; at most 100.
    pub rows: Vec<CallFigure>,
    /// The number of those that are left out.
    pub more: usize,
}

/// The figures of one tool or method. Times are estimated from histograms; `null` without calls.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CallFigure {
    /// The upstream.
    pub upstream: String,
    /// The method.
    pub method: String,
    /// The exposed name of the tool; `null` for what is no tool. `other`: tools that are counted
    /// together.
    pub tool: Option<String>,
    /// The number of calls that ended.
    pub calls: u64,
    /// The number of them in a second.
    pub per_second: f64,
    /// Those that ended with an error of the upstream.
    pub errors: u64,
    /// Those that ended with an error of weir.
    pub failed: u64,
    /// Those that were cancelled.
    pub cancelled: u64,
    /// Errors of both kinds in a hundred calls.
    pub error_percent: f64,
    /// The milliseconds within which half of the calls were over.
    pub p50_ms: Option<f64>,
    /// 95 in a hundred.
    pub p95_ms: Option<f64>,
    /// 99 in a hundred.
    pub p99_ms: Option<f64>,
    /// The microseconds that weir added to half of the calls at most.
    pub added_p50_us: Option<f64>,
    /// To 95 in a hundred.
    pub added_p95_us: Option<f64>,
    /// To 99 in a hundred.
    pub added_p99_us: Option<f64>,
    /// The last error since weir started, however long ago; `null` if there was none.
    pub last_error: Option<LastErrorFigure>,
}

impl CallWindow {
    /// Makes one for counters that began at a time.
    #[must_use]
    pub fn new(started: Instant) -> Self {
        Self {
            started,
            looks: Mutex::default(),
        }
    }

    /// Looks at the counters, and compares with what they were a minute ago.
    #[must_use]
    pub fn figures(&self, live: &Live) -> CallFigures {
        let metrics = Arc::clone(&live.load().metrics);
        let mut figures = self.figures_at(Instant::now(), metrics.call_counts());
        figures.add_errors(&metrics.last_errors());
        figures
    }

    fn figures_at(&self, now: Instant, counts: BTreeMap<CallKey, CallCounts>) -> CallFigures {
        let mut looks = self.looks.lock();
        let age = |look: &Look| now.saturating_duration_since(look.at);
        looks.retain(|look| age(look) <= OLDEST);
        // Of those that are old enough only the newest is of use.
        while looks.get(1).is_some_and(|next| age(next) >= WINDOW) {
            looks.pop_front();
        }
        let base = looks.front();
        let since = base.map_or(self.started, |look| look.at);
        let over = now.saturating_duration_since(since);
        let figures = compare(&counts, base.map(|look| &look.counts), over);
        let is_due = looks.back().is_none_or(|last| age(last) >= STEP);
        if is_due && looks.len() < LOOKS {
            looks.push_back(Look { at: now, counts });
        }
        figures
    }
}

impl CallFigures {
    fn add_errors(&mut self, errors: &BTreeMap<CallKey, LastError>) {
        for row in &mut self.rows {
            let tool = row.tool.as_deref().unwrap_or_default();
            let key: CallKey = [&*row.upstream, &*row.method, tool].map(Box::from);
            row.last_error = errors.get(&key).map(LastErrorFigure::of);
        }
    }
}

fn compare(
    counts: &BTreeMap<CallKey, CallCounts>,
    before: Option<&BTreeMap<CallKey, CallCounts>>,
    over: Duration,
) -> CallFigures {
    let mut all = CallCounts::default();
    let mut rows = Vec::new();
    for (key, counts) in counts {
        let since = match before.and_then(|before| before.get(key)) {
            Some(before) => counts.since(before),
            None => counts.clone(),
        };
        if since.calls() > 0 {
            all.add(&since);
            rows.push((key, since));
        }
    }
    rows.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.calls()));
    let shown = rows.iter().take(ROWS);
    CallFigures {
        over_seconds: rounded(over.as_secs_f64(), 10.0),
        all: describe(&Default::default(), &all, over),
        rows: shown
            .map(|(key, counts)| describe(key, counts, over))
            .collect(),
        more: rows.len().saturating_sub(ROWS),
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "figures for people, of fewer calls than 2^52"
)]
fn describe(key: &CallKey, counts: &CallCounts, over: Duration) -> CallFigure {
    let [upstream, method, tool] = key.each_ref().map(ToString::to_string);
    let calls = counts.calls();
    let (errors, failed) = (counts.ended(Ending::Error), counts.ended(Ending::Failed));
    let millis = |part| Some(rounded(counts.quantile(part)? * 1e3, 10.0));
    let micros = |part| Some(rounded(counts.added_quantile(part)? * 1e6, 1.0));
    CallFigure {
        upstream,
        method,
        tool: Some(tool).filter(|tool| !tool.is_empty()),
        calls,
        per_second: rounded(calls as f64 / over.as_secs_f64().max(1.0), 100.0),
        errors,
        failed,
        cancelled: counts.ended(Ending::Cancelled),
        error_percent: rounded((errors + failed) as f64 * 100.0 / calls.max(1) as f64, 10.0),
        p50_ms: millis(0.5),
        p95_ms: millis(0.95),
        p99_ms: millis(0.99),
        added_p50_us: micros(0.5),
        added_p95_us: micros(0.95),
        added_p99_us: micros(0.99),
        last_error: None,
    }
}

/// Rounds to one part of `steps`.
fn rounded(number: f64, steps: f64) -> f64 {
    (number * steps).round() / steps
}

/// Answers `GET /calls` with [`CallFigures`].
pub(super) async fn calls(
    State(live): State<Arc<Live>>,
    State(window): State<Arc<CallWindow>>,
) -> Response {
    // Hundreds of counters are copied.
    answer_with(move || window.figures(&live)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::name::UpstreamId;

    #[test]
    fn figures_are_of_the_last_minute_if_somebody_looked_before() {
        let started = Instant::now();
        let (window, metrics) = (CallWindow::new(started), Metrics::new());
        let upstream = metrics.upstream(&UpstreamId::parse("up").unwrap());
        let call = || {
            let series = upstream.series("tools/call", Some("up__echo"));
            series.record(Ending::Ok, Duration::from_millis(2));
        };
        let look = |seconds: u64| {
            let now = started + Duration::from_secs(seconds);
            let figures = window.figures_at(now, metrics.call_counts());
            (figures.over_seconds, figures.all.calls)
        };
        (0..4).for_each(|_| call());
        assert_eq!(look(100), (100.0, 4));
        call();
        assert_eq!(look(110), (10.0, 1));
        assert_eq!(look(150), (50.0, 1));
        call();
        assert_eq!(look(175), (75.0, 2));
        assert_eq!(look(211), (61.0, 1));
        for at in (220..400).step_by(5) {
            let (over, _) = look(at);
            assert!(at < 300 || (60.0..=85.0).contains(&over), "{at}: {over}");
        }
        assert!(window.looks.lock().len() <= LOOKS);
        // Calls of long ago say nothing of now.
        assert_eq!(look(4_000), (4_000.0, 6));
    }
}
