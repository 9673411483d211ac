//! The span of one attempt at an upstream.

use std::borrow::Cow;

use crate::json::Object;
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::Outcome;
use crate::protocol::method;
use crate::record::{Record, fail_with, is_tool_error};
use crate::relay::call::Target;
use crate::telemetry::{Span, names};
use crate::upstream::{Link, LinkError, Peer, spans};

/// The span of one attempt; empty if the request is not recorded. An attempt that is dropped was
/// cancelled.
#[derive(Debug)]
pub(in crate::relay) struct ClientSpan(Option<Box<BegunSpan>>);

/// A span that is recorded.
#[derive(Debug)]
struct BegunSpan {
    span: Span,
    method: &'static str,
    /// Whether there are rules for the data, so that none of it is in the span.
    hides_data: bool,
}

impl ClientSpan {
    /// Begins the span of an attempt to send a request as `id`, the number of the link.
    pub(super) fn begin(
        record: &mut Record,
        to: (&Link, &Peer),
        target: &Target<'_>,
        id: u64,
    ) -> Self {
        let subject = (target.method, target.name.as_deref());
        Self::begin_about(record, to, subject, id)
    }

    /// Does the same for a request of which method and name are known, as the upstream knows them.
    pub(super) fn begin_about(
        record: &mut Record,
        to: (&Link, &Peer),
        subject: (&'static str, Option<&str>),
        id: u64,
    ) -> Self {
        let attempt = record.count_attempt();
        let begin = |attempt| BegunSpan::begin(record, to, subject, (id, attempt));
        Self(attempt.and_then(begin).map(Box::new))
    }

    /// Returns the span, if the request is recorded.
    pub(super) fn span(&self) -> Option<&Span> {
        self.0.as_ref().map(|begun| &begun.span)
    }

    /// Ends it with the answer of the upstream.
    pub(in crate::relay) fn end(&mut self, outcome: Outcome<'_>) {
        let Some(mut begun) = self.0.take() else {
            return;
        };
        let is_call = begun.method == method::TOOLS_CALL;
        match outcome {
            Outcome::Result(result) if is_call && is_tool_error(result) => {
                begun.span.fail("tool_error", "");
            }
            Outcome::Result(_) => {}
            Outcome::Error(error) => {
                let error = Object::parse(error).unwrap_or_default();
                fail_with(&mut begun.span, &error, begun.hides_data);
            }
        }
    }

    /// Ends it, because weir does not send what it would have to.
    pub(super) fn refuse(&mut self, fault: &Fault, era: Era) {
        if let Some(mut begun) = self.0.take() {
            let code = fault.code_for(era).to_string();
            begun.span.fail(&code, &fault.to_string());
        }
    }

    /// Ends it without an answer.
    pub(in crate::relay) fn fail(&mut self, error: &LinkError) {
        if let Some(mut begun) = self.0.take() {
            spans::fail(&mut begun.span, error);
        }
    }
}

impl Drop for ClientSpan {
    fn drop(&mut self) {
        if let Some(begun) = &mut self.0 {
            begun.span.fail("cancelled", "");
        }
    }
}

impl BegunSpan {
    fn begin(
        record: &Record,
        (link, peer): (&Link, &Peer),
        (method, name): (&'static str, Option<&str>),
        (id, attempt): (u64, i64),
    ) -> Option<Self> {
        let (place, hides_data) = (record.place()?, record.hides_data());
        place.recorded()?;
        let title = match (method, name) {
            (method::TOOLS_CALL | method::PROMPTS_GET, Some(name)) => {
                Cow::Owned([method, " ", name].concat())
            }
            (method, _) => Cow::Borrowed(method),
        };
        let mut span = place.client(title)?;
        span.set(names::METHOD, method);
        let key = match method {
            method::TOOLS_CALL => {
                span.set(names::OPERATION, "execute_tool");
                Some(names::TOOL)
            }
            method::PROMPTS_GET => Some(names::PROMPT),
            method::RESOURCES_READ if !hides_data => Some(names::RESOURCE),
            _ => None,
        };
        if let (Some(key), Some(name)) = (key, name) {
            span.set(key, name);
        }
        span.set(names::REQUEST_ID, &*id.to_string());
        span.set(names::WEIR_REQUEST_ID, record.request_id());
        span.set(names::ATTEMPT, attempt);
        spans::describe_upstream(&mut span, link);
        spans::describe_peer(&mut span, peer);
        Some(Self {
            span,
            method,
            hides_data,
        })
    }
}
