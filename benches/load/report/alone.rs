//! Tables of what is measured of weir alone.

use super::*;

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
        let rounds = |of: &dyn Fn(&IdleUsage) -> String| {
            let rounds: Vec<String> = figure.rounds.iter().map(of).collect();
            rounds.join(" / ")
        };
        let rss = |rest: &IdleUsage| mebibytes(rest.rss_kib);
        let descriptors = |rest: &IdleUsage| rest.descriptors.to_string();
        let tasks = |rest: &IdleUsage| number(rest.tasks.unwrap_or(f64::NAN), 0);
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

pub(crate) fn pages(figures: &[PageFigure]) {
    let mut table = table(&["the page for operators", ""]);
    for figure in figures {
        let calls = |percent| {
            let times = [&figure.calm, &figure.watched];
            let [calm, watched] = times.map(|times| time(page::at(times, percent)));
            let ratio = number(figure.ratio(percent), 2);
            format!("{calm} / {watched} ({ratio} ×)")
        };
        let over = format!("{} × {}", figure.upstreams, figure.tools / figure.upstreams);
        let first = time(figure.first_search_ms * 1e3);
        let mut rows = vec![
            ("upstreams × tools".to_owned(), over),
            ("the first text that is looked for".to_owned(), first),
        ];
        for (name, times) in &figure.views {
            let both = [50, 100].map(|percent| time(page::at(times, percent) * 1e3));
            rows.push((format!("{name}: median / worst"), both.join(" / ")));
        }
        for percent in [50, 99] {
            let what = format!("a call, p{percent}: without / with {} pages", page::PAGES);
            rows.push((what, calls(percent)));
        }
        rows.push(("views drawn meanwhile".to_owned(), figure.drawn.to_string()));
        for (what, measured) in rows {
            row(&mut table, vec![what, measured]);
        }
    }
    say(&format!("\n{table}"));
    let errors = figures.iter().flat_map(|figure| &figure.errors);
    for error in errors.take(ERRORS_SHOWN) {
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
