//! The page for operators, at `/` of the admin listener: what the admin API says, for people.
//!
//! Every view is one URL that answers a whole page. Parts that change are fetched again from the
//! same URL when the stream of the page says so, so there is one way of drawing. Texts of upstreams
//! and callers are hostile: they go through `text` into maud, which escapes.

mod actions;
mod assets;
mod callers;
mod calls;
mod catalog;
mod diff;
mod door;
mod drift;
mod events;
mod explain;
mod figures;
mod front_gateway;
mod layout;
mod login;
mod plan;
mod session;
mod state;
mod stream;
mod text;
mod trial;
mod upstreams;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, RawQuery, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use maud::html;
use tokio::sync::Semaphore;

use crate::admin::pasted;
use crate::admin::search::{self, CatalogQuery};
use crate::admin::{self, AdminAccess, AdminSender, AdminState};
use crate::config::AdminPage;
use crate::live::Snapshot;
use crate::page::door::{Door, DoorVerdict, Visitor};
use crate::page::layout::{PageView, bare, respond};
use crate::page::state::{FORM_BYTES, PageState};
use crate::page::text::cell;
use crate::page::trial::{TrialForm, TrialOutcome};
use crate::page::upstreams::UpstreamQuery;
use crate::seal::KeyRing;

/// The rules for browsers (CSP). Nothing inline, nothing from elsewhere, no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// The headers of every answer.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not `no-referrer`, with which browsers would send `Origin: null` for forms.
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// Returns the routes of the page; none if it is switched off.
pub fn router(
    operators: AdminState,
    access: Arc<AdminAccess>,
    mode: AdminPage,
    keys: &KeyRing,
) -> Router {
    let sealer = keys.sealer("page").filter(|_| mode != AdminPage::Off);
    let Some(sealer) = sealer else {
        return Router::new();
    };
    let tries = operators.trials.are_allowed();
    let page = Arc::new(PageState {
        operators,
        door: Door::new(access, (mode, tries), sealer),
        streams: Arc::new(Semaphore::new(stream::MOST)),
    });
    let guarded = Router::new()
        .route("/", get(show_upstreams))
        .route("/page/catalog", get(show_catalog))
        .route("/page/events", get(show_events))
        .route("/page/calls", get(show_calls))
        .route("/page/callers", get(show_callers))
        .route("/page/stream", get(stream::stream))
        .route("/page/plan", get(show_plan).post(show_plan))
        .route("/page/drift", get(show_drift))
        .route("/page/explain", get(show_explanation))
        .route("/page/try", get(show_trial).post(try_tool))
        .route("/page/accept", post(actions::accept))
        .route("/page/resync", post(actions::resync))
        .route("/page/reload", post(actions::reload))
        .route_layer(axum::middleware::from_fn_with_state(
            Arc::clone(&page),
            enter,
        ));
    let open = Router::new()
        .route("/page/assets/{name}", get(assets::asset))
        .route("/page/login", get(login::form).post(login::log_in))
        .route("/page/logout", post(login::log_out));
    guarded
        .merge(open)
        .route_layer(axum::middleware::from_fn_with_state(
            Arc::clone(&page),
            check,
        ))
        .layer(DefaultBodyLimit::max(FORM_BYTES))
        .with_state(page)
}

