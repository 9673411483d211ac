//! The tables that a run prints.

mod alone;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle, presets};

use crate::leaks::{IdleUsage, LeaksFigure};
use crate::measure::{Point, Sample, Work};
use crate::page::{self, PageFigure};
use crate::parts::{MemoryFigure, SessionFigure, StartFigure};
use crate::reload::ReloadFigure;
use crate::scale::ScaleFigure;
use crate::setup::Kind;
use crate::streams::StreamsFigure;
use crate::summary::{Summary, baseline, median, summaries};
use crate::swap::SwapFigure;

pub(crate) use alone::{leaks, pages, reloads, scales, streams, swaps};

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
        Kind::Keys => "weir, API keys",
        Kind::Tokens => "weir, tokens",
        Kind::NewTokens => "weir, tokens not seen before",
        Kind::Http2 => "weir, HTTP/2",
        Kind::Tls => "weir, TLS",
        Kind::Classes => "weir, tokens, policies",
        Kind::Arguments => "weir, tokens, policies on arguments",
        Kind::Sampled => "weir, spans of a tenth",
        Kind::Traced => "weir, spans",
        Kind::Unheard => "weir, spans that nobody takes",
        Kind::Limited => "weir, a rate for each caller",
        Kind::Validated => "weir, arguments checked",
        Kind::Redacted => "weir, data rules",
        Kind::Recorded => "weir, records",
        Kind::Hooked => "weir, a hook over HTTP",
        Kind::Everything => "weir, all but the hook",
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
        Work::AskableCall => "tools/call, callers that can be asked",
        Work::AskingCall => "tools/call and one form that is asked and answered",
        Work::List => "tools/list, 2,000 tools",
        Work::Open => "opening a session",
        Work::OpenClose => "opening and closing a session",
    };
    let era = if modern { ", 2026-07-28" } else { "" };
    let plural = if callers == 1 { "" } else { "s" };
    let long = match text / KIB {
        0 => String::new(),
        kib => format!(", {kib} KiB of argument"),
    };
    format!("{work}, {callers} caller{plural}{era}{long}")
}

/// Prints what each subject's calls cost more than those of a plain weir, as a table of Markdown.
pub(crate) fn prices(samples: &[Sample]) {
    for (point, subjects) in summaries(samples) {
        let Some(plain) = subjects.get(&Kind::Weir) else {
            continue;
        };
        let mut table = table(&[&title(point), "CPU of a call", "more", "of weir", "p50"]);
        table.load_style(presets::ASCII_MARKDOWN);
        for (kind, figures) in &subjects {
            let micros = |micros: f64| format!("{} µs", number(micros, 1));
            let cells = vec![
                name(*kind).to_owned(),
                micros(figures.cpu_us),
                micros(figures.cpu_us - plain.cpu_us),
                format!("{} ×", number(figures.cpu_us / plain.cpu_us, 2)),
                time(figures.p50_us),
            ];
            row(&mut table, cells);
        }
        say(&format!("\n{table}"));
    }
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
    let added = |micros: f64| {
        if kind == Kind::Direct {
            "–".into()
        } else {
            time(micros)
        }
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
pub(crate) fn errors<'a>(all: impl Iterator<Item = (Kind, &'a BTreeMap<String, u64>)>) {
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
pub(crate) fn whole(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let digits = format!("{value:.0}");
    let groups: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8_lossy(&groups.join(&b","[..])).into_owned()
}

pub(crate) fn mebibytes(kib: u64) -> String {
    if kib == 0 {
        return "–".into();
    }
    #[allow(clippy::cast_precision_loss, reason = "sizes far below 2^52 KiB")]
    let mib = kib as f64 / 1024.0;
    number(mib, 1)
}
