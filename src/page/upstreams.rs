//! The first view: each upstream with its state, reason and what comes next.

use maud::{Markup, html};
use serde_json::Value;
use url::form_urlencoded;

use crate::admin::{describe_front, describe_with_drift};
use crate::live::Snapshot;
use crate::live::front_gateway::FrontGatewaySync;
use crate::page::door::Visitor;
use crate::page::front_gateway;
use crate::page::layout::{PageView, list, live, number, pages, search_form, table, text, word};
use crate::page::text::{cell, plain, span_words};

/// Rows of a page.
const ROWS: usize = 100;
/// The states that can be chosen.
const STATES: [&str; 4] = ["up", "failing", "starting", "connecting"];

/// The upstreams that are looked for.
#[derive(Clone, Debug, Default)]
pub(super) struct UpstreamQuery {
    /// A part of the name.
    text: String,
    /// The state; empty for all.
    state: String,
    page: usize,
}

impl UpstreamQuery {
    /// Reads the query of a URL. Unknown parameters count for nothing.
    pub(super) fn parse(query: &str) -> Self {
        let mut wanted = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "q" => wanted.text = value.trim().chars().take(256).collect(),
                "state" if STATES.contains(&&*value) => wanted.state = value.into_owned(),
                "page" => wanted.page = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        wanted
    }

    fn url(&self, page: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("q", &self.text), ("state", &self.state)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if page > 0 {
            query.append_pair("page", &page.to_string());
        }
        match query.finish() {
            query if query.is_empty() => PageView::Upstreams.link(""),
            query => format!("{}?{query}", PageView::Upstreams.link("")),
        }
    }
}

/// Draws the view.
pub(super) fn draw(
    snapshot: &Snapshot,
    visitor: Visitor,
    wanted: &UpstreamQuery,
    sync: &FrontGatewaySync,
) -> Markup {
    let links: Vec<_> = snapshot
        .links()
        .iter()
        .filter(|link| link.id().as_str().contains(&wanted.text))
        .filter(|link| wanted.state.is_empty() || link.health.state_word() == wanted.state)
        .collect();
    let naming = &snapshot.config.naming;
    let shown = links
        .iter()
        .skip(wanted.page.saturating_mul(ROWS))
        .take(ROWS);
    let rows: Vec<_> = shown
        .map(|link| {
            let described = describe_with_drift(link, &snapshot.catalog, naming);
            row(&described, &link.config.origin, visitor)
        })
        .collect();
    let caption = html! { (links.len()) " upstreams" };
    let columns = [
        text("Name"),
        text("State"),
        text("Credentials"),
        text("Listed"),
        number("Tools"),
        number("Calls"),
        text("More"),
    ];
    let content = html! {
        (front_gateway::draw(describe_front(snapshot, sync).as_ref()))
        (table(&caption, &columns, &rows))
        @if rows.is_empty() { p { "No upstream is like this." } }
        (pages(wanted.page, links.len().div_ceil(ROWS), |page| wanted.url(page)))
    };
    html! {
        h2 { "Upstreams" }
        @if visitor.may_write {
            form method="post" action=(PageView::Upstreams.link("page/reload")) {
                button type="submit" { "Read the config again" }
            }
        }
        (search(wanted))
        (live(&wanted.url(wanted.page), "weir-state from:body, weir-tick from:body", &content))
    }
}

fn search(wanted: &UpstreamQuery) -> Markup {
    let fields = html! {
        label { "Name" input type="search" name="q" value=(wanted.text) maxlength="256" autocomplete="off"; }
        label {
            "State"
            select name="state" {
                option value="" { "all" }
                @for state in STATES {
                    option value=(state) selected[wanted.state == state] { (state) }
                }
            }
        }
    };
    search_form(&PageView::Upstreams.link(""), &fields)
}

/// Returns the text at a pointer.
fn string<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer)?.as_str()
}

fn natural(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer)?.as_u64()
}

fn strings<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v str> {
    let items = value.pointer(pointer).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str)
}

fn row(upstream: &Value, origin: &str, visitor: Visitor) -> [Markup; 7] {
    let name = string(upstream, "/name").unwrap_or_default();
    let calls = |member: &str| natural(upstream, &format!("/calls/{member}")).unwrap_or_default();
    [
        html! {
            span .name title=(plain(origin)) { (cell(name)) }
            br;
            span .note { (string(upstream, "/connector").unwrap_or_default()) }
        },
        state(upstream),
        credentials(upstream),
        listed(upstream),
        html! { (natural(upstream, "/tools").unwrap_or_default()) },
        html! {
            (calls("in_flight")) " of " (calls("limit"))
            @if calls("queued") > 0 { br; (calls("queued")) " wait" }
        },
        more(upstream, name, origin, visitor),
    ]
}

