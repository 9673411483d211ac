//! The frame of every view: head, navigation, the line for outcomes, and the parts that views share.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, html};

use crate::admin::WeirStatus;
use crate::admin::events::Signs;
use crate::page::assets::{Asset, HTMX, HTMX_SSE, ICON, STYLE};
use crate::page::door::Visitor;
use crate::page::text::{cell, plain, span_words};

/// Settings of htmx: it adds no style of its own, and has one extension. What a reader has opened
/// stays open when a part is drawn anew, and stays there when it cannot be.
const HTMX_CONFIG: &str = r#"{"includeIndicatorCSS":false,"extensions":"sse","history":"reload",
"morphIgnore":["data-htmx-powered","open"],"noSwap":[204,304,"4xx","5xx"]}"#;

/// When the stream is opened: at once, and again if that failed. One that was open is opened again by
/// its extension. Longer than the minute that htmx waits for an answer, so that there is one stream.
const OPENING: &str = "load, every 65s";

/// A view of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageView {
    Upstreams,
    Catalog,
    Drift,
    Plan,
    Events,
    Calls,
    Callers,
    Explain,
    Try,
    LogIn,
}

impl PageView {
    /// Those in the navigation.
    const LISTED: [Self; 9] = [
        Self::Upstreams,
        Self::Catalog,
        Self::Drift,
        Self::Plan,
        Self::Events,
        Self::Calls,
        Self::Callers,
        Self::Explain,
        Self::Try,
    ];

    /// Returns its path below `/`.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Upstreams => "",
            Self::Catalog => "page/catalog",
            Self::Drift => "page/drift",
            Self::Plan => "page/plan",
            Self::Events => "page/events",
            Self::Calls => "page/calls",
            Self::Callers => "page/callers",
            Self::Explain => "page/explain",
            Self::Try => "page/try",
            Self::LogIn => "page/login",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Upstreams => "Upstreams",
            Self::Catalog => "Catalog",
            Self::Drift => "Drift",
            Self::Plan => "Plan",
            Self::Events => "Events",
            Self::Calls => "Calls",
            Self::Callers => "Callers",
            Self::Explain => "Explain",
            Self::Try => "Try a tool",
            Self::LogIn => "Log in",
        }
    }

    /// Returns the way from this view to `/`. URLs are relative, so that the page can be served
    /// below another path.
    const fn base(self) -> &'static str {
        match self {
            Self::Upstreams => "",
            Self::Catalog
            | Self::Drift
            | Self::Plan
            | Self::Events
            | Self::Calls
            | Self::Callers
            | Self::Explain
            | Self::Try
            | Self::LogIn => "../",
        }
    }

    /// Returns the URL of another path from this view.
    pub(super) fn link(self, path: &str) -> String {
        match (self.base(), path) {
            ("", "") => "./".to_owned(),
            (base, path) => format!("{base}{path}"),
        }
    }
}

/// The outcome of something that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ActionOutcome {
    Done(String),
    Failed(String),
}

/// A page to be drawn.
pub(super) struct PageFrame<'p> {
    pub(super) view: PageView,
    pub(super) visitor: Visitor,
    /// The status, and the signs that it was drawn from; `None` for those who may not see it.
    pub(super) status: Option<(&'p WeirStatus, Signs)>,
    pub(super) outcome: Option<ActionOutcome>,
    pub(super) content: Markup,
}

