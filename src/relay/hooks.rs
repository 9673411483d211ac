//! Asks hooks about requests and answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::catalog::means_same;
use crate::guard::coverage::{self, Shape};
use crate::guard::{Blocked, Direction, Findings, RequestGuard};
use crate::hooks::payload::InterceptedResponse;
use crate::hooks::{
    CallerHeaders, HookFailure, HookLink, HookPhase, HookSubject, Intercepted, Interception,
};
use crate::json::{self, Object};
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Id, Message, Outcome, Request};
use crate::record::Record;
use crate::relay::Scope;
use crate::relay::guard::Guarded;

/// The outcome of asking about a request.
#[derive(Debug)]
pub(super) enum RequestOutcome {
    /// It goes on as it is.
    Unchanged,
    /// It goes on as this JSON-RPC request: JSON text. It has to be looked at again.
    Changed(String),
    /// A hook answered it.
    Answered(HookedAnswer),
}

/// The JSON text of an answer: a `result` or an `error`.
#[derive(Debug)]
pub(super) enum HookedAnswer {
    Result(String),
    Error(String),
}

impl HookedAnswer {
    /// Returns whether it means the same as the response that a hook was shown.
    fn is_shown(&self, shown: &str) -> bool {
        match (self, Message::parse(shown)) {
            (Self::Result(own), Ok(Message::Response(response))) => {
                matches!(response.outcome, Outcome::Result(was) if means_same(own, was))
            }
            (Self::Error(own), Ok(Message::Response(response))) => {
                matches!(response.outcome, Outcome::Error(was) if means_same(own, was))
            }
            (Self::Result(_) | Self::Error(_), _) => false,
        }
    }
}

impl From<InterceptedResponse> for HookedAnswer {
    fn from(response: InterceptedResponse) -> Self {
        match response {
            InterceptedResponse::Result(text) => Self::Result(text),
            InterceptedResponse::Error(text) => Self::Error(text),
        }
    }
}

/// The hooks that see the answer to a request.
#[derive(Debug)]
pub(super) struct ResponseHooks {
    hooks: Vec<Arc<HookLink>>,
    /// The rules for the data of the request and its answer, where there are some.
    guard: Option<RequestGuard>,
    method: &'static str,
    /// The request as the hooks before it left it: JSON text.
    request: String,
    id: Id,
    path: Arc<str>,
    headers: CallerHeaders,
    request_id: Box<str>,
}

/// A response of an upstream that hooks are asked about: the message that they leave, and what they
/// said.
pub(super) type Intercepting = BoxFuture<'static, (Result<Bytes, Fault>, HookNotes)>;

/// The notes of hooks on one request, for its record: the name of a hook, and a word or an attribute.
#[derive(Debug, Default)]
pub(super) struct HookNotes(Vec<(Arc<HookLink>, String)>);

impl HookNotes {
    fn add(&mut self, hook: &Arc<HookLink>, said: impl Into<String>) {
        self.0.push((Arc::clone(hook), said.into()));
    }

    /// Adds the verdict of a hook on a request, and its attributes. `is_changed` if it goes on
    /// otherwise than it was.
    fn add_request(&mut self, hook: &Arc<HookLink>, found: &Intercepted, is_changed: bool) {
        self.add(
            hook,
            match &found.response {
                Some(InterceptedResponse::Error(_)) => "denied",
                Some(InterceptedResponse::Result(_)) => "answered",
                None if is_changed => "changed",
                None => "pass",
            },
        );
        self.add_attributes(hook, &found.audit);
    }

    /// The same of an answer.
    fn add_response(&mut self, hook: &Arc<HookLink>, audit: &[(String, String)], is_changed: bool) {
        let words = match is_changed {
            true => "response: changed",
            false => "response: pass",
        };
        self.add(hook, words);
        self.add_attributes(hook, audit);
    }

