//! Metrics (`opentelemetry/proto/metrics/v1/metrics.proto`), as they stand at one moment.

use std::time::SystemTime;

use crate::telemetry::protobuf::{
    AttributeValue, write_attribute, write_bytes, write_fixed64, write_int, write_message,
};
use crate::telemetry::span::nanoseconds;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: since weir began.
const CUMULATIVE: i64 = 2;

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Goes up and down.
    Gauge,
    /// Grows.
    Sum,
    /// Counts by upper bound.
    Histogram,
}

/// The description of a metric, beside its values.
#[derive(Clone, Copy, Debug)]
pub struct MetricForm<'m> {
    /// Its name.
    pub name: &'m str,
    /// Its meaning.
    pub help: &'m str,
    /// Its unit (UCUM), or nothing.
    pub unit: &'m str,
    /// Its kind.
    pub kind: MetricKind,
}

/// The values of a histogram.
#[derive(Clone, Copy, Debug)]
pub struct Histogram<'h> {
    /// Upper bounds, in order.
    pub bounds: &'h [f64],
    /// The number of values up to each bound and above the previous one; the last is of those above
    /// all bounds.
    pub counts: &'h [u64],
    /// The sum of all values.
    pub sum: f64,
}

/// Encodes metrics, one after the other, as items of an [`super::Envelope`].
#[derive(Debug)]
pub struct MetricEncoder {
    out: Vec<u8>,
    points: MetricPoints,
}

/// The values of one metric, encoded.
#[derive(Debug)]
pub struct MetricPoints {
    out: Vec<u8>,
    since: u64,
    now: u64,
}

impl MetricEncoder {
    /// Begins with no metric: `since` is when counting began.
    #[must_use]
    pub fn new(since: SystemTime, now: SystemTime) -> Self {
        Self {
            out: Vec::with_capacity(16 * 1024),
            points: MetricPoints {
                out: Vec::with_capacity(4 * 1024),
                since: nanoseconds(since),
                now: nanoseconds(now),
            },
        }
    }

    /// Adds a metric with the values that `write` writes; none if there are no values.
    pub fn write(&mut self, form: &MetricForm<'_>, write: impl FnOnce(&mut MetricPoints)) {
        self.points.out.clear();
        write(&mut self.points);
        let points = &self.points.out;
        if points.is_empty() {
            return;
        }
        let field = match form.kind {
            MetricKind::Gauge => 5,
            MetricKind::Sum => 7,
            MetricKind::Histogram => 9,
        };
        write_message(&mut self.out, 2, |out| {
            write_bytes(out, 1, form.name.as_bytes());
            write_bytes(out, 2, form.help.as_bytes());
            write_bytes(out, 3, form.unit.as_bytes());
            write_message(out, field, |out| {
                out.extend_from_slice(points);
                if form.kind != MetricKind::Gauge {
                    write_int(out, 2, CUMULATIVE);
                }
                if form.kind == MetricKind::Sum {
                    // It only grows.
                    write_int(out, 3, 1);
                }
            });
        });
    }

    /// Returns all of them.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.out
    }
}

impl MetricPoints {
    /// Adds a number.
    pub fn number<'n, 'v>(&mut self, labels: impl Iterator<Item = (&'n str, &'v str)>, value: f64) {
        let (since, now) = (self.since, self.now);
        write_message(&mut self.out, 1, |out| {
            write_fixed64(out, 2, since);
            write_fixed64(out, 3, now);
            write_fixed64(out, 4, value.to_bits());
            write_labels(out, 7, labels);
        });
    }

    /// Adds a histogram.
    pub fn histogram<'n, 'v>(
        &mut self,
        labels: impl Iterator<Item = (&'n str, &'v str)>,
        histogram: &Histogram<'_>,
    ) {
        let (since, now) = (self.since, self.now);
        let total = histogram.counts.iter().sum::<u64>();
        write_message(&mut self.out, 1, |out| {
            write_fixed64(out, 2, since);
            write_fixed64(out, 3, now);
            write_fixed64(out, 4, total);
            write_fixed64(out, 5, histogram.sum.to_bits());
            write_message(out, 6, |out| {
                for count in histogram.counts {
                    out.extend_from_slice(&count.to_le_bytes());
                }
            });
            write_message(out, 7, |out| {
                for bound in histogram.bounds {
                    out.extend_from_slice(&bound.to_le_bytes());
                }
            });
            write_labels(out, 9, labels);
        });
    }
}

fn write_labels<'n, 'v>(
    out: &mut Vec<u8>,
    field: u32,
    labels: impl Iterator<Item = (&'n str, &'v str)>,
) {
    for (name, value) in labels {
        write_attribute(out, field, name, AttributeValue::Text(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_without_values_is_not_sent() {
        let mut encoder = MetricEncoder::new(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH);
        let form = MetricForm {
            name: "m",
            help: "h",
            unit: "s",
            kind: MetricKind::Sum,
        };
        encoder.write(&form, |_| {});
        encoder.write(&form, |points| points.number([("a", "b")].into_iter(), 0.5));
        let mut point = vec![0x11];
        point.extend([0; 8]);
        point.push(0x19);
        point.extend([0; 8]);
        point.push(0x21);
        point.extend(0.5_f64.to_le_bytes());
        // The label: `a` and a text `b`.
        point.extend([0x3a, 8, 0x0a, 1, b'a', 0x12, 3, 0x0a, 1, b'b']);
        let nested = |before: &[u8], message: &[u8], after: &[u8]| {
            let size = u8::try_from(message.len()).unwrap();
            [before, &[size], message, after].concat()
        };
        let sum = nested(&[0x0a], &point, &[0x10, 2, 0x18, 1]);
        let metric = nested(b"\x0a\x01m\x12\x01h\x1a\x01s\x3a", &sum, &[]);
        assert_eq!(encoder.finish(), nested(&[0x12], &metric, &[]));
    }
}
