//! Messages that an upstream sent outside of any call, for the stream of a caller's session.

use bytes::Bytes;
use tokio::time::Instant;

use crate::caller::Caller;
use crate::live::Live;
use crate::protocol::era::Era;
use crate::protocol::message::Message;
use crate::protocol::method;
use crate::relay::back::notifications;
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
                let may_read = |uri: &str| {
                    let named = || session.named_resources().find(uri, Instant::now());
                    live.load().view(caller).may_read(uri, Era::Legacy, named)
                };
                notifications::resource_updated(session, link.id(), notification, may_read)
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
