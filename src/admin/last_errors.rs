//! The last error of each tool, as operators are told.

use std::sync::Arc;

use serde::Serialize;

use crate::metrics::{LastError, UpstreamMetrics, blame_text, last_errors};

/// The most rows of an upstream.
const ROWS: usize = 20;

/// The last error of a tool or method.
#[derive(Clone, Debug, Serialize)]
pub struct LastErrorFigure {
    /// How long ago the call ended.
    pub seconds_ago: u64,
    /// The reason, without anything of a caller, of arguments or of results.
    pub reason: String,
    /// The party that has to act: `caller`, `upstream` or `weir`.
    pub blame: &'static str,
}

/// The same, with what was called.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LastErrorRow {
    method: String,
    /// The exposed name of the tool; `null` for what is no tool.
    tool: Option<String>,
    #[serde(flatten)]
    error: LastErrorFigure,
}

impl LastErrorFigure {
    /// Describes an error.
    pub(super) fn of(error: &LastError) -> Self {
        Self {
            seconds_ago: error.at.elapsed().as_secs(),
            reason: error.reason.to_string(),
            blame: blame_text(error.blame),
        }
    }
}

/// Returns the last error of each tool and method of an upstream: the newest, at most [`ROWS`].
pub(super) fn of_upstream(metrics: &Arc<UpstreamMetrics>) -> Vec<LastErrorRow> {
    let errors = last_errors(std::slice::from_ref(metrics));
    let mut errors: Vec<_> = errors.into_iter().collect();
    errors.sort_by_key(|(_, error)| std::cmp::Reverse(error.at));
    let newest = errors.into_iter().take(ROWS);
    let rows = newest.map(|([_, method, tool], error)| LastErrorRow {
        method: method.into(),
        tool: Some(String::from(tool)).filter(|tool| !tool.is_empty()),
        error: LastErrorFigure::of(&error),
    });
    rows.collect()
}
