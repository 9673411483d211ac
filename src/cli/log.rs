//! The log, on stderr: how its lines look, and how many there are of one cause.
//!
//! Two things hold for every line, whoever writes it: text of others in it is
//! [made harmless](crate::printable), and of one cause (a place in the source and the upstream that
//! the line is about) only so many lines are written a minute. The rest is counted.

mod format;
mod limit;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Level;
use tracing_subscriber::EnvFilter;

use format::{JsonWriter, LimitedFormat, TextFields};
pub use limit::LineLimits;

/// How often it is looked whether lines were left out.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Begins to log. Only terminals get `colours`; `json` makes each line a JSON object.
#[must_use]
pub fn start(filter: EnvFilter, colours: bool, json: bool) -> Arc<LineLimits> {
    let limits = Arc::new(LineLimits::new());
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let of = Arc::clone(&limits);
    if json {
        builder
            .with_ansi(false)
            .with_writer(|| JsonWriter(std::io::stderr()))
            .json()
            .map_event_format(|format| LimitedFormat::new(format, of))
            .init();
    } else {
        builder
            .with_ansi(colours)
            .with_writer(std::io::stderr)
            .with_target(false)
            .fmt_fields(TextFields)
            .map_event_format(|format| LimitedFormat::new(format, of))
            .init();
    }
    limits
}

/// Reports of lines that were left out, as soon as their minute is over. Never ends.
pub async fn report_left_out(limits: &LineLimits) -> Infallible {
    loop {
        tokio::time::sleep(REPORT_EVERY).await;
        report(limits, Instant::now());
    }
}

/// Reports of all lines that were left out so far.
pub fn report_rest(limits: &LineLimits) {
    report(limits, Instant::now() + limit::WINDOW);
}

fn report(limits: &LineLimits, now: Instant) {
    for left in limits.take_left_out(now) {
        let (upstream, count) = (left.upstream.as_deref(), left.count);
        let text = format!(
            "… {count} more like it in {:?}: {}",
            limit::WINDOW,
            left.message
        );
        match left.level {
            Level::ERROR => tracing::error!(target: limit::OWN, upstream, "{text}"),
            Level::WARN => tracing::warn!(target: limit::OWN, upstream, "{text}"),
            _ => tracing::info!(target: limit::OWN, upstream, "{text}"),
        }
    }
}
