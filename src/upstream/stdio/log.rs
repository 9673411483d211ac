//! A child's stderr in weir's log.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use crate::name::UpstreamId;

/// The longest line logged, in bytes; the rest of it is left out.
const LONGEST: usize = 4 * 1024;
/// The most lines logged in one [`WINDOW`].
const LINES: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);

/// Logs the lines under the upstream's name until stderr closes. Reads on while it logs no more, so that
/// the child is never held up.
pub(super) async fn relay(mut stderr: impl AsyncRead + Unpin, name: &UpstreamId) {
    let mut chunk = vec![0; 8 * 1024];
    let mut line = Line::default();
    let mut rate = Rate::new(Instant::now());
    loop {
        let count = match stderr.read(&mut chunk).await {
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
            emit(&mut line, &mut rate, name);
        }
        line.push(rest);
    }
    emit(&mut line, &mut rate, name);
    note(rate.take_suppressed(), name);
}

fn emit(line: &mut Line, rate: &mut Rate, name: &UpstreamId) {
    let Some(text) = line.take() else { return };
    match rate.admit(Instant::now()) {
        Admitted::No => {}
        Admitted::Yes { suppressed } => {
            note(suppressed, name);
            tracing::info!(target: "upstream", upstream = %name, "{text}");
        }
    }
}

fn note(suppressed: u64, name: &UpstreamId) {
    if suppressed > 0 {
        tracing::info!(target: "upstream", upstream = %name, suppressed,
            "{suppressed} lines of stderr were left out: more than {LINES} a second");
    }
}

/// Whether this is a count worth a log line: 1, 10, 100, 1000…
pub(super) fn is_milestone(count: u64) -> bool {
    count > 0 && 10_u64.pow(count.ilog10()) == count
}

/// Text that a terminal takes as text: control characters are escaped.
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).chars() {
        if character.is_control() && character != '\t' {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// A line in the making.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    cut: bool,
}

impl Line {
    fn push(&mut self, piece: &[u8]) {
        let place = LONGEST - self.bytes.len().min(LONGEST);
        self.bytes
            .extend_from_slice(piece.get(..place).unwrap_or(piece));
        self.cut |= piece.len() > place;
    }

    /// The line as text, if there is one, and a new line begins.
    fn take(&mut self) -> Option<String> {
        let mut text = printable(self.bytes.trim_ascii_end());
        if std::mem::take(&mut self.cut) {
            text.push('…');
        }
        self.bytes.clear();
        (!text.is_empty()).then_some(text)
    }
}

/// How many lines are logged in a window.
struct Rate {
    since: Instant,
    lines: u32,
    suppressed: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Admitted {
    No,
    /// `suppressed` lines before this one were not logged.
    Yes {
        suppressed: u64,
    },
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            lines: 0,
            suppressed: 0,
        }
    }

    fn admit(&mut self, now: Instant) -> Admitted {
        if now.duration_since(self.since) >= WINDOW {
            self.since = now;
            self.lines = 0;
        }
        if self.lines >= LINES {
            self.suppressed += 1;
            return Admitted::No;
        }
        self.lines += 1;
        Admitted::Yes {
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
        let mut rate = Rate::new(start);
        let admitted = (0..250)
            .filter(|_| rate.admit(start) != Admitted::No)
            .count();
        assert_eq!(admitted, 100);
        assert_eq!(
            rate.admit(start + WINDOW),
            Admitted::Yes { suppressed: 150 }
        );
        assert_eq!(rate.admit(start + WINDOW), Admitted::Yes { suppressed: 0 });
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let mut line = Line::default();
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
