//! The tables that a run prints.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle, presets};

use crate::leaks::{LeaksFigure, Rest};
use crate::measure::{Point, Sample, Work};
use crate::parts::{MemoryFigure, SessionFigure, StartFigure};
use crate::reload::ReloadFigure;
use crate::scale::ScaleFigure;
use crate::streams::StreamsFigure;
use crate::summary::{Summary, baseline, median, summaries};
use crate::swap::SwapFigure;
use crate::world::Kind;

/// Lines under the titles and around the whole, none between rows.
const STYLE: TableStyle = presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());

const ERRORS_SHOWN: usize = 8;

/// One line that the next one overwrites, on a terminal only.
pub(crate) fn progress(text: &str) {
    let mut error = std::io::stderr().lock();
    if error.is_terminal() {
        let _ = write!(error, "\r\x1b[2K{text}").and_then(|()| error.flush());
    }
}

/// An argument from here on is worth a word.
const KIB: usize = 1024;

pub(crate) fn say(text: &str) {
    progress("");
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

pub(crate) fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Direct => "direct",
        Kind::Forward => "forward",
        Kind::Route => "route",
        Kind::Weir => "weir",
        Kind::Saas => "weir, saas",
        Kind::Sigv4 => "weir, sigv4",
    }
}

pub(crate) fn title(point: Point) -> String {
    let Point {
        work,
        modern,
        callers,
        text,
    } = point;
    let work = match work {
        Work::Call => "tools/call",
        Work::List => "tools/list, 2,000 tools",
        Work::Open => "opening a session",
        Work::OpenClose => "opening and closing a session",
    };
    let era = if modern { ", 2026-07-28" } else { "" };
    let plural = if callers == 1 { "" } else { "s" };
    let long = match text {
        0..KIB => "",
        _ => ", 1 KiB of argument",
    };
    format!("{work}, {callers} caller{plural}{era}{long}")
}

/// Prints what was measured at one point.
pub(crate) fn point(samples: &[Sample]) {
    for (point, subjects) in summaries(samples) {
        let others = samples.iter().map(|sample| sample.others_percent);
        let others = others.fold(0.0, f64::max);
        say(&format!(
            "\n{} (other processes took up to {others:.0} % of the machine)",
            title(point)
        ));
        let base = name(baseline(point.work));
        let mut table = table(&[
            "subject",
            "per second",
            &format!("of {base}"),
            "p50",
            "p99",
            "p50 added",
            "p99 added",
            "CPU ms per 1,000",
            &format!("× {base}"),
            "client CPU",
            "RSS MiB",
            "failures",
        ]);
        for (kind, figures) in subjects {
            point_row(&mut table, kind, &figures);
        }
        say(&table.to_string());
    }
    errors(
        samples
            .iter()
            .map(|sample| (sample.subject, &sample.errors)),
    );
    let mut seen = (0, 0);
    for sample in samples.iter().filter(|sample| sample.subject == Kind::Weir) {
        seen = (seen.0 + sample.upstream_lists, seen.1 + sample.done);
    }
    if samples.iter().any(|sample| sample.point.work == Work::List) && seen.1 > 0 {
        let (lists, answered) = seen;
        say(&format!(
            "  upstreams saw {lists} tools/list, weir answered {answered} whole lists"
        ));
    }
}

fn point_row(table: &mut Table, kind: Kind, figures: &Summary) {
    let added = |micros: f64| match kind {
        Kind::Direct => "–".into(),
        Kind::Forward | Kind::Route | Kind::Weir | Kind::Saas | Kind::Sigv4 => time(micros),
    };
    let cells = vec![
        name(kind).to_owned(),
        whole(figures.per_second),
        number(figures.rate_to_base, 2),
        time(figures.p50_us),
        time(figures.p99_us),
        added(figures.p50_added_us),
        added(figures.p99_added_us),
        number(figures.cpu_us, 1),
        number(figures.cpu_to_base, 2),
        number(figures.client_cpu_us, 1),
        mebibytes(figures.rss_kib),
        figures.failures.to_string(),
    ];
    row(table, cells);
}

