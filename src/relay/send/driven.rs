//! A call that its upstream makes a task of, though the caller's era has no such tasks: weir asks how
//! the task fares, and the caller gets its end as the answer to the call.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::bridge::{DrivenTask, LegacyClient, RetryMembers, TaskFailure, TaskStep, driven_task};
use crate::catalog::Route;
use crate::memory::OverBudget;
use crate::protocol::era::Era;
use crate::protocol::message::{Message, Outcome};
use crate::protocol::method;
use crate::relay::Scope;
use crate::relay::call::Target;
use crate::relay::send::in_flight::{CancelOnDrop, SendingRequest, UpstreamStream};
use crate::relay::send::questions::CallQuestions;
use crate::relay::send::repeated::RepeatedRequest;
use crate::upstream::{Exchange, InFlightSlot, Link, LinkError, OutboundRequest, Peer};

/// The most requests about a task that fail in a row before the call does.
const MOST_FAILURES: u32 = 3;
/// The time that a legacy upstream keeps a task longer than its call may take.
const MARGIN: Duration = Duration::from_secs(60);

/// Returns whether a call may become a task that weir drives. A modern upstream decides that by
/// itself. Of a legacy one, only tools are called so that cannot be called otherwise.
fn may_drive(scope: &Scope<'_>, peer: &Peer, target: &Target<'_>) -> bool {
    match (scope.era(), peer.era()) {
        (Era::Legacy, Era::Modern) => {
            target.method == method::TOOLS_CALL && peer.has_tasks_extension()
        }
        (Era::Modern, Era::Legacy) => {
            let route = target.route.as_ref();
            peer.capabilities.tasks && route.is_some_and(Route::requires_task)
        }
        (Era::Legacy, Era::Legacy) | (Era::Modern, Era::Modern) => false,
    }
}

/// Puts the member `task` into the params of a call that is to become a task, and removes it from all
/// others: where the upstream has no such tasks, it is an ordinary call (2025-11-25
/// `basic/utilities/tasks.mdx`). Returns whether the caller gets the task. The call has to be over at
/// `latest`.
pub(super) fn prepare(
    scope: &Scope<'_>,
    peer: &Peer,
    target: &mut Target<'_>,
    latest: Instant,
) -> bool {
    let is_legacy = scope.era() == Era::Legacy && peer.era() == Era::Legacy;
    if is_legacy && peer.capabilities.tasks && target.params.contains("task") {
        return true;
    }
    target.params.remove("task");
    if peer.era() == Era::Legacy && may_drive(scope, peer, target) {
        let kept = latest.saturating_duration_since(Instant::now()) + MARGIN;
        let task = format!("{{\"ttl\":{}}}", kept.as_millis());
        target.params.set("task", task);
    }
    false
}

/// Adds the tasks extension to what a modern upstream is told of a legacy caller, for a call that may
/// become a task.
pub(super) fn declare(
    scope: &Scope<'_>,
    peer: &Peer,
    target: &Target<'_>,
    client: Option<LegacyClient>,
) -> Option<LegacyClient> {
    if peer.era() == Era::Legacy || !may_drive(scope, peer, target) {
        return client;
    }
    let mut client = client.unwrap_or_else(|| LegacyClient {
        capabilities: "{}".to_owned(),
        log_level: None,
    });
    client.capabilities = driven_task::with_extension(&client.capabilities);
    Some(client)
}

/// A call that may become a task, and the task once it is one. Dropped before the end of the task, it
/// cancels the task.
pub(in crate::relay) struct CallTask {
    /// The request about the task that was sent last; first of all, the call.
    request: RepeatedRequest,
    /// The number of the call, which is the progress token of the task.
    call: u64,
    task: Option<DrivenTask>,
    phase: TaskPhase,
    /// Whether the answer to the request under way was read.
    is_read: bool,
    /// The requests about the task that failed in a row.
    failures: u32,
}

/// The place of a call on its way.
enum TaskPhase {
    /// A request is under way.
    Running,
    /// The next one waits for its time.
    Pausing(PausedTask),
    /// It is being sent. It has to be over at that time.
    Sending(SendingRequest, Instant),
}

/// A task between two requests about it.
struct PausedTask {
    until: Instant,
    method: &'static str,
    /// When the call has to be over.
    deadline: Instant,
    /// The place of the call among those in flight: its upstream works on it.
    slot: Option<InFlightSlot>,
}

/// The next event of a call that is a task.
pub(in crate::relay) enum TaskEvent {
    /// A request about the task was sent.
    Sent(CancelOnDrop, Exchange),
    /// It could not be sent.
    Broken(CancelOnDrop, LinkError),
}

impl CallTask {
    /// Makes room for the task of a call that is about to be sent; `None` if weir drives none.
    ///
    /// # Errors
    /// There is no memory left for the requests about it.
    pub(super) fn of(
        scope: &Scope<'_>,
        (link, peer): (&Arc<Link>, &Arc<Peer>),
        target: &Target<'_>,
        outbound: &OutboundRequest,
    ) -> Result<Option<Box<Self>>, OverBudget> {
        if !may_drive(scope, peer, target) {
            return Ok(None);
        }
        Ok(Some(Box::new(Self {
            request: RepeatedRequest::of(scope, (link, peer), target, outbound)?,
            call: outbound.id,
            task: None,
            phase: TaskPhase::Running,
            is_read: false,
            failures: 0,
        })))
    }

    /// Returns whether a request is under way.
    pub(in crate::relay) fn is_running(&self) -> bool {
        matches!(self.phase, TaskPhase::Running)
    }

