//! Ends sessions that weir opened at an upstream for its callers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::upstream::link::{Link, Wire};
use crate::upstream::peer::{Connection, Peer};

/// How long ending a session at an upstream may take.
const LEAVE: Duration = Duration::from_secs(2);

/// Ends a session at its upstream, and does not wait. With `last`, all that is in its outbox is posted
/// before that, and then these messages, in order. `held` is dropped when the session is over there.
pub fn leave_session(
    link: &Arc<Link>,
    peer: Arc<Peer>,
    last: Option<Vec<Bytes>>,
    held: impl Send + 'static,
) {
    let link = Arc::clone(link);
    link.tasks().clone().spawn(async move {
        if let Some(last) = last {
            let _ = timeout_at(Instant::now() + LEAVE, say_last(&link, &peer, last)).await;
        }
        match (&peer.connection, &link.wire) {
            (Connection::Http(session), Wire::Http(wire)) => {
                wire.end_session(session, Instant::now() + LEAVE).await;
            }
            (Connection::Child(child), _) => child.stop().await,
            (Connection::Http(_), Wire::Child(_)) => {}
        }
        drop(held);
    });
}

/// Posts the last messages of a session.
async fn say_last(link: &Link, peer: &Peer, last: Vec<Bytes>) {
    peer.outbox.wait_idle().await;
    for message in last {
        if link
            .post(peer, message, Instant::now() + LEAVE)
            .await
            .is_err()
        {
            return;
        }
    }
}
