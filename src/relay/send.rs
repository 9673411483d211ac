//! Sends requests of callers to upstreams, once they are permitted and their data passed the guard.
//!
//! A request is sent a second time in four cases only:
//!
//! - the upstream refused it because the tool's definition has changed, and there is a new one;
//! - it did not run, because the upstream knows no such session, its process had ended, or it
//!   redirected the request;
//! - it only reads, and its connection was closed before an answer began;
//! - its tool may be called twice, by its annotations and by the operator's config, and the error
//!   is a passing one.

mod attempt;
mod client_span;
mod continued;
mod crossed;
mod driven;
mod exclusive;
mod failures;
mod in_flight;
mod mirrored;
mod notices;
mod own;
mod peers;
mod questions;
mod renewal;
mod repeated;

use std::sync::Arc;

use tokio::time::Instant;

use crate::bridge::{AnswerBridge, AskableClient, Hop, HopMeta, HopParams, request};
use crate::caller::Presence;
use crate::catalog::{NamedResources, Route};
use crate::guard::RequestGuard;
use crate::json::Object;
use crate::memory::MemoryShare;
use crate::protocol::error::Fault;
use crate::protocol::headers;
use crate::protocol::message::{Id, Request};
use crate::protocol::method;
use crate::record::{Record, RecordedData};
use crate::relay::call::Target;
use crate::relay::guard::Guarded;
use crate::relay::hooks::ResponseHooks;
use crate::relay::hops::DeadlineExtension;
use crate::relay::validation::ResultChecks;
use crate::relay::{Scope, hops};
use crate::session::ServerRequests;
use crate::upstream::{Exchange, InFlightSlot, Link, LinkError, OutboundRequest, Peer};

use attempt::{Attempt, PreparedAttempt, SendError};
use client_span::ClientSpan;
pub(super) use driven::{CallTask, TaskEvent};
use exclusive::ExclusiveCall;
use failures::log_failure;
use in_flight::SendingRequest;
pub(super) use in_flight::{CancelOnDrop, UpstreamStream};
use mirrored::mirrored_headers;
pub use notices::{answer, progress, roots_changed};
pub(super) use own::{list_tasks, set_level, subscribe, unsubscribe};
pub(super) use peers::peer_for;
use peers::{is_shared, peer_after_loss};
pub(super) use questions::{CallQuestions, QuestionEvent, is_question, refusal};
use renewal::renewed_route;

/// A request that was sent, with all that is needed to relay its answer.
pub(super) struct Sent {
    pub(super) stream: UpstreamStream,
    /// The caller's id of the request.
    pub(super) id: Id,
    /// The caller's progress token, as JSON text.
    pub(super) token: Option<Box<str>>,
    /// The questions that its caller declares to take, where the upstream may ask though it should not:
    /// those of a modern caller over a legacy upstream.
    pub(super) declared: Option<AskableClient>,
    /// The changes that the answer needs.
    pub(super) bridge: AnswerBridge,
    /// The share that pays for the answer.
    pub(super) memory: MemoryShare,
    /// Where the resources that the result names are remembered; `None` if they need not be.
    pub(super) named_resources: Option<Arc<NamedResources>>,
    /// The rules for the data of the answer; `None` if all of it passes.
    pub(super) guard: Option<RequestGuard>,
    /// The checks of its result; `None` if there are none.
    pub(super) checks: Option<Box<ResultChecks>>,
    /// The hooks that see its answer; `None` if there are none.
    pub(super) hooks: Option<Box<ResponseHooks>>,
    /// The questions of its upstream to its caller, where they cross eras.
    pub(super) questions: Option<Box<CallQuestions>>,
    /// The task that its upstream may make of it, if weir drives that.
    pub(super) task: Option<Box<CallTask>>,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sent")
            .field("id", &self.id)
            .field("bridge", &self.bridge)
            .finish_non_exhaustive()
    }
}

