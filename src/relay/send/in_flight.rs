//! A request that an upstream is working on. If it is dropped before its response came, it is
//! cancelled at the upstream.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::bridge::LogFilter;
use crate::relay::hops::DeadlineExtension;
use crate::relay::send::client_span::ClientSpan;
use crate::session::ServerRequests;
use crate::upstream::{Exchange, InFlightSlot, Link, LinkError, OutboundRequest, Peer};

/// Why a request is cancelled, as its upstream is told.
const LEFT: &str = "the caller left";

/// Cancels a request at its upstream when it is dropped, unless it was disarmed.
pub(in crate::relay) struct CancelOnDrop {
    pub(in crate::relay) link: Arc<Link>,
    pub(in crate::relay) peer: Arc<Peer>,
    /// The number of the request on its link.
    pub(in crate::relay) id: u64,
    /// The call's place among those under way, held until the whole answer is relayed, or until the
    /// upstream has received the cancellation. The outcome is recorded on it. `None` once another
    /// attempt at the call has it.
    pub(in crate::relay) slot: Option<InFlightSlot>,
    is_disarmed: bool,
}

impl CancelOnDrop {
    pub(super) fn new(
        link: &Arc<Link>,
        peer: &Arc<Peer>,
        id: u64,
        slot: Option<InFlightSlot>,
    ) -> Self {
        Self {
            link: Arc::clone(link),
            peer: Arc::clone(peer),
            id,
            slot,
            is_disarmed: false,
        }
    }

    /// Notes that there is nothing to cancel any more.
    pub(in crate::relay) fn disarm(&mut self) {
        self.is_disarmed = true;
    }

    /// Records on the slot that the call failed.
    pub(in crate::relay) fn record_failure(&mut self, error: &LinkError) {
        if let Some(slot) = &mut self.slot {
            slot.record_failure(error);
        }
    }

    pub(in crate::relay) fn is_disarmed(&self) -> bool {
        self.is_disarmed
    }

    /// Cancels the request. `carrier`, the connection that the answer would come on, stays open
    /// until the upstream has received the cancellation, and the slot stays taken.
    pub(in crate::relay) fn cancel(&mut self, reason: &'static str, carrier: impl Send + 'static) {
        if !std::mem::replace(&mut self.is_disarmed, true) {
            let mut slot = self.slot.take();
            if let Some(slot) = &mut slot {
                slot.record_leave();
            }
            let held = (carrier, slot);
            self.link.cancel(&self.peer, self.id, reason, held);
        }
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.cancel(LEFT, ());
    }
}

/// The future of a request that is being sent. Its output is the guard that cancels the request,
/// and the exchange with the upstream.
pub(super) struct SendingRequest {
    cancel: Option<CancelOnDrop>,
    sending: Option<BoxFuture<'static, Result<Exchange, LinkError>>>,
}

impl SendingRequest {
    pub(super) fn new(
        link: &Arc<Link>,
        peer: &Arc<Peer>,
        outbound: OutboundRequest,
        deadline: Instant,
        slot: Option<InFlightSlot>,
    ) -> Self {
        let cancel = CancelOnDrop::new(link, peer, outbound.id, slot);
        Self::with(cancel, transmit(link, peer, outbound, deadline))
    }

    /// Makes one of a request that something else sends.
    pub(super) fn with(
        cancel: CancelOnDrop,
        sending: BoxFuture<'static, Result<Exchange, LinkError>>,
    ) -> Self {
        Self {
            cancel: Some(cancel),
            sending: Some(sending),
        }
    }
}

/// Sends a request, which nothing cancels when the future is dropped.
pub(super) fn transmit(
    link: &Arc<Link>,
    peer: &Arc<Peer>,
    outbound: OutboundRequest,
    deadline: Instant,
) -> BoxFuture<'static, Result<Exchange, LinkError>> {
    let (link, peer) = (Arc::clone(link), Arc::clone(peer));
    async move { link.send(&peer, outbound, deadline).await }.boxed()
}

impl Future for SendingRequest {
    type Output = (CancelOnDrop, Result<Exchange, LinkError>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(sending) = &mut self.sending else {
            return Poll::Pending;
        };
        let sent = std::task::ready!(sending.as_mut().poll(context));
        self.sending = None;
        match self.cancel.take() {
            Some(cancel) => Poll::Ready((cancel, sent)),
            None => Poll::Pending,
        }
    }
}

impl Drop for SendingRequest {
    fn drop(&mut self) {
        if let (Some(mut cancel), Some(sending)) = (self.cancel.take(), self.sending.take()) {
            cancel.cancel(LEFT, sending);
        }
    }
}

/// The upstream's side of a call under way.
pub(in crate::relay) struct UpstreamStream {
    pub(in crate::relay) cancel: CancelOnDrop,
    pub(in crate::relay) exchange: Exchange,
    /// The log messages on this call's stream that are for the caller.
    pub(in crate::relay) logs: LogFilter,
    /// The requests that the upstream sent to the caller during this call.
    pub(in crate::relay) requests: ServerRequests,
    /// The span of the attempt.
    pub(in crate::relay) span: ClientSpan,
    /// How progress prolongs the call, if it does.
    pub(in crate::relay) extension: Option<DeadlineExtension>,
}

impl Drop for UpstreamStream {
    fn drop(&mut self) {
        let exchange = std::mem::replace(&mut self.exchange, Exchange::from_body(Bytes::new()));
        self.cancel.cancel(LEFT, exchange);
    }
}
