//! Events of the house: what happens to weir itself, as lines of the same chain.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::audit::line::AuditLine;

/// The most bytes of the details.
const LONGEST_DETAILS: usize = 16 * 1024;

/// An event that leaves a line of its own. Its `method` is `weir/…`; no request has such a method.
#[derive(Debug)]
pub struct AuditEvent<'a> {
    /// The kind of event: `weir/reload`.
    pub method: &'static str,
    /// The id of the request that caused it.
    pub request_id: Option<&'a str>,
    /// The subject of the operator or caller who caused it, if it is known.
    pub subject: Option<&'a str>,
    /// The snapshot in force, if it matters.
    pub generation: Option<u64>,
    /// The details: the member `event`.
    pub details: Value,
}

impl<'a> AuditEvent<'a> {
    /// Weir has started, and goes on with the chain.
    pub(super) const START: &'static str = "weir/start";
    /// Weir stops in order.
    pub(super) const STOP: &'static str = "weir/stop";
    /// Lines are missing before this one.
    pub(super) const GAP: &'static str = "weir/gap";
    /// The first line of a file after the first.
    pub(super) const ROTATE: &'static str = "weir/rotate";
    /// A signature of all lines before it.
    pub(super) const CHECKPOINT: &'static str = "weir/checkpoint";
    /// The config was read again.
    pub const RELOAD: &'static str = "weir/reload";
    /// Changed definitions were accepted.
    pub const ACCEPT: &'static str = "weir/accept";
    /// An operator called a tool. The call leaves a line of its own with the same id.
    pub const TRY: &'static str = "weir/try";
    /// A credential was refused.
    pub const REFUSED_CREDENTIAL: &'static str = "weir/refused_credential";

    /// Makes an event of which only the details are known.
    #[must_use]
    pub fn new(method: &'static str, details: Value) -> Self {
        Self {
            method,
            request_id: None,
            subject: None,
            generation: None,
            details,
        }
    }

    /// Writes the members of its line.
    pub(super) fn write(&self, time: SystemTime, instance: &str) -> Vec<u8> {
        let mut details = self.details.to_string();
        if details.len() > LONGEST_DETAILS {
            details = json!({ "left_out_bytes": details.len() }).to_string();
        }
        AuditLine {
            time: Some(time),
            method: self.method,
            request_id: self.request_id,
            caller_identity: self.subject,
            generation: self.generation,
            instance: Some(instance),
            event: Some(&details),
            ..AuditLine::default()
        }
        .write()
    }
}
