//! The reserved `_meta` keys (`basic/index.mdx#_meta`).

/// Modern: the protocol version of this request; its presence makes a request modern.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Modern: what the client can do.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// Modern: who the client is.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// Modern: which log messages the client wants on this request's stream.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// Modern: who the server is, on results.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// Modern: the listen request a notification belongs to.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// Either era: names the progress notifications of this request.
pub const PROGRESS_TOKEN: &str = "progressToken";
/// The weirs a request came through, in order: an array of instances.
pub const PATH: &str = "weir/path";
/// On definitions, the weirs they came through, nearest first: an array of instances.
pub const ORIGIN: &str = "weir/origin";
/// On definitions that may be out of date, when they were last found to hold: a time of RFC 3339.
pub const STALE: &str = "weir/stale";
/// How many milliseconds a request has left: an integer.
pub const DEADLINE: &str = "weir/deadlineMs";
/// The prefix of every reserved key.
pub const RESERVED: &str = "io.modelcontextprotocol/";
/// Modern: the tasks extension (SEP-2663).
pub const TASKS: &str = "io.modelcontextprotocol/tasks";
/// Either era: the extension for apps (SEP-1865). It has no methods of its own.
pub const APPS: &str = "io.modelcontextprotocol/ui";
/// Legacy (2025-11-25): the task that a message belongs to: `{taskId}`.
pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// Returns whether a key of a request's `_meta` is one of the specification's own
/// (`basic/index.mdx#_meta`), which every peer may get: the reserved ones, the progress token, and the
/// trace context without `baggage`, which holds data.
#[must_use]
pub fn is_standard(key: &str) -> bool {
    key.starts_with(RESERVED) || [PROGRESS_TOKEN, "traceparent", "tracestate"].contains(&key)
}

/// `Implementation` of weir, as JSON text.
pub const WEIR: &str = concat!(
    "{\"name\":\"weir\",\"version\":\"",
    env!("CARGO_PKG_VERSION"),
    "\"}"
);
