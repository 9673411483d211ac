//! `POST /try`: a call of a tool by an operator. It goes the way of every call, under policy, rules,
//! limits and hooks, as a caller of its own, and leaves a record.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::admin::response::json_response;
use crate::admin::sender::AdminSender;
use crate::audit::AuditEvent;
use crate::caller::Caller;
use crate::json::{self, Object};
use crate::live::{Live, Snapshot};
use crate::protocol::era::{Era, Version};
use crate::protocol::message::{self, Id, Message, Outcome};
use crate::protocol::trace::Trace;
use crate::protocol::{meta, method};
use crate::record::{Record, RequestOrigin};
use crate::relay::{self, Outgoing, Scope};
use crate::upstream::probe;

/// The largest request.
pub const MOST_BYTES: usize = 1 << 20;
/// Calls of operators at once.
const AT_ONCE: usize = 4;
/// Messages before the answer that are kept, and their bytes.
const MESSAGES: usize = 100;
const MESSAGE_BYTES: usize = 1 << 20;
/// The name that the agent has in records.
const AGENT: &str = "weir admin";

/// Whether operators may call tools, and how many do.
#[derive(Clone, Debug)]
pub struct ToolTrials(Option<Arc<Semaphore>>);

/// A call that an operator asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolTrial {
    /// The exposed name of the tool.
    pub name: String,
    /// The arguments, a JSON object. Default: none.
    pub arguments: Option<Box<RawValue>>,
}

/// The outcome of a call.
#[derive(Debug, Serialize)]
pub struct TrialAnswer {
    /// The id of the request, as in records and at the upstream.
    pub request_id: String,
    /// The time that it took.
    pub took_ms: f64,
    /// The JSON-RPC request, as weir got it.
    pub request: Box<RawValue>,
    /// The first notifications that came before the answer.
    pub messages: Vec<Box<RawValue>>,
    /// The number of those that are left out.
    pub more_messages: usize,
    /// The bytes of those that are kept.
    #[serde(skip)]
    kept_bytes: usize,
    /// The result, which may be the error of a tool.
    pub result: Option<Box<RawValue>>,
    /// The JSON-RPC error, if there is no result.
    pub error: Option<Box<RawValue>>,
}

