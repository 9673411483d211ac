//! Messages that nobody waits for: they go through the outbox of their peer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::protocol::era::Era;
use crate::protocol::message;
use crate::upstream::error::LinkError;
use crate::upstream::gate::InFlightSlot;
use crate::upstream::link::Link;
use crate::upstream::outbox::{AT_ONCE, OutboxMessage, OutboxState, Pushed};
use crate::upstream::peer::{Connection, Peer};
use crate::upstream::request::OutboundRequest;

/// How long a cancellation may take to reach the upstream. It holds the slot of its call as long.
const CANCELLATION: Duration = Duration::from_secs(2);

/// The bytes that a message in an outbox takes besides its own.
const OVERHEAD: usize = 256;

impl Link {
    /// Sends a notification or a response some time soon, and does not wait. `what` names it in the
    /// log. Of messages about the same `state` only the newest is sent.
    ///
    /// A peer for which too many messages wait does not take them: its session is given up.
    pub fn post_later(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        body: Bytes,
        what: &'static str,
        state: Option<OutboxState>,
    ) {
        let Ok(kept) = self.memory.reserve(body.len() + OVERHEAD) else {
            tracing::warn!(upstream = %self.id(), what, "dropped: no memory is left for it");
            return;
        };
        let message = OutboxMessage {
            body,
            request: None,
            what,
            kept: Some(kept),
            until: self.list_deadline(),
            state,
            held: None,
        };
        self.put(peer, message);
    }

    /// Cancels a request by the rule of the upstream's era: over modern HTTP the closed stream
    /// cancels it, otherwise `notifications/cancelled` does. Does not wait. `held`, which is dropped
    /// after the notification was sent, is what carries the answer, and the slot of the call: calls
    /// that were cancelled count in the gate until the upstream knows it.
    pub fn cancel(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        id: u64,
        reason: &'static str,
        held: impl Send + 'static,
    ) {
        if matches!(peer.connection, Connection::Http(_)) && peer.era() == Era::Modern {
            return;
        }
        let message = OutboxMessage {
            body: message::cancelled(id, reason),
            request: None,
            what: "a cancellation",
            kept: None,
            until: Instant::now() + CANCELLATION.min(self.config.timeouts.list),
            state: None,
            held: Some(Box::new(held)),
        };
        self.put(peer, message);
    }

    /// Cancels a task with this request. Does not wait. `slot`, the place of the call that became the
    /// task, is free once the upstream has answered: as with other calls.
    pub fn cancel_task(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        request: OutboundRequest,
        mut slot: Option<InFlightSlot>,
    ) {
        if let Some(slot) = &mut slot {
            slot.record_leave();
        }
        let Ok(kept) = self.memory.reserve(request.params.len() + OVERHEAD) else {
            tracing::warn!(upstream = %self.id(), "a task is not cancelled: no memory is left for it");
            return;
        };
        let message = OutboxMessage {
            body: Bytes::new(),
            request: Some(Box::new(request)),
            what: "the cancellation of a task",
            kept: Some(kept),
            until: Instant::now() + CANCELLATION.min(self.config.timeouts.list),
            state: None,
            held: Some(Box::new(slot)),
        };
        self.put(peer, message);
    }

    fn put(self: &Arc<Self>, peer: &Arc<Peer>, message: OutboxMessage) {
        match peer.outbox.push(message) {
            Pushed::First => {
                let (link, peer) = (Arc::clone(self), Arc::clone(peer));
                self.tasks()
                    .spawn(async move { link.post_all(&peer).await });
            }
            Pushed::Queued | Pushed::Closed => {}
            Pushed::Overflowed => {
                tracing::warn!(
                    upstream = %self.id(),
                    "sends requests and does not take the answers: its session is given up"
                );
                if self.forget_peer(peer) {
                    self.request_reconnect();
                }
            }
        }
    }

    /// Posts what is in the outbox of a peer, and what comes meanwhile, until it is empty.
    async fn post_all(&self, peer: &Peer) {
        let outbox = &peer.outbox;
        let mut posting = FuturesUnordered::new();
        loop {
            while posting.len() < AT_ONCE
                && let Some(message) = outbox.take()
            {
                posting.push(self.post_one(peer, message));
            }
            if posting.is_empty() && outbox.finish() {
                return;
            }
            tokio::select! {
                Some(state) = posting.next() => outbox.note_posted(state),
                () = outbox.wait_added() => {}
                () = outbox.wait_overflow(), if !outbox.has_overflowed() => posting.clear(),
            }
        }
    }

    /// Posts one message, and returns the state that it tells of.
    async fn post_one(&self, peer: &Peer, message: OutboxMessage) -> Option<OutboxState> {
        let OutboxMessage {
            body,
            request,
            what,
            until,
            state,
            kept: _kept,
            held,
        } = message;
        let posted = async {
            let _place = self.gate.post_place().await;
            match request {
                Some(request) => Box::pin(self.send_unheard(peer, *request, until)).await,
                None => self.post(peer, body, until).await,
            }
        };
        let posted = match until > Instant::now() {
            true => tokio::time::timeout_at(until, posted).await.ok(),
            false => None,
        };
        if let Err(error) = posted.unwrap_or(Err(LinkError::Timeout)) {
            tracing::debug!(upstream = %self.id(), %error, what, "not delivered to the upstream");
        }
        drop(held);
        state
    }

    /// Sends a request, and reads its answer to the end. That says nothing: where the answer is a
    /// stream, to close it early would cancel the request.
    async fn send_unheard(
        &self,
        peer: &Peer,
        request: OutboundRequest,
        until: Instant,
    ) -> Result<(), LinkError> {
        let mut exchange = self.send(peer, request, until).await?;
        while exchange.next().await?.is_some() {}
        Ok(())
    }
}
