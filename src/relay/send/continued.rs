//! Calls that may be asked something, and those that go on with their caller's answers.

use std::sync::Arc;

use tokio::time::Instant;

use crate::bridge::{AskableClient, LogFilter};
use crate::caller::Presence;
use crate::catalog::Route;
use crate::memory::OverBudget;
use crate::protocol::era::{Era, Version};
use crate::protocol::error::{Fault, StateProblem};
use crate::protocol::meta;
use crate::relay::retry;
use crate::relay::send::attempt::{Attempt, SendError};
use crate::relay::send::client_span::ClientSpan;
use crate::relay::send::crossed::{self, CallSetup};
use crate::relay::send::driven::CallTask;
use crate::relay::send::exclusive::{ExclusiveCall, askable};
use crate::relay::send::in_flight::{CancelOnDrop, SendingRequest};
use crate::relay::send::peers::peer_for;
use crate::relay::send::questions::CallQuestions;
use crate::relay::send::{Sender, Sent};
use crate::session::ParkedTicket;
use crate::upstream::{InFlightSlot, LinkError, OutboundRequest, Peer};

/// The parts of an attempt that outlast its answer: its questions to the caller, and its task.
type KeptParts = (Option<Box<CallQuestions>>, Option<Box<CallTask>>);

impl Sender<'_, '_> {
    /// Sends the request, or has the call go on that it continues.
    pub(super) async fn start(mut self) -> Result<Sent, SendError> {
        let continued = self.target.continued.as_mut();
        match continued.and_then(|continued| continued.ticket.take()) {
            Some(ticket) => Box::pin(self.go_on(ticket)).await,
            None => self.send_with_retry().await,
        }
    }

    /// Has a parked call go on with the answers of this request.
    async fn go_on(mut self, ticket: ParkedTicket) -> Result<Sent, SendError> {
        let (scope, link) = (self.scope, &ticket.link);
        self.deadline = self.deadline.min(Instant::now() + ticket.left);
        if let (Some(extension), Some(longest)) = (&mut self.extension, ticket.longest) {
            extension.limit(longest);
        }
        let waits = scope.presence.map(Presence::wait);
        let slot = link.gate.enter(scope.claim(), self.deadline).await?;
        scope.begin();
        drop(waits);
        let refused = |problem| SendError::Refused(Fault::RequestState(problem));
        let claimed = scope.crossings.and_then(|all| all.claim(&ticket));
        // Another request with the same state was faster.
        let call = claimed.ok_or_else(|| refused(StateProblem::Invalid))?;
        let (peer, number) = (Arc::clone(&call.peer), call.number);
        let span = ClientSpan::begin(self.record, (link, &peer), &self.target, number);
        self.record.note_sent();
        let answers = self.target.params.value("inputResponses");
        let answers = answers.map(str::to_owned);
        let exchange = crossed::resume(call, answers, self.deadline);
        let exchange = exchange.ok_or_else(|| refused(StateProblem::Over))?;
        let own = self.meta.as_ref().or(self.request.meta.as_ref());
        let token = own.and_then(|own| own.value(meta::PROGRESS_TOKEN));
        let attempt = Attempt {
            cancel: CancelOnDrop::new(link, &peer, number, Some(slot)),
            token: token.map(Box::from),
            logs: LogFilter::new(scope.era(), own),
            is_task: false,
            span,
            questions: None,
            task: None,
        };
        Ok(self.sent(attempt, exchange, &peer))
    }

    /// Returns the peer that the request goes to. If the call may be asked something, it is that of a
    /// session of its own.
    pub(super) async fn find_peer(&mut self) -> Result<Arc<Peer>, LinkError> {
        let (scope, link, deadline) = (self.scope, self.link, self.deadline);
        let own = self.meta.as_ref().or(self.request.meta.as_ref());
        // A tool that has to be called as a task answers at once, and its task goes on: a session of the
        // call's own would be another call's by then. It can ask nothing.
        let route = self.target.route.as_ref();
        let is_task = route.is_some_and(Route::requires_task);
        let caller = askable(scope, link, self.target.method, own).filter(|_| !is_task);
        if let Some(caller) = caller {
            // In a box, for the size of the future of all other calls.
            let exclusive = Box::pin(caller.session(scope, link, deadline)).await?;
            if let Some(exclusive) = exclusive {
                let peer = Arc::clone(&exclusive.session.peer);
                self.exclusive = Some(Box::new(exclusive));
                return Ok(peer);
            }
        }
        peer_for(scope, link, deadline).await
    }

    /// Returns the questions that the caller declares to take, if it is modern and the upstream legacy.
    pub(super) fn declared(&self, peer: &Peer) -> Option<AskableClient> {
        if (self.scope.era(), peer.era()) != (Era::Modern, Era::Legacy) {
            return None;
        }
        let own = self.meta.as_ref().or(self.request.meta.as_ref())?;
        let capabilities = own.value(meta::CLIENT_CAPABILITIES);
        let capabilities = capabilities.unwrap_or("{}");
        Some(AskableClient::read(Version::MODERN, capabilities))
    }

    /// Forgets the sessions at the upstream that are for single calls, after it has forgotten one.
    pub(super) fn forget_exclusive(&self) {
        if let Some(crossings) = self.scope.crossings {
            crossings.forget_sessions(self.link);
        }
    }

    /// Sends the request in a session that it has to itself.
    pub(super) fn send_exclusively(
        &self,
        exclusive: ExclusiveCall,
        outbound: OutboundRequest,
        slot: Option<InFlightSlot>,
    ) -> SendingRequest {
        let ExclusiveCall {
            crossings,
            session,
            client,
        } = exclusive;
        let (scope, target) = (self.scope, &self.target);
        let cancel = CancelOnDrop::new(self.link, &session.peer, outbound.id, slot);
        let continued = target.continued.as_ref();
        let digest = continued.map(|continued| continued.digest);
        let named = target.named.as_ref();
        let setup = CallSetup {
            crossings,
            session,
            client,
            digest: digest.unwrap_or_else(|| retry::digest_of(self.request)),
            caller: scope.caller().without_token(),
            live: Arc::clone(scope.live),
            exposed: named.map(|named| Arc::clone(&named.exposed)),
            deadline: self.deadline,
            extension: self.extension,
        };
        SendingRequest::with(cancel, crossed::begin(setup, outbound))
    }

    /// Keeps what is needed to send the request once more, where its answer may be no end of it.
    ///
    /// # Errors
    /// There is no memory left for that.
    pub(super) fn keep(
        &self,
        peer: &Arc<Peer>,
        outbound: &OutboundRequest,
    ) -> Result<KeptParts, Fault> {
        let (scope, to, target) = (self.scope, (self.link, peer), &self.target);
        let over = |over: OverBudget| LinkError::from(over).to_fault(self.link.id());
        let guard = self.guard.as_ref();
        let questions = CallQuestions::of(scope, to, target, outbound, guard).map_err(over)?;
        let task = CallTask::of(scope, to, target, outbound).map_err(over)?;
        Ok((questions, task))
    }
}
