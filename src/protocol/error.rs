//! Every JSON-RPC error weir itself answers: code, HTTP status, public text. One enum, one table.
//!
//! Texts here go to callers. What an upstream or the operating system said goes to the log only.

use std::sync::Arc;

use http::StatusCode;

use crate::json;
use crate::protocol::era::{Era, Version};
use crate::protocol::message::Id;

/// A refused message: the fault, and the id to answer with if the message had one.
#[derive(Debug)]
pub struct Refusal {
    /// The id of the refused request.
    pub id: Option<Id>,
    /// What is wrong.
    pub fault: Fault,
}

impl Refusal {
    /// A refusal of a message whose id is not known.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self { id: None, fault }
    }
}

/// Who has to act on an error; feeds logs, audit and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The caller sent something wrong.
    Caller,
    /// The upstream failed or could not be reached.
    Upstream,
    /// Weir is at its limits or wrong itself.
    Weir,
}

/// What is wrong with a request, from weir's own point of view.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The body is not JSON (JSON-RPC 2.0).
    #[error("parse error: the body is not JSON")]
    Parse,
    /// Not a JSON-RPC message, or not one that may be sent here.
    #[error("invalid request: {0}")]
    Invalid(&'static str),
    /// A key occurs twice where weir has to decide by it.
    #[error("invalid request: duplicate key `{0}`")]
    DuplicateKey(String),
    /// A request that goes round in circles, or has come too far: see [`crate::protocol::hops`].
    #[error("invalid request: {reason}")]
    Path {
        /// What is wrong with the path.
        reason: &'static str,
        /// The instances it has been through: a JSON array, bounded.
        path: String,
    },
    /// Parameters that are missing or malformed.
    #[error("invalid params: {0}")]
    Params(String),
    /// A modern request without the metadata every request must carry (`basic/index.mdx#_meta`), or a
    /// message that does not fit its session: refused before its method is looked at.
    #[error("invalid params: {0}")]
    Envelope(&'static str),
    /// No such tool, or none this caller may see.
    #[error("unknown tool: {0}")]
    UnknownTool(String),
    /// No such prompt, or none this caller may see.
    #[error("unknown prompt: {0}")]
    UnknownPrompt(String),
    /// No upstream has this resource (`server/resources.mdx`: -32602, legacy -32002).
    #[error("resource not found")]
    UnknownResource {
        /// The URI asked for.
        uri: String,
    },
    /// No such task: its id names no upstream (2025-11-25 tasks, SEP-2663: -32602).
    #[error("unknown task: {0}")]
    UnknownTask(String),
    /// A cursor that weir did not hand out, or that has outlived its generation.
    #[error("invalid params: unknown or expired cursor")]
    Cursor,
    /// No such method in this era.
    #[error("method not found: {0}")]
    Method(String),
    /// Headers and body disagree (`transports/streamable-http.mdx#server-validation`).
    #[error("header mismatch: {0}")]
    HeaderMismatch(String),
    /// A protocol version weir does not speak (`#protocol-version-header`).
    #[error("unsupported protocol version")]
    UnsupportedVersion {
        /// What the caller asked for.
        requested: String,
    },
    /// The upstream needs something of the caller that cannot be passed on between these eras.
    #[error("the upstream asks for something that this connection cannot carry")]
    NotBridged {
        /// The upstream that asked.
        upstream: Arc<str>,
    },
    /// The upstream failed: unreachable, too slow, or answering nonsense.
    #[error("upstream `{upstream}`: {reason}")]
    Upstream {
        /// Which upstream.
        upstream: Arc<str>,
        /// Why, in words that give nothing away.
        reason: &'static str,
    },
    /// Weir is shutting down.
    #[error("shutting down")]
    ShuttingDown,
}

impl Fault {
    /// The JSON-RPC code, before [`Self::code_for`] adapts it to an era.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::Parse => -32700,
            Self::Invalid(_) | Self::DuplicateKey(_) | Self::Path { .. } => -32600,
            Self::Method(_) => -32601,
            Self::Params(_)
            | Self::Envelope(_)
            | Self::UnknownTool(_)
            | Self::UnknownPrompt(_)
            | Self::UnknownTask(_)
            | Self::UnknownResource { .. }
            | Self::Cursor => -32602,
            Self::HeaderMismatch(_) => -32020,
            Self::UnsupportedVersion { .. } => -32022,
            Self::NotBridged { .. } | Self::Upstream { .. } | Self::ShuttingDown => -32603,
        }
    }

    /// The code a caller of this era expects: legacy knows -32002 for a resource that is not there.
    #[must_use]
    pub fn code_for(&self, era: Era) -> i32 {
        match (self, era) {
            (Self::UnknownResource { .. }, Era::Legacy) => -32002,
            _ => self.code(),
        }
    }

    /// The HTTP status of the answer. Legacy answers JSON-RPC errors of a well-formed request with 200;
    /// modern has statuses of its own for what the transport can see.
    #[must_use]
    pub fn status(&self, era: Era) -> StatusCode {
        match (self, era) {
            (Self::Parse | Self::Invalid(_) | Self::DuplicateKey(_) | Self::Path { .. }, _)
            | (Self::Envelope(_) | Self::HeaderMismatch(_) | Self::UnsupportedVersion { .. }, _) => {
                StatusCode::BAD_REQUEST
            }
            (Self::Method(_), Era::Modern) => StatusCode::NOT_FOUND,
            _ => StatusCode::OK,
        }
    }

    /// Who has to act.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::NotBridged { .. } | Self::Upstream { .. } => Blame::Upstream,
            Self::ShuttingDown => Blame::Weir,
            Self::Parse
            | Self::Invalid(_)
            | Self::DuplicateKey(_)
            | Self::Path { .. }
            | Self::Params(_)
            | Self::Envelope(_)
            | Self::UnknownTool(_)
            | Self::UnknownPrompt(_)
            | Self::UnknownTask(_)
            | Self::UnknownResource { .. }
            | Self::Cursor
            | Self::Method(_)
            | Self::HeaderMismatch(_)
            | Self::UnsupportedVersion { .. } => Blame::Caller,
        }
    }

    /// The `error` member as JSON text: `{code, message, data?}`.
    #[must_use]
    pub fn to_json(&self, era: Era) -> String {
        let (code, message) = (self.code_for(era), json::quote(&self.to_string()));
        match self.data() {
            Some(data) => format!("{{\"code\":{code},\"message\":{message},\"data\":{data}}}"),
            None => format!("{{\"code\":{code},\"message\":{message}}}"),
        }
    }

    fn data(&self) -> Option<String> {
        match self {
            Self::UnsupportedVersion { requested } => Some(format!(
                "{{\"supported\":[\"{}\"],\"requested\":{}}}",
                Version::MODERN.as_str(),
                json::quote(requested)
            )),
            Self::Path { path, .. } => Some(format!("{{\"path\":{path}}}")),
            Self::UnknownResource { uri } => Some(format!("{{\"uri\":{}}}", json::quote(uri))),
            Self::NotBridged { upstream } => Some(format!(
                "{{\"upstream\":{},\"reason\":\"asks for what cannot be passed on\"}}",
                json::quote(upstream)
            )),
            Self::Upstream { upstream, reason } => Some(format!(
                "{{\"upstream\":{},\"reason\":{}}}",
                json::quote(upstream),
                json::quote(reason)
            )),
            Self::Parse
            | Self::Invalid(_)
            | Self::DuplicateKey(_)
            | Self::Params(_)
            | Self::Envelope(_)
            | Self::UnknownTool(_)
            | Self::UnknownPrompt(_)
            | Self::UnknownTask(_)
            | Self::Cursor
            | Self::Method(_)
            | Self::HeaderMismatch(_)
            | Self::ShuttingDown => None,
        }
    }
}