/// Sends a request to the upstream that its permit is for.
///
/// # Errors
/// The upstream cannot be reached, or gave no usable answer.
pub(super) async fn send(
    scope: &Scope<'_>,
    request: &Request<'_>,
    guarded: Guarded<'_>,
    record: &mut Record,
) -> Result<Sent, Fault> {
    let Guarded {
        permit,
        target,
        meta,
        guard,
        unrestored,
        begun,
    } = guarded;
    let link = scope.link(&permit)?;
    let tool = target.route.as_ref().map(|route| &*route.exposed);
    if guard.is_some() {
        record.hide_data();
    }
    record.set_destination(&link.metrics, target.method, tool);
    note_target(record, &target);
    if let Some(sent) = target.params.get("arguments") {
        record.set_sent_arguments(RecordedData {
            sent,
            unrestored: unrestored.as_deref(),
            guard: guard.as_ref(),
        });
    }
    let request_id = scope.trace.request_id();
    let method = target.method;
    let timeout = target.route.as_ref().and_then(Route::timeout);
    let deadline = hops::deadline(link, request, timeout, begun);
    let sent = match deadline {
        Ok(deadline) => {
            let sender = Sender {
                scope,
                request,
                target,
                meta,
                guard,
                link,
                deadline,
                extension: hops::extension(request, timeout, begun),
                exclusive: None,
                record: &mut *record,
            };
            sender.start().await
        }
        Err(error) => Err(SendError::Link(error)),
    };
    sent.map_err(|error| match error {
        SendError::Link(error) => {
            record.note_answer(error.public_text());
            record.set_failure(error.kind());
            log_failure(link, method, request_id, &error)
        }
        SendError::Refused(fault) => fault,
    })
}

/// Notes in the record what is sent, by the names that the upstream knows.
fn note_target(record: &mut Record, target: &Target<'_>) {
    if let (Some(name), method::TOOLS_CALL | method::PROMPTS_GET) = (&target.name, target.method) {
        record.set_original(name);
    }
}

/// A request that may take more than one attempt.
struct Sender<'s, 'p> {
    scope: &'s Scope<'s>,
    request: &'s Request<'p>,
    target: Target<'p>,
    /// `_meta` of the request, if it differs from what the caller sent.
    meta: Option<Object<'static>>,
    /// The rules for the data of the answer.
    guard: Option<RequestGuard>,
    link: &'s Arc<Link>,
    deadline: Instant,
    extension: Option<DeadlineExtension>,
    /// The session that the next attempt has to itself.
    exclusive: Option<Box<ExclusiveCall>>,
    record: &'s mut Record,
}

impl Sender<'_, '_> {
    /// Sends the request, and again where the rules of this module allow it.
    async fn send_with_retry(mut self) -> Result<Sent, SendError> {
        let link = self.link;
        let (entered, mut peer) = self.wait_for_turn().await?;
        let is_exclusive = self.exclusive.is_some();
        let mut slot = Some(entered);
        // `again`: once for what did not run. `repeat`: once for what may have run.
        let (mut again, mut repeat) = (true, true);
        loop {
            let attempted = self.attempt(&peer, slot.take()).await;
            let (mut attempt, exchange) = attempted.map_err(SendError::Refused)?;
            if let Err(error) = &exchange {
                attempt.span.fail(error);
            }
            match exchange {
                Ok(exchange) => return Ok(self.sent(attempt, exchange, &peer)),
                // The upstream did not run it: the headers that repeat arguments do not fit the
                // tool's definition any more. The upstream is listed anew, and the request sent
                // with the headers of the new definition.
                Err(LinkError::HeaderMismatch(_)) if again && self.renew().await => {
                    attempt.cancel.disarm();
                    again = false;
                }
                Err(LinkError::HeaderMismatch(answer)) => {
                    let exchange = Exchange::from_body(answer);
                    return Ok(self.sent(attempt, exchange, &peer));
                }
                // It did not run either: it has to go to another path of the server.
                Err(LinkError::NotRun(_)) if again => {
                    attempt.cancel.disarm();
                    again = false;
                }
                // It did not run either: the upstream knows no such session, or its process had
                // ended already. So it may be sent again, whatever the tool does.
                Err(LinkError::SessionLost | LinkError::ChildClosed(_)) if again => {
                    attempt.cancel.disarm();
                    again = false;
                    if is_exclusive {
                        self.forget_exclusive();
                    } else {
                        peer = peer_after_loss(self.scope, link, &peer, self.deadline).await?;
                    }
                }
                Err(error) => {
                    // After a timeout the upstream may still be running it: leave the cancellation
                    // armed, which is sent when `attempt` is dropped.
                    if !error.may_still_run() {
                        attempt.cancel.disarm();
                    }
                    if !(self.may_repeat(&error) && std::mem::take(&mut repeat)) {
                        attempt.cancel.record_failure(&error);
                        return Err(error.into());
                    }
                    let (method, reason) = (self.target.method, error.full_text());
                    tracing::debug!(upstream = %link.id(), method, %reason, "once more");
                }
            }
            slot = attempt.cancel.slot.take();
            if is_exclusive {
                peer = self.find_peer().await?;
            }
        }
    }

