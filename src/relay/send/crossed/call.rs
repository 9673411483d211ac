//! One call that may be asked something, under way or parked: what happens to it, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::demanded::Demanded;
use super::phase::{CallPhase, CallerEvent};
use super::source::{CallSource, Sourced};
use crate::bridge::{AskKind, AskableClient, OpenAsks};
use crate::caller::Caller;
use crate::live::Live;
use crate::memory::{OverBudget, Reservation};
use crate::metrics::AskOutcome;
use crate::protocol::era::{Era, Version};
use crate::protocol::{message, method};
use crate::relay::hops::DeadlineExtension;
use crate::relay::send::in_flight::transmit;
use crate::session::{Crossings, ExchangeId, ExclusiveSession, RequestDigest};
use crate::upstream::{LinkError, OutboundRequest, RelayedMessage};

/// The time that a request may take at its upstream. The caller's requests have limits of their own, and
/// this one outlasts them.
pub(super) const AS_LONG_AS_IT_TAKES: Duration = Duration::from_secs(30 * 24 * 3600);

/// Why a call is cancelled whose caller does not come back.
const NOT_BACK: &str = "the caller did not come back";
/// Why one is cancelled that its caller knows by another number.
const LEFT: &str = "the caller left";

/// All that a call begins with.
pub(in crate::relay::send) struct CallSetup {
    pub(in crate::relay::send) crossings: Arc<Crossings>,
    pub(in crate::relay::send) session: ExclusiveSession,
    pub(in crate::relay::send) client: AskableClient,
    /// The part of the request that the states of this call are bound to.
    pub(in crate::relay::send) digest: RequestDigest,
    pub(in crate::relay::send) caller: Caller,
    pub(in crate::relay::send) live: Arc<Live>,
    /// The name that the caller knows the tool or the prompt by.
    pub(in crate::relay::send) exposed: Option<Arc<str>>,
    /// When the call has to be over, unless its caller is asked.
    pub(in crate::relay::send) deadline: Instant,
    /// How progress prolongs the call, if it does.
    pub(in crate::relay::send) extension: Option<DeadlineExtension>,
}

/// A call under way, or parked.
pub(super) struct CrossedCall {
    pub(super) setup: CallSetup,
    pub(super) method: &'static str,
    /// The number of the request on its link.
    pub(super) number: u64,
    /// The number that the caller's own request is known by: another one, where the call was sent again.
    pub(super) known_as: u64,
    /// The request, to be sent again after a person has visited a URL.
    pub(super) outbound: Option<OutboundRequest>,
    /// The URLs that the upstream demands before it runs the call.
    pub(super) demanded: Option<Demanded>,
    /// Whether the call was sent again under `known_as`.
    pub(super) is_sent: bool,
    pub(super) exchange: ExchangeId,
    /// The number of times that the caller was asked.
    pub(super) round: u32,
    /// The number of times that the upstream was told that its questions wait.
    pub(super) signs: u64,
    pub(super) asks: OpenAsks,
    /// The part of `limits.memory` that open questions take, and the request where it may be sent again.
    pub(super) kept: Reservation,
    pub(super) source: CallSource,
    pub(super) phase: CallPhase,
    /// Told when the upstream begins to answer, or why it does not.
    pub(super) begun: Option<oneshot::Sender<Result<(), LinkError>>>,
    /// When the questions that have come are asked.
    pub(super) gather: Option<Instant>,
    pub(super) generation: watch::Receiver<u64>,
}

/// An event in the life of a call.
enum CallEvent {
    Upstream(Sourced),
    /// A message outside of the call's own stream; `None` if the session is lost.
    Outside(Option<Bytes>),
    Gathered,
    /// It is time to send the call again.
    Again,
    Caller(CallerEvent),
    /// Weir stops.
    Drained,
    /// There is another catalog.
    Published,
}