    fn add_attributes(&mut self, hook: &Arc<HookLink>, audit: &[(String, String)]) {
        for (key, value) in audit {
            self.add(hook, format!("{key}={value}"));
        }
    }

    fn add_failure(&mut self, hook: &Arc<HookLink>, phase: HookPhase, failure: &HookFailure) {
        let phase = match phase {
            HookPhase::Request => "",
            HookPhase::Response => "response: ",
        };
        self.add(hook, format!("{phase}failed: {}", failure.word()));
    }

    /// Writes them into a record.
    pub(super) fn write(self, record: &mut Record) {
        for (hook, said) in &self.0 {
            record.add_hook(hook.config().name.as_str(), said);
        }
    }
}

/// How long hooks may be asked about an answer that has no deadline.
const LONGEST: Duration = Duration::from_secs(60);

/// Chooses the hooks of one request.
pub(super) struct RequestHooks {
    before: Vec<Arc<HookLink>>,
    after: Vec<Arc<HookLink>>,
    guard: Option<RequestGuard>,
    method: &'static str,
    path: Arc<str>,
    headers: CallerHeaders,
}

impl RequestHooks {
    /// Returns the hooks that see a request or its answer; `None` if there are none.
    pub(super) fn of(
        scope: &Scope<'_>,
        guarded: &Guarded<'_>,
        request: &Request<'_>,
    ) -> Option<Self> {
        let hooks = &scope.snapshot.hooks;
        if hooks.is_empty() {
            return None;
        }
        let (view, target) = (scope.view(), &guarded.target);
        let name = match target.method {
            "tools/call" | "prompts/get" => request.params.string("name"),
            _ => None,
        };
        let subject = HookSubject {
            method: target.method,
            name: name.as_deref(),
            upstream: view.upstream_id(target.upstream)?.as_str(),
            caller: scope.caller.subject().unwrap_or_default(),
        };
        let before = hooks.matching(HookPhase::Request, &subject);
        let after = hooks.matching(HookPhase::Response, &subject);
        if before.is_empty() && after.is_empty() {
            return None;
        }
        let headers = scope.headers;
        let headers = headers.map(|found| CallerHeaders::of(found, before.iter().chain(&after)));
        Some(Self {
            headers: headers.unwrap_or_default(),
            before,
            after,
            guard: guarded.guard.clone(),
            method: target.method,
            path: scope.snapshot.config.listen.path.as_str().into(),
        })
    }

    /// Asks the hooks that see the request, in their order. What they say goes to `notes`.
    ///
    /// # Errors
    /// One of them gave no usable answer, and its `on_failure` is `deny`.
    pub(super) async fn ask(
        &self,
        scope: &Scope<'_>,
        request: &Request<'_>,
        deadline: Instant,
        notes: &mut HookNotes,
    ) -> Result<(RequestOutcome, Option<ResponseHooks>), Fault> {
        let params = request.params.to_text();
        let original = message::request_of(&request.id, &request.method, Some(&params));
        let original = String::from_utf8_lossy(&original).into_owned();
        let (mut body, mut is_changed) = (original, false);
        for hook in &self.before {
            let view = view_of_request(hook, self.guard.as_ref(), self.method, &body).await?;
            let shown = view.as_deref().unwrap_or(&body);
            let headers = view_of_headers(hook, self.guard.as_ref(), &self.headers).await?;
            let interception = Interception {
                path: &self.path,
                headers: &headers,
                id: &request.id,
                request: shown,
                response: None,
            };
            let answered = hook.ask(&interception, deadline).await;
            let found = match answered {
                Ok(found) => found,
                Err(failure) => {
                    notes.add_failure(hook, HookPhase::Request, &failure);
                    decide(hook, &failure, scope.trace.request_id())?;
                    continue;
                }
            };
            // A function that reads and writes JSON spells it in another way: that is no change.
            let changed = found.request.as_ref();
            let changed = changed.filter(|changed| !means_same(changed, shown));
            notes.add_request(hook, &found, changed.is_some());
            if let Some(changed) = changed {
                (body, is_changed) = (changed.clone(), true);
            }
            if let Some(response) = found.response {
                let outcome = RequestOutcome::Answered(response.into());
                return Ok((outcome, self.after(scope, request, body)));
            }
        }
        let after = match self.after.is_empty() {
            true => None,
            false => self.after(scope, request, body.clone()),
        };
        let outcome = match is_changed {
            true => RequestOutcome::Changed(body),
            false => RequestOutcome::Unchanged,
        };
        Ok((outcome, after))
    }