    /// Waits for a slot and a peer. Nothing is sent yet, so a caller that hangs up now has not
    /// asked for anything.
    async fn wait_for_turn(&mut self) -> Result<(InFlightSlot, Arc<Peer>), SendError> {
        let (scope, link) = (self.scope, self.link);
        let waits = scope.presence.map(Presence::wait);
        let mut slot = link.gate.enter(scope.claim(), self.deadline).await?;
        match self.find_peer().await {
            Ok(peer) => {
                scope.begin();
                drop(waits);
                Ok((slot, peer))
            }
            Err(error) => {
                slot.record_failure(&error);
                Err(error.into())
            }
        }
    }

    /// Returns whether a request that may have run is worth another attempt after this error.
    fn may_repeat(&self, error: &LinkError) -> bool {
        // A server may close a kept-alive connection at the moment at which weir sends on it.
        // Nobody can tell then whether the request ran.
        if error.is_unanswered() && self.target.only_reads() {
            return true;
        }
        error.is_transient() && self.target.is_repeatable(&self.link.config.retry)
    }

    /// Sends the request to this peer, with the `_meta` of this hop in the peer's era.
    async fn attempt(
        &mut self,
        peer: &Arc<Peer>,
        mut slot: Option<InFlightSlot>,
    ) -> Result<(Attempt, Result<Exchange, LinkError>), Fault> {
        let latest = self.latest();
        let is_task = driven::prepare(self.scope, peer, &mut self.target, latest);
        let (link, era, id) = (self.link, self.scope.era(), self.link.next_id());
        let mut span = ClientSpan::begin(self.record, (link, peer), &self.target, id);
        let prepared = self.prepare_attempt(peer, id, &span);
        let prepared = prepared.inspect_err(|fault| span.refuse(fault, era))?;
        let PreparedAttempt {
            outbound,
            token,
            logs,
        } = prepared;
        if let Some(slot) = &mut slot {
            slot.note_size(outbound.params.len());
        }
        let kept = self.keep(peer, &outbound);
        let (questions, task) = kept.inspect_err(|fault| span.refuse(fault, era))?;
        self.record.note_sent();
        let sending = match self.exclusive.take() {
            Some(exclusive) => self.send_exclusively(*exclusive, outbound, slot),
            None => SendingRequest::new(self.link, peer, outbound, self.deadline, slot),
        };
        let (cancel, exchange) = sending.await;
        let attempt = Attempt {
            cancel,
            token,
            logs,
            is_task,
            span,
            questions,
            task,
        };
        Ok((attempt, exchange))
    }

