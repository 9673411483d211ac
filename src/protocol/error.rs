//! Every error weir itself answers: code, HTTP status, public text. One enum, one table.
//!
//! Texts here go to callers. What an upstream or the operating system said goes to the log only.
//! `tests/it/checks/faults.rs` provokes each row from outside.

use std::sync::Arc;

use http::StatusCode;

use crate::json;
use crate::protocol::era::{Era, Version};

/// The party that has to act on an error; for logs, records and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The caller sent something wrong.
    Caller,
    /// The upstream failed or could not be reached.
    Upstream,
    /// Weir is at its limits or wrong itself.
    Weir,
}

/// An error that weir itself answers a request with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::EnumDiscriminants)]
#[strum_discriminants(name(FaultKind), derive(strum::VariantArray))]
#[strum_discriminants(doc = "A [`Fault`] without its details: the key of the table.")]
pub enum Fault {
    /// `Host` or `Origin` is somebody else's (`transports/streamable-http.mdx#security`).
    #[error("invalid request: this Host or Origin is not allowed")]
    Forbidden,
    /// There is no single well-formed authority (RFC 9112 §3.2: 400).
    #[error(
        "invalid request: exactly one Host is needed, as `host` or `host:port`, and the same in the request's target"
    )]
    Authority,
    /// The credential is missing or wrong (RFC 6750 §3.1).
    #[error("unauthorized: {0}")]
    Unauthenticated(&'static str),
    /// There are several credentials, or one that cannot be read (RFC 6750 §3.1).
    #[error("invalid request: exactly one credential is needed, in a header")]
    MalformedCredential,
    /// The credential is right, and lacks a scope (RFC 6750 §3.1).
    #[error("forbidden: the credential lacks a scope")]
    InsufficientScope,
    /// The keys that the credential is checked with cannot be fetched.
    #[error("the credential cannot be checked at the moment")]
    CredentialUnchecked,
    /// An HTTP method the endpoint does not have.
    #[error("invalid request: the endpoint takes POST, GET, DELETE and OPTIONS")]
    HttpMethod,
    /// `Content-Type` is not JSON.
    #[error("invalid request: Content-Type must be application/json")]
    MediaType,
    /// The body is compressed (RFC 9110 §15.5.16).
    #[error("invalid request: Content-Encoding is not supported; send the body as it is")]
    ContentCoding,
    /// `Accept` takes nothing that weir answers.
    #[error("invalid request: Accept must allow application/json and text/event-stream")]
    NotAcceptable,
    /// The body is over `listen.request_bytes`.
    #[error("invalid request: the body is too large")]
    TooLarge,
    /// The rest of `limits.memory` does not suffice.
    #[error("too much is under way: no memory is left for this request")]
    NoMemory,
    /// The body took longer than `listen.body_timeout`.
    #[error("invalid request: the body did not arrive in time")]
    SlowBody,
    /// The body broke off.
    #[error("invalid request: the body is not whole")]
    BrokenBody,
    /// A legacy request without a session (2025-11-25 `basic/transports.mdx#session-management`).
    #[error("invalid request: no Mcp-Session-Id; begin with initialize")]
    NoSession,
    /// A session that was never opened here, has expired or was ended.
    #[error("invalid request: session not found; begin with initialize")]
    UnknownSession,
    /// The version header of a request in a session is none of weir's
    /// (2025-11-25 `basic/transports.mdx#protocol-version-header`).
    #[error("invalid request: unsupported MCP-Protocol-Version")]
    SessionVersion,
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
        /// The reason.
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
    /// A request with data that a rule of `guard` does not let pass.
    #[error("invalid params: the request has data that may not pass ({rule})")]
    Blocked {
        /// The rule, without anything of the data.
        rule: Box<str>,
    },
    /// An answer with such data.
    #[error("the answer has data that may not pass ({rule})")]
    BlockedAnswer {
        /// The rule, without anything of the data.
        rule: Box<str>,
    },
    /// No such tool, or none this caller may see.
    #[error("Unknown tool: {0}")]
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
    /// A `requestState` that continues no call (2026-07-28 `basic/patterns/mrtr.mdx`).
    #[error("Invalid or expired requestState")]
    RequestState(StateProblem),
    /// A cursor that weir did not hand out, or that has outlived its generation.
    #[error("invalid params: unknown or expired cursor")]
    Cursor,
    /// No such method in this era.
    #[error("method not found: {0}")]
    Method(String),
    /// Headers and body disagree (`transports/streamable-http.mdx#server-validation`).
    #[error("header mismatch: {0}")]
    HeaderMismatch(String),
    /// A modern request for something that its client did not declare (`basic/index.mdx#error-codes`).
    #[error("the client does not declare the extension {0}")]
    MissingExtension(&'static str),
    /// A protocol version weir does not speak (`#protocol-version-header`).
    #[error("unsupported protocol version")]
    UnsupportedVersion {
        /// The version that the caller asked for.
        requested: String,
    },
    /// A rule of `limits.rates` lets no more pass now.
    #[error("too many requests: the limit `{limit}` is reached; try again in {retry_after} s")]
    Limited {
        /// The name of the rule.
        limit: Arc<str>,
        /// After how many seconds another attempt may succeed.
        retry_after: u64,
    },
    /// The upstream answered with a kind of result that the caller's era does not have, and that weir
    /// makes no other of.
    #[error("the upstream answered with a kind of result that this client does not know")]
    NotBridged {
        /// The upstream that asked.
        upstream: Arc<str>,
    },
    /// The upstream asks its client something during a call, and the caller cannot be asked or does not
    /// answer.
    #[error("upstream `{upstream}` asks its client for `{capability}`, {reason}")]
    Unanswerable {
        /// The upstream that asked.
        upstream: Arc<str>,
        /// The path of the capability that a client needs for it.
        capability: &'static str,
        /// Why there is no answer.
        reason: &'static str,
    },
    /// The upstream failed: unreachable, too slow, or answering nonsense.
    #[error("upstream `{upstream}`: {reason}")]
    Upstream {
        /// Which upstream.
        upstream: Arc<str>,
        /// Why, in words that give nothing away.
        reason: &'static str,
    },
    /// The upstream is called on behalf of its callers, and this one proved no identity that could be
    /// passed on.
    #[error("upstream `{upstream}` has to know its caller, and this request came without a token")]
    CallerIdentity {
        /// The upstream.
        upstream: Arc<str>,
    },
    /// Records cannot be written, and `audit.on_failure` lets nothing pass without one.
    #[error("the request cannot be recorded, so it is not sent")]
    NotRecorded,
    /// A hook gave no usable answer, and nothing passes without it.
    #[error("the hook `{hook}` gave no usable answer")]
    Hook {
        /// Which hook.
        hook: Arc<str>,
    },
    /// Weir is shutting down.
    #[error("shutting down")]
    ShuttingDown,
    /// The system has no random numbers, or weir made a mistake.
    #[error("internal error")]
    Internal,
}

/// Why a `requestState` continues no call. What is wrong with one that is not good is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateProblem {
    /// It was not made by weir for this principal and request, has expired, or was used before.
    Invalid,
    /// The call has ended meanwhile.
    Over,
}

