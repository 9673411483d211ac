//! Metrics in CloudWatch's embedded metric format: lines of JSON in a log, of which CloudWatch makes
//! metrics (Amazon CloudWatch User Guide, "Specification: Embedded metric format").

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use foldhash::HashMap;
use serde_json::{Map, Value, json};

use crate::telemetry::metric::{Histogram, MetricForm, MetricKind};

/// The most metrics of a line (the specification).
const METRICS: usize = 100;
/// The most bytes of a line: those of an event of CloudWatch Logs.
const BYTES: usize = 256 * 1024;
/// The most dimensions of a metric (the specification).
const DIMENSIONS: usize = 30;
/// The longest value of a dimension (CloudWatch API, `Dimension`).
const DIMENSION_BYTES: usize = 1_024;
/// The most lines at one time.
const LINES: usize = 2_000;

/// The counters as they stood when they were last written: CloudWatch adds up what it is told, so that
/// lines say what has come since.
#[derive(Debug, Default)]
pub struct EmfBaseline {
    sums: HashMap<SeriesKey, f64>,
    histograms: HashMap<SeriesKey, (Vec<u64>, f64)>,
}

/// The name of a metric, and its dimensions.
type SeriesKey = (String, Dimensions);
type Dimensions = Vec<(String, String)>;

/// Makes lines of metrics.
#[derive(Debug)]
pub struct EmfEncoder {
    before: EmfBaseline,
    now: EmfBaseline,
    /// Names, units and values, by what they have in common.
    found: BTreeMap<Dimensions, Vec<(String, &'static str, Value)>>,
}

/// The lines of one time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EmfLines {
    /// Lines of JSON, without their ends.
    pub lines: Vec<String>,
    /// The number of lines that were left out because there were too many, or because they were too
    /// long.
    pub left_out: usize,
}

impl EmfEncoder {
    /// Begins with no metric.
    #[must_use]
    pub fn new(before: EmfBaseline) -> Self {
        Self {
            before,
            now: EmfBaseline::default(),
            found: BTreeMap::new(),
        }
    }

    /// Adds a number. Of a counter that is what has come since the time before, if something has.
    pub fn number<'l>(
        &mut self,
        form: &MetricForm<'_>,
        labels: impl Iterator<Item = (&'static str, &'l str)>,
        value: f64,
    ) {
        let dimensions = dimensions(labels);
        let value = match form.kind {
            MetricKind::Gauge => value,
            MetricKind::Sum | MetricKind::Histogram => {
                let key = (form.name.to_owned(), dimensions.clone());
                let before = self.before.sums.get(&key).copied().unwrap_or_default();
                self.now.sums.insert(key, value);
                value - before
            }
        };
        if form.kind == MetricKind::Gauge || value > 0.0 {
            self.add(dimensions, form, json!(value));
        }
    }

    /// Adds a histogram, if something has come since the time before.
    pub fn histogram<'l>(
        &mut self,
        form: &MetricForm<'_>,
        labels: impl Iterator<Item = (&'static str, &'l str)>,
        histogram: &Histogram<'_>,
    ) {
        let dimensions = dimensions(labels);
        let key = (form.name.to_owned(), dimensions.clone());
        let before = self.before.histograms.get(&key).cloned();
        let (counts, sum) = before.unwrap_or_default();
        let before = counts.into_iter().chain(std::iter::repeat(0));
        let since: Vec<u64> = histogram
            .counts
            .iter()
            .zip(before)
            .map(|(now, before)| now.saturating_sub(before))
            .collect();
        let last = (histogram.counts.to_vec(), histogram.sum);
        self.now.histograms.insert(key, last);
        if let Some(value) = distribution(histogram.bounds, &since, histogram.sum - sum) {
            self.add(dimensions, form, value);
        }
    }

    fn add(&mut self, dimensions: Dimensions, form: &MetricForm<'_>, value: Value) {
        let unit = match (form.unit, form.kind) {
            ("s", _) => "Seconds",
            ("By", _) => "Bytes",
            (_, MetricKind::Sum) => "Count",
            (_, MetricKind::Gauge | MetricKind::Histogram) => "None",
        };
        let of = self.found.entry(dimensions).or_default();
        of.push((form.name.to_owned(), unit, value));
    }

    /// Returns the lines for a namespace, and what the next ones are compared with.
    #[must_use]
    pub fn finish(self, namespace: &str, at: SystemTime) -> (EmfLines, EmfBaseline) {
        let millis = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(millis.as_millis()).unwrap_or(u64::MAX);
        let mut out = EmfLines::default();
        for (dimensions, metrics) in &self.found {
            for metrics in metrics.chunks(METRICS) {
                let line = write_line((namespace, millis), dimensions, metrics);
                if out.lines.len() < LINES && line.len() < BYTES {
                    out.lines.push(line);
                } else {
                    out.left_out += 1;
                }
            }
        }
        (out, self.now)
    }
}