/// Why a call was not made.
#[derive(Debug, thiserror::Error)]
pub enum TrialRefused {
    /// The config does not allow it.
    #[error("operators may call no tools here: `admin.try_tools` is not `true`")]
    Off,
    /// Others are under way.
    #[error("{AT_ONCE} calls of operators are under way: try again when one of them has ended")]
    Busy,
    /// The arguments are no JSON object.
    #[error("`arguments` is no JSON object")]
    Arguments(#[source] json::ObjectError),
    /// There was no answer.
    #[error("the call ended without an answer")]
    NoAnswer,
}

impl TrialRefused {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Off => StatusCode::FORBIDDEN,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Arguments(_) => StatusCode::BAD_REQUEST,
            Self::NoAnswer => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl ToolTrials {
    /// Makes the rule of `admin.try_tools`.
    #[must_use]
    pub fn new(are_allowed: bool) -> Self {
        Self(are_allowed.then(|| Arc::new(Semaphore::new(AT_ONCE))))
    }

    /// Returns whether operators may call tools.
    #[must_use]
    pub const fn are_allowed(&self) -> bool {
        self.0.is_some()
    }

    /// Calls a tool for an operator. A future that is dropped cancels the call.
    ///
    /// # Errors
    /// The call was not made, see [`TrialRefused`]. An error of the call is an answer.
    pub async fn call(
        &self,
        live: &Arc<Live>,
        sender: &AdminSender,
        trial: &ToolTrial,
    ) -> Result<TrialAnswer, TrialRefused> {
        let places = self.0.as_ref().ok_or(TrialRefused::Off)?;
        let _place = places.try_acquire().map_err(|_| TrialRefused::Busy)?;
        let arguments = trial.arguments.as_deref().map_or("{}", RawValue::get);
        Object::parse(arguments).map_err(TrialRefused::Arguments)?;
        let caller = Caller::operator().with_agent(Some(AGENT.into()));
        let snapshot = live.load_full();
        let version = version_for(&snapshot, &caller, &trial.name);
        let envelope = envelope(&trial.name, arguments, version);
        let text = std::str::from_utf8(&envelope).unwrap_or_default();
        let Ok(Message::Request(request)) = Message::parse(text) else {
            return Err(TrialRefused::NoAnswer);
        };
        let trace = Trace::new();
        note_sender(live, sender, &trace);
        let record = Record::open(&snapshot.metrics, caller.clone(), &request.method, &trace);
        let mut record = record.audited(live.audit(), &request, envelope.len());
        record.begin_span(&request, RequestOrigin::http(None, None));
        let scope = Scope::new(live, caller, version, &trace).streaming(true);
        let mut answer = TrialAnswer {
            request_id: trace.request_id().to_owned(),
            took_ms: 0.0,
            request: raw(text).ok_or(TrialRefused::NoAnswer)?,
            messages: Vec::new(),
            more_messages: 0,
            kept_bytes: 0,
            result: None,
            error: None,
        };
        let started = Instant::now();
        match Box::pin(relay::answer(&scope, &request, record)).await {
            Ok(mut reply) => {
                while let Some(outgoing) = reply.next().await {
                    answer.add(outgoing);
                }
            }
            Err(fault) => answer.error = raw(&fault.to_json(version.era())),
        }
        answer.took_ms = started.elapsed().as_secs_f64() * 1e3;
        match answer.result.is_some() || answer.error.is_some() {
            true => Ok(answer),
            false => Err(TrialRefused::NoAnswer),
        }
    }
}

/// Leaves a line in the record file, if there is one: the record of the call has the caller `operator`,
/// and does not say which operator that is.
fn note_sender(live: &Live, sender: &AdminSender, trace: &Trace) {
    if let Some(audit) = live.audit() {
        audit.write_event(&AuditEvent {
            request_id: Some(trace.request_id()),
            subject: sender.subject.as_deref(),
            ..AuditEvent::new(AuditEvent::TRY, json!({ "method": method::TOOLS_CALL }))
        });
    }
}

impl TrialAnswer {
    /// Adds a message of the reply.
    fn add(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Paused(_) => {}
            Outgoing::Message(message) => {
                let bytes = self.kept_bytes + message.len();
                let is_full = self.messages.len() == MESSAGES || bytes > MESSAGE_BYTES;
                let text = std::str::from_utf8(&message)
                    .ok()
                    .filter(|_| !is_full && self.more_messages == 0);
                match text.and_then(raw) {
                    Some(message) => {
                        self.messages.push(message);
                        self.kept_bytes = bytes;
                    }
                    None => self.more_messages += 1,
                }
            }
            Outgoing::Response(payload) => {
                let payload = payload.concat();
                let text = std::str::from_utf8(&payload).unwrap_or_default();
                let Ok(Message::Response(response)) = Message::parse(text) else {
                    return;
                };
                match response.outcome {
                    Outcome::Result(result) => self.result = raw(result),
                    Outcome::Error(error) => self.error = raw(error),
                }
            }
        }
    }
}

fn raw(text: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(text.to_owned()).ok()
}

/// Returns the version of the upstream's own era, in which nothing has to be bridged.
fn version_for(snapshot: &Snapshot, caller: &Caller, name: &str) -> Version {
    let route = snapshot.catalog.tool(name);
    let view = snapshot.view(caller);
    let peer = route.and_then(|route| view.peer(route.upstream_index));
    match peer.map_or(Era::Modern, |peer| peer.era()) {
        Era::Legacy => Version::LATEST_LEGACY,
        Era::Modern => Version::MODERN,
    }
}

/// Makes the message that asks for the call, and for its progress.
fn envelope(name: &str, arguments: &str, version: Version) -> Bytes {
    let own = match version.era() {
        Era::Legacy => "{}".to_owned(),
        Era::Modern => probe::request_meta(None, None),
    };
    let mut own = Object::parse(&own).unwrap_or_default();
    own.set(meta::PROGRESS_TOKEN, "1");
    let params = format!(
        "{{\"name\":{},\"arguments\":{arguments},\"_meta\":{}}}",
        json::quote(name),
        own.to_text()
    );
    message::request(&Id::from(1), method::TOOLS_CALL, &params)
}

/// Answers `POST /try` with a [`TrialAnswer`] to the [`ToolTrial`] in its body: 200, also for an error
/// of the call; 400 for another body, 403 where it is not allowed, 503 while too many are under way.
pub(super) async fn try_tool(
    State(live): State<Arc<Live>>,
    State(trials): State<ToolTrials>,
    Extension(sender): Extension<AdminSender>,
    body: Bytes,
) -> Response {
    let trial: ToolTrial = match serde_json::from_slice(&body) {
        Ok(trial) => trial,
        Err(error) => {
            let error = format!("expected `{{\"name\": …, \"arguments\": {{…}}}}`: {error}");
            return json_response(StatusCode::BAD_REQUEST, &json!({ "error": error }));
        }
    };
    match trials.call(&live, &sender, &trial).await {
        Ok(answer) => json_response(StatusCode::OK, &answer),
        Err(refused) => {
            let error = json!({ "error": refused.to_string() });
            json_response(refused.status(), &error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_before_an_answer_are_kept_within_bounds_and_the_rest_is_counted() {
        let empty = || TrialAnswer {
            request_id: String::new(),
            took_ms: 0.0,
            request: raw("{}").unwrap(),
            messages: Vec::new(),
            more_messages: 0,
            kept_bytes: 0,
            result: None,
            error: None,
        };
        let message = |bytes: usize| Outgoing::Message(format!("\"{}\"", "x".repeat(bytes)).into());
        let mut many = empty();
        (0..MESSAGES + 7).for_each(|_| many.add(message(1)));
        assert_eq!((many.messages.len(), many.more_messages), (MESSAGES, 7));
        let mut large = empty();
        for _ in 0..5 {
            large.add(message(MESSAGE_BYTES / 2 - 2));
        }
        large.add(message(MESSAGE_BYTES));
        assert_eq!((large.messages.len(), large.more_messages), (2, 4));
    }
}
