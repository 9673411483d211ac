//! Messages of a caller that get no response: its answers to requests of upstreams, its progress
//! with them, and changes of its roots.

use std::sync::Arc;

use bytes::Bytes;

use crate::bridge::task_ids;
use crate::json::Object;
use crate::protocol::message::{self, Notification, Outcome, Response};
use crate::protocol::{meta, method};
use crate::session::CallerSession;
use crate::upstream::{Link, Peer};

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
    post(&request.link, &request.peer, body, "a caller's answer");
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
        post(&request.link, &request.peer, body, "a caller's progress");
    }
}

/// Tells every upstream that has a session with this caller that its roots changed
/// (`notifications/roots/list_changed`).
pub fn roots_changed(session: &CallerSession) {
    for (link, peer) in session.open_sessions() {
        let body = message::notification(method::ROOTS_CHANGED, None);
        post(&link, &peer, body, "changed roots");
    }
}

fn post(link: &Arc<Link>, peer: &Arc<Peer>, body: Bytes, what: &'static str) {
    let (link, peer) = (Arc::clone(link), Arc::clone(peer));
    link.tasks().clone().spawn(async move {
        if let Err(error) = link.post(&peer, body).await {
            tracing::debug!(upstream = %link.id(), %error, what, "not delivered to the upstream");
        }
    });
}
