//! The part of a record that only telemetry needs. Without `telemetry` there is none, and it costs
//! one look.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use http::HeaderMap;
use memchr::memmem::Finder;

use crate::caller::Caller;
use crate::json::{self, Object};
use crate::metrics::{Ending, blame_text, caller_label};
use crate::policy::Decision;
use crate::protocol::era::Era;
use crate::protocol::error::{Blame, Fault};
use crate::protocol::message::Request;
use crate::protocol::trace::Trace;
use crate::protocol::{hops, meta, method};
use crate::record::audited::Ended;
use crate::telemetry::{AttributeValue, LogRecord, Pipeline, RequestTrace, Severity, Span, names};

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct RequestOrigin<'r> {
    /// The headers of HTTP, if they are at hand.
    pub headers: Option<&'r HeaderMap>,
    /// The address of the caller.
    pub address: Option<IpAddr>,
    /// `tcp` or `pipe`.
    transport: &'static str,
}

impl<'r> RequestOrigin<'r> {
    /// Makes the origin of a request over HTTP.
    #[must_use]
    pub fn http(headers: Option<&'r HeaderMap>, address: Option<IpAddr>) -> Self {
        Self {
            headers,
            address,
            transport: "tcp",
        }
    }

    /// Makes the origin of a request on stdin.
    #[must_use]
    pub fn stdio() -> Self {
        Self {
            headers: None,
            address: None,
            transport: "pipe",
        }
    }
}

/// A request as it is known when it comes.
pub(super) struct BegunRequest<'r> {
    pub(super) method: &'r Cow<'static, str>,
    pub(super) trace: &'r Trace,
    pub(super) caller: &'r Caller,
    pub(super) request: &'r Request<'r>,
    pub(super) origin: RequestOrigin<'r>,
}

/// The part of a record that telemetry needs while the request is answered.
#[derive(Debug)]
pub(super) struct TracedRequest {
    pipeline: Arc<Pipeline>,
    place: RequestTrace,
    era: Option<Era>,
    /// The name of a prompt or the URI of a resource, until it is known that there is one.
    target: Option<(&'static str, Box<str>)>,
    /// Whether there are rules for the data of the request, so that none of it is in the span.
    hides_data: bool,
    /// Why there is no answer of the upstream.
    failure: Option<&'static str>,
    /// How many attempts there were to send it.
    attempts: i64,
}

impl TracedRequest {
    pub(super) fn begin(pipeline: Arc<Pipeline>, begun: &BegunRequest<'_>) -> Self {
        let BegunRequest {
            method,
            trace,
            request,
            origin,
            ..
        } = *begun;
        let mut place = RequestTrace::begin(&pipeline, trace, origin.headers, method.clone());
        let mut target = None;
        if let Some(span) = place.span() {
            describe(span, begun);
            let key = match &**method {
                method::PROMPTS_GET => Some(("name", names::PROMPT)),
                method::RESOURCES_READ => Some(("uri", names::RESOURCE)),
                _ => None,
            };
            target = key.and_then(|(key, name)| {
                let text = request.params.string(key)?;
                Some((name, text.into()))
            });
        }
        Self {
            pipeline,
            place,
            era: None,
            target,
            hides_data: false,
            failure: None,
            attempts: 0,
        }
    }

    /// Returns the span, if the request is recorded.
    pub(super) fn span(&mut self) -> Option<&mut Span> {
        self.place.span()
    }

    pub(super) fn place(&self) -> &RequestTrace {
        &self.place
    }

    /// Returns the number of the next attempt, from 1 on.
    pub(super) fn count_attempt(&mut self) -> i64 {
        self.attempts += 1;
        self.attempts
    }

    pub(super) fn set_era(&mut self, era: Era) {
        self.era = Some(era);
    }

    pub(super) fn set_generation(&mut self, generation: u64) {
        if let Some(span) = self.span() {
            let generation = i64::try_from(generation).unwrap_or(i64::MAX);
            span.set(names::GENERATION, generation);
        }
    }

    pub(super) fn set_session(&mut self, session: &str) {
        if let Some(span) = self.span() {
            span.set(names::SESSION, session);
        }
    }

