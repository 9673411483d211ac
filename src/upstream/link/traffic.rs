//! The messages that go over a link: requests, notifications, cancellations.

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use crate::protocol::message::{self, Id};
use crate::protocol::method;
use crate::upstream::error::LinkError;
use crate::upstream::exchange::Exchange;
use crate::upstream::link::{Link, Wire};
use crate::upstream::peer::{Connection, Peer};
use crate::upstream::request::OutboundRequest;

impl Link {
    /// Opens the GET stream of a legacy session, or resumes one that ended after the event with the
    /// id `after`. Returns `None` if the upstream has no such stream.
    ///
    /// # Errors
    /// The upstream could not be asked, or the session is gone.
    pub async fn open_get_stream(
        &self,
        peer: &Peer,
        after: Option<&str>,
    ) -> Result<Option<Exchange>, LinkError> {
        let (Wire::Http(wire), Connection::Http(session)) = (&self.wire, &peer.connection) else {
            return Ok(None);
        };
        match wire.open_get_stream(session, after).await {
            Err(LinkError::SessionLost) if self.is_alive(peer).await? => Ok(None),
            opened => opened,
        }
    }

    /// Asks whether the session of a peer is alive. A 404 to its GET does not tell: servers without
    /// a GET stream answer that too. A 404 to a POST does (`basic/transports.mdx`).
    ///
    /// # Errors
    /// There was no answer.
    async fn is_alive(&self, peer: &Peer) -> Result<bool, LinkError> {
        let ping = OutboundRequest {
            id: self.next_id(),
            method: method::PING,
            params: "{}".to_owned(),
            headers: HeaderMap::new(),
            memory: self.memory.clone(),
        };
        match self.send(peer, ping, self.list_deadline()).await {
            Ok(_) => Ok(true),
            Err(LinkError::SessionLost) => Ok(false),
            // A server that knows no ping is alive, too.
            Err(error) if error.is_refusal() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Resumes a legacy stream that ended before its answer came.
    ///
    /// # Errors
    /// The upstream does not resume it.
    pub async fn resume(&self, peer: &Peer, after: &str) -> Result<Exchange, LinkError> {
        let resumed = self.open_get_stream(peer, Some(after));
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
                let queued = tokio::time::timeout_at(
                    deadline,
                    child.request(outbound.id, body, outbound.memory),
                )
                .await;
                let replies = queued
                    .map_err(|_| LinkError::Timeout)?
                    .map_err(LinkError::from_child)?;
                Ok(Exchange::from_child(replies))
            }
            (Connection::Http(_), Wire::Child(_)) => Err(LinkError::SessionLost),
        }
    }

    /// Sends a notification or a response, and waits until it is sent. Nothing comes back for
    /// either.
    ///
    /// # Errors
    /// It could not be sent until `deadline`.
    pub async fn post(&self, peer: &Peer, body: Bytes, deadline: Instant) -> Result<(), LinkError> {
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
}
