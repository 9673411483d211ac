//! Exemplars: for each bucket of a histogram, the last recorded trace that was counted in it. They lead
//! from a slow bucket to one of its calls.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::telemetry::SpanContext;

/// One call of a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exemplar {
    trace: SpanContext,
    /// The value that was counted, in seconds.
    value: f64,
    at: SystemTime,
}

/// The exemplars of the buckets of one histogram. There are none, and they take no room, until a
/// recorded trace is counted.
#[derive(Debug)]
pub(super) struct Exemplars<const BUCKETS: usize>(Mutex<Option<Box<[Option<Exemplar>; BUCKETS]>>>);

impl<const BUCKETS: usize> Default for Exemplars<BUCKETS> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<const BUCKETS: usize> Exemplars<BUCKETS> {
    /// Keeps a call as that of its bucket, in place of the one before.
    pub(super) fn keep(&self, bucket: usize, took: Duration, trace: &SpanContext) {
        let mut kept = self.0.lock();
        let kept = kept.get_or_insert_with(|| Box::new([None; BUCKETS]));
        if let Some(kept) = kept.get_mut(bucket) {
            *kept = Some(Exemplar {
                trace: *trace,
                value: took.as_secs_f64(),
                at: SystemTime::now(),
            });
        }
    }

    /// Returns that of each bucket; nothing if there is none at all.
    pub(super) fn all(&self) -> Vec<Option<Exemplar>> {
        let kept = self.0.lock();
        kept.as_deref()
            .map(|kept| kept.to_vec())
            .unwrap_or_default()
    }
}

impl Exemplar {
    /// Returns it as OpenMetrics has it behind the value of a bucket (1.0, "Exemplars").
    pub(super) fn to_text(self) -> String {
        let (trace, value) = (self.trace.trace_text(), self.value);
        let since = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        format!(
            " # {{trace_id=\"{trace}\"}} {value} {:.3}",
            since.as_secs_f64()
        )
    }
}