    /// Returns whether this is the progress token of the task.
    pub(in crate::relay) fn has_token(&self, token: u64) -> bool {
        self.task.is_some() && token == self.call
    }

    /// Notes that the answers of the caller were sent.
    pub(in crate::relay) fn note_answers_sent(&mut self) {
        self.is_read = false;
    }

    /// Reads a message of the upstream. Returns what is to be done; `None` if it goes to the caller as
    /// messages do.
    pub(in crate::relay) fn read(
        &mut self,
        text: &str,
        questions: Option<&mut CallQuestions>,
    ) -> Option<TaskStep> {
        if self.is_read || (self.task.is_none() && !text.contains("task")) {
            return None;
        }
        let Ok(Message::Response(response)) = Message::parse(text) else {
            return None;
        };
        let outcome = match response.outcome {
            Outcome::Result(result) => Ok(result),
            Outcome::Error(error) => Err(error),
        };
        let step = match &mut self.task {
            Some(task) => task.take(outcome),
            None => {
                let (task, step) = DrivenTask::begin(self.request.peer.era(), outcome.ok()?)?;
                self.request.turn_to_task(method::TASKS_UPDATE, task.id());
                if let Some(questions) = questions {
                    questions.answer_with(self.request.clone());
                }
                self.task = Some(task);
                step
            }
        };
        if let TaskStep::Fail(TaskFailure::Lost) = step {
            let upstream = self.request.link.id();
            tracing::debug!(%upstream, "does not say how a task fares");
        }
        self.is_read = true;
        self.failures = 0;
        Some(step)
    }

    /// Asks about the task after a pause. The call keeps its place meanwhile.
    pub(in crate::relay) fn pause(
        &mut self,
        pause: Duration,
        method: &'static str,
        stream: &mut UpstreamStream,
    ) {
        let now = Instant::now();
        let limit = self.request.link.config.timeouts.call;
        stream.cancel.disarm();
        let mut slot = stream.cancel.slot.take();
        if let Some(slot) = &mut slot {
            slot.record_answer();
        }
        self.phase = TaskPhase::Pausing(PausedTask {
            until: now + pause,
            method,
            deadline: stream.exchange.deadline().unwrap_or(now + limit),
            slot,
        });
    }

    /// Lets the task be asked about again though the answer of the upstream broke off. Returns false if
    /// the call is over because of it.
    pub(in crate::relay) fn survives(
        &mut self,
        error: &LinkError,
        stream: &mut UpstreamStream,
    ) -> bool {
        let Some(again) = self.again_after(error) else {
            return false;
        };
        let (pause, method) = again;
        self.pause(pause, method, stream);
        true
    }

    /// Returns the pause before the next attempt, and its method; `None` if there is none.
    fn again_after(&mut self, error: &LinkError) -> Option<(Duration, &'static str)> {
        let task = self.task.as_ref()?;
        let passes = error.is_transient()
            || matches!(
                error,
                LinkError::Unreachable(_) | LinkError::Throttled { .. } | LinkError::Nonsense(_)
            );
        self.failures += 1;
        (passes && self.failures <= MOST_FAILURES).then(|| task.again())
    }

    /// Waits for what comes next. It may be dropped and made again at any time.
    pub(in crate::relay) async fn next(&mut self) -> TaskEvent {
        loop {
            match &mut self.phase {
                TaskPhase::Running => return std::future::pending().await,
                TaskPhase::Pausing(paused) => {
                    sleep_until(paused.until.min(paused.deadline)).await;
                    self.send();
                }
                TaskPhase::Sending(sending, deadline) => {
                    let (mut cancel, sent) = sending.await;
                    let deadline = *deadline;
                    self.phase = TaskPhase::Running;
                    match sent {
                        Ok(exchange) => {
                            self.is_read = false;
                            return TaskEvent::Sent(cancel, exchange.with_deadline(deadline));
                        }
                        Err(error) => {
                            let Some((pause, method)) = self.again_after(&error) else {
                                return TaskEvent::Broken(cancel, error);
                            };
                            cancel.disarm();
                            self.phase = TaskPhase::Pausing(PausedTask {
                                until: Instant::now() + pause,
                                method,
                                deadline,
                                slot: cancel.slot.take(),
                            });
                        }
                    }
                }
            }
        }
    }

    /// Sends the request whose time has come.
    fn send(&mut self) {
        let phase = std::mem::replace(&mut self.phase, TaskPhase::Running);
        let (TaskPhase::Pausing(paused), Some(task)) = (phase, &self.task) else {
            return;
        };
        let request = &mut self.request;
        request.turn_to_task(paused.method, task.id());
        let left = paused.deadline.saturating_duration_since(Instant::now());
        let outbound = request.outbound(&RetryMembers::default(), left);
        let (link, peer) = (&request.link, &request.peer);
        let sending = SendingRequest::new(link, peer, outbound, paused.deadline, paused.slot);
        self.phase = TaskPhase::Sending(sending, paused.deadline);
    }
}

impl Drop for CallTask {
    fn drop(&mut self) {
        let Some(task) = self.task.take().filter(|task| !task.is_over()) else {
            return;
        };
        let request = &mut self.request;
        request.turn_to_task(method::TASKS_CANCEL, task.id());
        let limit = request.link.config.timeouts.list;
        let outbound = request.outbound(&RetryMembers::default(), limit);
        let slot = match std::mem::replace(&mut self.phase, TaskPhase::Running) {
            TaskPhase::Pausing(paused) => paused.slot,
            TaskPhase::Running | TaskPhase::Sending(..) => None,
        };
        request.link.cancel_task(&request.peer, outbound, slot);
    }
}