/// Says what went wrong, the most frequent first.
fn errors<'a>(all: impl Iterator<Item = (Kind, &'a BTreeMap<String, u64>)>) {
    let mut total: BTreeMap<(Kind, &str), u64> = BTreeMap::new();
    for (kind, errors) in all {
        for (error, count) in errors {
            *total.entry((kind, error)).or_default() += count;
        }
    }
    let mut total: Vec<_> = total.into_iter().collect();
    total.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for ((kind, error), count) in total.iter().take(ERRORS_SHOWN) {
        say(&format!("  {}: {count} × {error}", name(*kind)));
    }
    if total.len() > ERRORS_SHOWN {
        let more = total.len() - ERRORS_SHOWN;
        say(&format!("  … and {more} other kinds of failure"));
    }
}

pub(crate) fn sessions(figures: &[SessionFigure]) {
    let mut table = table(&["sessions kept open", "number", "KiB each", "failures"]);
    for figure in figures {
        let cells = vec![
            name(figure.subject).to_owned(),
            figure.sessions.to_string(),
            number(figure.kib_each(), 2),
            figure.errors.to_string(),
        ];
        row(&mut table, cells);
    }
    say(&format!("\n{table}"));
}

pub(crate) fn starts(figures: &[StartFigure]) {
    let mut table = table(&[
        "start",
        "upstreams",
        "tools",
        "accepts",
        "first page",
        "first complete list",
        "slowest",
        "failures",
    ]);
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for figure in figures {
        let group = (
            figure.stored,
            figure.upstreams,
            figure.subject,
            figure.tools,
        );
        groups.entry(group).or_default().push(figure);
    }
    for ((stored, upstreams, kind, tools), figures) in groups {
        let lists = || figures.iter().map(|figure| figure.lists_ms);
        let failures = figures.iter().filter(|figure| figure.error.is_some());
        let millis = |value: f64| format!("{} ms", number(value, 1));
        let cells = vec![
            match stored {
                true => "weir, upstreams down, listings stored".to_owned(),
                false => name(kind).to_owned(),
            },
            upstreams.to_string(),
            tools.to_string(),
            millis(median(figures.iter().map(|figure| figure.accepts_ms))),
            millis(median(figures.iter().map(|figure| figure.first_page_ms))),
            millis(median(lists())),
            millis(lists().fold(f64::NAN, f64::max)),
            failures.count().to_string(),
        ];
        row(&mut table, cells);
    }
    say(&format!("\n{table}"));
    for error in figures.iter().filter_map(|figure| figure.error.as_ref()) {
        say(&format!("  {error}"));
    }
}

pub(crate) fn memory(figures: &[MemoryFigure]) {
    let mut table = table(&["memory, MiB", "part", "tools", "idle", "after", "peak"]);
    for figure in figures {
        let cells = vec![
            name(figure.subject).to_owned(),
            figure.part.to_owned(),
            format!("{} × {}", figure.upstreams, figure.tools_each),
            mebibytes(figure.idle.rss_kib),
            mebibytes(figure.after.rss_kib),
            mebibytes(figure.after.peak_kib),
        ];
        row(&mut table, cells);
    }
    say(&format!("\n{table}"));
}

pub(crate) fn streams(figures: &[StreamsFigure]) {
    let mut table = table(&["idle streams of weir", ""]);
    for figure in figures {
        let [few, many, after] = figure.descriptors;
        let rss = figure.rss_kib.map(mebibytes);
        let rows = [
            (
                "streams: legacy GET + modern listen",
                format!("{0} + {0}", figure.streams),
            ),
            (
                "memory of each: legacy / modern",
                format!(
                    "{} / {} KiB",
                    number(figure.legacy_kib, 1),
                    number(figure.modern_kib, 1)
                ),
            ),
            (
                "told of one change",
                format!("{} of {}", figure.told, 2 * figure.streams),
            ),
            (
                "half / all of them told after",
                format!(
                    "{} / {}",
                    time(figure.half_told_ms * 1e3),
                    time(figure.all_told_ms * 1e3)
                ),
            ),
            (
                "CPU of weir for it",
                format!("{} ms", number(figure.telling_cpu_ms, 0)),
            ),
            (
                "descriptors: before / with them / after",
                format!("{few} / {many} / {after}"),
            ),
            (
                "RSS MiB: before / with them / after / after as many again",
                rss.join(" / "),
            ),
            ("not back to where it was", figure.left.join(", ")),
        ];
        for (what, value) in rows {
            row(&mut table, vec![what.to_owned(), value]);
        }
    }
    say(&format!("\n{table}"));
    for error in figures
        .iter()
        .flat_map(|figure| &figure.errors)
        .take(ERRORS_SHOWN)
    {
        say(&format!("  {error}"));
    }
}

