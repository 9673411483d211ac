//! The way back: an upstream's messages become the caller's, one by one, in order.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::StatusCode;
use tokio::time::Instant;

use crate::json::Object;
use crate::metrics::{Ending, Measured};
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Id, Message, Notification, Outcome, Response};
use crate::protocol::{meta, method};
use crate::relay::asked::Asks;
use crate::relay::crossing::Crossing;
use crate::relay::logs::Logs;
use crate::relay::platform;
use crate::relay::tasks;
use crate::upstream::{Exchange, InFlightSlot, Link, LinkError, OutboundRequest, Peer, watch};

/// Everything that answers one request: any number of notifications, then one response.
///
/// It is pulled, so a slow caller slows only its own call. Dropped early, it cancels upstream.
pub struct Reply {
    state: State,
}

enum State {
    Ready(Payload),
    Relayed(Box<Relayed>),
    Done,
}

/// A message for the caller.
pub enum Outgoing {
    /// A notification, or something the upstream asks of the caller: more comes.
    Message(Bytes),
    /// The upstream closed its stream and will go on later (2025-11-25
    /// `basic/transports.mdx#sending-messages-to-the-server`): more comes, but not now.
    Paused,
    /// The response: nothing comes after it.
    Response(Payload),
}

/// A response: its HTTP status, and its bytes in pieces that are sent one after the other.
pub struct Payload {
    /// The status where the response is a whole HTTP answer.
    pub status: StatusCode,
    /// The JSON text.
    pub chunks: Vec<Bytes>,
}

/// A request on its way at an upstream. Dropped before its answer came, it is cancelled there.
pub(super) struct Flight {
    link: Arc<Link>,
    peer: Arc<Peer>,
    id: u64,
    landed: bool,
}

impl Flight {
    pub(super) fn new(link: &Arc<Link>, peer: &Arc<Peer>, id: u64) -> Self {
        Self {
            link: Arc::clone(link),
            peer: Arc::clone(peer),
            id,
            landed: false,
        }
    }

    /// There is nothing to cancel any more.
    pub(super) fn land(&mut self) {
        self.landed = true;
    }

    /// Cancels, and keeps what carries the answer open until the upstream has been told.
    fn abandon(&mut self, kept: impl Send + 'static) {
        if !self.landed {
            self.landed = true;
            self.link
                .cancel(&self.peer, self.id, "the caller left", kept);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.abandon(());
    }
}

/// A request that is being sent. Its output is the flight and what comes back.
pub(super) struct Sending {
    flight: Option<Flight>,
    sending: Option<BoxFuture<'static, Result<Exchange, LinkError>>>,
}

impl Sending {
    pub(super) fn new(
        link: &Arc<Link>,
        peer: &Arc<Peer>,
        outbound: OutboundRequest,
        deadline: Instant,
    ) -> Self {
        let flight = Flight::new(link, peer, outbound.id);
        let (link, peer) = (Arc::clone(link), Arc::clone(peer));
        let sending = async move { link.send(&peer, outbound, deadline).await };
        Self {
            flight: Some(flight),
            sending: Some(sending.boxed()),
        }
    }
}

impl Future for Sending {
    type Output = (Flight, Result<Exchange, LinkError>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(sending) = &mut self.sending else {
            return Poll::Pending;
        };
        let sent = std::task::ready!(sending.as_mut().poll(context));
        self.sending = None;
        match self.flight.take() {
            Some(flight) => Poll::Ready((flight, sent)),
            None => Poll::Pending,
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let (Some(mut flight), Some(sending)) = (self.flight.take(), self.sending.take()) {
            flight.abandon(sending);
        }
    }
}

/// The upstream's half of a call.
pub(super) struct Way {
    pub(super) flight: Flight,
    pub(super) exchange: Exchange,
    /// Which log messages on this call's stream are for the caller.
    pub(super) logs: Logs,
    /// What the upstream asks meanwhile.
    pub(super) asks: Asks,
    /// Held until the whole answer is through, and told how it ended.
    pub(super) slot: InFlightSlot,
}

struct Relayed {
    way: Way,
    caller: Id,
    token: Option<Box<str>>,
    crossing: Crossing,
    /// The stream being taken up again.
    resuming: Option<BoxFuture<'static, Result<Exchange, LinkError>>>,
    measured: Option<Measured>,
}

/// The pause before a stream is taken up again where the upstream names none, and the longest.
const RESUME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

impl Payload {
    /// A successful answer.
    #[must_use]
    pub fn ok(chunks: Vec<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            chunks,
        }
    }

