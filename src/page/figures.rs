//! The figures of calls of late: how often, how they end, how long they take.

use maud::{Markup, html};

use crate::admin::calls::{CallFigure, CallFigures};
use crate::page::layout::{PageView, explain_link, number, table, text, word};
use crate::page::text::{cell, span_words};

const VIEW: PageView = PageView::Calls;

/// Draws the figures.
pub(super) fn draw(figures: &CallFigures) -> Markup {
    let columns = [
        text("Tool or method"),
        text("Upstream"),
        number("Calls"),
        number("Per second"),
        number("Errors"),
        number("p50"),
        number("p95"),
        number("p99"),
        number("Added by weir, p99"),
        text("Last error"),
    ];
    let rows: Vec<_> = figures.rows.iter().map(row).collect();
    let caption = html! {
        (figures.all.calls) " calls in the last " (over(figures)) ": "
        (figures.all.per_second) " per second, " (figures.all.error_percent) " % with an error"
        @if let Some(p99) = figures.all.p99_ms { ", 99 in 100 within " (p99) " ms" }
        @if figures.more > 0 { "; the " (rows.len()) " most called of " (rows.len() + figures.more) }
    };
    html! {
        section #figures aria-label="How calls went of late" {
            @if rows.is_empty() {
                p { "No call has ended in the last " (over(figures)) "." }
            } @else {
                (table(&caption, &columns, &rows))
            }
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole seconds of a time span"
)]
fn over(figures: &CallFigures) -> String {
    span_words(figures.over_seconds.max(0.0).round() as u64)
}

fn row(figure: &CallFigure) -> [Markup; 10] {
    let millis = |time: Option<f64>| html! { @if let Some(time) = time { (time) " ms" } };
    let bad = figure.errors + figure.failed;
    [
        html! {
            @match &figure.tool {
                Some(tool) => { (explain_link(VIEW, tool)) }
                None => { span .name { (cell(&figure.method)) } }
            }
        },
        cell(&figure.upstream),
        html! { (figure.calls) },
        html! { (figure.per_second) },
        html! {
            @if bad > 0 { (word("bad", &format!("{bad}"))) " · " (figure.error_percent) " %" } @else { "0" }
            @if figure.cancelled > 0 { br; span .note { (figure.cancelled) " cancelled" } }
        },
        millis(figure.p50_ms),
        millis(figure.p95_ms),
        millis(figure.p99_ms),
        html! { @if let Some(added) = figure.added_p99_us { (added) " µs" } },
        html! {
            @if let Some(error) = &figure.last_error {
                (span_words(error.seconds_ago)) " ago: " (cell(&error.reason))
                br; span .note { "to act: " (error.blame) }
            }
        },
    ]
}
