//! Callers: who sees how much, what policies decided, and what data rules found.

use maud::{Markup, html};

use crate::admin::callers::CallersReport;
use crate::live::Snapshot;
use crate::page::door::Visitor;
use crate::page::layout::{PageView, live, number, table, text};
use crate::page::text::cell;

const VIEW: PageView = PageView::Callers;

/// Draws the view.
pub(super) fn draw(snapshot: &Snapshot, visitor: Visitor) -> Markup {
    let content = match visitor.sees_calls {
        true => report(&CallersReport::of(snapshot)),
        false => html! {
            p { a href=(VIEW.link(PageView::LogIn.path())) { "Log in" } " to see who calls." }
        },
    };
    html! {
        h2 { "Callers" }
        (live(&VIEW.link(VIEW.path()), "weir-catalog from:body, weir-calls from:body", &content))
    }
}

fn report(report: &CallersReport) -> Markup {
    let callers = report.callers.iter().map(|one| {
        [
            cell(&one.caller.to_string()),
            html! { (one.caller.kind) },
            html! { (one.era) },
            html! { (one.tools) " of " (report.tools) },
        ]
    });
    let callers: Vec<_> = callers.collect();
    let data = report.data.iter().map(|one| {
        [
            html! { (cell(&one.class)) },
            html! { (one.direction) },
            html! { (one.action) },
            html! { (one.values) },
        ]
    });
    let data: Vec<_> = data.collect();
    html! {
        @if report.has_policies {
            p {
                "Decisions of policies since the start: "
                @for (at, (word, count)) in report.decisions.iter().enumerate() {
                    @if at > 0 { ", " }
                    (count) " " (word)
                }
                ". " a href=(VIEW.link("page/calls?decision=deny")) { "The last that were denied" } "."
            }
        } @else {
            p { "There are no policies: every caller may call everything." }
        }
        (table(
            &html! {
                "One of each class of callers that listed something, and those that the config names"
                @if report.more > 0 { "; " (report.more) " more are not shown" }
            },
            &[text("Caller"), text("Kind"), text("Era"), number("Tools")],
            &callers,
        ))
        @if callers.is_empty() { p { "Nobody has listed anything that is decided by policies." } }
        h3 { "Data rules" }
        @if data.is_empty() {
            p { "Data rules have found nothing, or there are none." }
        } @else {
            (table(
                &html! { "Values that data rules found since the start" },
                &[text("Class"), text("Direction"), text("Action"), number("Values")],
                &data,
            ))
        }
    }
}
