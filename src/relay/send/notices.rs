//! Messages of a caller that get no response: its answers to requests of upstreams, its progress
//! with them, and changes of its roots.

use crate::bridge::task_ids;
use crate::json::Object;
use crate::protocol::message::{self, Notification, Outcome, Response};
use crate::protocol::{meta, method};
use crate::session::{CallerSession, PendingServerRequest};
use crate::upstream::outbox::OutboxState;

/// Sends the caller's answer to the upstream whose request it answers. Returns false if no request
/// has that id.
pub fn answer(session: &CallerSession, response: &Response<'_>) -> bool {
    let number = response.id.and_then(message::read_number);
    let Some(request) = number.and_then(|number| session.take_pending(number)) else {
        return false;
    };
    let body = match response.outcome {
        Outcome::Result(result) => {
            let unwrapped = task_ids::unwrap_related(result, request.link.id());
            message::result(&request.id, unwrapped.as_deref().unwrap_or(result))
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
        let body = message::notification(method::PROGRESS, Some(&params.to_text()));
        let state = number.map(OutboxState::Progress);
        let PendingServerRequest { link, peer, .. } = &request;
        link.post_later(peer, body, "a caller's progress", state);
    }
}

/// Tells every upstream that has a session with this caller that its roots changed
/// (`notifications/roots/list_changed`).
pub fn roots_changed(session: &CallerSession) {
    for (link, peer) in session.open_sessions() {
        let body = message::notification(method::ROOTS_CHANGED, None);
        link.post_later(&peer, body, "changed roots", Some(OutboxState::Roots));
    }
}