    fn after(
        &self,
        scope: &Scope<'_>,
        request: &Request<'_>,
        body: String,
    ) -> Option<ResponseHooks> {
        (!self.after.is_empty()).then(|| ResponseHooks {
            hooks: self.after.clone(),
            guard: self.guard.clone(),
            method: self.method,
            request: body,
            id: request.id.clone(),
            path: Arc::clone(&self.path),
            headers: self.headers.clone(),
            request_id: scope.trace.request_id().into(),
        })
    }
}

impl ResponseHooks {
    /// Begins to ask the hooks about a response of an upstream, see [`Self::ask`]. What they leave has
    /// its id, and takes its place. Returns the word for what the upstream answered, too.
    /// `hooks` are taken; `None` if there are none, or the message is no response.
    pub(super) fn intercept(
        hooks: &mut Option<Box<Self>>,
        text: &str,
        deadline: Option<Instant>,
    ) -> Option<(Intercepting, &'static str)> {
        hooks.as_ref()?;
        let Ok(Message::Response(response)) = Message::parse(text) else {
            return None;
        };
        let own = hooks.take()?;
        let deadline = deadline.unwrap_or_else(|| Instant::now() + LONGEST);
        let id = response.id.and_then(Id::parse);
        let id = id.unwrap_or_else(|| own.id.clone());
        let status = response.outcome.as_str();
        let answer = match response.outcome {
            Outcome::Result(text) => HookedAnswer::Result(text.to_owned()),
            Outcome::Error(text) => HookedAnswer::Error(text.to_owned()),
        };
        let asking = async move {
            let mut notes = HookNotes::default();
            let answered = own.ask(answer, 200, deadline, &mut notes).await;
            let message = answered.map(|answer| match answer {
                HookedAnswer::Result(text) => message::result(&id, &text),
                HookedAnswer::Error(text) => message::error(Some(&id), &text),
            });
            (message, notes)
        };
        Some((asking.boxed(), status))
    }

    /// Asks the hooks that see an answer, in their order. Returns the answer that they leave; what they
    /// say goes to `notes`.
    ///
    /// # Errors
    /// One of them gave no usable answer, and its `on_failure` is `deny`.
    pub(super) async fn ask(
        self,
        answer: HookedAnswer,
        status: u16,
        deadline: Instant,
        notes: &mut HookNotes,
    ) -> Result<HookedAnswer, Fault> {
        let mut answer = answer;
        for hook in &self.hooks {
            let body = match &answer {
                HookedAnswer::Result(text) => message::result(&self.id, text),
                HookedAnswer::Error(text) => message::error(Some(&self.id), text),
            };
            let body = String::from_utf8_lossy(&body).into_owned();
            let guard = self.guard.as_ref();
            let request = view_of_request(hook, guard, self.method, &self.request).await?;
            let response = view_of_answer(hook, guard, &answer, &body).await?;
            let shown = response.as_deref().unwrap_or(&body);
            let headers = view_of_headers(hook, guard, &self.headers).await?;
            let interception = Interception {
                path: &self.path,
                headers: &headers,
                id: &self.id,
                request: request.as_deref().unwrap_or(&self.request),
                response: Some((status, shown)),
            };
            match hook.ask(&interception, deadline).await {
                Ok(found) => {
                    let changed = found.response.map(HookedAnswer::from);
                    let changed = changed.filter(|changed| !changed.is_shown(shown));
                    notes.add_response(hook, &found.audit, changed.is_some());
                    answer = changed.unwrap_or(answer);
                }
                Err(failure) => {
                    notes.add_failure(hook, HookPhase::Response, &failure);
                    decide(hook, &failure, &self.request_id)?;
                }
            }
        }
        Ok(answer)
    }
}

