//! Counters of values that rules for data found.

use std::sync::Arc;

use crate::metrics::counter::{Counter, GuardCounter};
use crate::metrics::names;
use crate::metrics::series::OTHER;
use crate::metrics::writer::MetricsWriter;
use crate::metrics::{Metrics, lock};

/// Most counters in the process; later classes are counted as `other`.
const COUNTERS: usize = 1_000;

impl Metrics {
    /// Counts values of a class that rules for data found. The class is of the config or of weir.
    pub fn guarded(&self, direction: &str, class: &str, action: &str, count: u64) {
        let mut guarded = lock(&self.guarded);
        let is_full = guarded.len() >= COUNTERS;
        let find = |guarded: &[Arc<GuardCounter>], labels: [&str; 3]| {
            let mut known = guarded.iter();
            let is_it =
                |known: &&Arc<GuardCounter>| known.labels.iter().map(|label| &**label).eq(labels);
            known.find(is_it).cloned()
        };
        let labels = [direction, class, action];
        let labels = match find(&guarded, labels) {
            None if is_full => [direction, OTHER, action],
            _ => labels,
        };
        let counter = find(&guarded, labels).unwrap_or_else(|| {
            let new = Arc::new(GuardCounter {
                labels: labels.map(Box::from),
                values: Counter::default(),
            });
            guarded.push(Arc::clone(&new));
            new
        });
        counter.values.add(count);
    }

    /// Returns how many values there were: direction, class, action.
    #[must_use]
    pub fn guard_counts(&self) -> Vec<([String; 3], u64)> {
        let guarded = lock(&self.guarded);
        let counts = guarded.iter().map(|counter| {
            let labels = counter.labels.each_ref().map(ToString::to_string);
            (labels, counter.values.value())
        });
        counts.collect()
    }

    pub(super) fn write_guarded(&self, out: &mut MetricsWriter) {
        out.family(&names::GUARDED, |values| {
            for counter in lock(&self.guarded).iter() {
                let [direction, class, action] = &counter.labels;
                values.write(&[direction, class, action], counter.values.value());
            }
        });
    }
}
