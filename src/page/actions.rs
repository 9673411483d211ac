//! The actions of the page. Each goes the way of the admin API, and leads back to a view that says
//! what came of it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::admin::{self, AdminSender};
use crate::page::layout::{ActionOutcome, PageView};
use crate::page::state::PageState;

/// The largest answer of the admin API that is read.
const MOST_BYTES: usize = 4 << 20;

/// The parameter that names what was done.
const DONE: &str = "done";

/// Returns what a query says was done. It is one of a few words, so that a link of others says
/// nothing of its own.
pub(super) fn outcome_of(query: &str) -> Option<ActionOutcome> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (_, word) = pairs.find(|(name, _)| name == DONE)?;
    let done = |text: &str| Some(ActionOutcome::Done(text.to_owned()));
    let failed = |text: &str| Some(ActionOutcome::Failed(text.to_owned()));
    match &*word {
        "listed" => done("The upstream has been listed; its row says how that went."),
        "not-listed" => failed("the upstream has not answered within its timeouts."),
        "unknown" => failed("there is no such upstream."),
        "reloaded" => done("The config was read again: the last reload says what came of it."),
        "refused" => {
            failed("the config was refused and the last one stays in force: see the events.")
        }
        "no-config" => failed("weir has no config file that it could read again."),
        "accepted" => done("The definition is accepted, and callers see it."),
        "not-stored" => {
            done("The definition is accepted until weir restarts: it could not be stored.")
        }
        "changed" => failed("it changed again since it was shown. Look at it once more."),
        "gone" => failed("nothing waits under this name any more."),
        "stopping" => failed("weir stops, or its disk does not answer."),
        _ => None,
    }
}

/// Leads to a view that says what was done.
pub(super) fn lead(view: &'static str, done: &str) -> Response {
    let place = format!("../{view}?{DONE}={done}");
    match HeaderValue::try_from(place) {
        Ok(place) => (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Answers `POST /page/resync?upstream=NAME`.
pub(super) async fn resync(
    State(page): State<Arc<PageState>>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let name = pairs.find(|(name, _)| name == "upstream");
    let name = name.map(|(_, name)| name.into_owned()).unwrap_or_default();
    let live = Arc::clone(&page.operators.live);
    let answer = admin::resync(State(live), Path(name)).await;
    lead(
        "",
        match answer.status() {
            StatusCode::OK => "listed",
            StatusCode::NOT_FOUND => "unknown",
            _ => "not-listed",
        },
    )
}

/// Answers `POST /page/accept`: a form with `name` and the `digest` of what was shown.
pub(super) async fn accept(
    State(page): State<Arc<PageState>>,
    sender: Extension<AdminSender>,
    body: Bytes,
) -> Response {
    let field = |wanted: &str| {
        let mut fields = form_urlencoded::parse(&body);
        let found = fields.find(|(name, _)| name == wanted);
        found
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    };
    let asked = json!({ "digest": field("digest") }).to_string();
    let (live, accepts) = (
        Arc::clone(&page.operators.live),
        page.operators.accepts.clone(),
    );
    let name = Path(field("name"));
    let answer = admin::drift::accept(State(live), State(accepts), sender, name, asked.into());
    let answer = answer.await;
    let status = answer.status();
    let told = axum::body::to_bytes(answer.into_body(), MOST_BYTES).await;
    let told = told
        .ok()
        .and_then(|told| serde_json::from_slice::<Value>(&told).ok());
    let told = told.unwrap_or_default();
    let accepted = told.get("accepted").and_then(Value::as_array);
    let is_stored = told.get("stored").and_then(Value::as_bool);
    lead(
        PageView::Drift.path(),
        match (status, accepted.map(Vec::len), is_stored) {
            (StatusCode::OK, None | Some(0), _) | (StatusCode::NOT_FOUND, _, _) => "gone",
            (StatusCode::OK, _, Some(false)) => "not-stored",
            (StatusCode::OK, _, _) => "accepted",
            (StatusCode::CONFLICT, _, _) => "changed",
            _ => "stopping",
        },
    )
}

/// Answers `POST /page/reload`.
pub(super) async fn reload(
    State(page): State<Arc<PageState>>,
    sender: Extension<AdminSender>,
) -> Response {
    let answer = admin::reload(State(page.operators.reloads.clone()), sender).await;
    lead(
        "",
        match answer.status() {
            StatusCode::OK => "reloaded",
            StatusCode::UNPROCESSABLE_ENTITY => "refused",
            _ => "no-config",
        },
    )
}
