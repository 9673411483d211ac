//! Where messages carry text: one table for all methods and both directions.
//!
//! Everything is text unless it is listed here as structure: ids, words of the protocol, cursors.
//! A member that is not listed is text, so that what a later revision adds is looked at. The
//! members are those of `schema.json` of the revisions from 2025-03-26 to 2026-07-28 and of the
//! tasks extension (SEP-2663); `tests/it/guard/coverage.rs` compares them.

use crate::protocol::{meta, method};

/// The part that a value has in a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Shape {
    /// Text at every depth: strings, member names, numbers.
    Text,
    /// The same, and paths of fields begin here.
    Fields,
    /// An id, a word of the protocol, a cursor or the like. A list of them too; an object here is
    /// text.
    Structure,
    /// Base64. What is text under it is text.
    Blob,
    /// An object with these members. Others are text, and so is anything but an object. A list has
    /// items of this shape.
    Object(&'static [(&'static str, &'static Shape)]),
    /// The same for data of any form, of which only these members are known.
    AnyForm(&'static [(&'static str, &'static Shape)]),
    /// An object whose member names are ids, with values of this shape.
    ById(&'static Shape),
}

use Shape::{AnyForm, Blob, ById, Fields, Object, Structure, Text};

impl Shape {
    /// Returns the part of a member.
    #[must_use]
    pub fn member(&'static self, name: &str) -> &'static Self {
        match self {
            Object(members) | AnyForm(members) => {
                let mut members = members.iter();
                let found = members.find(|(known, _)| *known == name);
                found.map_or(&Text, |(_, shape)| shape)
            }
            ById(shape) => shape,
            // Paths of fields begin above, not here.
            Text | Fields | Structure | Blob => &Text,
        }
    }

    /// Returns the part of an item of a list.
    #[must_use]
    pub fn item(&'static self) -> &'static Self {
        match self {
            Fields | ById(_) => &Text,
            Text | Structure | Blob | Object(_) | AnyForm(_) => self,
        }
    }

    /// Returns whether names of members may be text.
    #[must_use]
    pub fn has_text_names(&self) -> bool {
        !matches!(self, ById(_))
    }
}

/// The params of a caller's request, by its method.
#[must_use]
pub fn params(method: &str) -> &'static Shape {
    match method {
        method::TOOLS_CALL | method::PROMPTS_GET => &CALL,
        method::RESOURCES_READ | method::SUBSCRIBE | method::UNSUBSCRIBE => &READ,
        method::COMPLETE => &COMPLETION,
        _ => &TASK_REQUEST,
    }
}

/// A result of an upstream, whatever the method: no member means two things.
pub static RESULT: Shape = Object(&[
    ("content", &CONTENT),
    ("structuredContent", &Fields),
    ("isError", &Structure),
    ("contents", &RESOURCE),
    ("description", &Text),
    ("messages", &MESSAGE),
    ("completion", &COMPLETED),
    ("task", &TASK),
    ("tasks", &TASK),
    ("result", &RESULT),
    ("error", &ERROR),
    ("inputRequests", &INPUT_REQUESTS),
    ("requestState", &Structure),
    ("resultType", &Structure),
    ("cacheScope", &Structure),
    ("ttlMs", &Structure),
    ("nextCursor", &Structure),
    // Of tasks, beside the others.
    ("taskId", &Structure),
    ("status", &Structure),
    ("statusMessage", &Text),
    ("createdAt", &Structure),
    ("lastUpdatedAt", &Structure),
    ("ttl", &Structure),
    ("pollInterval", &Structure),
    ("pollIntervalMs", &Structure),
    ("_meta", &META),
]);

/// The error of an answer.
pub static ERROR: Shape = Object(&[("code", &Structure), ("message", &Text), ("data", &Fields)]);

/// A caller's answer to what an upstream asked.
pub static ANSWER: Shape = Object(&[
    // The values of a form, or what a model said: only base64 is told apart.
    ("content", &ANSWERED),
    ("action", &Structure),
    ("role", &Structure),
    ("model", &Text),
    ("stopReason", &Structure),
    ("roots", &ROOT),
    ("resultType", &Structure),
    ("task", &TASK),
    ("tasks", &TASK),
    ("nextCursor", &Structure),
    ("taskId", &Structure),
    ("status", &Structure),
    ("statusMessage", &Text),
    ("createdAt", &Structure),
    ("lastUpdatedAt", &Structure),
    ("ttl", &Structure),
    ("pollInterval", &Structure),
    ("_meta", &META),
]);

/// The params of a notification, by its method.
#[must_use]
pub fn notification(method: &str) -> &'static Shape {
    match method {
        method::PROGRESS => &PROGRESS,
        method::LOG_MESSAGE => &LOG,
        method::CANCELLED => &CANCELLED,
        method::TASK_STATUS | method::TASKS_STATUS => &RESULT,
        _ => &NOTIFICATION,
    }
}

/// The params of an upstream's request to a caller.
pub static ASKED: Shape = Object(&[
    ("message", &Text),
    ("mode", &Structure),
    ("requestedSchema", &Text),
    ("url", &Text),
    ("elicitationId", &Structure),
    ("messages", &MESSAGE),
    ("systemPrompt", &Text),
    ("includeContext", &Structure),
    ("maxTokens", &Structure),
    ("temperature", &Structure),
    ("stopSequences", &Text),
    ("metadata", &Text),
    ("modelPreferences", &Text),
    ("toolChoice", &TOOL_CHOICE),
    ("tools", &Text),
    ("task", &TASK),
    ("taskId", &Structure),
    ("cursor", &Structure),
    ("_meta", &META),
]);

/// `_meta`, of any message.
pub static META: Shape = Object(&[
    (meta::PROGRESS_TOKEN, &Structure),
    (meta::PROTOCOL_VERSION, &Structure),
    (meta::CLIENT_INFO, &IMPLEMENTATION),
    (meta::CLIENT_CAPABILITIES, &Text),
    (meta::LOG_LEVEL, &Structure),
    (meta::SUBSCRIPTION_ID, &Structure),
    (meta::SERVER_INFO, &IMPLEMENTATION),
    (meta::RELATED_TASK, &TASK),
    ("traceparent", &Structure),
    ("tracestate", &Structure),
    (meta::PATH, &Structure),
    (meta::DEADLINE, &Structure),
    (meta::ORIGIN, &Structure),
    (meta::STALE, &Structure),
]);

static CALL: Shape = Object(&[
    // As the upstream knows it, from the catalog.
    ("name", &Structure),
    ("arguments", &Fields),
    ("task", &TASK),
    ("inputResponses", &INPUT_RESPONSES),
    ("requestState", &Structure),
    ("_meta", &META),
]);

static READ: Shape = Object(&[
    ("uri", &Text),
    ("inputResponses", &INPUT_RESPONSES),
    ("requestState", &Structure),
    ("_meta", &META),
]);

static COMPLETION: Shape = Object(&[
    ("ref", &REFERENCE),
    ("argument", &Text),
    ("context", &COMPLETION_CONTEXT),
    ("_meta", &META),
]);

static COMPLETION_CONTEXT: Shape = Object(&[("arguments", &Fields)]);

static REFERENCE: Shape = Object(&[
    ("type", &Structure),
    ("name", &Structure),
    ("title", &Text),
    ("uri", &Text),
]);

static TASK_REQUEST: Shape = Object(&[
    ("taskId", &Structure),
    ("cursor", &Structure),
    ("level", &Structure),
    ("inputResponses", &INPUT_RESPONSES),
    ("requestState", &Structure),
    ("_meta", &META),
]);

static TASK: Shape = Object(&[
    ("taskId", &Structure),
    ("status", &Structure),
    ("statusMessage", &Text),
    ("createdAt", &Structure),
    ("lastUpdatedAt", &Structure),
    ("ttl", &Structure),
    ("ttlMs", &Structure),
    ("pollInterval", &Structure),
    ("pollIntervalMs", &Structure),
    ("_meta", &META),
]);

static CONTENT: Shape = Object(&[
    ("type", &Structure),
    ("text", &Text),
    ("data", &Blob),
    ("mimeType", &Structure),
    ("annotations", &ANNOTATIONS),
    ("resource", &RESOURCE),
    // A link to a resource.
    ("uri", &Text),
    ("name", &Text),
    ("title", &Text),
    ("description", &Text),
    ("size", &Structure),
    ("icons", &ICON),
    // The use of a tool by a model, and its result.
    ("id", &Structure),
    ("toolUseId", &Structure),
    ("input", &Fields),
    ("content", &CONTENT),
    ("structuredContent", &Fields),
    ("isError", &Structure),
    ("_meta", &META),
]);

static RESOURCE: Shape = Object(&[
    ("uri", &Text),
    ("mimeType", &Structure),
    ("text", &Text),
    ("blob", &Blob),
    ("_meta", &META),
]);

static ANSWERED: Shape = AnyForm(&[("data", &Blob), ("blob", &Blob)]);

static MESSAGE: Shape = Object(&[
    ("role", &Structure),
    ("content", &CONTENT),
    ("_meta", &META),
]);

static COMPLETED: Shape = Object(&[
    ("values", &Text),
    ("total", &Structure),
    ("hasMore", &Structure),
]);

static INPUT_REQUESTS: Shape = ById(&INPUT_REQUEST);
static INPUT_REQUEST: Shape = Object(&[("method", &Structure), ("params", &ASKED)]);
static INPUT_RESPONSES: Shape = ById(&ANSWER);

static ROOT: Shape = Object(&[("uri", &Text), ("name", &Text), ("_meta", &META)]);

static TOOL_CHOICE: Shape = Object(&[("mode", &Structure)]);

static PROGRESS: Shape = Object(&[
    (meta::PROGRESS_TOKEN, &Structure),
    ("progress", &Structure),
    ("total", &Structure),
    ("message", &Text),
    ("_meta", &META),
]);

static LOG: Shape = Object(&[
    ("level", &Structure),
    ("logger", &Text),
    ("data", &Fields),
    ("_meta", &META),
]);

static CANCELLED: Shape = Object(&[
    ("requestId", &Structure),
    ("reason", &Text),
    ("_meta", &META),
]);

static NOTIFICATION: Shape = Object(&[
    ("uri", &Text),
    ("elicitationId", &Structure),
    ("notifications", &Text),
    ("_meta", &META),
]);

static ANNOTATIONS: Shape = Object(&[
    ("audience", &Structure),
    ("lastModified", &Structure),
    ("priority", &Structure),
]);

static ICON: Shape = Object(&[
    ("src", &Text),
    ("mimeType", &Structure),
    ("sizes", &Structure),
    ("theme", &Structure),
]);

static IMPLEMENTATION: Shape = Object(&[
    ("name", &Text),
    ("title", &Text),
    ("description", &Text),
    ("websiteUrl", &Text),
    ("icons", &ICON),
    // It may look like an address: 1.2.3.4.
    ("version", &Structure),
]);
