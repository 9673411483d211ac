//! Messages that an upstream sent outside of any call, for the stream of a caller's session.

use bytes::Bytes;

use crate::caller::Caller;
use crate::protocol::message::Message;
use crate::protocol::method;
use crate::relay::back::notifications;
use crate::session::{CallerSession, UnaskedMessage};
use crate::upstream::watch;

/// Returns a message as the caller gets it; `None` if it is not for this caller.
pub(super) async fn render(
    session: &CallerSession,
    caller: &Caller,
    message: &UnaskedMessage,
) -> Option<Bytes> {
    let UnaskedMessage {
        link, peer, bytes, ..
    } = message;
    match std::str::from_utf8(bytes).map(Message::parse) {
        Ok(Ok(Message::Request(request))) => {
            let asked = notifications::request(session, caller, link, peer, &request).await;
            if asked.is_none() {
                watch::answer_request(link, peer, &request.id, &request.method);
            }
            asked.map(|(_, message)| message)
        }
        Ok(Ok(Message::Notification(notification))) => match notification.method.as_ref() {
            method::CANCELLED => notifications::withdrawn(session, link, notification),
            method::RESOURCE_UPDATED => {
                notifications::resource_updated(session, link.id(), notification)
            }
            // Progress of calls comes on their own streams; here comes that of tasks.
            method::PROGRESS => {
                notifications::task_progress(session, caller, link.id(), notification)
            }
            _ => Some(notifications::unchanged(link.id(), caller, notification)),
        },
        Ok(Ok(Message::Response(_)) | Err(_)) | Err(_) => None,
    }
}