impl PageFrame<'_> {
    /// Draws the page.
    pub(super) fn draw(self) -> Markup {
        let Self {
            view,
            visitor,
            status,
            outcome,
            content,
        } = self;
        let (words, failed) = match &outcome {
            None => ("", false),
            Some(ActionOutcome::Done(words)) => (words.as_str(), false),
            Some(ActionOutcome::Failed(words)) => (words.as_str(), true),
        };
        html! {
            (DOCTYPE)
            html lang="en" {
                (head(view, if status.is_some() { view.title() } else { "Log in" }))
                body {
                    a .skip href="#content" { "Skip to the content" }
                    header .top {
                        h1 { "weir" }
                        @if status.is_some() { (navigation(view, visitor)) }
                        @if visitor.has_session {
                            form method="post" action=(view.link("page/logout")) {
                                button type="submit" { "Log out" }
                            }
                        }
                    }
                    @if let Some((_, seen)) = status {
                        div hidden "hx-sse:connect"=(view.link(&format!("page/stream?seen={seen}")))
                            hx-trigger=(OPENING) {}
                    }
                    main #content tabindex="-1" {
                        @if let Some((status, _)) = status { (facts(status)) }
                        p #outcome .outcome .bad[failed] role="status" aria-live="polite" {
                            @if failed { strong { "Not done: " } }
                            @if !words.is_empty() { (cell(words)) }
                        }
                        (content)
                    }
                    (scripts(view))
                }
            }
        }
    }
}

fn head(view: PageView, title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="htmx-config" content=(HTMX_CONFIG);
            title { (title) " · weir" }
            link rel="stylesheet" href=(asset(view, &STYLE));
            link rel="icon" type="image/svg+xml" href=(asset(view, &ICON));
        }
    }
}

fn asset(view: PageView, asset: &Asset) -> String {
    view.link(&format!("page/assets/{}", asset.name))
}

/// Draws the scripts, at the end of the body and not deferred. htmx looks at the page once: a moment
/// after it has run if its script is deferred, when the one of the stream may not have come yet, and
/// the page would have no stream. Otherwise it waits until both have run.
fn scripts(view: PageView) -> Markup {
    html! {
        script src=(asset(view, &HTMX)) {}
        script src=(asset(view, &HTMX_SSE)) {}
    }
}

fn navigation(view: PageView, visitor: Visitor) -> Markup {
    html! {
        nav aria-label="Views" {
            ul {
                @for other in PageView::LISTED.into_iter().filter(|other| *other != PageView::Try || visitor.may_try) {
                    li {
                        a href=(view.link(other.path())) aria-current=[(other == view).then_some("page")] {
                            (other.title())
                        }
                    }
                }
            }
        }
    }
}

/// Draws what is true of the whole weir.
fn facts(status: &WeirStatus) -> Markup {
    let upstreams = status.upstreams;
    let reload = last_reload(&status.reloads);
    html! {
        section #facts aria-label="This weir" { dl .facts {
            div { dt { "Version" } dd { (status.version) } }
            @if let Some(instance) = &status.instance {
                div { dt { "Instance" } dd { (cell(instance)) } }
            }
            div { dt { "Up for" } dd { (span_words(status.uptime_seconds)) } }
            div { dt { "Generation" } dd { (status.generation) } }
            div { dt { "Upstreams" } dd { (upstreams.up) " of " (upstreams.total) " up" } }
            @if upstreams.failing > 0 {
                div { dt { "Failing" } dd .bad { (upstreams.failing) } }
            }
            @if upstreams.connecting > 0 {
                div { dt { "Not answered yet" } dd { (upstreams.connecting) } }
            }
            div { dt { "Tools" } dd { (status.tools) } }
            @if status.waiting > 0 {
                div { dt { "Waiting to be accepted" } dd .warn { (status.waiting) } }
            }
            div { dt { "Last reload" } dd { (reload) } }
        } }
    }
}

fn last_reload(reloads: &serde_json::Value) -> String {
    let text = |pointer: &str| reloads.pointer(pointer).and_then(|value| value.as_str());
    let ago = reloads.pointer("/last/seconds_ago");
    match (
        text("/last/outcome/outcome"),
        ago.and_then(|ago| ago.as_u64()),
    ) {
        (Some(outcome), Some(ago)) => {
            let trigger = text("/last/trigger").unwrap_or_default();
            format!("{outcome}, {} ago, by {trigger}", span_words(ago))
        }
        _ => "none".to_owned(),
    }
}

/// A column of a table.
pub(super) struct Column {
    title: &'static str,
    is_number: bool,
}

/// Returns a column of text.
pub(super) const fn text(title: &'static str) -> Column {
    let is_number = false;
    Column { title, is_number }
}

/// Returns a column of numbers.
pub(super) const fn number(title: &'static str) -> Column {
    let is_number = true;
    Column { title, is_number }
}