pub(crate) fn leaks(figures: &[LeaksFigure]) {
    let mut table = table(&[
        "calls of every ending",
        "calls",
        "RSS MiB before",
        "after each round",
        "descriptors before",
        "after each round",
        "tasks before",
        "after each round",
        "not back",
        "failures",
    ]);
    for figure in figures {
        let rounds = |of: &dyn Fn(&Rest) -> String| {
            let rounds: Vec<String> = figure.rounds.iter().map(of).collect();
            rounds.join(" / ")
        };
        let rss = |rest: &Rest| mebibytes(rest.rss_kib);
        let descriptors = |rest: &Rest| rest.descriptors.to_string();
        let tasks = |rest: &Rest| number(rest.tasks.unwrap_or(f64::NAN), 0);
        let cells = vec![
            format!("{} upstreams", figure.name()),
            figure.calls.to_string(),
            rss(&figure.before),
            rounds(&rss),
            descriptors(&figure.before),
            rounds(&descriptors),
            tasks(&figure.before),
            rounds(&tasks),
            figure.left.join(", "),
            figure.errors.values().sum::<u64>().to_string(),
        ];
        row(&mut table, cells);
    }
    say(&format!("\n{table}"));
    errors(figures.iter().map(|figure| (Kind::Weir, &figure.errors)));
}

pub(crate) fn scales(figures: &[ScaleFigure]) {
    let mut table = table(&["weir over many upstreams", ""]);
    for figure in figures {
        let (told, worst) = figure.told();
        let lists = |percent| {
            let (rest, busy) = (figure.rest.at(percent), figure.resyncing.at(percent));
            format!(
                "{} / {} ({} ×)",
                time(rest),
                time(busy),
                number(busy / rest, 2)
            )
        };
        let rows = [
            (
                "upstreams × tools",
                format!("{} × {}", figure.upstreams, figure.tools_each),
            ),
            (
                "start to first page / complete list",
                format!(
                    "{} / {}",
                    time(figure.first_page_ms * 1e3),
                    time(figure.start_ms * 1e3)
                ),
            ),
            (
                "memory, MiB: one without tools / all / peak",
                [
                    figure.bare.rss_kib,
                    figure.loaded.rss_kib,
                    figure.loaded.peak_kib,
                ]
                .map(mebibytes)
                .join(" / "),
            ),
            (
                "memory per 1,000 tools",
                format!("{} MiB", number(figure.mib_per_1000_tools(), 2)),
            ),
            (
                "a change told after: median / worst",
                format!("{} / {}", time(told * 1e3), time(worst * 1e3)),
            ),
            ("first page, p50: at rest / under resyncs", lists(50)),
            ("first page, p99: at rest / under resyncs", lists(99)),
            ("resyncs meanwhile", figure.resyncs.to_string()),
            ("failures", figure.errors.len().to_string()),
        ];
        for (what, measured) in rows {
            row(&mut table, vec![what.to_owned(), measured]);
        }
    }
    say(&format!("\n{table}"));
    for error in figures
        .iter()
        .flat_map(|figure| &figure.errors)
        .take(ERRORS_SHOWN)
    {
        say(&format!("  {error}"));
    }
}

