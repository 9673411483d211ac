//! Many windows made one figure: medians over rounds, ratios within rounds.

use std::collections::BTreeMap;

use crate::measure::{Point, Sample, Work};
use crate::setup::Kind;

/// The base of the ratios at a point: the least that a proxy for that work does.
pub(crate) fn baseline(work: Work) -> Kind {
    match work {
        Work::List => Kind::Forward,
        Work::Call | Work::AskableCall | Work::AskingCall | Work::Open | Work::OpenClose => {
            Kind::Route
        }
    }
}

/// One subject at one point, over all rounds.
#[derive(Default)]
pub(crate) struct Summary {
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// CPU per piece of work; NaN for `direct`.
    pub(crate) cpu_us: f64,
    pub(crate) client_cpu_us: f64,
    /// Medians over rounds of the ratio within the round.
    pub(crate) rate_to_base: f64,
    pub(crate) cpu_to_base: f64,
    pub(crate) p50_added_us: f64,
    pub(crate) p99_added_us: f64,
    pub(crate) rss_kib: u64,
    pub(crate) failures: u64,
}

/// The samples of one point, of one kind, by round.
fn of_kind(samples: &[&Sample], kind: Kind) -> Vec<Sample> {
    let mut found: Vec<Sample> = samples
        .iter()
        .filter(|sample| sample.subject == kind)
        .map(|sample| (*sample).clone())
        .collect();
    found.sort_by_key(|sample| sample.round);
    found
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values
        .into_iter()
        .filter(|value| value.is_finite())
        .collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}

/// Summaries of all subjects at all points, in the order in which they were measured.
pub(crate) fn summaries(samples: &[Sample]) -> Vec<(Point, BTreeMap<Kind, Summary>)> {
    let mut points: Vec<Point> = Vec::new();
    for sample in samples {
        if !points.contains(&sample.point) {
            points.push(sample.point);
        }
    }
    let at = |point: Point| {
        let here: Vec<&Sample> = samples
            .iter()
            .filter(|sample| sample.point == point)
            .collect();
        let base = of_kind(&here, baseline(point.work));
        let direct = of_kind(&here, Kind::Direct);
        let mut kinds: Vec<Kind> = here.iter().map(|sample| sample.subject).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let summary = |kind| (kind, summary(&of_kind(&here, kind), &base, &direct));
        (point, kinds.into_iter().map(summary).collect())
    };
    points.into_iter().map(at).collect()
}

fn summary(own: &[Sample], base: &[Sample], direct: &[Sample]) -> Summary {
    let all = |figure: fn(&Sample) -> f64| median(own.iter().map(figure));
    let cpu = |sample: &Sample| sample.cpu_us.unwrap_or(f64::NAN);
    let with = |others: &[Sample], figure: &dyn Fn(&Sample, &Sample) -> f64| {
        median(
            own.iter()
                .zip(others)
                .map(|(own, other)| figure(own, other)),
        )
    };
    Summary {
        per_second: all(|sample| sample.per_second),
        p50_us: all(|sample| sample.p50_us),
        p99_us: all(|sample| sample.p99_us),
        cpu_us: median(own.iter().map(cpu)),
        client_cpu_us: all(|sample| sample.client_cpu_us),
        rate_to_base: with(base, &|own, base| own.per_second / base.per_second),
        cpu_to_base: with(base, &|own, base| cpu(own) / cpu(base)),
        p50_added_us: with(direct, &|own, direct| own.p50_us - direct.p50_us),
        p99_added_us: with(direct, &|own, direct| own.p99_us - direct.p99_us),
        rss_kib: own.last().map_or(0, |sample| sample.memory.rss_kib),
        failures: own.iter().map(Sample::failures).sum(),
    }
}
