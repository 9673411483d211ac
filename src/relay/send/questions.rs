//! Questions of a modern upstream to a legacy caller within one call: they go to the caller on the
//! stream of the call, and the call is sent again with its answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::bridge::{
    AskFailure, AskKind, AskRounds, AskStep, AskableClient, CallerAsk, LegacyClient, RetryMembers,
    asks,
};
use crate::guard::RequestGuard;
use crate::json::{self, Object};
use crate::memory::{OverBudget, Reservation};
use crate::metrics::AskOutcome;
use crate::protocol::era::{Era, Version};
use crate::protocol::message::{self, Id};
use crate::protocol::method;
use crate::record::Record;
use crate::relay::call::Target;
use crate::relay::send::client_span::ClientSpan;
use crate::relay::send::in_flight::CancelOnDrop;
use crate::relay::send::repeated::{RepeatedRequest, Resent};
use crate::relay::{Payload, Scope};
use crate::session::{Asker, CallerAnswer, CallerSession, PendingServerRequest};
use crate::upstream::{Exchange, Link, LinkError, OutboundRequest, Peer, spans};

/// Why a question is taken back, as the caller is told.
const OVER: &str = "the call is over";

/// Returns the session whose caller can be asked during a call, if the question crosses eras.
fn askable<'s>(scope: &'s Scope<'_>, peer: &Peer) -> Option<&'s Arc<CallerSession>> {
    let session = scope.session.filter(|_| scope.streams)?;
    (scope.era() == Era::Legacy && peer.era() == Era::Modern).then_some(session)
}

/// Returns what a modern upstream is told of a legacy caller; `None` if there is nothing to tell, or
/// this call does not cross eras.
pub(super) fn client_of(scope: &Scope<'_>, peer: &Peer) -> Option<LegacyClient> {
    let session = askable(scope, peer)?;
    // A client that has set no level yet gets what is not for debugging.
    let level = || {
        let level = session.log_level();
        level.map_or_else(|| "\"info\"".to_owned(), String::from)
    };
    Some(LegacyClient {
        capabilities: asks::declared(session.version(), session.capabilities()),
        log_level: peer.capabilities.logging.then(level),
    })
}

/// Returns whether a result only says what its upstream has to know first.
pub(in crate::relay) fn is_question(result: &str) -> bool {
    result.contains("input_required")
        && Object::parse(result)
            .is_ok_and(|result| result.string("resultType").as_deref() == Some("input_required"))
}

/// Returns why a question cannot go to a caller that cannot be asked anything.
pub(in crate::relay) fn refusal(result: &str) -> Option<AskFailure> {
    let nobody = AskableClient::default();
    match AskRounds::new(Version::LATEST_LEGACY, nobody, 0, Duration::ZERO).begin(result) {
        AskStep::Fail(failure) => Some(failure),
        AskStep::Ask(_) | AskStep::Wait | AskStep::Retry(..) => None,
    }
}

/// The questions of one call, and all that is needed to send it again.
pub(in crate::relay) struct CallQuestions {
    rounds: AskRounds,
    session: Arc<CallerSession>,
    request: RepeatedRequest,
    /// The rules for the data of the answers.
    guard: Option<RequestGuard>,
    phase: Phase,
    /// Messages for the caller that wait to be read.
    ready: VecDeque<Bytes>,
    /// The questions that the caller has not answered: place and number.
    open: Vec<(usize, u64)>,
    /// The parts of `limits.memory` that questions and answers take until the call is over.
    kept: Vec<Reservation>,
    /// The time that the call has left. It stands still while the caller is asked.
    left: Duration,
    /// When it began to stand still.
    stopped: Option<Instant>,
    /// Whether the call was sent again.
    is_repeated: bool,
    /// The most progress that the caller was told.
    progress: Option<f64>,
}

