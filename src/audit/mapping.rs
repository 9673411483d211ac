//! Records in the shapes of other systems: the Elastic Common Schema
//! (<https://www.elastic.co/guide/en/ecs/current/index.html>) and API Activity of the Open
//! Cybersecurity Schema Framework (<https://schema.ocsf.io/classes/api_activity>).
//!
//! The file has one shape, that of its chain. What is mapped is a copy.

use std::time::UNIX_EPOCH;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

/// The shape of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordShape {
    /// The Elastic Common Schema.
    Ecs,
    /// API Activity (6003) of OCSF 1.3.
    Ocsf,
}

/// A record that is taken apart: what is mapped is taken, the rest stays.
struct Parts(Map<String, Value>);

impl Parts {
    fn take(&mut self, member: &str) -> Value {
        self.0.shift_remove(member).unwrap_or_default()
    }

    fn text(&self, member: &str) -> &str {
        self.0
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Returns what was not taken and says something.
    fn rest(mut self) -> Value {
        self.0.retain(|_, value| !value.is_null());
        self.0.into()
    }
}

/// Returns a record in another shape, as JSON text; `None` if the line is none.
#[must_use]
pub fn in_shape(line: &[u8], shape: RecordShape) -> Option<String> {
    let parts = Parts(serde_json::from_slice(line).ok()?);
    let mut mapped = match shape {
        RecordShape::Ecs => ecs(parts),
        RecordShape::Ocsf => ocsf(parts),
    };
    prune(&mut mapped);
    Some(mapped.to_string())
}

/// Removes members that are `null`, and objects without members.
fn prune(value: &mut Value) {
    if let Value::Object(members) = value {
        members.values_mut().for_each(prune);
        let is_empty =
            |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
        members.retain(|_, value| !is_empty(value));
    }
}

/// Returns whether the request succeeded; `None` of an event and of a cancelled request.
fn succeeded(parts: &Parts) -> Option<bool> {
    match parts.text("result_status") {
        "ok" => Some(true),
        "" | "cancelled" => None,
        _ => Some(false),
    }
}

fn ecs(mut parts: Parts) -> Value {
    let outcome = match succeeded(&parts) {
        Some(true) => "success",
        Some(false) => "failure",
        None => "unknown",
    };
    let millis = parts.take("latency_ms").as_f64();
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a latency in nanoseconds is far below 2^63"
    )]
    let nanos = millis.map(|millis| (millis * 1e6) as i64);
    json!({
        "@timestamp": parts.take("time"),
        "ecs": { "version": "8.11.0" },
        "event": {
            "kind": "event",
            "category": ["api"],
            "action": parts.take("method"),
            "outcome": outcome,
            "duration": nanos,
            "id": parts.take("hash"),
            "sequence": parts.take("seq"),
        },
        "user": { "id": parts.take("caller_identity"), "domain": parts.take("caller_issuer") },
        "user_agent": { "original": parts.take("agent") },
        "trace": { "id": parts.take("trace_id") },
        "http": {
            "request": { "id": parts.take("request_id"), "bytes": parts.take("bytes_in") },
            "response": { "bytes": parts.take("bytes_out") },
        },
        "service": { "type": "weir", "node": { "name": parts.take("instance") } },
        "rule": { "name": parts.take("policies") },
        "weir": parts.rest(),
    })
}

fn ocsf(mut parts: Parts) -> Value {
    let status = match succeeded(&parts) {
        Some(true) => 1,
        Some(false) => 2,
        None => 0,
    };
    let time = DateTime::parse_from_rfc3339(parts.text("time")).map(DateTime::<Utc>::from);
    let time = time
        .unwrap_or_else(|_| UNIX_EPOCH.into())
        .timestamp_millis();
    parts.take("time");
    let method = parts.take("method");
    let agent = parts.take("agent");
    json!({
        "class_uid": 6003,
        "category_uid": 6,
        "activity_id": 99,
        "activity_name": method,
        "type_uid": 600_399,
        "severity_id": 1,
        "time": time,
        "status_id": status,
        "status": parts.take("result_status"),
        "duration": parts.take("latency_ms").as_f64().map(f64::round),
        "actor": { "user": { "uid": parts.take("caller_identity"), "domain": parts.take("caller_issuer") } },
        "api": {
            "operation": method,
            "service": { "name": parts.take("upstream") },
            "request": { "uid": parts.take("request_id") },
        },
        "src_endpoint": { "name": if agent.is_null() { json!("unknown") } else { agent } },
        "metadata": {
            "version": "1.3.0",
            "uid": parts.take("hash"),
            "sequence": parts.take("seq"),
            "correlation_uid": parts.take("trace_id"),
            "product": { "name": "weir", "vendor_name": "weir", "version": env!("CARGO_PKG_VERSION") },
        },
        "unmapped": parts.rest(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = br#"{"time":"2026-11-28T09:00:00.250000Z","request_id":"r","trace_id":null,"caller_identity":"alice","caller_issuer":"https://id","agent":null,"method":"tools/call","tool_name":"erp__q","upstream":"erp","policies":["p"],"result_status":"refused","latency_ms":1.5,"bytes_in":7,"bytes_out":9,"instance":"w","seq":3,"prev":"0","hash":"h"}"#;

    fn mapped(shape: RecordShape) -> Value {
        serde_json::from_str(&in_shape(LINE, shape).unwrap()).unwrap()
    }

    #[test]
    fn a_record_is_an_event_of_ecs() {
        assert_eq!(
            mapped(RecordShape::Ecs),
            json!({
                "@timestamp": "2026-11-28T09:00:00.250000Z",
                "ecs": { "version": "8.11.0" },
                "event": {
                    "kind": "event", "category": ["api"], "action": "tools/call", "outcome": "failure",
                    "duration": 1_500_000, "id": "h", "sequence": 3,
                },
                "user": { "id": "alice", "domain": "https://id" },
                "http": { "request": { "id": "r", "bytes": 7 }, "response": { "bytes": 9 } },
                "service": { "type": "weir", "node": { "name": "w" } },
                "rule": { "name": ["p"] },
                "weir": { "tool_name": "erp__q", "upstream": "erp", "result_status": "refused", "prev": "0" },
            })
        );
    }

    #[test]
    fn a_record_is_an_api_activity_of_ocsf() {
        let mapped = mapped(RecordShape::Ocsf);
        assert_eq!(mapped["time"], 1_795_856_400_250_u64);
        assert_eq!(
            (&mapped["class_uid"], &mapped["type_uid"]),
            (&json!(6003), &json!(600_399))
        );
        assert_eq!(
            (&mapped["status_id"], &mapped["status"]),
            (&json!(2), &json!("refused"))
        );
        assert_eq!(mapped["actor"]["user"]["uid"], "alice");
        assert_eq!(mapped["api"]["service"]["name"], "erp");
        assert_eq!(mapped["unmapped"]["tool_name"], "erp__q");
        assert_eq!(in_shape(b"no", RecordShape::Ocsf), None);
    }
}