/// Returns a request as the upstream may see it, for a hook that sees no more; `None` if that is the
/// request as it is.
async fn view_of_request(
    hook: &HookLink,
    guard: Option<&RequestGuard>,
    method: &'static str,
    message: &str,
) -> Result<Option<String>, Fault> {
    let Some(guard) = guard.filter(|_| hook.config().sees_redacted) else {
        return Ok(None);
    };
    let redacted = redact_member(guard, message, "params", coverage::params(method)).await;
    redacted.map_err(|blocked| Fault::Blocked { rule: blocked.rule })
}

/// Returns the headers that a hook sees as a JSON object, likewise.
async fn view_of_headers(
    hook: &HookLink,
    guard: Option<&RequestGuard>,
    headers: &CallerHeaders,
) -> Result<String, Fault> {
    let guard = guard.filter(|_| hook.config().sees_redacted);
    let mut view = Object::default();
    for (listed, value) in headers.listed(hook) {
        let value = json::quote(value);
        let redacted = match guard {
            Some(guard) => {
                let mut findings = Findings::default();
                let direction = Direction::TowardsUpstream;
                let redacted = guard.redact(direction, &Shape::Text, &value, &mut findings);
                let redacted = redacted.await;
                redacted.map_err(|blocked| Fault::Blocked { rule: blocked.rule })?
            }
            None => None,
        };
        view.set(&listed.written, redacted.unwrap_or(value));
    }
    Ok(view.to_text())
}

/// The same of an answer, which is `message`.
async fn view_of_answer(
    hook: &HookLink,
    guard: Option<&RequestGuard>,
    answer: &HookedAnswer,
    message: &str,
) -> Result<Option<String>, Fault> {
    let Some(guard) = guard.filter(|_| hook.config().sees_redacted) else {
        return Ok(None);
    };
    let (member, shape) = match answer {
        HookedAnswer::Result(_) => ("result", &coverage::RESULT),
        HookedAnswer::Error(_) => ("error", &coverage::ERROR),
    };
    let redacted = redact_member(guard, message, member, shape).await;
    redacted.map_err(|blocked| Fault::BlockedAnswer { rule: blocked.rule })
}

async fn redact_member(
    guard: &RequestGuard,
    message: &str,
    member: &str,
    shape: &'static Shape,
) -> Result<Option<String>, Blocked> {
    let mut envelope = Object::parse(message).map_err(|_| Blocked::unreadable())?;
    // The record has what is replaced in what is sent.
    let mut findings = Findings::default();
    let redacted = match envelope.get(member) {
        Some(text) => {
            let redacted = guard.redact(Direction::TowardsUpstream, shape, text, &mut findings);
            redacted.await?
        }
        None => None,
    };
    Ok(redacted.map(|redacted| {
        envelope.replace(member, redacted);
        envelope.to_text()
    }))
}

/// Decides what a failure of a hook means for the message. Callers choose how much time a request has,
/// so a request without time is over, and passes no hook.
fn decide(hook: &HookLink, failure: &HookFailure, request_id: &str) -> Result<(), Fault> {
    let config = hook.config();
    let name = config.name.as_str();
    if config.passes_on_failure && !matches!(failure, HookFailure::Deadline) {
        tracing::warn!(hook = name, %failure, request_id, "passed without the hook's answer");
        return Ok(());
    }
    tracing::warn!(hook = name, %failure, request_id, "refused without the hook's answer");
    Err(Fault::Hook { hook: name.into() })
}
