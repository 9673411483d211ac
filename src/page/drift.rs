//! Drift: definitions that wait to be accepted, beside their pins.

use maud::{Markup, html};
use serde_json::Value;
use serde_json::value::RawValue;
use url::form_urlencoded;

use crate::admin::drift::{BothDefinitions, DriftState, PendingDefinition, all_pending};
use crate::live::Snapshot;
use crate::page::diff;
use crate::page::door::Visitor;
use crate::page::layout::{PageView, explain_link, live, pages, word};
use crate::page::text::{WHOLE, cell, cut, span_words};

const VIEW: PageView = PageView::Drift;
/// Definitions of a page.
const SHOWN: usize = 20;
/// The most changes of one definition that are listed.
const CHANGES: usize = 50;

/// Returns the page that a query asks for.
pub(super) fn page_of(query: &str) -> usize {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let page = pairs.find(|(name, _)| name == "page");
    page.and_then(|(_, page)| page.parse().ok())
        .unwrap_or_default()
}

/// Draws the view.
pub(super) fn draw(snapshot: &Snapshot, visitor: Visitor, page: usize) -> Markup {
    let all: Vec<PendingDefinition> = all_pending(snapshot).collect();
    let total = all.len();
    let shown = all.into_iter().skip(page.saturating_mul(SHOWN)).take(SHOWN);
    let url = |page| VIEW.link(&format!("{}?page={page}", VIEW.path()));
    let content = html! {
        @if total == 0 {
            p { "Nothing waits: every definition is as it was accepted." }
        }
        @for waiting in shown {
            (card(&BothDefinitions::of(snapshot, waiting), visitor))
        }
        (pages(page, total.div_ceil(SHOWN), url))
    };
    html! {
        h2 { "Drift" }
        p .note {
            "Definitions that differ from what was accepted, where an upstream has a "
            code { "drift" } " policy. Until they are accepted, callers see the old ones or none."
        }
        (live(&url(page), "weir-state from:body, weir-catalog from:body", &content))
    }
}

fn card(both: &BothDefinitions, visitor: Visitor) -> Markup {
    let waiting = &both.waiting;
    let (before, after) = diff::compare(
        &pretty(both.pinned.as_deref()),
        &pretty(both.now.as_deref()),
    );
    let seen = match waiting.state {
        DriftState::Held => "callers see the accepted definition",
        DriftState::Quarantined => "callers do not see it",
    };
    html! {
        section .card aria-label={ "Waiting: " (crate::page::text::plain(&waiting.name)) } {
            h3 { (explain_link(VIEW, &waiting.name)) }
            p {
                (waiting.kind.as_str()) " of " strong { (cell(&waiting.upstream)) } ", there called "
                span .name { (cell(&waiting.original)) }
                ": " (word("warn", waiting.class.as_str())) " change for "
                (span_words(waiting.since_seconds)) "; " (seen) "."
            }
            @if let Some(was) = &waiting.renamed_from { p { "It was called " span .name { (cell(was)) } "." } }
            ul {
                @for change in waiting.changes.iter().take(CHANGES) {
                    li { (word("", change.class.as_str())) ": " (cell(&change.what)) }
                }
                @if waiting.changes.len() > CHANGES { li { "and " (waiting.changes.len() - CHANGES) " more" } }
            }
            div .sides {
                div { h4 { "Accepted" } (diff::before(&before)) }
                div { h4 { "Now" } (diff::after(&after)) }
            }
            details {
                summary { "As it was sent" }
                pre tabindex="0" { (cut(both.now.as_deref().map_or("", RawValue::get), WHOLE)) }
            }
            p .note { "Digest " code { (waiting.digest) } }
            @if visitor.may_write {
                form method="post" action=(VIEW.link("page/accept")) {
                    input type="hidden" name="name" value=(waiting.name);
                    input type="hidden" name="digest" value=(waiting.digest);
                    button type="submit" { "Accept exactly this definition of " (cell(&waiting.name)) }
                }
            } @else {
                p .note {
                    "To accept it: " code { "weir accept " (cell(&waiting.name)) }
                    ", or log in where " code { "admin.page" } " is " code { "write" } "."
                }
            }
        }
    }
}

/// Returns JSON text with a member on each line.
fn pretty(definition: Option<&RawValue>) -> String {
    let Some(definition) = definition else {
        return String::new();
    };
    let value = serde_json::from_str::<Value>(definition.get());
    let pretty = value.and_then(|value| serde_json::to_string_pretty(&value));
    pretty.unwrap_or_else(|_| definition.get().to_owned())
}
