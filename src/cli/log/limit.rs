//! How many lines one cause may have.

use std::fmt::{self, Write as _};
use std::time::Duration;

use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, callsite};

/// The time for which lines are counted.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// The lines of one cause that are written in this time.
const LINES: u32 = 30;
/// The lines that a child process writes to its stderr: these have a
/// [limit of their own](crate::upstream), by the second.
const CHILD_LINES: u32 = 6_000;
/// The most causes that are counted apart; all others are one.
const CAUSES: usize = 4_096;
/// The most bytes of a message that are kept to report it.
const MESSAGE: usize = 200;
/// The target of the reports, which are not counted.
pub(super) const OWN: &str = "weir::log";

/// The lines of each cause in the last minute.
#[derive(Debug, Default)]
pub struct LineLimits {
    causes: Mutex<HashMap<Option<Cause>, Lines>>,
}

/// A place in the source, and what its line is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cause {
    callsite: callsite::Identifier,
    upstream: Option<String>,
}

#[derive(Debug)]
struct Lines {
    since: Instant,
    count: u32,
    left_out: u64,
    level: Level,
    message: String,
}

/// Lines that were left out.
#[derive(Debug)]
pub(super) struct LeftOut {
    pub(super) level: Level,
    pub(super) upstream: Option<String>,
    /// The beginning of the first one's message.
    pub(super) message: String,
    pub(super) count: u64,
}

impl LineLimits {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Counts a line. Returns whether it is written. What only operators who ask for it see, below
    /// level info, is not counted.
    pub(super) fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == OWN {
            return true;
        }
        let most = match metadata.target() {
            "upstream" => CHILD_LINES,
            _ => LINES,
        };
        let mut read = ReadFields::default();
        event.record(&mut read);
        let cause = Cause {
            callsite: metadata.callsite(),
            upstream: read.upstream,
        };
        let mut causes = self.causes.lock();
        let is_known = causes.contains_key(&Some(cause.clone()));
        let cause = (is_known || causes.len() < CAUSES).then_some(cause);
        let lines = causes.entry(cause).or_insert_with(|| Lines {
            since: now,
            count: 0,
            left_out: 0,
            level: *metadata.level(),
            message: read.message,
        });
        if lines.count < most {
            lines.count += 1;
            return true;
        }
        lines.left_out += 1;
        false
    }

    /// Returns the lines left out by causes whose minute is over, and forgets these causes.
    pub(super) fn take_left_out(&self, now: Instant) -> Vec<LeftOut> {
        let mut causes = self.causes.lock();
        let over = |lines: &Lines| now.saturating_duration_since(lines.since) >= WINDOW;
        let over = causes.extract_if(|_, lines| over(lines));
        let left_out = over.filter(|(_, lines)| lines.left_out > 0);
        left_out
            .map(|(cause, lines)| LeftOut {
                level: lines.level,
                upstream: cause.and_then(|cause| cause.upstream),
                message: lines.message,
                count: lines.left_out,
            })
            .collect()
    }
}

/// The fields of a line that say what it is about.
#[derive(Default)]
struct ReadFields {
    upstream: Option<String>,
    message: String,
}

impl Visit for ReadFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "upstream" => self.upstream = Some(beginning(value)),
            "message" => self.message = beginning(value),
            _ => {}
        }
    }
}

fn beginning(value: &dyn fmt::Debug) -> String {
    let mut cut = Cut(String::new());
    // It ends with an error where the text is cut.
    let _ = write!(cut, "{value:?}");
    cut.0
}

/// Text that takes no more than so much.
struct Cut(String);

impl fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MESSAGE.saturating_sub(self.0.len());
        let end = text.floor_char_boundary(room.min(text.len()));
        self.0.push_str(text.get(..end).unwrap_or_default());
        if end < text.len() {
            self.0.push('…');
            return Err(fmt::Error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
    use tracing_subscriber::registry;

    use super::*;

    struct Counting(Arc<LineLimits>, Arc<Mutex<Vec<bool>>>);

    impl<S: tracing::Subscriber> Layer<S> for Counting {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let admitted = self.0.admits(event, Instant::now());
            self.1.lock().push(admitted);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cause_has_so_many_lines_a_minute_and_the_rest_is_counted() {
        let (limits, admitted) = (Arc::new(LineLimits::new()), Arc::default());
        let layer = Counting(Arc::clone(&limits), Arc::clone(&admitted));
        let flood = |upstream: &str| {
            for number in 0..100 {
                tracing::warn!(upstream, "call {number} failed: {}", "x".repeat(1_000));
                tracing::debug!(upstream, "not counted");
            }
        };
        let counted = || {
            let admitted = std::mem::take(&mut *admitted.lock());
            admitted.iter().filter(|admitted| **admitted).count()
        };
        with_default(registry().with(layer), || {
            flood("a");
            assert_eq!(counted(), 100 + LINES as usize);
            flood("b");
            assert_eq!(counted(), 100 + LINES as usize);
        });
        assert!(limits.take_left_out(Instant::now()).is_empty());
        tokio::time::advance(WINDOW).await;
        let mut left = limits.take_left_out(Instant::now());
        left.sort_by(|one, other| one.upstream.cmp(&other.upstream));
        assert_eq!(left.len(), 2);
        assert_eq!(left[0].count, u64::from(100 - LINES));
        assert!(left[0].message.starts_with("call 0 failed: x"));
        assert!(left[0].message.len() <= MESSAGE + 3);
        assert!(limits.causes.lock().is_empty());
    }
}
