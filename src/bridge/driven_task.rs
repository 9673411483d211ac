//! A task of an upstream in the other era, which weir follows to its end in place of the caller: the
//! caller gets the result of the task as that of its call.
//!
//! A modern server may answer a call with a task if the request declares the extension (SEP-2663):
//! the answer to `tasks/get` has its questions and, at the end, its result; `tasks/update` brings
//! answers. A legacy server makes a task of a call that has the member `task` (2025-11-25
//! `basic/utilities/tasks.mdx`), and `tasks/result` gets the result.
//!
//! This is the state of one such task. It has no clock and sends nothing: it says what comes next.

use std::time::Duration;

use crate::json::Object;
use crate::name::UpstreamId;
use crate::protocol::bounds::TASK_ID_BYTES;
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::{meta, method};

/// The shortest and the longest pause between two requests about a task, in milliseconds, whatever
/// the upstream asks for.
const PAUSES: (f64, f64) = (100.0, 30_000.0);
/// The pause if the upstream asks for none, in milliseconds.
const USUAL_PAUSE: f64 = 1_000.0;
/// The most questions of one task: as many as 10 rounds of a call have.
const MOST_ASKS: usize = 640;

/// A task that weir follows.
#[derive(Debug)]
pub struct DrivenTask {
    upstream: Era,
    id: String,
    /// The pause that the upstream asks for.
    pause: Duration,
    awaited: AwaitedAnswer,
    /// The keys of the questions that the caller was asked: no other question of the task has them.
    asked: Vec<String>,
    is_over: bool,
}

/// The request about the task that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AwaitedAnswer {
    /// `tasks/get`
    State,
    /// `tasks/update`
    Acknowledgement,
    /// `tasks/result`
    Result,
}

/// The next step of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskStep {
    /// A request with this method about the task is sent after this time.
    Send(Duration, &'static str),
    /// The caller is asked: a result that says what (`input_required`), as JSON text. The answers go
    /// to the upstream as `tasks/update`.
    Ask(String),
    /// The result of the call, as JSON text.
    Result(String),
    /// The error of the call, as JSON text.
    Error(String),
    /// The call is over without an answer.
    Fail(TaskFailure),
}

/// Why a task has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskFailure {
    /// The upstream says something that the protocol does not have.
    Malformed(&'static str),
    /// The task was cancelled at the upstream.
    Cancelled,
    /// The upstream does not say how it fares.
    Lost,
}

impl TaskFailure {
    /// Returns the error for the caller.
    #[must_use]
    pub fn to_fault(self, upstream: &UpstreamId) -> Fault {
        Fault::Upstream {
            upstream: upstream.as_str().into(),
            reason: match self {
                Self::Malformed(reason) => reason,
                Self::Cancelled => "the task of the call was cancelled there",
                Self::Lost => "does not say how the task of the call fares",
            },
        }
    }
}

impl DrivenTask {
    /// Reads the result of a call to an upstream of this era; `None` if it is no task.
    #[must_use]
    pub fn begin(upstream: Era, result: &str) -> Option<(Self, TaskStep)> {
        let result = Object::parse(result).ok()?;
        let inner = result.borrowed("task").unwrap_or("{}");
        let state = match upstream {
            Era::Modern if result.string("resultType").as_deref() == Some("task") => result,
            Era::Modern => return None,
            Era::Legacy => Object::parse(inner).ok().filter(|task| !task.is_empty())?,
        };
        let id = state.string("taskId").unwrap_or_default().into_owned();
        let is_named = !id.is_empty() && id.len() <= TASK_ID_BYTES;
        let mut task = Self {
            upstream,
            id,
            pause: pause(USUAL_PAUSE),
            awaited: AwaitedAnswer::State,
            asked: Vec::new(),
            is_over: !is_named,
        };
        if !is_named {
            let reason = "its task has no id, or one that is too long";
            return Some((task, TaskStep::Fail(TaskFailure::Malformed(reason))));
        }
        task.read_pause(&state);
        let pause = match state.string("status").as_deref() {
            None | Some("working") => task.pause,
            Some(_) => Duration::ZERO,
        };
        Some((task, TaskStep::Send(pause, method::TASKS_GET)))
    }

    /// Returns the id that the upstream knows.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns whether the upstream has nothing left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns the request that is sent after a failure on the way, and the pause before it.
    #[must_use]
    pub fn again(&self) -> (Duration, &'static str) {
        let method = match self.awaited {
            AwaitedAnswer::State | AwaitedAnswer::Acknowledgement => method::TASKS_GET,
            AwaitedAnswer::Result => method::TASKS_RESULT,
        };
        (self.pause, method)
    }

