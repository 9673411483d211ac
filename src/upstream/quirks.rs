//! The particulars of the other end of a link, beside the protocol. Connectors choose these values,
//! and every step reads them instead of the connector's name.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::credentials::auth_mismatch::{self, AuthKind};
use crate::json::Object;
use crate::protocol::error::Blame;
use crate::upstream::error::LinkError;
use crate::upstream::status;

/// The particulars of the other end of a link. The default is a server with nothing but the
/// protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// The platform in front of the server.
    pub platform: Platform,
    /// Whether requests carry ids that lead them to the same instance of the server.
    pub affinity: bool,
    /// Whether only POST is understood: there is no GET stream.
    pub post_only: bool,
    /// Whether sessions cannot be ended with DELETE.
    pub no_delete: bool,
    /// Whether the server may begin to require a session later. It then answers 400.
    pub may_require_session_later: bool,
    /// Whether `initialize` with a version that is not offered is refused. Other servers answer it
    /// with another version.
    pub refuses_unknown_versions: bool,
}

/// The platform in front of a server, whose errors may come in place of the server's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Platform {
    /// There is none.
    #[default]
    None,
    /// An AgentCore Gateway. Its errors say that it throttles (AgentCore developer guide, gateway
    /// quotas and errors).
    Gateway,
    /// AgentCore Runtime (AgentCore developer guide, "MCP protocol contract", error table; HTTP
    /// statuses from the model of `InvokeAgentRuntime`).
    Runtime,
}

/// The kind of a platform's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlatformErrorKind {
    /// `UnauthorizedException`
    Unauthorized,
    /// `AccessDeniedException`
    Forbidden,
    /// `ThrottlingException`, `ServiceQuotaExceededException`
    Throttled,
    /// `ResourceNotFoundException`
    NotFound,
    /// `ConflictException`
    Conflict,
    /// `RetryableConflictException`: the session is being started or stopped; nothing ran.
    Busy,
    /// `ValidationException`
    Invalid,
    /// `RuntimeClientError`: the container failed, or refused.
    Failed,
    /// `McpRequestUnacceptable`: the `Accept` header.
    Accept,
    /// Anything else.
    Internal,
}

/// An error of a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlatformError {
    /// The JSON-RPC code.
    pub code: i64,
    /// The kind of error.
    pub kind: PlatformErrorKind,
    /// How long to wait before asking again, if the platform says so.
    pub retry_after: Option<Duration>,
}

impl Platform {
    /// Reads the `error` member of a JSON-RPC answer. Returns `None` if the error is not the
    /// platform's. Decides by the code, because real texts differ from the documented ones.
    #[must_use]
    pub fn read_error(self, error: &str) -> Option<PlatformError> {
        if self == Self::None {
            return None;
        }
        let object = Object::parse(error).ok()?;
        let code: i64 = object.get("code")?.parse().ok()?;
        let kind = match (self, code) {
            (Self::Gateway | Self::Runtime, -32003) => PlatformErrorKind::Throttled,
            (Self::Runtime, -32001) => PlatformErrorKind::Unauthorized,
            (Self::Runtime, -32002) => PlatformErrorKind::Forbidden,
            (Self::Runtime, -32004) => PlatformErrorKind::NotFound,
            (Self::Runtime, -32005) if is_retryable(error) => PlatformErrorKind::Busy,
            (Self::Runtime, -32005) => PlatformErrorKind::Conflict,
            (Self::Runtime, -32006) => PlatformErrorKind::Invalid,
            (Self::Runtime, -32010) => PlatformErrorKind::Failed,
            (Self::Runtime, -32011) => PlatformErrorKind::Accept,
            (Self::Runtime, -32603) => PlatformErrorKind::Internal,
            _ => return None,
        };
        Some(PlatformError {
            code,
            kind,
            retry_after: read_retry_after(&object),
        })
    }

    /// Returns the kind of error that an HTTP status without a JSON-RPC error is.
    #[must_use]
    pub fn kind_of_status(self, status: StatusCode) -> Option<PlatformErrorKind> {
        match (self, status.as_u16()) {
            (Self::Runtime, 402 | 429) => Some(PlatformErrorKind::Throttled),
            (Self::Runtime, 404) => Some(PlatformErrorKind::NotFound),
            (Self::Runtime, 409) => Some(PlatformErrorKind::Busy),
            (Self::Runtime, 424) => Some(PlatformErrorKind::Failed),
            _ => None,
        }
    }

    /// Returns the link error for a status without a JSON-RPC error.
    #[must_use]
    pub fn error_of_status(self, code: StatusCode, headers: &HeaderMap) -> LinkError {
        match (
            self.kind_of_status(code),
            status::status_error(code, headers),
        ) {
            (Some(PlatformErrorKind::Throttled), LinkError::Status(status)) => {
                LinkError::Throttled {
                    status: Some(status),
                    retry_after: None,
                }
            }
            (Some(kind @ PlatformErrorKind::NotFound), _) => LinkError::Platform {
                code: -32004,
                words: kind.words(),
            },
            (_, error) => error,
        }
    }
}

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turned away: {} ({})", self.kind.words(), self.code)
    }
}