    /// Notes where the request goes: `tool` is the exposed name of a tool.
    pub(super) fn set_destination(&mut self, upstream: &str, method: &str, tool: Option<&str>) {
        let target = self.target.take();
        let Some(span) = self.place.span() else {
            return;
        };
        span.set(names::UPSTREAM, upstream);
        match (tool, target) {
            (Some(tool), _) => {
                span.set(names::TOOL, tool);
                span.rename([method, " ", tool].concat());
            }
            (None, Some((names::PROMPT, prompt))) => {
                span.set(names::PROMPT, &*prompt);
                span.rename([method, " ", &*prompt].concat());
            }
            // The name of a span is one of few, which URIs are not.
            (None, Some((key, uri))) if !self.hides_data => span.set(key, &*uri),
            (None, Some(_) | None) => {}
        }
    }

    /// Keeps data of the request out of the span.
    pub(super) fn hide_data(&mut self) {
        self.hides_data = true;
    }

    pub(super) fn hides_data(&self) -> bool {
        self.hides_data
    }

    pub(super) fn set_failure(&mut self, kind: &'static str) {
        self.failure = Some(kind);
    }

    pub(super) fn note_tool_error(&mut self, method: &str) {
        if let Some(span) = self.span().filter(|_| method == method::TOOLS_CALL) {
            span.fail("tool_error", "");
        }
    }

    /// Notes the error of an upstream: the JSON-RPC error as the caller gets it.
    pub(super) fn set_error(&mut self, error: &Object<'_>) {
        let hides_data = self.hides_data;
        if let Some(span) = self.span() {
            fail_with(span, error, hides_data);
        }
    }

    pub(super) fn note_fault(&mut self, fault: &Fault) {
        let era = self.era.unwrap_or(Era::Legacy);
        let failure = self.failure;
        if let Some(span) = self.span().filter(|span| !span.has_failed()) {
            let code = fault.code_for(era).to_string();
            span.set(names::STATUS_CODE, &*code);
            span.fail(failure.unwrap_or(&code), &fault.to_string());
        }
    }

    /// Writes the rest at the end: `tool` is the exposed name of a tool. The span ends when this is
    /// dropped.
    pub(super) fn finish(&mut self, ended: &Ended<'_>, tool: Option<&str>) {
        let decision = ended.decision.map(Decision::as_str);
        let blame = ended.blame.map(blame_text);
        // It comes from baggage, in which a caller may write anything.
        if !self.hides_data {
            self.place.set_session();
        }
        if let Some(span) = self.place.span() {
            span.set_some(names::ERA, self.era.map(era_text));
            span.set(names::OUTCOME, ended.ending.as_str());
            span.set_some(names::BLAME, blame);
            span.set_some(names::DECISION, decision);
            if ended.ending == Ending::Cancelled {
                span.fail("cancelled", "");
            }
        }
        if self.pipeline.log_kinds.requests {
            self.log(ended, tool);
        }
    }

    fn log(&self, ended: &Ended<'_>, tool: Option<&str>) {
        let decision = ended.decision.map(Decision::as_str);
        let text = |text| Some(AttributeValue::Text(text));
        let is_denied = decision.is_some_and(|decision| decision != "allow");
        let is_good = ended.ending == Ending::Ok && !is_denied;
        let latency = ended.took.as_secs_f64() * 1000.0;
        self.pipeline.log(&LogRecord {
            event: "weir.call",
            severity: if is_good {
                Severity::Info
            } else {
                Severity::Warn
            },
            time: None,
            body: None,
            trace: None,
            span: self.place.recorded(),
            attributes: &[
                (names::WEIR_REQUEST_ID, text(ended.request_id)),
                (names::CALLER, text(caller_label(ended.caller))),
                (names::METHOD, text(ended.method)),
                (names::TOOL, tool.and_then(text)),
                (names::UPSTREAM, ended.upstream.and_then(text)),
                (names::ERA, self.era.map(era_text).and_then(text)),
                (names::OUTCOME, text(ended.ending.as_str())),
                (names::BLAME, ended.blame.map(blame_text).and_then(text)),
                (names::DECISION, decision.and_then(text)),
                (names::LATENCY, Some(AttributeValue::Double(latency))),
            ],
        });
    }
}

/// Says of a span what is known of a request from the start.
fn describe(span: &mut Span, begun: &BegunRequest<'_>) {
    let BegunRequest {
        method,
        trace,
        caller,
        request,
        origin,
    } = *begun;
    span.set(names::METHOD, &**method);
    if **method == *method::TOOLS_CALL {
        span.set(names::OPERATION, "execute_tool");
    }
    let id = request.id.as_json();
    let id = json::string(id).unwrap_or(Cow::Borrowed(id));
    span.set(names::REQUEST_ID, &*id);
    span.set(names::WEIR_REQUEST_ID, trace.request_id());
    span.set(names::CALLER, caller_label(caller));
    span.set(names::TRANSPORT, origin.transport);
    if origin.transport == "tcp" {
        span.set(names::NETWORK_PROTOCOL, "http");
    }
    let address = origin.address.map(address_text);
    span.set_some(names::CLIENT_ADDRESS, address.as_deref());
    let path = request.meta.as_ref().and_then(|meta| meta.get(meta::PATH));
    if let Some(path) = path.and_then(hops::instances) {
        span.set(names::HOPS, i64::try_from(path.len()).unwrap_or(i64::MAX));
    }
}

/// Returns the text of an address. `Display` costs ten times as much for one of IPv4.
fn address_text(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else {
        return address.to_string();
    };
    let mut text = String::with_capacity("255.255.255.255".len());
    for octet in address.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        for (unit, least) in [(100, 100), (10, 10), (1, 0)] {
            if octet >= least {
                text.push(char::from(b'0' + octet / unit % 10));
            }
        }
    }
    text
}

