//! Logging in with the admin token, and out.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use maud::{Markup, html};
use serde_json::json;
use url::form_urlencoded;

use crate::audit::AuditEvent;
use crate::caller::CallerConnection;
use crate::page::door::LoginFailure;
use crate::page::layout::{PageView, bare, respond};
use crate::page::session::{self, LIFE};
use crate::page::state::{FORM_BYTES, PageState};

/// Answers `GET /page/login`.
pub(super) async fn form(State(page): State<Arc<PageState>>) -> Response {
    self::page(&page, PageView::LogIn, StatusCode::OK, None)
}

/// Makes the answer with the form, in place of a view. `error` says why the last attempt failed.
pub(super) fn page(
    page: &PageState,
    view: PageView,
    status: StatusCode,
    error: Option<&str>,
) -> Response {
    respond(status, bare(view, draw(view, page.door.has_token(), error)))
}

fn draw(view: PageView, has_token: bool, error: Option<&str>) -> Markup {
    html! {
        h2 { "Log in" }
        @if let Some(error) = error { p .outcome .bad role="alert" { (error) } }
        @if has_token {
            p { "The admin token opens this page for eight hours. " code { "weir admin-token" } " prints it." }
            form .stack method="post" action=(view.link(PageView::LogIn.path())) {
                label {
                    "Admin token"
                    input type="password" name="token" required autocomplete="current-password";
                }
                button type="submit" { "Log in" }
            }
        } @else {
            p {
                "Weir has no admin token, so nobody can log in: set " code { "state.dir" }
                ", and weir makes one, or set " code { "admin.token" } "."
            }
        }
    }
}

/// Answers `POST /page/login`: 303 to `/` with a cookie; 401 for a wrong token, 429 after too many.
pub(super) async fn log_in(State(page): State<Arc<PageState>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, FORM_BYTES.min(16 << 10)).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let mut fields = form_urlencoded::parse(&body);
    let token = fields.find(|(name, _)| name == "token");
    let token = token.map(|(_, token)| token).unwrap_or_default();
    match page.door.log_in(token.trim()) {
        Ok(value) => leave(&parts, &value, LIFE),
        Err(LoginFailure::TooMany(wait)) => {
            let seconds = wait.as_secs() + 1;
            let words = format!("too many wrong tokens: wait {seconds} s");
            let mut answer = self::page(
                &page,
                PageView::LogIn,
                StatusCode::TOO_MANY_REQUESTS,
                Some(&words),
            );
            let headers = answer.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            answer
        }
        Err(LoginFailure::NoCookie) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Err(LoginFailure::Wrong | LoginFailure::NoToken) => {
            note_refusal(&page, &parts);
            let words = "This is not the admin token.";
            self::page(
                &page,
                PageView::LogIn,
                StatusCode::UNAUTHORIZED,
                Some(words),
            )
        }
    }
}

/// Notes a wrong token: in the log, and in the record file.
fn note_refusal(page: &PageState, request: &Parts) {
    let connection = request.extensions.get::<Arc<CallerConnection>>();
    let address = connection.and_then(|connection| connection.address);
    let address = address.map(|address| address.to_string());
    tracing::warn!(?address, "a wrong token at the page for operators");
    if let Some(audit) = page.operators.live.audit() {
        let reason = "a wrong token at the page for operators";
        let details = json!({ "reason": reason, "address": address });
        audit.write_bounded_event(AuditEvent::new(AuditEvent::REFUSED_CREDENTIAL, details));
    }
}

/// Answers `POST /page/logout`: 303 to `/`, and the cookie is gone.
pub(super) async fn log_out(request: Request) -> Response {
    let (parts, _) = request.into_parts();
    leave(&parts, "", Duration::ZERO)
}

/// Makes an answer that sets the cookie and leads to the page.
fn leave(request: &Parts, value: &str, life: Duration) -> Response {
    let text = |name| {
        request
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let is_secure = text(header::ORIGIN).is_some_and(|origin| origin.starts_with("https://"));
    let host = text(header::HOST).unwrap_or_default();
    let port = host.rsplit_once(':').map_or("80", |(_, port)| port);
    let port: String = port.chars().filter(char::is_ascii_digit).collect();
    let cookie = session::set_cookie(value, &port, is_secure, life);
    let Ok(cookie) = HeaderValue::try_from(cookie) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let to = (header::LOCATION, HeaderValue::from_static("../"));
    (StatusCode::SEE_OTHER, [to, (header::SET_COOKIE, cookie)]).into_response()
}
