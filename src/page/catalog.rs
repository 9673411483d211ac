//! The catalog: found by the server, a page at a time.

use maud::{Markup, html};

use crate::admin::search::{CatalogQuery, FoundRoute, FoundRoutes, RouteMark, kind_word};
use crate::catalog::Kind;
use crate::page::layout::{
    PageView, explain_link, live, number, pages, search_form, table, text, word,
};
use crate::page::text::{cell, plain};

const VIEW: PageView = PageView::Catalog;

/// Draws the view.
pub(super) fn draw(found: &FoundRoutes, wanted: &CatalogQuery) -> Markup {
    let url = |page| {
        let query = wanted.at_page(page);
        VIEW.link(&format!("{}?{query}", VIEW.path()))
    };
    let first = found.page.saturating_mul(crate::admin::search::ROWS);
    let caption = html! {
        @match found.rows.len() {
            0 => { "None of " (found.total) }
            shown => { (first + 1) " to " (first + shown) " of " (found.total) ", generation " (found.generation) }
        }
    };
    let columns = [
        text("Exposed as"),
        text("Kind"),
        text("Upstream and its own name"),
        text("Description"),
        number("Bytes"),
    ];
    let rows: Vec<_> = found.rows.iter().map(row).collect();
    let content = html! {
        (table(&caption, &columns, &rows))
        @if rows.is_empty() { p { "Nothing in the catalog is like this." } }
        (pages(found.page, found.pages, url))
    };
    html! {
        h2 { "Catalog" }
        p .note { "What callers can see, if policies let them. A name leads to where it comes from and why." }
        (search(wanted))
        (live(&url(wanted.page), "weir-catalog from:body", &content))
    }
}

fn row(route: &FoundRoute) -> [Markup; 5] {
    let marks = [
        (route.stale, "stale"),
        (route.held, "held: the pinned definition is shown"),
        (route.conflict, "another one wanted this name"),
    ];
    [
        html! {
            (explain_link(VIEW, &route.name))
            @for (_, mark) in marks.iter().filter(|(is_so, _)| *is_so) { br; (word("warn", mark)) }
        },
        html! { (route.kind.as_str()) },
        html! { (cell(&route.upstream)) br; span .name { (cell(&route.original)) } },
        cell(&route.description),
        html! { (route.bytes) br; span .note { "≈ " (route.bytes.div_ceil(4)) " tokens" } },
    ]
}

fn search(wanted: &CatalogQuery) -> Markup {
    let fields = html! {
        label {
            "Name, upstream or description"
            input type="search" name="q" value=(plain(&wanted.text)) maxlength="256" autocomplete="off";
        }
        label {
            "Kind"
            select name="kind" {
                option value="" { "all" }
                @for kind in Kind::ALL {
                    option value=(kind_word(kind)) selected[wanted.kind == Some(kind)] { (kind.as_str()) }
                }
            }
        }
        label {
            "Upstream"
            input name="upstream" value=(plain(&wanted.upstream)) maxlength="256" autocomplete="off";
        }
        label {
            "Only"
            select name="mark" {
                option value="" { "all" }
                @for mark in RouteMark::ALL {
                    option value=(mark.as_str()) selected[wanted.mark == Some(mark)] { (mark.as_str()) }
                }
            }
        }
    };
    search_form(&VIEW.link(VIEW.path()), &fields)
}