fn state(upstream: &Value) -> Markup {
    let state = string(upstream, "/state").unwrap_or_default();
    let class = match state {
        "up" => "good",
        "failing" => "bad",
        _ => "warn",
    };
    let circuit = string(upstream, "/circuit/state").unwrap_or("closed");
    let next = upstream
        .pointer("/next_try_in_seconds")
        .and_then(Value::as_f64);
    html! {
        (word(class, state))
        " for " (span_words(natural(upstream, "/since_seconds").unwrap_or_default()))
        @if let Some(reason) = string(upstream, "/reason") { br; (cell(reason)) }
        @if let Some(next) = next { br; span .note { "next try in " (next) " s" } }
        @if circuit != "closed" {
            br; (word("bad", &format!("circuit {circuit}")))
            @if let Some(reason) = string(upstream, "/circuit/reason") { ": " (cell(reason)) }
        }
    }
}

fn credentials(upstream: &Value) -> Markup {
    let Some(kind) = string(upstream, "/credentials/type") else {
        return html! { span .note { "none" } };
    };
    let state = string(upstream, "/credentials/state").unwrap_or_default();
    let class = match state {
        "ok" | "refreshing" => "good",
        "expiring" => "warn",
        _ => "bad",
    };
    html! {
        (kind) ": " (word(class, state))
        @if let Some(reason) = string(upstream, "/credentials/reason") { br; (cell(reason)) }
        @if let Some(left) = natural(upstream, "/credentials/expires_in_seconds") {
            br; span .note { "good for " (span_words(left)) }
        }
    }
}

fn listed(upstream: &Value) -> Markup {
    let is = |pointer: &str| upstream.pointer(pointer) == Some(&Value::Bool(true));
    html! {
        @match natural(upstream, "/listed_seconds_ago") {
            Some(ago) => { (span_words(ago)) " ago" }
            None => { (word("warn", "never")) }
        }
        @if is("/stale") { br; (word("warn", "stale")) }
        @if is("/listing_is_stored") { br; span .note { "stored by an earlier run" } }
        @if let Some(version) = string(upstream, "/version") {
            br; span .note { (string(upstream, "/era").unwrap_or_default()) " " (cell(version)) }
        }
    }
}

/// Returns the last error of each tool, in words.
fn last_errors(upstream: &Value) -> Vec<String> {
    let rows = upstream.pointer("/last_errors").and_then(Value::as_array);
    let words = rows.into_iter().flatten().map(|row| {
        let text = |pointer: &str| string(row, pointer).unwrap_or_default();
        let called = string(row, "/tool").unwrap_or(text("/method"));
        let ago = span_words(natural(row, "/seconds_ago").unwrap_or_default());
        let (reason, blame) = (text("/reason"), text("/blame"));
        format!("{called}, {ago} ago: {reason} (to act: {blame})")
    });
    words.collect()
}

fn more(upstream: &Value, name: &str, origin: &str, visitor: Visitor) -> Markup {
    let drifted = upstream.pointer("/drift/drifted").and_then(Value::as_array);
    let waiting = drifted.map_or(0, Vec::len);
    let quarantined = strings(upstream, "/quarantined").count();
    let count = |pointer: &str| natural(upstream, pointer).unwrap_or_default();
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("upstream", name)
        .finish();
    let list_now = form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>();
    html! {
        @if waiting > 0 {
            a href=(PageView::Upstreams.link(PageView::Drift.path())) { (waiting) " wait to be accepted" } br;
        }
        @if quarantined > 0 { (word("warn", &format!("{quarantined} left out"))) br; }
        details {
            summary { "Details of " (cell(name)) }
            p .note { "Written in " (cell(origin)) }
            p { a href=(format!("{}?{query}", PageView::Upstreams.link(PageView::Catalog.path()))) { "Its part of the catalog" } }
            p {
                (count("/prompts")) " prompts, " (count("/resources")) " resources, "
                (count("/templates")) " resource templates"
            }
            @if let Some(server) = upstream.pointer("/server").filter(|server| !server.is_null()) {
                p { "Server: " (cell(&server.to_string())) }
            }
            @if let Some(reason) = string(upstream, "/last_failed_call/reason") {
                p {
                    "Last failed call " (span_words(count("/last_failed_call/seconds_ago"))) " ago: "
                    (cell(reason))
                }
            }
            (list("Last errors of tools", last_errors(upstream).iter().map(String::as_str)))
            (list("Left out", strings(upstream, "/quarantined").take(50)))
            (list("Warnings", strings(upstream, "/warnings").take(50)))
            (list("Conflicts of names", strings(upstream, "/conflicts").take(50)))
        }
        @if visitor.may_write {
            form method="post" action=(PageView::Upstreams.link(&format!("page/resync?upstream={list_now}"))) {
                button type="submit" { "List " (cell(name)) " now" }
            }
        }
    }
}