pub(crate) fn reloads(figures: &[ReloadFigure]) {
    let mut table = table(&["reloads under load", ""]);
    for figure in figures {
        let counts = |at: usize| {
            let count = |of: &Vec<[u64; 3]>| of.iter().map(|counts| counts[at]).sum::<u64>();
            format!("{} / {}", count(&figure.before), count(&figure.after))
        };
        let rows = [
            ("configs written", figure.written.to_string()),
            (
                "POST /reload: applied / unchanged / refused",
                format!(
                    "{} / {} / {}",
                    figure.applied, figure.unchanged, figure.refused
                ),
            ),
            ("slowest reload", time(figure.slowest_ms * 1e3)),
            (
                "calls on unchanged upstreams: done / failed",
                format!(
                    "{} / {}",
                    figure.calls_on_unchanged, figure.failed_on_unchanged
                ),
            ),
            (
                "calls on changing upstreams: done / no such tool / failed",
                format!(
                    "{} / {} / {}",
                    figure.calls_on_changing, figure.unknown, figure.failed_on_changing
                ),
            ),
            (
                "unchanged upstreams, connections: before / after",
                counts(0),
            ),
            (
                "unchanged upstreams, sessions and probes: before / after",
                counts(1),
            ),
            ("unchanged upstreams, tokens: before / after", counts(2)),
            ("failures", figure.failures().to_string()),
        ];
        for (what, measured) in rows {
            row(&mut table, vec![what.to_owned(), measured]);
        }
    }
    say(&format!("\n{table}"));
    errors(figures.iter().map(|figure| (Kind::Weir, &figure.errors)));
}

pub(crate) fn swaps(figures: &[SwapFigure]) {
    let mut table = table(&[
        "swaps under load",
        "swaps",
        "calls",
        "failed",
        "lists",
        "pages",
        "inconsistent",
        "changes seen",
        "told (legacy)",
        "told (modern)",
        "last swap shows after",
        "all failures",
    ]);
    for figure in figures {
        let range = |(least, most): (u64, u64)| format!("{least}–{most}");
        row(
            &mut table,
            vec![
                name(figure.subject).to_owned(),
                figure.swaps.to_string(),
                figure.calls.to_string(),
                figure.failed_calls.to_string(),
                figure.lists.to_string(),
                figure.pages.to_string(),
                figure.inconsistent_lists.to_string(),
                figure.changes_seen.to_string(),
                range(figure.told_legacy),
                range(figure.told_modern),
                figure
                    .settled_ms
                    .map_or("never".into(), |millis| format!("{millis:.1} ms")),
                figure.errors.values().sum::<u64>().to_string(),
            ],
        );
    }
    say(&format!("\n{table}"));
    errors(
        figures
            .iter()
            .map(|figure| (figure.subject, &figure.errors)),
    );
}

pub(crate) fn table(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_header(titles.iter().map(Cell::new));
    table
}

/// A row whose first cell is a name and whose others are figures.
pub(crate) fn row(table: &mut Table, cells: Vec<String>) {
    table.add_row(cells.into_iter().enumerate().map(|(column, text)| {
        let alignment = if column == 0 {
            CellAlignment::Left
        } else {
            CellAlignment::Right
        };
        Cell::new(text).set_alignment(alignment)
    }));
}

pub(crate) fn number(value: f64, digits: usize) -> String {
    if value.is_finite() {
        format!("{value:.digits$}")
    } else {
        "–".into()
    }
}

/// Microseconds, in the unit that reads best.
pub(crate) fn time(micros: f64) -> String {
    match micros.abs() {
        size if !size.is_finite() => "–".into(),
        size if size < 995.0 => format!("{micros:.0} µs"),
        size if size < 9_950.0 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.1} ms", micros / 1e3),
    }
}

/// A count with separators.
fn whole(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let digits = format!("{value:.0}");
    let groups: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8_lossy(&groups.join(&b","[..])).into_owned()
}

fn mebibytes(kib: u64) -> String {
    if kib == 0 {
        return "–".into();
    }
    #[allow(clippy::cast_precision_loss, reason = "sizes far below 2^52 KiB")]
    let mib = kib as f64 / 1024.0;
    number(mib, 1)
}