/// The end of a call.
pub(super) enum CallEnd {
    /// With its response, which goes to the caller.
    Answered(mpsc::Sender<RelayedMessage>, Bytes),
    /// The upstream failed it, and the caller gets to know.
    Failed(mpsc::Sender<RelayedMessage>, LinkError),
    /// The upstream did not take the request.
    NotBegun(oneshot::Sender<Result<(), LinkError>>, LinkError),
    /// Its caller has left, and it is cancelled already.
    Left,
    /// Its caller does not come back, or may not.
    Abandoned,
}

impl CrossedCall {
    pub(super) fn new(
        setup: CallSetup,
        outbound: OutboundRequest,
        out: mpsc::Sender<RelayedMessage>,
        begun: oneshot::Sender<Result<(), LinkError>>,
    ) -> Result<Self, LinkError> {
        let (link, peer) = (&setup.session.link, &setup.session.peer);
        let version = Version::parse(&peer.version).unwrap_or(Version::LATEST_LEGACY);
        let exchange = crate::seal::random();
        let exchange = exchange.map_err(|_| LinkError::Nonsense("no random numbers"))?;
        let (method, number) = (outbound.method, outbound.id);
        let until = Instant::now() + AS_LONG_AS_IT_TAKES;
        let may_demand = setup.client.takes(AskKind::Url);
        let outbound_again = may_demand.then(|| outbound.clone());
        let bytes = outbound_again.as_ref().map_or(0, OutboundRequest::bytes);
        let kept = link.memory.reserve(bytes)?;
        let sending = transmit(link, peer, outbound, until);
        Ok(Self {
            method,
            number,
            known_as: number,
            outbound: outbound_again,
            demanded: None,
            is_sent: false,
            exchange,
            round: 0,
            signs: 0,
            asks: OpenAsks::new(version, setup.client),
            kept,
            source: CallSource::Sending(sending),
            phase: CallPhase::Running(out),
            begun: Some(begun),
            gather: None,
            generation: setup.live.watch(),
            setup,
        })
    }

    /// Takes as much of `limits.memory` as is kept now.
    ///
    /// # Errors
    /// As much is not left.
    pub(super) fn count_kept(&mut self) -> Result<(), OverBudget> {
        let request = self.outbound.as_ref().map_or(0, OutboundRequest::bytes);
        self.kept.resize(request + self.asks.bytes())
    }

    /// Goes on until the call is over. In a box, because a future has room for what it is given twice,
    /// and this one lives for as long as its caller takes.
    pub(super) async fn run(mut self: Box<Self>) {
        let end = loop {
            let event = self.next_event().await;
            if let Some(end) = self.handle(event).await {
                break end;
            }
        };
        self.end(end).await;
    }

    /// Waits for what happens next. It may be dropped and made again at any time.
    async fn next_event(&mut self) -> CallEvent {
        let Self {
            setup,
            source,
            phase,
            generation,
            gather,
            demanded,
            ..
        } = self;
        let CallSetup {
            crossings, session, ..
        } = setup;
        let is_parked = phase.is_parked();
        let again = demanded.as_ref().and_then(|demanded| demanded.again);
        let is_over = matches!(source, CallSource::Over);
        let peer = Arc::clone(&session.peer);
        tokio::select! {
            sourced = source.next() => CallEvent::Upstream(sourced),
            outside = session.next() => CallEvent::Outside(outside),
            () = peer.outbox.wait_overflow(), if !is_over => CallEvent::Outside(None),
            () = wait_until(*gather) => CallEvent::Gathered,
            () = wait_until(again) => CallEvent::Again,
            event = phase.next() => CallEvent::Caller(event),
            () = crossings.drained(), if is_parked => CallEvent::Drained,
            changed = generation.changed(), if is_parked => match changed {
                Ok(()) => CallEvent::Published,
                Err(_) => CallEvent::Drained,
            },
        }
    }

