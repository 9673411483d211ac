//! Messages of callers that get no response: answers to what they were asked, and notifications.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::front::answer::{self, Recipient};
use crate::front::state::Front;
use crate::front::{elsewhere, legacy, modern};
use crate::json::Object;
use crate::protocol::message::{self, Notification};
use crate::protocol::trace::Trace;
use crate::protocol::{meta, method};
use crate::relay;

/// Passes a caller's answer on to the upstream whose request it answers, or to the replica that asked.
pub(super) async fn handle_response(
    front: &Front,
    headers: &HeaderMap,
    to: &Recipient,
    response: &message::Response<'_>,
    sent: (&Bytes, &Trace),
) -> Response {
    let caller = &to.admission.caller;
    match legacy::find_session(front, caller, headers) {
        Ok(session) => {
            let number = response.id.and_then(message::read_number);
            let is_elsewhere = front.forwarding.is_some()
                && Box::pin(elsewhere::pass_on(front, headers, to, number, sent)).await;
            if !is_elsewhere {
                let state = front.sessions.state(&session, to.share());
                relay::answer_upstream(&state, caller, response).await;
            }
            answer::bare(StatusCode::ACCEPTED)
        }
        Err(fault) => answer::refuse(None, &fault),
    }
}

/// Handles a notification. Modern ones have no effect over HTTP: a modern caller cancels by closing
/// the stream.
pub(super) async fn handle_notification(
    front: &Arc<Front>,
    headers: &HeaderMap,
    to: &Recipient,
    (notification, modern_header): (&Notification<'_>, bool),
    sent: (&Bytes, &Trace),
) -> Response {
    if modern_header || modern::envelope_claims_modern(&notification.envelope) {
        return answer::bare(StatusCode::ACCEPTED);
    }
    match legacy::find_session(front, &to.admission.caller, headers) {
        Ok(session) => {
            if front.forwarding.is_some() {
                Box::pin(tell_others(front, headers, to, notification, sent)).await;
            }
            let state = front.sessions.state(&session, to.share());
            if !legacy::handle_notification(&state, notification).await {
                elsewhere::tell_all(front, headers, to, sent);
            }
            answer::bare(StatusCode::ACCEPTED)
        }
        Err(fault) => answer::refuse(None, &fault),
    }
}

/// Tells other replicas what concerns them: progress with what one of them asked, and changed roots.
async fn tell_others(
    front: &Arc<Front>,
    headers: &HeaderMap,
    to: &Recipient,
    notification: &Notification<'_>,
    sent: (&Bytes, &Trace),
) {
    match notification.method.as_ref() {
        method::PROGRESS => {
            let params = notification.envelope.get("params");
            let params = params.and_then(|params| Object::parse(params).ok());
            let token = params.as_ref();
            let token = token.and_then(|params| params.get(meta::PROGRESS_TOKEN));
            let number = token.and_then(message::read_number);
            elsewhere::pass_on(front, headers, to, number, sent).await;
        }
        method::ROOTS_CHANGED => elsewhere::tell_all(front, headers, to, sent),
        _ => {}
    }
}