/// How weir answers one kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultRow {
    /// JSON-RPC code and HTTP status for a modern caller.
    pub modern: (i32, StatusCode),
    /// JSON-RPC code and HTTP status for a legacy caller, and where the era cannot be told.
    pub legacy: (i32, StatusCode),
    /// Whether the id of the request comes back. Where it does not, the body has not been read, or not understood.
    pub echoes: bool,
    /// The party that has to act.
    pub blame: Blame,
}

impl FaultKind {
    /// Every kind of fault, in the order of [`Fault`].
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;

    /// The table. Legacy answers JSON-RPC errors of a well-formed request with 200; modern has statuses of
    /// its own for what the transport can see.
    #[must_use]
    #[rustfmt::skip]
    pub const fn row(self) -> FaultRow {
        use Blame::{Caller, Upstream, Weir};
        // Before the body: no id, and a status that machines on the way understand.
        const fn before_body(status: StatusCode) -> FaultRow {
            FaultRow { modern: (-32600, status), legacy: (-32600, status), echoes: false, blame: Caller }
        }
        const fn both(code: i32, status: StatusCode, blame: Blame) -> FaultRow {
            FaultRow { modern: (code, status), legacy: (code, status), echoes: true, blame }
        }
        const fn each(modern: (i32, StatusCode), legacy: (i32, StatusCode)) -> FaultRow {
            FaultRow { modern, legacy, echoes: true, blame: Caller }
        }
        const OK: StatusCode = StatusCode::OK;
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const GONE: StatusCode = StatusCode::NOT_FOUND;
        match self {
            Self::Forbidden          => before_body(StatusCode::FORBIDDEN),
            Self::Authority          => before_body(BAD),
            Self::Unauthenticated    => before_body(StatusCode::UNAUTHORIZED),
            Self::MalformedCredential => before_body(BAD),
            Self::InsufficientScope  => before_body(StatusCode::FORBIDDEN),
            Self::CredentialUnchecked => FaultRow { echoes: false, ..both(-32603, StatusCode::SERVICE_UNAVAILABLE, Weir) },
            Self::HttpMethod         => before_body(StatusCode::METHOD_NOT_ALLOWED),
            Self::MediaType          => before_body(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::ContentCoding      => before_body(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::NotAcceptable      => before_body(StatusCode::NOT_ACCEPTABLE),
            Self::TooLarge           => before_body(StatusCode::PAYLOAD_TOO_LARGE),
            Self::NoMemory           => both(-32603, StatusCode::SERVICE_UNAVAILABLE, Weir),
            Self::SlowBody           => before_body(StatusCode::REQUEST_TIMEOUT),
            Self::BrokenBody         => before_body(BAD),
            Self::Parse              => FaultRow { echoes: false, ..both(-32700, BAD, Caller) },
            Self::NoSession          => both(-32600, BAD, Caller),
            Self::UnknownSession     => both(-32600, GONE, Caller),
            Self::SessionVersion     => both(-32600, BAD, Caller),
            Self::Invalid            => both(-32600, BAD, Caller),
            Self::DuplicateKey       => both(-32600, BAD, Caller),
            Self::Path               => both(-32600, BAD, Caller),
            Self::Envelope           => both(-32602, BAD, Caller),
            Self::HeaderMismatch     => both(-32020, BAD, Caller),
            Self::MissingExtension   => both(-32021, BAD, Caller),
            Self::UnsupportedVersion => both(-32022, BAD, Caller),
            Self::Method             => each((-32601, GONE), (-32601, OK)),
            Self::UnknownResource    => each((-32602, OK), (-32002, OK)),
            Self::Params             => both(-32602, OK, Caller),
            Self::Blocked            => both(-32602, OK, Caller),
            Self::BlockedAnswer      => both(-32602, OK, Upstream),
            Self::UnknownTool        => both(-32602, OK, Caller),
            Self::UnknownPrompt      => both(-32602, OK, Caller),
            Self::UnknownTask        => both(-32602, OK, Caller),
            Self::RequestState       => both(-32602, OK, Caller),
            Self::Cursor             => both(-32602, OK, Caller),
            Self::Limited            => both(429, OK, Caller),
            Self::NotBridged         => both(-32603, OK, Upstream),
            Self::Unanswerable       => both(-32603, OK, Caller),
            Self::Upstream           => both(-32603, OK, Upstream),
            Self::CallerIdentity     => both(-32603, OK, Caller),
            Self::NotRecorded        => both(-32603, OK, Weir),
            Self::Hook               => both(-32603, OK, Weir),
            Self::ShuttingDown       => both(-32603, OK, Weir),
            Self::Internal           => both(-32603, StatusCode::INTERNAL_SERVER_ERROR, Weir),
        }
    }
}

impl Fault {
    /// Returns the message for the log, without what the caller wrote: that may be data that a rule
    /// keeps out of it.
    #[must_use]
    pub fn log_text(&self) -> String {
        let is_quoting = matches!(
            self,
            Self::DuplicateKey(_)
                | Self::UnknownTool(_)
                | Self::UnknownPrompt(_)
                | Self::UnknownTask(_)
                | Self::Method(_)
                | Self::HeaderMismatch(_)
        );
        let text = self.to_string();
        match text.split_once(':') {
            Some((words, _)) if is_quoting => words.to_owned(),
            _ => text,
        }
    }

    /// The JSON-RPC code for a modern caller.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.code_for(Era::Modern)
    }

    /// The JSON-RPC code for a caller of this era.
    #[must_use]
    pub fn code_for(&self, era: Era) -> i32 {
        self.answer(era).0
    }

    /// The HTTP status of the answer to a caller of this era.
    #[must_use]
    pub fn status(&self, era: Era) -> StatusCode {
        self.answer(era).1
    }

    fn answer(&self, era: Era) -> (i32, StatusCode) {
        let row = FaultKind::from(self).row();
        match era {
            Era::Modern => row.modern,
            Era::Legacy => row.legacy,
        }
    }

    /// Returns whether it is about `Host` or `Origin`: pages may not even read that answer.
    #[must_use]
    pub fn is_of_origin(&self) -> bool {
        matches!(self, Self::Forbidden | Self::Authority)
    }

    /// Returns the party that has to act.
    #[must_use]
    pub fn blame(&self) -> Blame {
        FaultKind::from(self).row().blame
    }

    /// Returns after how many seconds another attempt may succeed, for `Retry-After`
    /// (RFC 9110 §10.2.3); `None` where it does not depend on time.
    #[must_use]
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "few faults pass by themselves"
    )]
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::NoMemory => Some(1),
            Self::Limited { retry_after, .. } => Some(*retry_after),
            _ => None,
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

    #[allow(clippy::wildcard_enum_match_arm, reason = "few faults have data")]
    fn data(&self) -> Option<String> {
        match self {
            Self::UnsupportedVersion { requested } => Some(format!(
                "{{\"supported\":[\"{}\"],\"requested\":{}}}",
                Version::MODERN.as_str(),
                json::quote(requested)
            )),
            Self::MissingExtension(name) => Some(format!(
                "{{\"requiredCapabilities\":{{\"extensions\":{{\"{name}\":{{}}}}}}}}"
            )),
            Self::Path { path, .. } => Some(format!("{{\"path\":{path}}}")),
            Self::Blocked { rule } | Self::BlockedAnswer { rule } => Some(format!(
                "{{\"reason\":\"blocked\",\"rule\":{}}}",
                json::quote(rule)
            )),
            Self::UnknownResource { uri } => Some(format!("{{\"uri\":{}}}", json::quote(uri))),
            Self::Limited { limit, retry_after } => Some(format!(
                "{{\"retryAfterSeconds\":{retry_after},\"limit\":{}}}",
                json::quote(limit)
            )),
            Self::NotBridged { upstream } => Some(format!(
                "{{\"upstream\":{},\"reason\":\"answered with what cannot be passed on\"}}",
                json::quote(upstream)
            )),
            Self::Unanswerable {
                upstream,
                capability,
                ..
            } => Some(format!(
                "{{\"upstream\":{},\"reason\":\"asks for what cannot be answered\",\"capability\":\"{capability}\"}}",
                json::quote(upstream)
            )),
            Self::CallerIdentity { upstream } => Some(format!(
                "{{\"upstream\":{},\"reason\":\"caller_identity\"}}",
                json::quote(upstream)
            )),
            Self::Hook { hook } => Some(format!(
                "{{\"reason\":\"hook\",\"hook\":{}}}",
                json::quote(hook)
            )),
            Self::Upstream { upstream, reason } => Some(format!(
                "{{\"upstream\":{},\"reason\":{}}}",
                json::quote(upstream),
                json::quote(reason)
            )),
            Self::RequestState(problem) => Some(format!(
                "{{\"reason\":\"{}\"}}",
                match problem {
                    StateProblem::Invalid => "invalid_request_state",
                    StateProblem::Over => "exchange_over",
                }
            )),
            Self::NotRecorded => Some("{\"reason\":\"audit\"}".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_is_one_that_the_specification_took_back() {
        for row in FaultKind::ALL.iter().map(|kind| kind.row()) {
            // -32002 is legacy's own; -32019 to -32000 mean nothing to a modern caller.
            assert!(!(-32019..=-32000).contains(&row.modern.0), "{row:?}");
            let status = row.modern.1;
            // 500 is weir's own failure, 503 its limit.
            let own = [
                StatusCode::INTERNAL_SERVER_ERROR,
                StatusCode::SERVICE_UNAVAILABLE,
            ];
            let own = own.contains(&status);
            assert!(own || status == StatusCode::OK || status.is_client_error());
        }
    }
}
