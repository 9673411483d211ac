//! Messages that an upstream sent outside of any call, for the stream of a caller's session.

use bytes::Bytes;
use tokio::time::Instant;

use crate::caller::Caller;
use crate::guard::{Findings, RequestGuard};
use crate::live::Live;
use crate::protocol::era::Era;
use crate::protocol::message::{Message, Notification};
use crate::protocol::method;
use crate::relay::back::{guarded, notifications};
use crate::session::{CallerSession, UnaskedMessage};
use crate::upstream::watch;

/// Returns a message as the caller gets it; `None` if it is not for this caller.
pub(super) async fn render(
    live: &Live,
    session: &CallerSession,
    caller: &Caller,
    message: &UnaskedMessage,
) -> Option<Bytes> {
    let UnaskedMessage {
        link, peer, bytes, ..
    } = message;
    let text = std::str::from_utf8(bytes).ok()?;
    let parsed = Message::parse(text).ok()?;
    let guard = live.load().guard.clone();
    let guard = guard.and_then(|guard| RequestGuard::of(&guard, link.id(), None, caller));
    let guarded = match &guard {
        Some(guard) => {
            let mut findings = Findings::default();
            guarded::guard_message(guard, &parsed, text, &mut findings).await
        }
        None => Ok(None),
    };
    let parsed = match &guarded {
        Ok(None) => parsed,
        Ok(Some(changed)) => Message::parse(&changed.text).ok()?,
        Err(_) => {
            if let Message::Request(request) = &parsed {
                watch::answer_request(link, peer, &request.id, &request.method);
            }
            return None;
        }
    };
    match parsed {
        Message::Request(request) => {
            let guard = guard.as_ref();
            let asked = notifications::request(session, caller, link, peer, guard, &request).await;
            if asked.is_none() {
                watch::answer_request(link, peer, &request.id, &request.method);
            }
            asked.map(|(_, message)| message)
        }
        Message::Notification(notification) => {
            render_notification(live, session, caller, message, notification)
        }
        Message::Response(_) => None,
    }
}

fn render_notification(
    live: &Live,
    session: &CallerSession,
    caller: &Caller,
    message: &UnaskedMessage,
    notification: Notification<'_>,
) -> Option<Bytes> {
    let link = &message.link;
    match notification.method.as_ref() {
        method::CANCELLED => notifications::withdrawn(session, link, notification),
        method::RESOURCE_UPDATED => {
            let may_read = |uri: &str| {
                let named = || session.named_resources().find(uri, Instant::now());
                live.load().view(caller).may_read(uri, Era::Legacy, named)
            };
            notifications::resource_updated(session, link.id(), notification, may_read)
        }
        // Progress of calls comes on their own streams; here comes that of tasks.
        method::PROGRESS => notifications::task_progress(session, caller, link.id(), notification),
        _ => Some(notifications::unchanged(link.id(), caller, notification)),
    }
}
