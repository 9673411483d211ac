//! The text formats that Prometheus reads: its own, version 0.0.4, and OpenMetrics 1.0.
//!
//! Written by hand because it is little, and because no library fits: the official `prometheus-client`
//! writes only OpenMetrics and takes a lock for each value of a histogram, `prometheus` writes only its
//! own format.

use std::fmt::{Display, Write as _};

use crate::metrics::exemplar::Exemplar;
use crate::metrics::names::{FamilyKind, MetricFamily};
use crate::telemetry::Histogram;

/// One of the two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsFormat {
    /// The format that every scraper reads.
    Prometheus,
    /// Names counters without `_total` in `# TYPE`, and marks the end.
    OpenMetrics,
}

impl MetricsFormat {
    /// Returns the preferred format of an `Accept` header.
    #[must_use]
    pub fn accepted_by(accept: &str) -> Self {
        let quality = |name: &str| {
            let items = accept.split(',').filter_map(|item| {
                let mut parts = item.split(';').map(str::trim);
                let is_it = parts.next()?.eq_ignore_ascii_case(name);
                let quality = parts.find_map(|part| part.strip_prefix("q="));
                is_it.then(|| quality.map_or(1.0, |text| text.parse().unwrap_or(0.0_f32)))
            });
            items.fold(0.0, f32::max)
        };
        let open = quality("application/openmetrics-text");
        if open > 0.0 && open >= quality("text/plain") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// Returns the value of `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The text, as it grows.
pub(super) struct MetricsText {
    out: String,
    format: MetricsFormat,
}

impl MetricsText {
    pub(super) fn new(format: MetricsFormat) -> Self {
        Self {
            out: String::with_capacity(16 * 1024),
            format,
        }
    }

    /// Writes what comes before the values of a metric.
    pub(super) fn begin(&mut self, family: &MetricFamily) {
        let (kind, help) = (family.kind.as_str(), family.help);
        let name = match (self.format, family.kind) {
            (MetricsFormat::OpenMetrics, FamilyKind::Counter) => {
                family.name.strip_suffix("_total").unwrap_or(family.name)
            }
            _ => family.name,
        };
        // Writing to a `String` cannot fail.
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == MetricsFormat::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    pub(super) fn write_histogram(
        &mut self,
        family: &MetricFamily,
        labels: &[&str],
        histogram: &Histogram<'_>,
        exemplars: &[Option<Exemplar>],
    ) {
        let mut total = 0;
        // The other format has none.
        let is_open = self.format == MetricsFormat::OpenMetrics;
        let exemplars = exemplars.iter().filter(|_| is_open).copied();
        let mut exemplars = exemplars.map(|one| one.map(Exemplar::to_text));
        let bounds = histogram.bounds.iter().map(|bound| format!("{bound:?}"));
        let bounds = bounds.chain(["+Inf".to_owned()]);
        for (count, bound) in histogram.counts.iter().zip(bounds) {
            total += count;
            let example = exemplars.next().flatten().unwrap_or_default();
            let bucket = (family, "_bucket");
            self.write_line(
                bucket,
                labels,
                Some(&bound),
                format_args!("{total}{example}"),
            );
        }
        self.write_line((family, "_sum"), labels, None, histogram.sum);
        self.write_line((family, "_count"), labels, None, total);
    }

    pub(super) fn write_line(
        &mut self,
        (family, suffix): (&MetricFamily, &str),
        labels: &[&str],
        bound: Option<&str>,
        value: impl Display,
    ) {
        self.out.push_str(family.name);
        self.out.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        let names = family.labels.iter().copied();
        let labels = names.zip(labels.iter().copied()).chain(bound);
        let mut open = '{';
        for (name, value) in labels {
            let _ = write!(self.out, "{open}{name}=\"");
            escape(value, &mut self.out);
            self.out.push('"');
            open = ',';
        }
        if open == ',' {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_the_format_it_likes_best() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for open in [
            prometheus_3,
            "application/openmetrics-text",
            "text/plain;q=0.5, application/OpenMetrics-text; q=0.5",
        ] {
            assert_eq!(
                MetricsFormat::accepted_by(open),
                MetricsFormat::OpenMetrics,
                "{open}"
            );
        }
        for plain in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text;q=0",
            "text/plain, application/openmetrics-text;q=0.9",
            "application/openmetrics-text;q=x",
        ] {
            assert_eq!(
                MetricsFormat::accepted_by(plain),
                MetricsFormat::Prometheus,
                "{plain}"
            );
        }
    }

    #[test]
    fn label_values_are_escaped() {
        let family = MetricFamily {
            name: "m",
            kind: FamilyKind::Gauge,
            labels: &["a", "b"],
            help: "h",
        };
        let mut text = MetricsText::new(MetricsFormat::Prometheus);
        text.begin(&family);
        text.write_line((&family, ""), &["x\"} 1\n", "\\"], None, 7);
        assert_eq!(
            text.finish(),
            "# HELP m h\n# TYPE m gauge\nm{a=\"x\\\"} 1\\n\",b=\"\\\\\"} 7\n"
        );
    }
}