/// Draws a table. The first cell of each row is its heading. Roles are written, because a narrow
/// window shows rows as blocks, which then would be no table to a screen reader.
pub(super) fn table<const N: usize>(
    caption: &Markup,
    columns: &[Column; N],
    rows: &[[Markup; N]],
) -> Markup {
    html! {
        div .scroll {
            table role="table" {
                caption { (caption) }
                thead role="rowgroup" {
                    tr role="row" {
                        @for column in columns {
                            th role="columnheader" scope="col" .number[column.is_number] { (column.title) }
                        }
                    }
                }
                tbody role="rowgroup" {
                    @for row in rows {
                        tr role="row" {
                            @for (at, (cell, column)) in row.iter().zip(columns).enumerate() {
                                @if at == 0 {
                                    th role="rowheader" scope="row" { (cell) }
                                } @else {
                                    td role="cell" .number[column.is_number] data-label=(column.title) { (cell) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Draws a word that has a colour too.
pub(super) fn word(class: &'static str, text: &str) -> Markup {
    html! { span class={ "word " (class) } { (text) } }
}

/// Draws the links to other pages of a list.
pub(super) fn pages(page: usize, pages: usize, url: impl Fn(usize) -> String) -> Markup {
    html! {
        @if pages > 1 {
            nav .pages aria-label="Pages of the list" {
                @if page > 0 { a rel="prev" href=(url(page - 1)) { "Previous" } }
                span { "Page " (page + 1) " of " (pages) }
                @if page + 1 < pages { a rel="next" href=(url(page + 1)) { "Next" } }
            }
        }
    }
}

/// Draws a part of a view that is drawn again, from the same URL, when something of it has
/// changed. While it is fetched, htmx keeps the next trigger, and fetches it once more. Once a minute
/// it is fetched whatever happens: a fetch may have failed, the stream be lost, or the login be over.
/// Where a search form is, what it says now counts, not what it said when the part was drawn.
pub(super) fn live(url: &str, trigger: &str, content: &Markup) -> Markup {
    html! {
        div #live hx-get=(url) hx-trigger={ (trigger) ", every 60s" } hx-include=".search"
            hx-select="#live" hx-select-oob="#facts" hx-swap="outerMorph" {
            (content)
        }
    }
}

/// Draws a form whose fields say what the live part shows. It is outside of that part: what somebody
/// types is not drawn anew. What is looked for takes the place of what is being fetched, which would
/// be shown after it otherwise.
pub(super) fn search_form(here: &str, fields: &Markup) -> Markup {
    html! {
        form .search role="search" method="get" action=(here) hx-get=(here)
            hx-trigger="input delay:250ms, submit" hx-select="#live" hx-target="#live" hx-swap="outerMorph"
            hx-sync="#live:replace" hx-replace-url="true" {
            (fields)
            button type="submit" { "Find" }
        }
    }
}

/// Draws a list of texts of others; nothing if there are none.
pub(super) fn list<'t>(title: &str, texts: impl IntoIterator<Item = &'t str>) -> Markup {
    let texts: Vec<&str> = texts.into_iter().collect();
    html! {
        @if !texts.is_empty() {
            p { strong { (title) } }
            ul { @for text in texts { li { (cell(text)) } } }
        }
    }
}

/// Draws a link to the explanation of a name.
pub(super) fn explain_link(view: PageView, name: &str) -> Markup {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("name", name)
        .finish();
    let url = view.link(&format!("{}?{query}", PageView::Explain.path()));
    html! { a .name href=(url) title=(plain(name)) { (cell(name)) } }
}

/// Draws a page for visitors who may see nothing of weir.
pub(super) fn bare(view: PageView, content: Markup) -> Markup {
    let frame = PageFrame {
        view,
        visitor: Visitor::default(),
        status: None,
        outcome: None,
        content,
    };
    frame.draw()
}

/// Makes an answer of a page.
pub(super) fn respond(status: StatusCode, page: Markup) -> Response {
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    (status, [(header::CONTENT_TYPE, html)], page.into_string()).into_response()
}
