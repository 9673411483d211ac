//! Writes metrics in one form or the other, so that all forms have the same of them.

use std::fmt::Display;
use std::time::SystemTime;

use crate::metrics::exemplar::Exemplar;
use crate::metrics::names::{FamilyKind, MetricFamily};
use crate::metrics::text::{MetricsFormat, MetricsText};
use crate::telemetry::{
    EmfEncoder, Histogram, MetricEncoder, MetricForm, MetricKind, MetricPoints,
};

/// All metrics, as they are written one after the other.
pub(super) enum MetricsWriter {
    /// As text, for Prometheus.
    Text(MetricsText),
    /// As messages, for OpenTelemetry.
    Messages(MetricEncoder),
    /// As lines, for CloudWatch.
    Lines(EmfEncoder),
}

impl MetricsWriter {
    pub(super) fn text(format: MetricsFormat) -> Self {
        Self::Text(MetricsText::new(format))
    }

    /// Begins messages about what was counted since then.
    pub(super) fn export(since: SystemTime) -> Self {
        Self::Messages(MetricEncoder::new(since, SystemTime::now()))
    }

    /// Writes a metric with its values, which `values` writes one after the other, as the formats
    /// require.
    pub(super) fn family(&mut self, family: &MetricFamily, values: impl FnOnce(&mut Values<'_>)) {
        match self {
            Self::Text(text) => {
                text.begin(family);
                let out = ValuesOut::Text(text);
                values(&mut Values { out, family });
            }
            Self::Messages(encoder) => encoder.write(&form(family), |points| {
                let out = ValuesOut::Points(points);
                values(&mut Values { out, family });
            }),
            Self::Lines(encoder) => {
                let out = ValuesOut::Lines(encoder, form(family));
                values(&mut Values { out, family });
            }
        }
    }

    pub(super) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text.finish(),
            Self::Messages(_) | Self::Lines(_) => String::new(),
        }
    }

    pub(super) fn into_messages(self) -> Vec<u8> {
        match self {
            Self::Text(_) | Self::Lines(_) => Vec::new(),
            Self::Messages(encoder) => encoder.finish(),
        }
    }
}

/// Returns what OpenTelemetry is told of a metric: the name is the same as for Prometheus.
fn form(family: &MetricFamily) -> MetricForm<'_> {
    let base = family.name.strip_suffix("_total").unwrap_or(family.name);
    let unit = match base.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "",
    };
    MetricForm {
        name: family.name,
        help: family.help,
        unit,
        kind: match family.kind {
            FamilyKind::Counter => MetricKind::Sum,
            FamilyKind::Gauge => MetricKind::Gauge,
            FamilyKind::Histogram => MetricKind::Histogram,
        },
    }
}

/// The values of one metric.
pub(super) struct Values<'t> {
    out: ValuesOut<'t>,
    family: &'t MetricFamily,
}

enum ValuesOut<'t> {
    Text(&'t mut MetricsText),
    Points(&'t mut MetricPoints),
    Lines(&'t mut EmfEncoder, MetricForm<'t>),
}

impl Values<'_> {
    /// Writes one value, a number. `labels` are in the order of the family's.
    pub(super) fn write(&mut self, labels: &[&str], value: impl Display) {
        let family = self.family;
        match &mut self.out {
            ValuesOut::Text(text) => text.write_line((family, ""), labels, None, value),
            ValuesOut::Points(points) => {
                // Numbers of many types, a few hundred of them in a minute.
                if let Ok(value) = value.to_string().parse() {
                    points.number(labelled(family, labels), value);
                }
            }
            ValuesOut::Lines(lines, form) => {
                if let Ok(value) = value.to_string().parse() {
                    lines.number(form, labelled(family, labels), value);
                }
            }
        }
    }

    /// Writes a histogram from the number of values up to each bound and above the previous one (the
    /// last count is of those above all bounds), an example for each where there is one, and their sum.
    pub(super) fn write_histogram(
        &mut self,
        labels: &[&str],
        bounds: &[f64],
        (counts, exemplars): (&[u64], &[Option<Exemplar>]),
        sum: f64,
    ) {
        let family = self.family;
        let histogram = Histogram {
            bounds,
            counts,
            sum,
        };
        match &mut self.out {
            ValuesOut::Text(text) => text.write_histogram(family, labels, &histogram, exemplars),
            ValuesOut::Points(points) => points.histogram(labelled(family, labels), &histogram),
            ValuesOut::Lines(lines, form) => {
                lines.histogram(form, labelled(family, labels), &histogram);
            }
        }
    }
}

fn labelled<'l>(
    family: &MetricFamily,
    labels: &'l [&'l str],
) -> impl Iterator<Item = (&'static str, &'l str)> {
    family.labels.iter().copied().zip(labels.iter().copied())
}
