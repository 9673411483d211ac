//! The limits that the project set itself, against what was measured.

use std::collections::BTreeMap;

use crate::leaks::{GROWTH_KIB, POOLED};
use crate::measure::{Point, TEXT_BYTES, Work};
use crate::parts::{MemoryFigure, Results};
use crate::report::{self, number, say, time};
use crate::setup::Kind;
use crate::summary::{Summary, median, summaries};

/// One line of the last table: what, measured, goal, and whether it is met.
struct Goal(String, String, &'static str, bool);

/// Prints the goals that this run has figures for.
pub(crate) fn print(results: &Results) {
    let mut goals = Vec::new();
    for (point, subjects) in summaries(&results.samples) {
        // The goals are for short calls.
        let short = point.text == TEXT_BYTES;
        if let Some(weir) = subjects.get(&Kind::Weir).filter(|_| short) {
            goals.extend(of_point(point, weir, &subjects));
        }
    }
    goals.extend(of_memory(results));
    goals.extend(of_starts(results));
    goals.extend(of_scales(results));
    goals.extend(of_pages(results));
    goals.extend(of_parked(results));
    if goals.is_empty() {
        return;
    }
    let mut table = report::table(&["weir", "measured", "goal", ""]);
    for Goal(what, measured, goal, met) in goals {
        let verdict = if met { "met" } else { "missed" };
        let cells = vec![what, measured, goal.to_owned(), verdict.to_owned()];
        report::row(&mut table, cells);
    }
    say(&format!("\n{table}"));
}

/// A goal of time; the measured one and the limit in microseconds.
fn at_most(what: &str, micros: f64, limit: f64, text: &'static str) -> Goal {
    Goal(what.into(), time(micros), text, micros <= limit)
}

fn of_point(point: Point, weir: &Summary, subjects: &BTreeMap<Kind, Summary>) -> Vec<Goal> {
    let route = subjects.contains_key(&Kind::Route);
    let direct = subjects.contains_key(&Kind::Direct);
    match (point.work, point.callers) {
        (Work::Call, 32) => {
            let mut goals = Vec::new();
            if route {
                goals.extend(against_route(point, weir));
            }
            goals.extend(of_spans(weir, subjects));
            if direct && !point.modern {
                let what = "p99 added, 32 callers";
                goals.push(at_most(what, weir.p99_added_us, 1500.0, "≤ 1.5 ms"));
            }
            goals
        }
        (Work::Call, 1) if direct && !point.modern => vec![
            at_most("p50 added, one caller", weir.p50_added_us, 60.0, "≤ 60 µs"),
            at_most(
                "p99 added, one caller",
                weir.p99_added_us,
                120.0,
                "≤ 120 µs",
            ),
        ],
        (Work::List, 1) => vec![
            at_most("list of 2,000 tools, p50", weir.p50_us, 1500.0, "≤ 1.5 ms"),
            at_most("list of 2,000 tools, CPU", weir.cpu_us, 600.0, "≤ 0.6 ms"),
        ],
        (Work::OpenClose, _) => vec![at_most(
            "opening and closing a session, CPU",
            weir.cpu_us,
            80.0,
            "≤ 80 µs",
        )],
        _ => Vec::new(),
    }
}

/// The cost of spans beside a weir without.
fn of_spans(weir: &Summary, subjects: &BTreeMap<Kind, Summary>) -> Vec<Goal> {
    let limits = [
        (Kind::Sampled, 1.05, "≤ 1.05 × weir"),
        (Kind::Traced, 1.15, "≤ 1.15 × weir"),
    ];
    let found = limits.into_iter().filter_map(|(kind, limit, text)| {
        let ratio = subjects.get(&kind)?.cpu_us / weir.cpu_us;
        let what = format!("CPU per call, {}", report::name(kind));
        let measured = format!("{} × weir", number(ratio, 2));
        Some(Goal(what, measured, text, ratio <= limit))
    });
    found.collect()
}

fn against_route(point: Point, weir: &Summary) -> [Goal; 2] {
    let era = if point.modern { ", 2026-07-28" } else { "" };
    let times = |ratio: f64| format!("{} × route", number(ratio, 2));
    let (cpu, rate) = (weir.cpu_to_base, weir.rate_to_base);
    [
        Goal(
            format!("CPU per call, 32 callers{era}"),
            times(cpu),
            "≤ 2 × route, then 1.5 ×",
            cpu <= 2.0,
        ),
        Goal(
            format!("calls per second, 32 callers{era}"),
            times(rate),
            "≥ 0.5 × route, then 0.7 ×",
            rate >= 0.5,
        ),
    ]
}

#[allow(clippy::cast_precision_loss, reason = "sizes far below 2^52 KiB")]
fn of_memory(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for figure in &results.sessions {
        if figure.subject == Kind::Weir {
            let what = "memory of an open session".to_owned();
            let each = figure.kib_each();
            let measured = format!("{} KiB", number(each, 2));
            goals.push(Goal(what, measured, "< 8 KiB", each < 8.0));
        }
    }
    for figure in &results.streams {
        let what = "memory of an idle stream, both eras".to_owned();
        let each = figure.kib_each();
        let measured = format!("{} KiB", number(each, 2));
        goals.push(Goal(what, measured, "< 8 KiB", each < 8.0));
        let what = format!("of {} streams told of a change", 2 * figure.streams);
        let met = figure.told == 2 * figure.streams;
        goals.push(Goal(what, figure.told.to_string(), "all", met));
        let [few, _, after] = figure.descriptors;
        let what = "descriptors that streams leave behind".to_owned();
        let left = after.saturating_sub(few);
        goals.push(Goal(what, left.to_string(), "0", left == 0));
    }
    for figure in &results.leaks {
        let (name, grown) = (figure.name(), figure.grown_kib());
        let what = format!("memory that calls of every ending leave, {name}");
        let measured = format!("{} MiB", number(grown as f64 / 1024.0, 1));
        goals.push(Goal(what, measured, "< 4 MiB", grown < GROWTH_KIB));
        let (descriptors, tasks) = figure.more();
        let what = format!("descriptors, tasks that they leave, {name}");
        let measured = format!("{descriptors}, {}", number(tasks, 0));
        let met = descriptors <= POOLED && tasks <= POOLED as f64;
        goals.push(Goal(what, measured, "≤ 16 each: idle connections", met));
    }
    let of_list = |figure: &&MemoryFigure| figure.subject == Kind::Weir && figure.part == "list";
    for figure in results.memory.iter().filter(of_list) {
        let what = "memory with 20 × 100 tools, idle / peak".to_owned();
        let mib = |kib: u64| kib as f64 / 1024.0;
        let (idle, peak) = (mib(figure.idle.rss_kib), mib(figure.after.peak_kib));
        let measured = format!("{} / {} MiB", number(idle, 1), number(peak, 1));
        let met = idle <= 20.0 && peak <= 50.0;
        goals.push(Goal(what, measured, "≤ 20 / 50 MiB", met));
    }
    goals
}

fn of_scales(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for figure in &results.scales {
        let memory = figure.mib_per_1000_tools();
        let measured = format!("{} MiB", number(memory, 2));
        let what = "memory per 1,000 tools".to_owned();
        goals.push(Goal(what, measured, "< 3 MiB", memory < 3.0));
        let (told, _) = figure.told();
        let what = format!("a change among {} upstreams told", figure.upstreams);
        goals.push(at_most(&what, told * 1e3, 50e3, "< 50 ms"));
        let ratio = figure.resyncing.at(50) / figure.rest.at(50);
        let what = "list under resyncs of all, p50, to that at rest".to_owned();
        let measured = format!("{} ×", number(ratio, 2));
        goals.push(Goal(what, measured, "≤ 1.2 ×", ratio <= 1.2));
    }
    goals
}

fn of_pages(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for figure in &results.pages {
        let what = format!("the slowest view over {} tools", figure.tools);
        goals.push(at_most(&what, figure.worst() * 1e3, 200e3, "≤ 200 ms"));
        let ratio = figure.ratio(99);
        let what = "p99 of calls with open pages, to that without".to_owned();
        let measured = format!("{} ×", number(ratio, 2));
        goals.push(Goal(what, measured, "≤ 1.1 ×", ratio <= 1.1));
    }
    goals
}

fn of_parked(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for figure in &results.parked {
        let each = figure.kib_each();
        let what = "memory of a call that waits for its caller".to_owned();
        let measured = format!("{} KiB", number(each, 1));
        goals.push(Goal(what, measured, "≤ 30 KiB", each <= 30.0));
        let what = format!("of {} such calls answered", figure.calls);
        let (answered, left) = (figure.answered, figure.left.is_empty());
        let met = answered == figure.calls && left;
        goals.push(Goal(what, answered.to_string(), "all, and none left", met));
    }
    goals
}

fn of_starts(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (upstreams, stored) in [(2, false), (20, false), (20, true)] {
        let starts = results.starts.iter().filter(|figure| {
            (figure.subject, figure.upstreams, figure.stored) == (Kind::Weir, upstreams, stored)
        });
        let micros = 1e3 * median(starts.map(|figure| figure.lists_ms));
        if !micros.is_finite() {
            continue;
        }
        goals.push(match stored {
            false => {
                let what = format!("start to complete list, {upstreams} upstreams");
                at_most(&what, micros, 15e3, "≤ 15 ms")
            }
            true => {
                let what = format!("the same, all {upstreams} upstreams down, listings stored");
                at_most(&what, micros, 300e3, "< 300 ms")
            }
        });
    }
    goals
}
