//! Sends a request to the upstream that owns its target, once it passed the guard, the limits and the
//! hooks.

use tokio::time::Instant;

use crate::catalog::Route;
use crate::guard::{Findings, RequestGuard, coverage};
use crate::json::Object;
use crate::limits::RateLease;
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Message, Request};
use crate::protocol::method;
use crate::record::Record;
use crate::relay::back::{self, ReplySource};
use crate::relay::call::{self, Target};
use crate::relay::guard::{self, GuardOutcome, Guarded};
use crate::relay::hooks::{HookNotes, HookedAnswer, RequestHooks, RequestOutcome, ResponseHooks};
use crate::relay::{Payload, Scope, hops, limited, retry, send, tasks};

/// Finds the upstream of a request that goes to one, and the call that it continues; `None` for a
/// request that goes to none.
///
/// # Errors
/// There is no such tool, prompt, resource or task, or its state continues nothing.
pub(super) fn find_target<'p>(
    scope: &Scope<'_>,
    request: &Request<'p>,
    record: &mut Record,
) -> Result<Option<Target<'p>>, Fault> {
    let mut target = find_route(scope, request, record)?;
    if let Some(target) = &mut target
        && scope.era() == Era::Modern
    {
        retry::read_state(scope, request, target)?;
    }
    Ok(target)
}

fn find_route<'p>(
    scope: &Scope<'_>,
    request: &Request<'p>,
    record: &mut Record,
) -> Result<Option<Target<'p>>, Fault> {
    let target = match request.method.as_ref() {
        method::TOOLS_CALL => call::tool(scope, request, record)?,
        method::PROMPTS_GET => call::prompt(scope, request, record)?,
        method::RESOURCES_READ => call::resource(scope, request, record)?,
        method::COMPLETE => call::completion(scope, request, record)?,
        method::TASKS_GET => tasks::target(scope, request, method::TASKS_GET)?,
        method::TASKS_UPDATE => tasks::target(scope, request, method::TASKS_UPDATE)?,
        method::TASKS_CANCEL => tasks::target(scope, request, method::TASKS_CANCEL)?,
        method::TASKS_RESULT => tasks::target(scope, request, method::TASKS_RESULT)?,
        _ => return Ok(None),
    };
    Ok(Some(target))
}

/// Sends a request to the upstream that owns its target.
///
/// # Errors
/// It is refused, or the upstream cannot be reached.
pub(super) async fn forward(
    scope: &Scope<'_>,
    request: &Request<'_>,
    target: Target<'_>,
    record: &mut Record,
) -> Result<ReplySource, Fault> {
    let guarded = match guard::check(scope, target, record).await? {
        GuardOutcome::Passed(guarded) => guarded,
        GuardOutcome::Refused(fault) => return Ok(tool_error(scope, request, fault)),
    };
    let lease = match limited::admit(scope, request, Some(&guarded.target)).await {
        Ok(lease) => lease,
        Err(refusal) => return limited::refuse(scope, request, refusal),
    };
    match RequestHooks::of(scope, &guarded, request) {
        None => {
            // Without rules it is not moved for nothing. What few calls need is in a box, so that the future
            // of every call stays small: it is copied when it begins.
            let mut guarded = match guarded.guard {
                Some(_) => Box::pin(guard::redact(request, guarded, record)).await?,
                None => guarded,
            };
            guarded.begun = record.admit().await?;
            let sent = send::send(scope, request, guarded, record).await?;
            Ok(ReplySource::Upstream(Box::new(sent), lease))
        }
        Some(hooks) => {
            let hooked = Hooked {
                scope,
                request,
                hooks,
                lease,
                begun: Instant::now(),
            };
            Box::pin(hooked.forward(guarded, record)).await
        }
    }
}

/// A request that hooks are asked about.
struct Hooked<'s> {
    scope: &'s Scope<'s>,
    request: &'s Request<'s>,
    hooks: RequestHooks,
    lease: Option<RateLease>,
    /// When they begin to be asked: their time is part of the time of the call.
    begun: Instant,
}