/// Checks where a request comes from, and adds the headers to every answer.
async fn check(State(page): State<Arc<PageState>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let mut answer = match page.door.check_origin(&parts) {
        Some(entry) => refuse(&page, parts.uri.path(), entry),
        None => next.run(Request::from_parts(parts, body)).await,
    };
    for (name, value) in HEADERS {
        let headers = answer.headers_mut();
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    answer
}

/// Lets in visitors who may come in.
async fn enter(State(page): State<Arc<PageState>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match page.door.enter(&parts).await {
        DoorVerdict::Open(visitor, sender) => {
            parts.extensions.insert(visitor);
            parts.extensions.insert(sender);
            next.run(Request::from_parts(parts, body)).await
        }
        entry @ (DoorVerdict::LogIn | DoorVerdict::Refused(..)) => {
            refuse(&page, parts.uri.path(), entry)
        }
    }
}

/// Answers a request that is not let in.
fn refuse(page: &PageState, path: &str, entry: DoorVerdict) -> Response {
    // It is shown in place of what was asked for, so that links begin there.
    let view = match path {
        "/" => PageView::Upstreams,
        _ => PageView::LogIn,
    };
    let (status, words) = match entry {
        DoorVerdict::Open(..) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        DoorVerdict::LogIn => {
            let mut answer = login::page(page, view, StatusCode::UNAUTHORIZED, None);
            // A part of a page that asks for itself: the whole page is loaded, which is the form.
            let refresh = HeaderName::from_static("hx-refresh");
            let headers = answer.headers_mut();
            headers.insert(refresh, HeaderValue::from_static("true"));
            return answer;
        }
        DoorVerdict::Refused(status, words) => (status, words),
    };
    let content = html! {
        h2 { "Refused" }
        p { (words) "." }
    };
    respond(status, bare(view, content))
}

async fn show_upstreams(
    State(page): State<Arc<PageState>>,
    Extension(visitor): Extension<Visitor>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let wanted = UpstreamQuery::parse(&query);
    let outcome = actions::outcome_of(&query);
    let sync = Arc::clone(&page.operators.front_gateway);
    page.show(
        PageView::Upstreams,
        (visitor, StatusCode::OK, outcome),
        move |snapshot| upstreams::draw(snapshot, visitor, &wanted, &sync),
    )
    .await
}

async fn show_catalog(
    State(page): State<Arc<PageState>>,
    Extension(visitor): Extension<Visitor>,
    RawQuery(query): RawQuery,
) -> Response {
    let wanted = CatalogQuery::parse(&query.unwrap_or_default());
    let status = match &wanted {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::BAD_REQUEST,
    };
    let drawn = move |snapshot: &Snapshot| match wanted {
        Ok(wanted) => catalog::draw(&search::search(snapshot, &wanted), &wanted),
        Err(error) => html! { h2 { "Catalog" } p .bad { (cell(&error)) } },
    };
    page.show(PageView::Catalog, (visitor, status, None), drawn)
        .await
}

async fn show_events(
    State(page): State<Arc<PageState>>,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let log = Arc::clone(&page.operators.events);
    let drawn = move |_: &Snapshot| events::draw(&log);
    page.show(PageView::Events, (visitor, StatusCode::OK, None), drawn)
        .await
}

async fn show_calls(
    State(page): State<Arc<PageState>>,
    Extension(visitor): Extension<Visitor>,
    RawQuery(query): RawQuery,
) -> Response {
    let wanted = calls::parse(&query.unwrap_or_default());
    let operators = page.operators.clone();
    let drawn = move |_: &Snapshot| calls::draw(&operators, visitor, &wanted);
    page.show(PageView::Calls, (visitor, StatusCode::OK, None), drawn)
        .await
}

async fn show_drift(
    State(page): State<Arc<PageState>>,
    Extension(visitor): Extension<Visitor>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let outcome = actions::outcome_of(&query);
    let at = drift::page_of(&query);
    page.show(
        PageView::Drift,
        (visitor, StatusCode::OK, outcome),
        move |snapshot| drift::draw(snapshot, visitor, at),
    )
    .await
}

async fn show_explanation(
    State(page): State<Arc<PageState>>,
    Extension(visitor): Extension<Visitor>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let drawn = move |snapshot: &Snapshot| explain::draw(snapshot, visitor, &query);
    page.show(PageView::Explain, (visitor, StatusCode::OK, None), drawn)
        .await
}

/// Shows the form of a plan, or the plan of the config that was pasted into it.
async fn show_plan(
    State(page): State<Arc<PageState>>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Response {
    let pasted = url::form_urlencoded::parse(&body).find(|(name, _)| name == "config");
    let pasted = pasted.map(|(_, text)| text.into_owned());
    let is_long = |text: &String| text.len() > pasted::MOST_BYTES;
    if pasted.as_ref().is_some_and(is_long) {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let drawn = move |snapshot: &Snapshot| plan::draw(snapshot, pasted.as_deref());
    page.show(PageView::Plan, (visitor, StatusCode::OK, None), drawn)
        .await
}

async fn show_trial(
    State(page): State<Arc<PageState>>,
    Extension(visitor): Extension<Visitor>,
    RawQuery(query): RawQuery,
) -> Response {
    let form = TrialForm::parse(query.unwrap_or_default().as_bytes());
    show_outcome(&page, visitor, form, TrialOutcome::None).await
}

/// Calls the tool that a form names, with its arguments.
async fn try_tool(
    State(page): State<Arc<PageState>>,
    Extension(visitor): Extension<Visitor>,
    Extension(sender): Extension<AdminSender>,
    body: Bytes,
) -> Response {
    if body.len() > admin::trial::MOST_BYTES {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let form = TrialForm::parse(&body);
    let AdminState { live, trials, .. } = &page.operators;
    let outcome = match form.trial(&live.load()) {
        Err(words) => TrialOutcome::Wrong(words),
        Ok(trial) => match trials.call(live, &sender, &trial).await {
            Ok(answer) => TrialOutcome::Answered(Box::new(answer)),
            Err(refused) => TrialOutcome::Refused(refused),
        },
    };
    show_outcome(&page, visitor, form, outcome).await
}

async fn show_outcome(
    page: &PageState,
    visitor: Visitor,
    form: TrialForm,
    outcome: TrialOutcome,
) -> Response {
    let drawn = move |snapshot: &Snapshot| trial::draw(snapshot, visitor, &form, &outcome);
    page.show(PageView::Try, (visitor, StatusCode::OK, None), drawn)
        .await
}

async fn show_callers(
    State(page): State<Arc<PageState>>,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let drawn = move |snapshot: &Snapshot| callers::draw(snapshot, visitor);
    page.show(PageView::Callers, (visitor, StatusCode::OK, None), drawn)
        .await
}
