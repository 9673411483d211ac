//! The last lines, in memory, for operators.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::audit::query::{RecordFilter, RecordHead};

/// The most lines that are kept.
pub(super) const MOST_LINES: usize = 2_000;

/// The most bytes of them.
const MOST_BYTES: usize = 4 << 20;

/// The last lines that were written.
#[derive(Debug, Default)]
pub struct RecentRecords {
    kept: Mutex<KeptLines>,
}

#[derive(Debug, Default)]
struct KeptLines {
    lines: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

impl RecentRecords {
    /// Adds lines, each with its line break, and forgets the oldest.
    pub(super) fn add(&self, new: impl Iterator<Item = Vec<u8>>) {
        let mut kept = self.kept.lock();
        for line in new {
            kept.bytes += line.len();
            kept.lines.push_back(line.into());
            while kept.lines.len() > MOST_LINES || kept.bytes > MOST_BYTES {
                let oldest = kept.lines.pop_front();
                kept.bytes -= oldest.map_or(0, |line| line.len());
            }
        }
    }

    /// Returns the newest lines that a filter lets through, newest first, at most `most`.
    #[must_use]
    pub fn find(&self, filter: &RecordFilter, most: usize) -> Vec<String> {
        let lines: Vec<_> = self.kept.lock().lines.iter().map(Arc::clone).collect();
        let found = lines.iter().rev().filter(|line| {
            let head = RecordHead::parse(line);
            head.is_some_and(|head| filter.matches(&head))
        });
        let text = |line: &Arc<[u8]>| String::from_utf8_lossy(line).trim_end().to_owned();
        found.take(most).map(text).collect()
    }
}