    /// The error answer to a request.
    #[must_use]
    pub fn fault(id: Option<&Id>, fault: &Fault, era: Era) -> Self {
        tracing::debug!(code = fault.code_for(era), blame = ?fault.blame(), "answered with an error: {fault}");
        Self {
            status: fault.status(era),
            chunks: vec![message::error(id, &fault.to_json(era))],
        }
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes in one piece.
    #[must_use]
    pub fn concat(self) -> Bytes {
        match <[Bytes; 1]>::try_from(self.chunks) {
            Ok([only]) => only,
            Err(chunks) => chunks.concat().into(),
        }
    }
}

impl Reply {
    /// An answer that is here already.
    #[must_use]
    pub fn ready(payload: Payload) -> Self {
        Self {
            state: State::Ready(payload),
        }
    }

    pub(super) fn relayed(
        way: Way,
        caller: Id,
        token: Option<Box<str>>,
        crossing: Crossing,
    ) -> Self {
        Self {
            state: State::Relayed(Box::new(Relayed {
                way,
                caller,
                token,
                crossing,
                resuming: None,
                measured: None,
            })),
        }
    }

    /// What becomes of the call from now on is recorded there.
    pub(super) fn measured(mut self, measured: Measured) -> Self {
        if let State::Relayed(relayed) = &mut self.state {
            relayed.measured = Some(measured);
        }
        self
    }

    /// The next message for the caller; `None` when there is no more.
    pub async fn next(&mut self) -> Option<Outgoing> {
        match &mut self.state {
            State::Done => None,
            State::Ready(_) => match std::mem::replace(&mut self.state, State::Done) {
                State::Ready(payload) => Some(Outgoing::Response(payload)),
                State::Relayed(_) | State::Done => None,
            },
            State::Relayed(relayed) => {
                let outgoing = relayed.next().await;
                if relayed.way.flight.landed {
                    self.state = State::Done;
                }
                Some(outgoing)
            }
        }
    }

    /// Ends it with an error, if the upstream is still at it; there it is cancelled.
    pub fn abandon(&mut self, fault: &Fault) -> Option<Outgoing> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Relayed(mut relayed) => Some(relayed.refuse(fault)),
            State::Ready(_) | State::Done => None,
        }
    }

    /// Whether the upstream is still at it.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Relayed(_))
    }
}