/// Ends a span with a JSON-RPC error, of which the message may be data.
pub(crate) fn fail_with(span: &mut Span, error: &Object<'_>, hides_data: bool) {
    if span.has_failed() {
        return;
    }
    let code = error.get("code").filter(|code| code.len() <= 20);
    span.set_some(names::STATUS_CODE, code);
    let message = error.string("message").filter(|_| !hides_data);
    let message = message.unwrap_or_default();
    span.fail(code.unwrap_or("_OTHER"), &message);
}

/// Returns whether a result is the error of a tool. It is parsed only if it may be one: most results
/// that have the member say that they are none.
pub(crate) fn is_tool_error(result: &str) -> bool {
    const MEMBER: &str = "\"isError\"";
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MEMBER));
    let mut found = FINDER.find_iter(result.as_bytes());
    let says_so = |at: usize| {
        let behind = result.get(at + MEMBER.len()..).unwrap_or_default();
        let value = behind.trim_ascii_start().strip_prefix(':');
        value.is_some_and(|value| value.trim_ascii_start().starts_with("true"))
    };
    found.any(says_so)
        && Object::parse(result).is_ok_and(|result| result.get("isError") == Some("true"))
}

/// Returns the party that has to act on the JSON-RPC error of an upstream, by its code: what is
/// wrong with a request, and the codes that HTTP has for that, are the caller's.
pub(super) fn blame_of_code(code: Option<&str>) -> Blame {
    let code = code.and_then(|code| code.parse::<i64>().ok());
    match code {
        Some(-32700 | -32602..=-32600 | -32042 | -32022..=-32020 | -32002 | 400..=499) => {
            Blame::Caller
        }
        _ => Blame::Upstream,
    }
}

fn era_text(era: Era) -> &'static str {
    match era {
        Era::Legacy => "legacy",
        Era::Modern => "modern",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_display_writes_it() {
        for text in [
            "127.0.0.1",
            "10.20.100.9",
            "255.250.0.199",
            "0.0.0.0",
            "::1",
            "fe80::1:2",
        ] {
            assert_eq!(address_text(text.parse().unwrap()), text);
        }
    }

    #[test]
    fn only_a_result_that_says_so_itself_is_the_error_of_a_tool() {
        for result in [
            r#"{"isError":true}"#,
            "{\"content\":[], \"isError\" :\n true}",
            r#"{"structuredContent":{"isError":false},"isError":true}"#,
        ] {
            assert!(is_tool_error(result), "{result}");
        }
        for result in [
            "{}",
            r#"{"isError":false}"#,
            r#"{"isError":"true"}"#,
            r#"{"isError":false,"structuredContent":{"isError":true}}"#,
            r#"{"content":[{"type":"text","text":"\"isError\":true"}]}"#,
            r#"{"isError""#,
        ] {
            assert!(!is_tool_error(result), "{result}");
        }
    }
}
