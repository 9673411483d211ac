//! Events: what happened of late.

use maud::{Markup, html};

use crate::admin::events::{EventLog, WeirEvent};
use crate::page::layout::{PageView, live, table, text, word};
use crate::page::text::cell;

/// Draws the view.
pub(super) fn draw(log: &EventLog) -> Markup {
    let events = log.after(0);
    let columns = [text("Time"), text("Kind"), text("Upstream"), text("What")];
    let rows: Vec<_> = events.iter().rev().map(row).collect();
    let caption = html! { "The last " (rows.len()) " events, the newest first" };
    let content = html! {
        (table(&caption, &columns, &rows))
        @if rows.is_empty() { p { "Nothing has happened since weir started." } }
    };
    html! {
        h2 { "Events" }
        p .note { "Weir looks twice a second. What came and went in between is not here." }
        (live(&PageView::Events.link(PageView::Events.path()), "weir-events from:body", &content))
    }
}

fn row(event: &WeirEvent) -> [Markup; 4] {
    [
        html! { (event.time) },
        match event.is_bad {
            true => html! { (word("bad", event.kind)) br; span .note { "look at it" } },
            false => word("good", event.kind),
        },
        html! { (cell(event.upstream.as_deref().unwrap_or_default())) },
        cell(&event.text),
    ]
}