impl Relayed {
    async fn next(&mut self) -> Outgoing {
        loop {
            if let Some(resuming) = &mut self.resuming {
                let resumed = resuming.await;
                self.resuming = None;
                match resumed {
                    Ok(exchange) => self.way.exchange = exchange,
                    Err(error) => return self.fail(&error),
                }
            }
            let bytes = match self.way.exchange.next().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) if self.resume() => return Outgoing::Paused,
                Ok(None) => return self.fail(&LinkError::Nonsense("ended without an answer")),
                Err(LinkError::Broken(_)) if self.resume() => return Outgoing::Paused,
                Err(error) => return self.fail(&error),
            };
            let Ok(text) = std::str::from_utf8(&bytes) else {
                return self.fail(&LinkError::Nonsense("not UTF-8"));
            };
            match Message::parse(text) {
                Ok(Message::Response(response)) => return self.finish(&response),
                Ok(Message::Notification(notification)) => {
                    if let Some(bytes) = self.notification(notification) {
                        return Outgoing::Message(bytes);
                    }
                }
                Ok(Message::Request(request)) => {
                    let Flight { link, peer, .. } = &self.way.flight;
                    match self.way.asks.ask(link, peer, &request) {
                        Some(bytes) => return Outgoing::Message(bytes),
                        None => watch::answer_request(link, peer, &request.id, &request.method),
                    }
                }
                Err(_) => return self.fail(&LinkError::Nonsense("not a JSON-RPC message")),
            }
        }
    }

    /// Takes the stream up again where it ended, after the pause that the upstream asked for; false where
    /// that is not possible.
    fn resume(&mut self) -> bool {
        let Some(position) = self.way.exchange.resume_point() else {
            return false;
        };
        let Flight { link, peer, .. } = &self.way.flight;
        let (Era::Legacy, Some(last)) = (peer.era(), position.last.clone()) else {
            return false;
        };
        let pause = position.retry.unwrap_or(RESUME.0).min(RESUME.1);
        let (link, peer) = (Arc::clone(link), Arc::clone(peer));
        let deadline = self.way.exchange.deadline();
        let resuming = async move {
            let resumed = async {
                tokio::time::sleep(pause).await;
                let resumed = link.resume(&peer, &last).await?;
                Ok(resumed.continue_from(position))
            };
            match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline, resumed)
                    .await
                    .map_err(|_| LinkError::Timeout)?
                    .map(|exchange| exchange.with_deadline(deadline)),
                None => resumed.await,
            }
        };
        self.resuming = Some(resuming.boxed());
        true
    }

    fn finish(&mut self, response: &Response<'_>) -> Outgoing {
        self.way.flight.land();
        self.way.slot.record_answer();
        let upstream = self.way.flight.link.id();
        let mut ending = Ending::Ok;
        if let (Outcome::Result(result), true) = (&response.outcome, self.crossing.has_tasks) {
            let Flight { link, id, .. } = &self.way.flight;
            let token = self.token.as_deref();
            self.way.asks.outlived(link, *id, token, result);
        }
        let payload = match response.outcome {
            Outcome::Result(result) => match self.crossing.result(result, upstream) {
                Ok(None) => Payload::ok(vec![message::result(&self.caller, result)]),
                Ok(Some(changed)) => Payload::ok(vec![message::result(&self.caller, &changed)]),
                Err(fault) => return self.refuse(&fault),
            },
            Outcome::Error(error) => {
                let slot = &mut self.way.slot;
                platform::note(error, &self.way.flight.link, slot, self.measured.as_mut());
                let (changed, status) = self.crossing.error(error, upstream);
                let error = changed.as_deref().unwrap_or(error);
                ending = Ending::Error;
                Payload {
                    status,
                    chunks: vec![message::error(Some(&self.caller), error)],
                }
            }
        };
        if let Some(measured) = &mut self.measured {
            measured.answered(ending);
        }
        Outgoing::Response(payload)
    }

    fn request_id(&self) -> &str {
        self.measured.as_ref().map_or("-", Measured::request_id)
    }

    /// Answers with an error of weir's own.
    fn refuse(&mut self, fault: &Fault) -> Outgoing {
        if let Some(measured) = &mut self.measured {
            measured.failed_late(fault);
        }
        let payload = Payload::fault(Some(&self.caller), fault, self.crossing.caller);
        Outgoing::Response(payload)
    }

    fn fail(&mut self, error: &LinkError) -> Outgoing {
        let Flight { link, peer, id, .. } = &self.way.flight;
        tracing::warn!(upstream = %link.id(), reason = %error.full_text(), request_id = self.request_id(), "call failed");
        self.way.slot.record_failure(error);
        if error.may_still_run() {
            link.cancel(peer, *id, "weir gave up", ());
        }
        let fault = error.to_fault(link.id());
        self.way.flight.land();
        self.refuse(&fault)
    }

    /// A notification for the caller, if it is for this caller at all.
    fn notification(&self, mut notification: Notification<'_>) -> Option<Bytes> {
        match notification.method.as_ref() {
            method::PROGRESS => {
                let mut params = Object::parse(notification.envelope.borrowed("params")?).ok()?;
                if watch::parse_progress_token(&params) != Some(self.way.flight.id) {
                    drop(params);
                    return self.way.asks.progress(&self.way.flight.link, notification);
                }
                params.set(meta::PROGRESS_TOKEN, self.token.as_deref()?);
                notification.envelope.set("params", params.to_text());
                let mut out = Vec::new();
                notification.envelope.write(&mut out);
                Some(out.into())
            }
            method::CANCELLED
            | method::RESOURCE_UPDATED
            | method::TOOLS_CHANGED
            | method::PROMPTS_CHANGED
            | method::RESOURCES_CHANGED => self.way.asks.heard(&self.way.flight.link, notification),
            _ if self.crossing.caller != self.crossing.upstream => None,
            method::LOG_MESSAGE if !self.way.logs.take(notification.envelope.get("params")) => None,
            _ => {
                tasks::wrap_params(&mut notification.envelope, self.way.flight.link.id());
                let mut out = Vec::new();
                notification.envelope.write(&mut out);
                Some(out.into())
            }
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        let exchange = std::mem::replace(&mut self.exchange, Exchange::from_body(Bytes::new()));
        self.flight.abandon(exchange);
    }
}
