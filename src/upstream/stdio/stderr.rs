//! A child's stderr in weir's log.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout};

use crate::name::UpstreamId;
use crate::printable;
use crate::protocol::method;

/// The longest line logged, in bytes. The rest of a line is left out.
const LONGEST: usize = 4 * 1024;
/// The most lines logged in one [`WINDOW`].
const LINES: u32 = 100;
/// A report is over when nothing more comes for this long.
const REPORT_PAUSE: Duration = Duration::from_millis(300);
const WINDOW: Duration = Duration::from_secs(1);

/// Logs the lines under the upstream's name until stderr closes. Goes on reading when it logs no
/// more, so that the child never waits.
pub(super) async fn log_lines(mut stderr: impl AsyncRead + Unpin, name: &UpstreamId) {
    let mut chunk = vec![0; 8 * 1024];
    let mut line = LineBuffer::default();
    let mut log = StderrLog::new(name);
    loop {
        let read = stderr.read(&mut chunk);
        let count = match log.report.is_open() {
            false => read.await,
            true => match timeout(REPORT_PAUSE, read).await {
                Ok(read) => read,
                Err(_) => {
                    log.end_report();
                    continue;
                }
            },
        };
        let count = match count {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        let mut pieces = chunk
            .get(..count)
            .unwrap_or_default()
            .split(|b| *b == b'\n');
        // The last piece is a line that has not ended yet.
        let rest = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            line.push(piece);
            log.line(&mut line);
        }
        line.push(rest);
    }
    log.line(&mut line);
    log.end_report();
    log_suppressed(log.rate.take_suppressed(), name);
}

/// Writes lines to the log, within limits.
struct StderrLog<'n> {
    name: &'n UpstreamId,
    rate: LineRate,
    report: ValidationReport,
}

impl<'n> StderrLog<'n> {
    fn new(name: &'n UpstreamId) -> Self {
        Self {
            name,
            rate: LineRate::new(Instant::now()),
            report: ValidationReport::default(),
        }
    }

    fn line(&mut self, line: &mut LineBuffer) {
        let Some(text) = line.take() else { return };
        if self.report.takes(&text) {
            tracing::debug!(target: "upstream", upstream = %self.name, "{text}");
            return;
        }
        self.end_report();
        self.report.begin(&text);
        match self.rate.admit(Instant::now()) {
            RateDecision::LeaveOut => {}
            RateDecision::Log { suppressed } => {
                log_suppressed(suppressed, self.name);
                tracing::info!(target: "upstream", upstream = %self.name, "{text}");
            }
        }
    }

    fn end_report(&mut self) {
        let ended = std::mem::take(&mut self.report);
        if ended.lines > 0 {
            let why = match ended.is_about_probe {
                true => {
                    ": weir asked `server/discover`, which this server does not know, and that is harmless"
                }
                false => "",
            };
            tracing::info!(target: "upstream", upstream = %self.name, lines = ended.lines,
                "{} more lines of this report are logged at level debug{why}", ended.lines);
        }
    }
}

/// A report of pydantic, which explains one message in up to a hundred lines: the first says how many
/// errors there are, then follow the place of each, in one word, and indented lines. Servers of the
/// Python SDK print it for every request that they do not know, so for weir's probe.
#[derive(Default)]
struct ValidationReport {
    is_open: bool,
    lines: u64,
    is_about_probe: bool,
}

impl ValidationReport {
    fn is_open(&self) -> bool {
        self.is_open
    }

    /// Looks whether a line begins a report.
    fn begin(&mut self, line: &str) {
        self.is_open = line.contains("validation error");
    }

    /// Returns whether a line belongs to the report.
    fn takes(&mut self, line: &str) -> bool {
        let belongs = self.is_open && (line.starts_with([' ', '\t']) || !line.contains(' '));
        self.lines += u64::from(belongs);
        self.is_about_probe |= belongs && line.contains(method::DISCOVER);
        belongs
    }
}

fn log_suppressed(suppressed: u64, name: &UpstreamId) {
    if suppressed > 0 {
        tracing::info!(target: "upstream", upstream = %name, suppressed,
            "{suppressed} lines of stderr were left out: more than {LINES} a second");
    }
}

/// Returns whether a count is worth a log line: 1, 10, 100, 1000…
pub(super) fn is_milestone(count: u64) -> bool {
    count > 0 && 10_u64.pow(count.ilog10()) == count
}

/// Returns text with control characters escaped, so that a terminal obeys none of them.
pub(super) fn printable(bytes: &[u8]) -> String {
    printable::escaped(&String::from_utf8_lossy(bytes)).into_owned()
}

/// The bytes of a line that has not ended yet.
#[derive(Default)]
struct LineBuffer {
    bytes: Vec<u8>,
    cut: bool,
}

impl LineBuffer {
    fn push(&mut self, piece: &[u8]) {
        let free = LONGEST - self.bytes.len().min(LONGEST);
        self.bytes
            .extend_from_slice(piece.get(..free).unwrap_or(piece));
        self.cut |= piece.len() > free;
    }

    /// Returns the line as text, unless it is empty, and begins a new one.
    fn take(&mut self) -> Option<String> {
        let mut text = printable(self.bytes.trim_ascii_end());
        if std::mem::take(&mut self.cut) {
            text.push('…');
        }
        self.bytes.clear();
        (!text.is_empty()).then_some(text)
    }
}

/// Limits how many lines are logged in a window.
struct LineRate {
    since: Instant,
    lines: u32,
    suppressed: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum RateDecision {
    LeaveOut,
    /// Log the line. `suppressed` lines before it were left out.
    Log {
        suppressed: u64,
    },
}

impl LineRate {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            lines: 0,
            suppressed: 0,
        }
    }

    fn admit(&mut self, now: Instant) -> RateDecision {
        if now.duration_since(self.since) >= WINDOW {
            self.since = now;
            self.lines = 0;
        }
        if self.lines >= LINES {
            self.suppressed += 1;
            return RateDecision::LeaveOut;
        }
        self.lines += 1;
        RateDecision::Log {
            suppressed: self.take_suppressed(),
        }
    }

    fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_to_a_hundred_lines_a_second_and_counted() {
        let start = Instant::now();
        let mut rate = LineRate::new(start);
        let admitted = (0..250)
            .filter(|_| rate.admit(start) != RateDecision::LeaveOut)
            .count();
        assert_eq!(admitted, 100);
        assert_eq!(
            rate.admit(start + WINDOW),
            RateDecision::Log { suppressed: 150 }
        );
        assert_eq!(
            rate.admit(start + WINDOW),
            RateDecision::Log { suppressed: 0 }
        );
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let mut line = LineBuffer::default();
        for _ in 0..100 {
            line.push(&[b'x'; 100]);
        }
        let text = line.take().unwrap();
        assert_eq!(text, "x".repeat(LONGEST) + "…");
        line.push(b"next");
        assert_eq!(line.take().as_deref(), Some("next"));
        assert_eq!(line.take(), None);
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            printable(b"\x1b[31mred\x07\tand \xff\r"),
            "\\u{1b}[31mred\\u{7}\tand \u{fffd}\\r"
        );
    }

    #[test]
    fn milestones_are_powers_of_ten() {
        let some: Vec<u64> = (0..=1000).filter(|count| is_milestone(*count)).collect();
        assert_eq!(some, [1, 10, 100, 1000]);
    }
}
