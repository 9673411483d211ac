//! Copies of lines for OpenTelemetry. They may be lost; the file has all of them.

use std::time::SystemTime;

use chrono::DateTime;

use crate::json::Object;
use crate::telemetry::{AttributeValue, LogRecord, Pipeline, Severity, SpanContext, Tracer};

/// The members that become attributes, by their names in the line.
const TEXTS: [&str; 10] = [
    "request_id",
    "caller_identity",
    "method",
    "tool_name",
    "upstream",
    "policy_decision",
    "pre_transform_hash",
    "upstream_status",
    "result_status",
    "blame",
];
/// A list, which becomes an attribute as JSON text.
const PSEUDONYMS: &str = "redaction_tokens_ids";
const LATENCY: &str = "latency_ms";

/// Sends copies of lines that are written, if the config wants that.
pub(super) fn send_copies(tracer: &Tracer, lines: &[Vec<u8>]) {
    let pipeline = tracer.pipeline().filter(|all| all.log_kinds.audit);
    let Some(pipeline) = pipeline else { return };
    for line in lines {
        if let Ok(line) = std::str::from_utf8(line) {
            send_copy(&pipeline, line.trim_end());
        }
    }
}

fn send_copy(pipeline: &Pipeline, line: &str) {
    let members = Object::parse(line).unwrap_or_default();
    let texts = TEXTS.map(|name| (name, members.string(name)));
    let text = |name: &str| {
        let mut texts = texts.iter();
        let found = texts.find(|(known, _)| *known == name);
        found.and_then(|(_, text)| text.as_deref())
    };
    let mut attributes: Vec<_> = texts
        .iter()
        .map(|(name, text)| (*name, text.as_deref().map(AttributeValue::Text)))
        .collect();
    let latency = members.get(LATENCY).and_then(|text| text.parse().ok());
    attributes.push((LATENCY, latency.map(AttributeValue::Double)));
    let pseudonyms = members.get(PSEUDONYMS).filter(|list| *list != "null");
    attributes.push((PSEUDONYMS, pseudonyms.map(AttributeValue::Text)));
    let is_denied = text("policy_decision").is_some_and(|decision| decision != "allow");
    let is_good = text("result_status").is_none_or(|status| ["ok", "tool_error"].contains(&status));
    let time = members.string("time");
    let time = time.and_then(|time| DateTime::parse_from_rfc3339(&time).ok());
    let trace = members.string("trace_id");
    pipeline.log(&LogRecord {
        event: "weir.audit",
        severity: match is_good && !is_denied {
            true => Severity::Info,
            false => Severity::Warn,
        },
        time: time.map(SystemTime::from),
        body: Some(line),
        trace: trace.and_then(|trace| SpanContext::parse_trace(&trace)),
        span: None,
        attributes: &attributes,
    });
}
