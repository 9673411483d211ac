//! Plan: what a pasted config would change in the catalog.

use maud::{Markup, html};

use crate::admin::pasted::{MOST_BYTES, PastedError, PastedPlan};
use crate::catalog::diff::UpstreamDiff;
use crate::live::Snapshot;
use crate::page::layout::{PageView, list, number, table, text, word};
use crate::page::text::{WHOLE, cell, cut, plain};

const VIEW: PageView = PageView::Plan;
/// Most changes of each kind at one upstream that are shown.
const SHOWN: usize = 100;

/// Draws the view. `pasted` is the text that was sent, if one was.
pub(super) fn draw(snapshot: &Snapshot, pasted: Option<&str>) -> Markup {
    html! {
        h2 { "Plan" }
        p {
            "Paste the main file of a config to see what it would change in the catalog. It is parsed and nothing else: "
            "no secret and no file is read, no program starts, no server is asked, and the running config stays as it is. "
            code { "weir plan" } " says more: it asks new upstreams, and compares policies and all settings."
        }
        form .stack method="post" action=(VIEW.link(VIEW.path())) {
            label {
                "Config, as YAML or JSON"
                textarea name="config" spellcheck="false" maxlength=(MOST_BYTES) { (plain(pasted.unwrap_or_default())) }
            }
            button type="submit" { "Plan" }
        }
        @if let Some(pasted) = pasted {
            section #plan aria-label="Plan" { (answer(&PastedPlan::of(snapshot, pasted))) }
        }
    }
}

fn answer(plan: &PastedPlan) -> Markup {
    if !plan.errors.is_empty() {
        return errors(&plan.errors);
    }
    let names = |names: &[String]| names.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    let parts = [
        ("New upstreams", names(&plan.added)),
        ("Upstreams that are gone", names(&plan.removed)),
        ("Upstreams of other files, which stay", names(&plan.kept)),
        (
            "Upstreams whose tools are not known before they are asked",
            names(&plan.unlisted),
        ),
    ];
    html! {
        h3 { "What would change" }
        @if plan.changes.is_empty() && plan.added.is_empty() && plan.removed.is_empty() {
            p { "No name and no definition would change." }
        }
        @for (title, names) in &parts { (list(title, names.iter().map(String::as_str))) }
        @for upstream in plan.changes.upstreams.iter().take(SHOWN) { (changes(upstream)) }
    }
}

fn errors(errors: &[PastedError]) -> Markup {
    let place = |number: Option<usize>| html! { @if let Some(number) = number { (number) } };
    let rows: Vec<_> = errors
        .iter()
        .take(SHOWN)
        .map(|error| {
            let key =
                html! { @if error.key.is_empty() { "the file" } @else { (cell(&error.key)) } };
            [
                key,
                place(error.line),
                place(error.column),
                cell(&error.message),
            ]
        })
        .collect();
    let columns = [
        text("Key"),
        number("Line"),
        number("Column"),
        text("What is wrong"),
    ];
    let caption = html! { (word("bad", "Refused")) ": " (errors.len()) " mistakes" };
    table(&caption, &columns, &rows)
}

fn changes(upstream: &UpstreamDiff) -> Markup {
    let mut rows = Vec::new();
    for item in upstream.added.iter().take(SHOWN) {
        let why: Vec<_> = item.because.iter().map(ToString::to_string).collect();
        rows.push(row(
            &item.name,
            word("good", "added"),
            item.kind.as_str(),
            &why.join("; "),
        ));
    }
    for item in upstream.removed.iter().take(SHOWN) {
        rows.push(row(
            &item.name,
            word("bad", "removed"),
            item.kind.as_str(),
            "",
        ));
    }
    for item in upstream.renamed.iter().take(SHOWN) {
        let what = format!("was {}", item.from);
        rows.push(row(
            &item.to,
            word("warn", "renamed"),
            item.kind.as_str(),
            &what,
        ));
    }
    for item in upstream.redefined.iter().take(SHOWN) {
        let what: Vec<_> = item
            .changes
            .iter()
            .map(|change| change.what.as_str())
            .collect();
        rows.push(row(
            &item.name,
            word("warn", "redefined"),
            item.kind.as_str(),
            &what.join("; "),
        ));
    }
    let lists = [
        upstream.added.len(),
        upstream.removed.len(),
        upstream.renamed.len(),
    ];
    let all = lists.iter().sum::<usize>() + upstream.redefined.len();
    let columns = [text("Name"), text("Change"), text("Kind"), text("What")];
    let caption = html! {
        "Upstream " strong { (cell(&upstream.upstream)) } ": " (all) " changes"
        @if all > rows.len() { ", of which " (rows.len()) " are shown" }
    };
    table(&caption, &columns, &rows)
}

fn row(name: &str, change: Markup, kind: &str, what: &str) -> [Markup; 4] {
    [
        html! { span .name { (cell(name)) } },
        change,
        html! { (kind) },
        cut(what, WHOLE.min(1_000)),
    ]
}