    /// Makes what is sent to this peer as `id`.
    fn prepare_attempt(
        &mut self,
        peer: &Peer,
        id: u64,
        span: &ClientSpan,
    ) -> Result<PreparedAttempt, Fault> {
        let (scope, link) = (self.scope, self.link);
        let place = self.record.place();
        let onward = place.and_then(|place| place.onward(scope.trace, span.span()));
        let trace = onward.as_ref().unwrap_or(scope.trace);
        let hop_meta = HopMeta {
            trace,
            onward: hops::onward(scope, self.latest()),
            wants_progress: self.extension.is_some(),
            keeps_baggage: self.guard.is_none(),
            client: driven::declare(scope, peer, &self.target, questions::client_of(scope, peer)),
        };
        let hop = Hop {
            caller: scope.era(),
            upstream: peer.era(),
            on_stdio: peer.is_on_stdio(),
            is_trusted: link.config.forward_meta,
        };
        let meta = self.meta.as_ref().or(self.request.meta.as_ref());
        let HopParams {
            params,
            token,
            logs,
        } = request::rewrite_params(&mut self.target.params, meta, hop, id, &hop_meta)?;
        let mut headers = mirrored_headers(&self.target, peer.era())?;
        let baggage_room = match link.config.forward_meta && self.guard.is_none() {
            true => headers::room_in(&headers),
            false => 0,
        };
        trace.write(&mut headers, baggage_room);
        let outbound = OutboundRequest {
            id,
            method: self.target.method,
            params,
            headers,
            memory: scope.memory(link),
        };
        Ok(PreparedAttempt {
            outbound,
            token,
            logs,
        })
    }

    /// Gathers what is needed to relay the answer to an attempt.
    fn sent(&self, attempt: Attempt, exchange: Exchange, peer: &Arc<Peer>) -> Sent {
        let (scope, link) = (self.scope, self.link);
        // The upstream may ask the caller something only in a session of the caller's own, and only
        // if the caller reads a stream. In a shared session the caller would be any caller.
        let session = scope.session.filter(|_| scope.streams);
        let session = session.filter(|_| !is_shared(link, peer));
        let stream = UpstreamStream {
            cancel: attempt.cancel,
            exchange: exchange.with_deadline(self.deadline),
            logs: attempt.logs,
            requests: ServerRequests::new(session),
            span: attempt.span,
            extension: self.extension,
        };
        let bridge = AnswerBridge {
            caller: scope.era(),
            upstream: peer.era(),
            is_read: self.target.method == method::RESOURCES_READ,
            is_call: self.target.method == method::TOOLS_CALL,
            has_tasks: self.target.wraps_tasks || attempt.is_task,
            is_weir: peer.is_weir(),
        };
        let route = self.target.route.as_ref();
        let checks = route.and_then(|route| ResultChecks::of(scope, route));
        Sent {
            stream,
            id: self.request.id.clone(),
            token: attempt.token,
            declared: self.declared(peer),
            bridge,
            memory: scope.memory(link),
            named_resources: self.remembers(peer).then(|| scope.named_resources()),
            guard: self.guard.clone(),
            checks: checks.map(Box::new),
            hooks: None,
            questions: attempt.questions,
            task: attempt.task,
        }
    }

    /// Returns whether the result may name a resource of the upstream, and weir would not know
    /// otherwise whose it is.
    fn remembers(&self, peer: &Peer) -> bool {
        let names = matches!(
            self.target.method,
            method::TOOLS_CALL | method::PROMPTS_GET | method::TASKS_RESULT
        );
        let view = self.scope.view();
        names
            && peer.capabilities.resources
            && !view.is_only_one_with_resources(self.target.upstream, self.scope.era())
    }

    /// Returns when the call has to be over, however much progress it reports.
    fn latest(&self) -> Instant {
        let extension = self.extension.as_ref();
        extension.map_or(self.deadline, DeadlineExtension::latest)
    }

    /// Takes the tool's new definition, if it has other headers now. Returns false if it has not.
    async fn renew(&mut self) -> bool {
        let Some(route) = &self.target.route else {
            return false;
        };
        let renewed = renewed_route(self.scope, self.link, route, self.deadline).await;
        let is_new = renewed.is_some();
        if is_new {
            self.target.route = renewed;
        }
        is_new
    }
}