    /// Takes the answer to the request about the task that is under way: its result, or its error.
    pub fn take(&mut self, outcome: Result<&str, &str>) -> TaskStep {
        let step = match (self.awaited, outcome) {
            (AwaitedAnswer::State, Ok(state)) => self.read_state(state),
            (AwaitedAnswer::Acknowledgement, Ok(_)) => {
                self.awaited = AwaitedAnswer::State;
                TaskStep::Send(pause(PAUSES.0), method::TASKS_GET)
            }
            (AwaitedAnswer::Result, Ok(result)) => TaskStep::Result(without_related(result)),
            (AwaitedAnswer::Result, Err(error)) => TaskStep::Error(error.to_owned()),
            (AwaitedAnswer::State | AwaitedAnswer::Acknowledgement, Err(_)) => {
                TaskStep::Fail(TaskFailure::Lost)
            }
        };
        self.is_over |= match &step {
            TaskStep::Send(..) | TaskStep::Ask(_) => false,
            TaskStep::Result(_) | TaskStep::Error(_) => true,
            TaskStep::Fail(failure) => *failure == TaskFailure::Cancelled,
        };
        step
    }

    fn read_state(&mut self, state: &str) -> TaskStep {
        let malformed = TaskStep::Fail(TaskFailure::Malformed("the state of its task is not MCP"));
        let Ok(state) = Object::parse(state) else {
            return malformed;
        };
        self.read_pause(&state);
        match (state.string("status").as_deref(), self.upstream) {
            (Some("working"), _) => TaskStep::Send(self.pause, method::TASKS_GET),
            (Some("cancelled"), _) => TaskStep::Fail(TaskFailure::Cancelled),
            (Some("input_required"), Era::Modern) => self.ask(&state),
            (Some("completed"), Era::Modern) => match state.value("result") {
                Some(result) if is_complete(result) => TaskStep::Result(result.to_owned()),
                Some(_) | None => malformed,
            },
            (Some("failed"), Era::Modern) => match state.value("error") {
                Some(error) if Object::parse(error).is_ok() => TaskStep::Error(error.to_owned()),
                Some(_) | None => malformed,
            },
            // Its questions come on the stream of this request.
            (Some("input_required"), Era::Legacy) => self.get_result(),
            (Some("completed" | "failed"), Era::Legacy) => {
                self.is_over = true;
                self.get_result()
            }
            (Some(_) | None, _) => malformed,
        }
    }

    fn get_result(&mut self) -> TaskStep {
        self.awaited = AwaitedAnswer::Result;
        TaskStep::Send(Duration::ZERO, method::TASKS_RESULT)
    }

    /// Asks what was not asked yet: the upstream repeats its questions until it has the answers.
    fn ask(&mut self, state: &Object<'_>) -> TaskStep {
        let malformed = |reason| TaskStep::Fail(TaskFailure::Malformed(reason));
        let asked = state.object("inputRequests");
        let Ok(asked) = asked.map(Option::unwrap_or_default) else {
            return malformed("its questions are not MCP");
        };
        let too_many = malformed("its task asks too many questions");
        if asked.len() > MOST_ASKS {
            return too_many;
        }
        let mut questions = Object::new();
        for (key, question) in asked.iter() {
            if !self.asked.iter().any(|known| known == key) {
                questions.set(key, question);
            }
        }
        if questions.is_empty() {
            return TaskStep::Send(self.pause, method::TASKS_GET);
        }
        self.asked
            .extend(questions.iter().map(|(key, _)| key.to_owned()));
        if self.asked.len() > MOST_ASKS {
            return too_many;
        }
        self.awaited = AwaitedAnswer::Acknowledgement;
        let questions = questions.to_text();
        TaskStep::Ask(format!(
            "{{\"resultType\":\"input_required\",\"inputRequests\":{questions}}}"
        ))
    }

    /// Notes the pause that the upstream asks for.
    fn read_pause(&mut self, state: &Object<'_>) {
        let key = match self.upstream {
            Era::Modern => "pollIntervalMs",
            Era::Legacy => "pollInterval",
        };
        if let Some(asked) = state.get(key).and_then(|text| text.parse().ok()) {
            self.pause = pause(asked);
        }
    }
}

/// Returns a pause within the bounds.
fn pause(milliseconds: f64) -> Duration {
    Duration::from_secs_f64(milliseconds.clamp(PAUSES.0, PAUSES.1) / 1_000.0)
}

/// Returns whether a result is one of a call, and no other kind of answer to it.
fn is_complete(result: &str) -> bool {
    Object::parse(result).is_ok_and(|result| {
        let kind = result.string("resultType");
        kind.is_none_or(|kind| kind == "complete")
    })
}

/// Returns a result without the task that it is of.
fn without_related(text: &str) -> String {
    let Ok(mut result) = Object::parse(text) else {
        return text.to_owned();
    };
    let Some(Ok(mut own)) = result.borrowed("_meta").map(Object::parse) else {
        return text.to_owned();
    };
    if !own.remove(meta::RELATED_TASK) {
        return text.to_owned();
    }
    match own.is_empty() {
        true => {
            result.remove("_meta");
        }
        false => result.set("_meta", own.to_text()),
    }
    result.to_text()
}

/// Returns the capabilities of a client with the tasks extension among them, as JSON text.
#[must_use]
pub fn with_extension(capabilities: &str) -> String {
    let mut all = Object::parse(capabilities).unwrap_or_default();
    let extensions = all.object("extensions").ok().flatten();
    let mut extensions = extensions.unwrap_or_default();
    extensions.set(meta::TASKS, "{}");
    let extensions = extensions.to_text();
    all.set("extensions", extensions);
    all.to_text()
}

#[cfg(test)]
mod tests;
