//! Messages of a caller that get no response: its answers to requests of upstreams, its progress
//! with them, and changes of its roots.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::bridge::task_ids;
use crate::caller::Caller;
use crate::guard::coverage::{self, Shape};
use crate::guard::{Blocked, Direction, Findings, RequestGuard};
use crate::json::Object;
use crate::protocol::message::{self, Notification, Outcome, Response};
use crate::protocol::{meta, method};
use crate::session::{Asker, CallerAnswer, CallerSession};
use crate::upstream::outbox::OutboxState;
use crate::upstream::{Link, Peer};

/// The error that an upstream gets in place of an answer that may not pass.
const KEPT_BACK: &str = "{\"code\":-32602,\"message\":\"the answer has data that may not pass\"}";

/// The error in place of an answer that does not fit into what is left of `limits.memory`.
const NO_ROOM: &str = "{\"code\":-32603,\"message\":\"no memory is left for the answer\"}";

/// Posts weir's own answer to a request of an upstream, or a caller's that is ready to be sent, some time
/// soon.
pub(super) fn post_answer(link: &Arc<Link>, peer: &Arc<Peer>, body: Bytes) {
    link.post_later(peer, body, "an answer to the upstream's question", None);
}

/// Posts that a request of an upstream, which has this number, still waits for the caller, some time soon.
pub(super) fn post_progress(link: &Arc<Link>, peer: &Arc<Peer>, body: Bytes, number: u64) {
    let state = Some(OutboxState::Progress(number));
    link.post_later(peer, body, "progress of the upstream's question", state);
}

/// Passes the caller's answer on: to the upstream whose request it answers, or to the call that
/// collects it. Returns false if no request has that id.
pub async fn answer(session: &CallerSession, caller: &Caller, response: &Response<'_>) -> bool {
    let number = response.id.and_then(message::read_number);
    let Some((number, request)) =
        number.and_then(|number| Some((number, session.pending(number)?)))
    else {
        return false;
    };
    let (outcome, shape) = match response.outcome {
        Outcome::Result(result) => (result, &coverage::ANSWER),
        Outcome::Error(error) => (error, &coverage::ERROR),
    };
    let guarded = towards_upstream(request.guard.as_ref(), shape, outcome).await;
    let outcome = match &guarded {
        Ok(changed) => Ok(changed.as_deref().unwrap_or(outcome)),
        Err(_) => Err(KEPT_BACK),
    };
    let outcome = outcome.and_then(|text| match response.outcome {
        Outcome::Error(_) => Err(text),
        Outcome::Result(_) => Ok(match request.link.config.forward_meta {
            true => Cow::Borrowed(text),
            false => without_foreign_meta(text),
        }),
    });
    // Only now: the future may be dropped before, and the caller send its answer again.
    if session.take_pending(number).is_none() {
        return false;
    }
    let link = &request.link;
    match request.asker {
        Asker::Upstream { peer, id, .. } => {
            let body = match outcome {
                Ok(result) => {
                    let unwrapped = task_ids::unwrap_related(&result, link.id(), caller);
                    message::result(&id, unwrapped.as_deref().unwrap_or(&result))
                }
                Err(error) => message::error(Some(&id), error),
            };
            link.post_later(&peer, body, "a caller's answer", None);
        }
        Asker::Call { answers, place } => {
            let outcome = outcome.map(Cow::into_owned).map_err(str::to_owned);
            let bytes = outcome.as_ref().map_or(0, String::len);
            let answer = match session.memory().reserve(bytes) {
                Ok(kept) => CallerAnswer {
                    place,
                    outcome,
                    kept: Some(kept),
                },
                Err(_) => CallerAnswer {
                    place,
                    outcome: Err(NO_ROOM.to_owned()),
                    kept: None,
                },
            };
            // There is room, unless the call is over.
            let _ = answers.try_send(answer);
        }
    }
    true
}

/// Sends the caller's progress to the upstream whose request it works on, with the upstream's own
/// token.
pub async fn progress(session: &CallerSession, notification: &Notification<'_>) {
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
    let Asker::Upstream { peer, token, .. } = &request.asker else {
        return;
    };
    if let Some(token) = token {
        params.set(meta::PROGRESS_TOKEN, token.to_string());
        let mut text = Cow::Owned(params.to_text());
        let shape = coverage::notification(method::PROGRESS);
        match towards_upstream(request.guard.as_ref(), shape, &text).await {
            Ok(Some(changed)) => text = Cow::Owned(changed),
            Ok(None) => {}
            Err(_) => return,
        }
        if !request.link.config.forward_meta {
            text = without_foreign_meta(&text).into_owned().into();
        }
        let body = message::notification(method::PROGRESS, Some(&text));
        let state = number.map(OutboxState::Progress);
        let link = &request.link;
        link.post_later(peer, body, "a caller's progress", state);
    }
}

/// Returns what a caller says as it may pass to an upstream; `None` if it stays as it is.
///
/// # Errors
/// It may not pass.
async fn towards_upstream(
    guard: Option<&RequestGuard>,
    shape: &'static Shape,
    text: &str,
) -> Result<Option<String>, Blocked> {
    let Some(guard) = guard else {
        return Ok(None);
    };
    let (direction, mut findings) = (Direction::TowardsUpstream, Findings::default());
    let restored = guard.restore(direction, shape, text, &mut findings).await?;
    let restored_text = restored.as_deref().unwrap_or(text);
    let redacted = guard.redact(direction, shape, restored_text, &mut findings);
    Ok(redacted.await?.or(restored))
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
