//! Messages of a caller that get no response: its answers to requests of upstreams, its progress
//! with them, and changes of its roots.

use std::borrow::Cow;

use crate::bridge::task_ids;
use crate::caller::Caller;
use crate::json::Object;
use crate::protocol::message::{self, Notification, Outcome, Response};
use crate::protocol::{meta, method};
use crate::session::{CallerSession, PendingServerRequest};
use crate::upstream::outbox::OutboxState;

/// Sends the caller's answer to the upstream whose request it answers. Returns false if no request
/// has that id.
pub fn answer(session: &CallerSession, caller: &Caller, response: &Response<'_>) -> bool {
    let number = response.id.and_then(message::read_number);
    let Some(request) = number.and_then(|number| session.take_pending(number)) else {
        return false;
    };
    let body = match response.outcome {
        Outcome::Result(result) => {
            let result = match request.link.config.forward_meta {
                true => Cow::Borrowed(result),
                false => without_foreign_meta(result),
            };
            let unwrapped = task_ids::unwrap_related(&result, request.link.id(), caller);
            message::result(&request.id, unwrapped.as_deref().unwrap_or(&result))
        }
        Outcome::Error(error) => message::error(Some(&request.id), error),
    };
    let PendingServerRequest { link, peer, .. } = &request;
    link.post_later(peer, body, "a caller's answer", None);
    true
}

/// Sends the caller's progress to the upstream whose request it works on, with the upstream's own
/// token.
pub fn progress(session: &CallerSession, notification: &Notification<'_>) {
    let params = notification.envelope.get("params");
    let Some(mut params) = params.and_then(|params| Object::parse(params).ok()) else {
        return;
    };
    let number = params
        .get(meta::PROGRESS_TOKEN)
        .and_then(message::read_number);
    let Some(request) = number.and_then(|number| session.pending(number)) else {
        return;
    };
    if let Some(token) = &request.token {
        params.set(meta::PROGRESS_TOKEN, token.to_string());
        let mut text = Cow::Owned(params.to_text());
        if !request.link.config.forward_meta {
            text = without_foreign_meta(&text).into_owned().into();
        }
        let body = message::notification(method::PROGRESS, Some(&text));
        let state = number.map(OutboxState::Progress);
        let PendingServerRequest { link, peer, .. } = &request;
        link.post_later(peer, body, "a caller's progress", state);
    }
}

/// Returns an object of a caller's, of whose `_meta` only the keys of the specification are left: for
/// upstreams that are not trusted.
fn without_foreign_meta(text: &str) -> Cow<'_, str> {
    let Ok(mut object) = Object::parse(text) else {
        return Cow::Borrowed(text);
    };
    let Some(Ok(mut own)) = object.borrowed("_meta").map(Object::parse) else {
        return Cow::Borrowed(text);
    };
    own.retain(meta::is_standard);
    object.set("_meta", own.to_text());
    Cow::Owned(object.to_text())
}

/// Tells every upstream that has a session with this caller that its roots changed
/// (`notifications/roots/list_changed`).
pub fn roots_changed(session: &CallerSession) {
    for (link, peer) in session.open_sessions() {
        let body = message::notification(method::ROOTS_CHANGED, None);
        link.post_later(&peer, body, "changed roots", Some(OutboxState::Roots));
    }
}
