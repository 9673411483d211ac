//! Calls between the eras, beside calls within each: the cost of crossing, without a question to the caller and
//! with one, and the weight of calls that wait for their callers.
//!
//! A weir over legacy upstreams and one over modern upstreams are up together. Callers of both eras call
//! each of them in turn, round after round.

mod parked;

use serde::Serialize;

use crate::caller::Era;
use crate::measure::{self, Point, Sample, Work};
use crate::parts::{Plan, Results};
use crate::report::{self, number, say, time, whole};
use crate::setup::{Kind, RunFiles, Setup, Shape};
use crate::summary::median;
use crate::upstream::UpstreamEras;

pub(crate) use parked::ParkedFigure;

const KIB: usize = 1024;
const CALLERS: usize = 32;
/// The eras of the caller and of the upstream. The first two do not cross.
const PAIRS: [(Era, Era); 4] = [
    (Era::Legacy, Era::Legacy),
    (Era::Modern, Era::Modern),
    (Era::Modern, Era::Legacy),
    (Era::Legacy, Era::Modern),
];
/// The work that is measured, and the number of its callers.
const POINTS: [(Work, usize); 4] = [
    (Work::Call, CALLERS),
    (Work::AskableCall, CALLERS),
    (Work::AskingCall, CALLERS),
    (Work::AskingCall, 1),
];

/// The figures of one window of one pair.
#[derive(Serialize)]
pub(crate) struct CrossedSample {
    pub(crate) upstream: Era,
    #[serde(flatten)]
    pub(crate) sample: Sample,
}

/// The upstreams of each era, and a weir over them.
struct Setups {
    legacy: Setup,
    modern: Setup,
}

impl Setups {
    fn of(&self, upstream: Era) -> &Setup {
        match upstream {
            Era::Legacy => &self.legacy,
            Era::Modern => &self.modern,
        }
    }
}

pub(crate) async fn run(
    run_files: &RunFiles,
    plan: &Plan,
    results: &mut Results,
) -> Result<(), String> {
    if !plan.kinds.contains(&Kind::Weir) {
        return Ok(());
    }
    let start = async |speaks| {
        let shape = Shape {
            speaks,
            ..plan.shape.clone()
        };
        Setup::start(run_files, shape, &[Kind::Weir]).await
    };
    let setups = Setups {
        legacy: start(UpstreamEras::Legacy).await?,
        modern: start(UpstreamEras::Modern).await?,
    };
    for (work, callers) in POINTS {
        let samples = measure_pairs(&setups, plan, work, callers).await;
        print(&samples);
        results.crossed.extend(samples);
    }
    setups.legacy.stop().await;
    setups.modern.stop().await;
    results.parked.push(parked::run(run_files, plan).await?);
    parked::print(&results.parked);
    Ok(())
}

/// Measures every pair in turn, round after round, each round beginning with another one.
async fn measure_pairs(
    setups: &Setups,
    plan: &Plan,
    work: Work,
    callers: usize,
) -> Vec<CrossedSample> {
    let mut samples = Vec::new();
    for round in 0..plan.pace.rounds {
        for turn in 0..PAIRS.len() {
            let (caller, upstream) = PAIRS[(round + turn) % PAIRS.len()];
            let point = Point {
                work,
                modern: caller == Era::Modern,
                callers,
                text: KIB,
            };
            report::progress(&format!(
                "{} round {} of {}: {} upstream",
                report::title(point),
                round + 1,
                plan.pace.rounds,
                name(upstream)
            ));
            let setup = setups.of(upstream);
            let subject = &setup.subjects[0];
            let sample = measure::calmest(setup, subject, point, plan.pace, round).await;
            samples.push(CrossedSample { upstream, sample });
        }
    }
    samples
}

fn name(era: Era) -> &'static str {
    match era {
        Era::Legacy => "legacy",
        Era::Modern => "modern",
    }
}

/// The windows of one pair, by round.
fn of_pair(samples: &[CrossedSample], (caller, upstream): (Era, Era)) -> Vec<&Sample> {
    let is_wanted =
        |crossed: &&CrossedSample| (crossed.sample.era, crossed.upstream) == (caller, upstream);
    let found = samples.iter().filter(is_wanted);
    let mut found: Vec<_> = found.map(|crossed| &crossed.sample).collect();
    found.sort_by_key(|sample| sample.round);
    found
}

fn cpu(sample: &Sample) -> f64 {
    sample.cpu_us.unwrap_or(f64::NAN)
}

/// The median over rounds of the ratio of CPU within a round.
fn ratio(own: &[&Sample], base: &[&Sample]) -> f64 {
    let pairs = own.iter().zip(base);
    median(pairs.map(|(own, base)| cpu(own) / cpu(base)))
}

fn print(samples: &[CrossedSample]) {
    let Some(first) = samples.first() else {
        return;
    };
    let others = samples.iter().map(|crossed| crossed.sample.others_percent);
    let others = others.fold(0.0, f64::max);
    let point = Point {
        modern: false,
        ..first.sample.point
    };
    say(&format!(
        "\n{} (other processes took up to {others:.0} % of the machine)",
        report::title(point)
    ));
    let mut table = report::table(&[
        "caller over upstream",
        "per second",
        "p50",
        "p99",
        "CPU ms per 1,000",
        "× legacy",
        "× modern",
        "failures",
    ]);
    let [legacy, modern] = [PAIRS[0], PAIRS[1]].map(|pair| of_pair(samples, pair));
    for pair in PAIRS {
        let own = of_pair(samples, pair);
        let all = |figure: fn(&Sample) -> f64| median(own.iter().map(|sample| figure(sample)));
        let cells = vec![
            format!("{} over {}", name(pair.0), name(pair.1)),
            whole(all(|sample| sample.per_second)),
            time(all(|sample| sample.p50_us)),
            time(all(|sample| sample.p99_us)),
            number(all(cpu), 1),
            number(ratio(&own, &legacy), 2),
            number(ratio(&own, &modern), 2),
            own.iter()
                .map(|sample| sample.failures())
                .sum::<u64>()
                .to_string(),
        ];
        report::row(&mut table, cells);
    }
    say(&table.to_string());
    let errors = samples.iter().map(|crossed| &crossed.sample.errors);
    report::errors(errors.map(|errors| (Kind::Weir, errors)));
}