    /// Takes an event. Returns how the call ends, if it ends with it.
    async fn handle(&mut self, event: CallEvent) -> Option<CallEnd> {
        match event {
            CallEvent::Upstream(Sourced::Begun) => {
                self.tell_begun();
                None
            }
            CallEvent::Upstream(Sourced::Message(bytes)) => self.receive(&bytes, false).await,
            CallEvent::Outside(Some(bytes)) => self.receive(&bytes, true).await,
            CallEvent::Upstream(Sourced::Ended(error)) => self.lose_stream(error),
            CallEvent::Outside(None) => self.fail(LinkError::SessionLost),
            CallEvent::Gathered => self.ask().await,
            CallEvent::Again => {
                self.send_again();
                None
            }
            CallEvent::Caller(CallerEvent::Left) => Some(CallEnd::Left),
            CallEvent::Caller(CallerEvent::Resumed(resumption)) => self.go_on(resumption).await,
            CallEvent::Caller(CallerEvent::Gone) => Some(CallEnd::Abandoned),
            CallEvent::Caller(CallerEvent::StillWaits) => {
                self.tell_waiting();
                None
            }
            CallEvent::Caller(CallerEvent::Expired) => {
                let open = self.count_open();
                let end = self.abandon();
                if end.is_some() {
                    self.count(AskOutcome::Expired, open);
                }
                end
            }
            CallEvent::Drained => self.abandon(),
            CallEvent::Published if self.is_listed() => None,
            CallEvent::Published => self.abandon(),
        }
    }

    /// Says that the upstream has the request, and answers or asks.
    pub(super) fn tell_begun(&mut self) {
        if let Some(begun) = self.begun.take() {
            let _ = begun.send(Ok(()));
        }
    }

    /// Ends a call whose caller cannot come back any more, unless it has come back just now.
    fn abandon(&mut self) -> Option<CallEnd> {
        match self.setup.crossings.unpark(&self.exchange) {
            true => Some(CallEnd::Abandoned),
            false => {
                self.phase.await_resumption();
                None
            }
        }
    }

    /// Returns whether the caller still sees what it called.
    fn is_listed(&self) -> bool {
        let Some(exposed) = &self.setup.exposed else {
            return true;
        };
        let snapshot = self.setup.live.load();
        let view = snapshot.view(&self.setup.caller);
        match self.method {
            method::TOOLS_CALL => view.tool(exposed, Era::Modern).is_some(),
            method::PROMPTS_GET => view.prompt(exposed, Era::Modern).is_some(),
            _ => true,
        }
    }

    /// Ends the call. Its session serves the next one, unless something may still come of this one. The
    /// caller is told last: its next request may come at once.
    async fn end(mut self: Box<Self>, end: CallEnd) {
        let is_answered = matches!(end, CallEnd::Answered(..));
        self.setup.crossings.end(&self.exchange, is_answered);
        let is_over = matches!(self.source, CallSource::Over);
        let mut last = self.asks.end();
        let CallSetup {
            crossings, session, ..
        } = self.setup;
        match end {
            CallEnd::Answered(out, answer) => {
                match last.is_empty() {
                    true => crossings.give_back(session),
                    false => session.end_after(last, ()),
                }
                let _ = out.send(RelayedMessage::Message(answer)).await;
            }
            CallEnd::Failed(out, error) => {
                session.end_after(last, self.source);
                let _ = out.send(RelayedMessage::Failed(error)).await;
            }
            CallEnd::NotBegun(begun, error) => {
                session.end_after(last, self.source);
                let _ = begun.send(Err(error));
            }
            CallEnd::Left => {
                if self.number != self.known_as && !is_over {
                    last.push(message::cancelled(self.number, LEFT));
                }
                session.end_after(last, self.source);
            }
            CallEnd::Abandoned => {
                tracing::debug!(upstream = %session.link.id(), "a call ended without its caller");
                if !is_over {
                    last.push(message::cancelled(self.number, NOT_BACK));
                }
                session.end_after(last, self.source);
            }
        }
    }
}

/// Waits until a moment; for ever without one.
async fn wait_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