impl PlatformError {
    /// Returns the link error for a request of weir's own. `None` if the server itself may have
    /// sent the error.
    #[must_use]
    pub fn to_link_error(self, sent: AuthKind) -> Option<LinkError> {
        let denied = |status: StatusCode| LinkError::Denied {
            status,
            reason: auth_mismatch::explain(status, &HeaderMap::new(), &[], sent).map(Into::into),
        };
        match self.kind {
            PlatformErrorKind::Unauthorized => Some(denied(StatusCode::UNAUTHORIZED)),
            PlatformErrorKind::Forbidden => Some(denied(StatusCode::FORBIDDEN)),
            PlatformErrorKind::Throttled => Some(LinkError::Throttled {
                status: None,
                retry_after: self.retry_after,
            }),
            PlatformErrorKind::NotFound | PlatformErrorKind::Conflict | PlatformErrorKind::Busy => {
                Some(LinkError::Platform {
                    code: self.code,
                    words: self.kind.words(),
                })
            }
            PlatformErrorKind::Invalid
            | PlatformErrorKind::Failed
            | PlatformErrorKind::Accept
            | PlatformErrorKind::Internal => None,
        }
    }
}

impl PlatformErrorKind {
    /// Describes the kind of error in weir's words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Unauthorized => "the credentials are not valid",
            Self::Forbidden => "the credentials do not permit this",
            Self::Throttled => "too many requests",
            Self::NotFound => "there is no such resource",
            Self::Conflict => "there is a conflict",
            Self::Busy => "the session is being started or stopped",
            Self::Invalid => "the request is not valid",
            Self::Failed => "the container failed",
            Self::Accept => "the Accept header does not suit it",
            Self::Internal => "something inside failed",
        }
    }

    /// Returns who has to act.
    #[must_use]
    pub const fn blame(self) -> Blame {
        match self {
            Self::Invalid => Blame::Caller,
            Self::Accept => Blame::Weir,
            Self::Unauthorized
            | Self::Forbidden
            | Self::Throttled
            | Self::NotFound
            | Self::Conflict
            | Self::Busy
            | Self::Failed
            | Self::Internal => Blame::Upstream,
        }
    }
}

/// Returns whether a conflict will pass. Two exceptions share the code -32005: the message, or the
/// name of the exception, tells which one it is.
fn is_retryable(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    ["in progress", "retry", "retryableconflict"]
        .iter()
        .any(|part| error.contains(part))
}

/// Reads `data.retryAfter`: seconds, as a number or as text.
fn read_retry_after(error: &Object<'_>) -> Option<Duration> {
    let data = Object::parse(error.get("data")?).ok()?;
    let text = data.get("retryAfter")?.trim_matches('"');
    let seconds: f64 = text.parse().ok()?;
    let after = Duration::try_from_secs_f64(seconds).ok()?;
    Some(after.min(status::LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(error: &str) -> PlatformErrorKind {
        Platform::Runtime.read_error(error).unwrap().kind
    }

    #[test]
    fn the_table_is_read_by_code_and_no_text_is_needed() {
        for (code, kind) in [
            (-32001, PlatformErrorKind::Unauthorized),
            (-32002, PlatformErrorKind::Forbidden),
            (-32003, PlatformErrorKind::Throttled),
            (-32004, PlatformErrorKind::NotFound),
            (-32005, PlatformErrorKind::Conflict),
            (-32006, PlatformErrorKind::Invalid),
            (-32010, PlatformErrorKind::Failed),
            (-32011, PlatformErrorKind::Accept),
            (-32603, PlatformErrorKind::Internal),
        ] {
            assert_eq!(runtime(&format!("{{\"code\":{code}}}")), kind);
        }
        for code in ["-32601", "-32602", "-32007", "5", "\"x\"", "1e9"] {
            let error = format!("{{\"code\":{code},\"message\":\"m\"}}");
            assert_eq!(Platform::Runtime.read_error(&error), None, "{error}");
        }
    }

    #[test]
    fn a_conflict_that_passes_is_told_from_one_that_does_not() {
        for passing in [
            r#"{"code":-32005,"message":"Session operation in progress, please retry"}"#,
            r#"{"code":-32005,"message":"","data":{"exception":"RetryableConflictException"}}"#,
        ] {
            assert_eq!(runtime(passing), PlatformErrorKind::Busy, "{passing}");
        }
        let lasting = r#"{"code":-32005,"message":"Resource conflict - Resource already exists"}"#;
        assert_eq!(runtime(lasting), PlatformErrorKind::Conflict);
    }

    #[test]
    fn a_gateway_says_when_it_wants_to_be_asked_again() {
        let after = |data: &str| {
            let error = format!("{{\"code\":-32003,\"message\":\"m\",\"data\":{data}}}");
            Platform::Gateway.read_error(&error).unwrap().retry_after
        };
        assert_eq!(
            after(r#"{"limitKey":"k","retryAfter":7}"#),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            after(r#"{"retryAfter":"1.5"}"#),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(after(r#"{"retryAfter":1e300}"#), None);
        assert_eq!(
            after(r#"{"retryAfter":999999}"#),
            Some(Duration::from_secs(3600))
        );
        assert_eq!(after(r#"{"retryAfter":-1}"#), None);
        assert_eq!(after("[]"), None);
        // Its other errors are about the call: policy, input, the target.
        assert_eq!(Platform::Gateway.read_error(r#"{"code":-32002}"#), None);
        assert_eq!(Platform::None.read_error(r#"{"code":-32003}"#), None);
    }
}