fn write_line(
    (namespace, millis): (&str, u64),
    dimensions: &[(String, String)],
    metrics: &[(String, &'static str, Value)],
) -> String {
    let names: Vec<&str> = dimensions.iter().map(|(name, _)| name.as_str()).collect();
    let described: Vec<Value> = metrics
        .iter()
        .map(|(name, unit, _)| json!({ "Name": name, "Unit": unit }))
        .collect();
    let mut line = Map::new();
    let directive = json!({ "Namespace": namespace, "Dimensions": [names], "Metrics": described });
    let metadata = json!({ "Timestamp": millis, "CloudWatchMetrics": [directive] });
    line.insert("_aws".to_owned(), metadata);
    for (name, value) in dimensions {
        line.insert(name.clone(), Value::from(value.as_str()));
    }
    for (name, _, value) in metrics {
        line.insert(name.clone(), value.clone());
    }
    Value::Object(line).to_string()
}

/// Returns the dimensions of labels: CloudWatch takes visible ASCII, and nothing empty.
fn dimensions<'l>(labels: impl Iterator<Item = (&'static str, &'l str)>) -> Dimensions {
    let shown = labels.filter(|(_, value)| !value.trim().is_empty());
    let shown = shown.map(|(name, value)| {
        let safe = value.chars().take(DIMENSION_BYTES).map(|c| match c {
            ' '..='~' => c,
            _ => '?',
        });
        (name.to_owned(), safe.collect())
    });
    shown.take(DIMENSIONS).collect()
}

/// Returns values and how often each came; `None` if none did. A value stands for all of its bucket,
/// in the middle of it.
fn distribution(bounds: &[f64], counts: &[u64], sum: f64) -> Option<Value> {
    let (mut values, mut times, mut total) = (Vec::new(), Vec::new(), 0);
    let mut lower = 0.0;
    let uppers = bounds.iter().copied().chain(bounds.last().copied());
    for (count, upper) in counts.iter().zip(uppers) {
        if *count > 0 {
            values.push(f64::midpoint(lower, upper));
            times.push(*count);
            total += count;
        }
        lower = upper;
    }
    let (least, most) = (values.first()?, values.last()?);
    Some(json!({
        "Values": values, "Counts": times, "Min": least, "Max": most, "Count": total, "Sum": sum,
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn form(name: &'static str, unit: &'static str, kind: MetricKind) -> MetricForm<'static> {
        MetricForm {
            name,
            help: "",
            unit,
            kind,
        }
    }

    fn lines(encoder: EmfEncoder) -> (Vec<Value>, EmfBaseline) {
        let at = UNIX_EPOCH + Duration::from_millis(1_500);
        let (out, next) = encoder.finish("weir", at);
        assert_eq!(out.left_out, 0);
        let lines = out.lines.iter();
        let lines = lines.map(|line| serde_json::from_str(line).unwrap());
        (lines.collect(), next)
    }

    #[test]
    fn lines_say_what_has_come_since_the_last_ones() {
        let calls = form("weir_calls_total", "", MetricKind::Sum);
        let took = form("weir_seconds", "s", MetricKind::Histogram);
        let up = form("weir_up", "", MetricKind::Gauge);
        let labels = || [("upstream", "a"), ("tool", "")].into_iter();
        let write = |before, total, counts: &[u64], sum| {
            let mut encoder = EmfEncoder::new(before);
            encoder.number(&calls, labels(), total);
            let bounds = &[1.0, 3.0];
            let histogram = Histogram {
                bounds,
                counts,
                sum,
            };
            encoder.histogram(&took, labels(), &histogram);
            encoder.number(&up, [("upstream", "b\u{e9}\n")].into_iter(), 0.0);
            lines(encoder)
        };
        let (first, next) = write(EmfBaseline::default(), 5.0, &[2, 0, 1], 7.5);
        assert_eq!(
            first[0],
            json!({
                "_aws": { "Timestamp": 1500, "CloudWatchMetrics": [{
                    "Namespace": "weir",
                    "Dimensions": [["upstream"]],
                    "Metrics": [
                        { "Name": "weir_calls_total", "Unit": "Count" },
                        { "Name": "weir_seconds", "Unit": "Seconds" },
                    ],
                }] },
                "upstream": "a",
                "weir_calls_total": 5.0,
                "weir_seconds": {
                    "Values": [0.5, 3.0], "Counts": [2, 1], "Min": 0.5, "Max": 3.0, "Count": 3, "Sum": 7.5,
                },
            })
        );
        assert_eq!(
            (&first[1]["upstream"], &first[1]["weir_up"]),
            (&json!("b??"), &json!(0.0))
        );
        let (second, next) = write(next, 6.0, &[2, 1, 1], 9.5);
        assert_eq!(second[0]["weir_calls_total"], 1.0);
        assert_eq!(second[0]["weir_seconds"]["Values"], json!([2.0]));
        assert_eq!(second[0]["weir_seconds"]["Sum"], 2.0);
        // Nothing happened: states are written, counts are not.
        let (third, _) = write(next, 6.0, &[2, 1, 1], 9.5);
        assert_eq!(third.len(), 1);
        assert!(third[0].get("weir_up").is_some());
    }

    #[test]
    fn lines_are_bounded() {
        let names: Vec<String> = (0..250).map(|number| format!("m{number}")).collect();
        let mut encoder = EmfEncoder::new(EmfBaseline::default());
        for name in &names {
            let form = MetricForm {
                name,
                help: "",
                unit: "",
                kind: MetricKind::Gauge,
            };
            encoder.number(&form, [].into_iter(), 1.0);
        }
        let (written, _) = lines(encoder);
        let counts: Vec<_> = written
            .iter()
            .map(|line| {
                line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
                    .as_array()
                    .unwrap()
                    .len()
            })
            .collect();
        assert_eq!(counts, [100, 100, 50]);
        let up = form("up", "", MetricKind::Gauge);
        let mut encoder = EmfEncoder::new(EmfBaseline::default());
        for number in 0..LINES + 3 {
            let long = format!("{number:04}{}", "x".repeat(2_000));
            encoder.number(&up, [("upstream", long.as_str())].into_iter(), 1.0);
        }
        let (out, _) = encoder.finish("weir", UNIX_EPOCH);
        assert_eq!((out.lines.len(), out.left_out), (LINES, 3));
        assert!(out.lines.iter().all(|line| line.len() < 1_500));
    }
}