/// The place of a call on its way.
enum Phase {
    /// The upstream works on it.
    Running,
    /// The caller is asked, until this time.
    Asked(mpsc::Receiver<CallerAnswer>, Instant),
    /// It is sent again at this time.
    Pausing(Instant, RetryMembers),
    /// It is sent, and has to be over at this time.
    Sending(BoxFuture<'static, Resent>, Instant),
    Failed(AskFailure),
    /// It was answered.
    Ended(Option<Payload>),
}

/// The next event of a call that was answered with a question.
pub(in crate::relay) enum QuestionEvent {
    /// A message for the caller.
    Message(Bytes),
    /// The response, after all messages that come before it.
    Last(Payload),
    /// It is time to send the call again, with these members.
    Due(RetryMembers),
    /// The call was sent again.
    Resent(CancelOnDrop, Exchange),
    /// It could not be sent again.
    Broken(Option<CancelOnDrop>, LinkError),
    /// The call is over.
    Failed(AskFailure),
}

impl CallQuestions {
    /// Makes room for the questions of a call that is about to be sent; `None` if it has none, because
    /// of its method, its caller or the eras.
    ///
    /// # Errors
    /// There is no memory left to keep the call for another time.
    pub(super) fn of(
        scope: &Scope<'_>,
        (link, peer): (&Arc<Link>, &Arc<Peer>),
        target: &Target<'_>,
        outbound: &OutboundRequest,
        guard: Option<&RequestGuard>,
    ) -> Result<Option<Box<Self>>, OverBudget> {
        let Some(session) = askable(scope, peer) else {
            return Ok(None);
        };
        // No other request may be answered so (2026-07-28 `basic/patterns/mrtr.mdx`).
        let may_ask = [
            method::TOOLS_CALL,
            method::PROMPTS_GET,
            method::RESOURCES_READ,
        ];
        let version = session.version();
        let client = AskableClient::read(version, session.capabilities());
        if !may_ask.contains(&outbound.method) || !client.takes_any() {
            return Ok(None);
        }
        let patience = link.config.timeouts.ask;
        let seed = (session.number() << 16) ^ session.next_number();
        Ok(Some(Box::new(Self {
            rounds: AskRounds::new(version, client, seed, patience),
            session: Arc::clone(session),
            request: RepeatedRequest::of(scope, (link, peer), target, outbound)?,
            guard: guard.cloned(),
            phase: Phase::Running,
            ready: VecDeque::new(),
            open: Vec::new(),
            kept: Vec::new(),
            left: Duration::ZERO,
            stopped: None,
            is_repeated: false,
            progress: None,
        })))
    }

    /// Sends answers with this request from now on, because the call became a task.
    pub(super) fn answer_with(&mut self, request: RepeatedRequest) {
        self.request = request;
    }