impl Hooked<'_> {
    /// Asks the hooks, and sends what they leave. What they change is looked at as if it had come from
    /// the caller, but for its headers, which are of what the caller sent.
    async fn forward(
        mut self,
        mut guarded: Guarded<'_>,
        record: &mut Record,
    ) -> Result<ReplySource, Fault> {
        let (scope, request) = (self.scope, self.request);
        let link = scope.link(&guarded.permit)?;
        let timeout = guarded.target.route.as_ref().and_then(Route::timeout);
        let deadline = hops::deadline(link, request, timeout, Some(self.begun));
        let deadline = deadline.map_err(|error| error.to_fault(link.id()))?;
        // Hooks see the request, so it is recorded, whatever they say.
        record.admit().await?;
        let mut notes = HookNotes::default();
        let asked = self.hooks.ask(scope, request, deadline, &mut notes).await;
        notes.write(record);
        let (outcome, after) = asked?;
        let body = match outcome {
            RequestOutcome::Unchanged => return self.send(request, guarded, after, record).await,
            RequestOutcome::Answered(answer) => {
                let guard = guarded.guard.as_ref();
                return self.answer(answer, after, deadline, guard, record).await;
            }
            RequestOutcome::Changed(body) => body,
        };
        let Ok(Message::Request(mut changed)) = Message::parse(&body) else {
            return Err(Fault::Internal);
        };
        // The metadata is between the caller and weir.
        match request.params.get("_meta") {
            Some(meta) => changed.params.set("_meta", meta.to_owned()),
            None => {
                changed.params.remove("_meta");
            }
        }
        changed.meta = request.meta.clone();
        let mut target = find_route(scope, &changed, record)?.ok_or(Fault::Internal)?;
        let continued = guarded.target.continued.take();
        retry::read_changed_state(scope, request, continued, &mut target)?;
        let guarded = match guard::check_changed(scope, target, record).await? {
            GuardOutcome::Passed(guarded) => guarded,
            GuardOutcome::Refused(fault) => return Ok(tool_error(scope, request, fault)),
        };
        let before = self.lease.take();
        match limited::admit_changed(scope, &changed, &guarded.target, before).await {
            Ok(lease) => self.lease = lease,
            Err(refusal) => return limited::refuse(scope, request, refusal),
        }
        self.send(&changed, guarded, after, record).await
    }

    /// Answers the caller with what a hook said in place of the upstream, by the rules for answers of
    /// the upstream.
    async fn answer(
        self,
        answer: HookedAnswer,
        after: Option<ResponseHooks>,
        deadline: Instant,
        guard: Option<&RequestGuard>,
        record: &mut Record,
    ) -> Result<ReplySource, Fault> {
        let answer = match after {
            Some(after) => {
                let mut notes = HookNotes::default();
                let answered = after.ask(answer, 200, deadline, &mut notes).await;
                notes.write(record);
                answered?
            }
            None => answer,
        };
        let answer = match guard {
            Some(guard) => redact_answer(guard, answer, record).await?,
            None => answer,
        };
        let reply = reply_of(self.scope, self.request, answer);
        limited::charge(self.lease.as_ref(), &reply);
        Ok(reply)
    }

    async fn send(
        self,
        request: &Request<'_>,
        guarded: Guarded<'_>,
        hooks: Option<ResponseHooks>,
        record: &mut Record,
    ) -> Result<ReplySource, Fault> {
        let mut guarded = guard::redact(request, guarded, record).await?;
        guarded.begun = Some(self.begun);
        record.admit().await?;
        let mut sent = send::send(self.scope, request, guarded, record).await?;
        sent.hooks = hooks.map(Box::new);
        Ok(ReplySource::Upstream(Box::new(sent), self.lease))
    }
}

/// Returns the answer of a hook as it may pass to the caller.
///
/// # Errors
/// It may not pass.
async fn redact_answer(
    guard: &RequestGuard,
    answer: HookedAnswer,
    record: &mut Record,
) -> Result<HookedAnswer, Fault> {
    let (shape, text) = match &answer {
        HookedAnswer::Result(text) => (&coverage::RESULT, text),
        HookedAnswer::Error(text) => (&coverage::ERROR, text),
    };
    let mut findings = Findings::default();
    let changed = back::towards_caller(guard, shape, text, &mut findings).await;
    record.add_findings(findings);
    let changed = changed.map_err(|blocked| Fault::BlockedAnswer { rule: blocked.rule })?;
    Ok(match (changed, answer) {
        (None, answer) => answer,
        (Some(changed), HookedAnswer::Result(_)) => HookedAnswer::Result(changed.text),
        (Some(changed), HookedAnswer::Error(_)) => HookedAnswer::Error(changed.text),
    })
}

/// Makes the reply of an answer that a hook gave in place of an upstream.
fn reply_of(scope: &Scope<'_>, request: &Request<'_>, answer: HookedAnswer) -> ReplySource {
    let id = &request.id;
    let text = match answer {
        HookedAnswer::Error(text) => {
            let chunks = vec![message::error(Some(id), &text)];
            return ReplySource::Refusal(Payload::ok(chunks));
        }
        HookedAnswer::Result(text) => text,
    };
    let mut result = Object::parse(&text).unwrap_or_default();
    if scope.era() == Era::Modern && !result.contains("resultType") {
        result.set("resultType", "\"complete\"");
    }
    let payload = Payload::ok(vec![message::result(id, &result.to_text())]);
    match result.get("isError") == Some("true") {
        true => ReplySource::Refusal(payload),
        false => ReplySource::Result(payload),
    }
}

fn tool_error(scope: &Scope<'_>, request: &Request<'_>, fault: Fault) -> ReplySource {
    let payload = Payload::tool_error(&request.id, &fault, scope.era());
    ReplySource::ToolError(payload, fault)
}
