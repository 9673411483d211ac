//! The messages that go over a link: requests, notifications, cancellations.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::protocol::era::Era;
use crate::protocol::message::{self, Id};
use crate::upstream::error::LinkError;
use crate::upstream::exchange::Exchange;
use crate::upstream::link::{Link, Wire};
use crate::upstream::peer::{Connection, Peer};
use crate::upstream::request::OutboundRequest;

impl Link {
    /// Resumes a legacy stream that ended before its answer came.
    ///
    /// # Errors
    /// The upstream does not resume it.
    pub async fn resume(&self, peer: &Peer, after: &str) -> Result<Exchange, LinkError> {
        let (Wire::Http(wire), Connection::Http(session)) = (&self.wire, &peer.connection) else {
            return Err(LinkError::SessionLost);
        };
        let resumed = wire.open_get_stream(session, Some(after));
        let resumed = tokio::time::timeout_at(self.list_deadline(), resumed).await;
        resumed
            .map_err(|_| LinkError::Timeout)??
            .ok_or(LinkError::Nonsense("ended without an answer"))
    }

    /// Sends a request. The exchange yields the request's notifications and then its response.
    ///
    /// # Errors
    /// The request could not be sent, or was answered by something other than MCP.
    pub async fn send(
        &self,
        peer: &Peer,
        outbound: OutboundRequest,
        deadline: Instant,
    ) -> Result<Exchange, LinkError> {
        let body = message::request(&Id::from(outbound.id), outbound.method, &outbound.params);
        match (&peer.connection, &self.wire) {
            (Connection::Http(session), Wire::Http(wire)) => {
                wire.send(session, outbound, body, deadline).await
            }
            (Connection::Child(child), _) => {
                let queued =
                    tokio::time::timeout_at(deadline, child.request(outbound.id, body)).await;
                let replies = queued
                    .map_err(|_| LinkError::Timeout)?
                    .map_err(LinkError::from_child)?;
                Ok(Exchange::from_child(replies))
            }
            (Connection::Http(_), Wire::Child(_)) => Err(LinkError::SessionLost),
        }
    }

    /// Sends a notification or a response. Nothing comes back for either.
    ///
    /// # Errors
    /// It could not be sent.
    pub async fn post(&self, peer: &Peer, body: Bytes) -> Result<(), LinkError> {
        let deadline = Instant::now() + self.config.timeouts.list;
        match (&peer.connection, &self.wire) {
            (Connection::Http(session), Wire::Http(wire)) => {
                wire.post(peer, session, body, deadline).await
            }
            (Connection::Child(child), _) => {
                let sent = tokio::time::timeout_at(deadline, child.send(body)).await;
                sent.map_err(|_| LinkError::Timeout)?
                    .map_err(LinkError::from_child)
            }
            (Connection::Http(_), Wire::Child(_)) => Err(LinkError::SessionLost),
        }
    }

    /// Cancels a request by the rule of the upstream's era: over modern HTTP the closed stream
    /// cancels it, otherwise `notifications/cancelled` does. `keep_open` is what carries the
    /// answer: it is dropped after the notification was sent. Does not wait.
    pub fn cancel(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        id: u64,
        reason: &'static str,
        keep_open: impl Send + 'static,
    ) {
        if matches!(peer.connection, Connection::Http(_)) && peer.era() == Era::Modern {
            return;
        }
        let body = message::cancelled(id, reason);
        let (link, peer) = (Arc::clone(self), Arc::clone(peer));
        self.tasks.spawn(async move {
            if let Err(error) = link.post(&peer, body).await {
                tracing::debug!(upstream = %link.id(), %error, "cancellation not delivered");
            }
            drop(keep_open);
        });
    }
}