    /// Returns whether the upstream works on the call, and nothing waits for its caller.
    pub(in crate::relay) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running) && self.ready.is_empty()
    }

    /// Takes an answer that is a question. The call has to be over at `deadline`, not counting the time
    /// in which its caller is asked.
    pub(in crate::relay) fn begin(&mut self, result: &str, deadline: Option<Instant>) {
        let now = Instant::now();
        self.stopped = Some(now);
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
        self.left = left.unwrap_or(self.request.link.config.timeouts.call);
        let step = self.rounds.begin(result);
        self.announce_completed(false);
        self.apply(step);
    }

    /// Ends the call with its response. Returns it, unless something has to come before it.
    pub(in crate::relay) fn end(&mut self, payload: Payload) -> Option<Payload> {
        self.announce_completed(true);
        if self.ready.is_empty() {
            return Some(payload);
        }
        self.phase = Phase::Ended(Some(payload));
        None
    }

    /// Tells the caller of the URLs that the upstream asks for no more.
    fn announce_completed(&mut self, is_over: bool) {
        for id in self.rounds.take_completed(is_over) {
            let params = format!("{{\"elicitationId\":{}}}", json::quote(&id));
            let message = message::notification(method::ELICITATION_COMPLETE, Some(&params));
            self.ready.push_back(message);
        }
    }

    /// Takes the next message for the caller, if one waits.
    pub(in crate::relay) fn take_ready(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// Waits for what comes next. It may be dropped and made again at any time.
    pub(in crate::relay) async fn next(&mut self) -> QuestionEvent {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return QuestionEvent::Message(message);
            }
            let step = match &mut self.phase {
                Phase::Asked(answers, until) => {
                    let answered = tokio::select! {
                        answered = answers.recv() => answered,
                        () = sleep_until(*until) => None,
                    };
                    self.take(answered)
                }
                Phase::Pausing(until, members) => {
                    // A timer takes up to a millisecond even for a moment that is over.
                    if *until > Instant::now() {
                        sleep_until(*until).await;
                    }
                    return QuestionEvent::Due(std::mem::take(members));
                }
                Phase::Sending(sending, deadline) => {
                    let deadline = *deadline;
                    let sent = sending.await;
                    self.phase = Phase::Running;
                    return match sent {
                        Ok((cancel, Ok(exchange))) => {
                            QuestionEvent::Resent(cancel, exchange.with_deadline(deadline))
                        }
                        Ok((cancel, Err(error))) => QuestionEvent::Broken(Some(cancel), error),
                        Err(error) => QuestionEvent::Broken(None, error),
                    };
                }
                Phase::Failed(failure) => {
                    let failure = *failure;
                    self.phase = Phase::Running;
                    return QuestionEvent::Failed(failure);
                }
                Phase::Ended(payload) => {
                    let payload = payload.take();
                    self.phase = Phase::Running;
                    match payload {
                        Some(payload) => return QuestionEvent::Last(payload),
                        None => continue,
                    }
                }
                Phase::Running => return std::future::pending().await,
            };
            self.apply(step);
        }
    }

    /// Sends the call again, whose time goes on. Returns the span of this attempt, and for how long the
    /// time stood still.
    pub(in crate::relay) fn send_again(
        &mut self,
        members: &RetryMembers,
        record: &mut Record,
    ) -> (ClientSpan, Duration) {
        let stopped = self.stopped.take();
        self.is_repeated = true;
        let request = &self.request;
        let mut outbound = request.outbound(members, self.left);
        let subject = (outbound.method, request.name.as_deref());
        let to = (&*request.link, &*request.peer);
        let span = ClientSpan::begin_about(record, to, subject, outbound.id);
        if let Some(span) = span.span() {
            spans::replace_parent(span, &mut outbound);
        }
        let deadline = Instant::now() + self.left;
        self.phase = Phase::Sending(request.send(outbound, deadline), deadline);
        let stood = stopped.map(|stopped| stopped.elapsed());
        (span, stood.unwrap_or_default())
    }

    /// Takes the caller's answer, or the end of its time.
    fn take(&mut self, answered: Option<CallerAnswer>) -> AskStep {
        let metrics = &self.request.link.metrics;
        let Some(answer) = answered else {
            metrics.count_asks(AskOutcome::Expired, self.open.len());
            return self.rounds.expire();
        };
        metrics.count_asks(
            match answer.outcome {
                Ok(_) => AskOutcome::Answered,
                Err(_) => AskOutcome::Refused,
            },
            1,
        );
        self.open.retain(|(place, _)| *place != answer.place);
        self.kept.extend(answer.kept);
        let outcome = answer.outcome.as_deref().map_err(String::as_str);
        self.rounds.answer(answer.place, outcome)
    }

    fn apply(&mut self, step: AskStep) {
        match step {
            AskStep::Wait => {}
            AskStep::Ask(asks) => self.ask(asks),
            AskStep::Retry(pause, members) => {
                self.take_back();
                self.phase = Phase::Pausing(Instant::now() + pause, members);
            }
            AskStep::Fail(failure) => {
                if failure.is_unasked() {
                    let metrics = &self.request.link.metrics;
                    metrics.count_asks(AskOutcome::Refused, 1);
                }
                self.take_back();
                self.phase = Phase::Failed(failure);
            }
        }
    }

    /// Sends questions to the caller, all at once.
    fn ask(&mut self, asks: Vec<CallerAsk>) {
        let (sender, answers) = mpsc::channel(asks.len().max(1));
        for ask in asks {
            let number = self.session.next_number();
            let bytes = ask.params.as_ref().map_or(0, String::len);
            let kept = self.session.memory().reserve(bytes);
            let pending = PendingServerRequest {
                link: Arc::clone(&self.request.link),
                asker: Asker::Call {
                    answers: sender.clone(),
                    place: ask.place,
                },
                guard: self.guard.clone(),
            };
            let has_room = kept.is_ok();
            self.kept.extend(kept);
            if !has_room || !self.session.add_pending(number, pending) {
                let kind = AskKind::of(ask.method, &Object::new()).unwrap_or(AskKind::Form);
                let step = self.rounds.fail(AskFailure::TooMany(kind));
                return self.apply(step);
            }
            let metrics = &self.request.link.metrics;
            metrics.count_asks(AskOutcome::Asked, 1);
            self.open.push((ask.place, number));
            let message = message::request_of(&Id::from(number), ask.method, ask.params.as_deref());
            self.ready.push_back(message);
        }
        let until = Instant::now() + self.request.link.config.timeouts.ask;
        self.phase = Phase::Asked(answers, until);
    }

    /// Takes back the questions that the caller has not answered.
    pub(in crate::relay) fn take_back(&mut self) {
        for (_, number) in std::mem::take(&mut self.open) {
            if self.session.take_pending(number).is_some() {
                self.ready.push_back(message::cancelled(number, OVER));
            }
        }
    }

    /// Returns whether the caller is told of this progress. A call that is sent again may begin at
    /// nothing again, and progress has to increase (`basic/patterns/progress.mdx`). Until then it is the
    /// upstream's own, and passes as it comes.
    pub(in crate::relay) fn passes(&mut self, params: &Object<'_>) -> bool {
        let Some(progress) = params.get("progress").and_then(|text| text.parse().ok()) else {
            return true;
        };
        let is_more = self.progress.is_none_or(|before| progress > before);
        if is_more {
            self.progress = Some(progress);
        }
        is_more || !self.is_repeated
    }
}

impl Drop for CallQuestions {
    fn drop(&mut self) {
        for (_, number) in &self.open {
            self.session.take_pending(*number);
        }
    }
}
