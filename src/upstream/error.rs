//! The errors between weir and an upstream.

mod kind;
mod words;

use std::time::Duration;

use http::StatusCode;

use crate::credentials::NoCredential;
use crate::memory::OverBudget;
use crate::protocol::error::Fault;
use crate::protocol::message::MessageError;
use crate::upstream::circuit::CircuitOpen;
use crate::upstream::client::TransferError;
use crate::upstream::stdio::ChildClosed;
use words::{again, describe_media, describe_reason, explain_handshake, throttled};

/// The reason why a message did not reach an upstream, or why nothing usable came back.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No connection: refused, unknown host, TLS.
    #[error("cannot connect")]
    Unreachable(#[source] TransferError),
    /// The time budget is used up.
    #[error("no answer within the time budget")]
    Timeout,
    /// A child process did not answer the handshake in time, so weir ended it.
    #[error(
        "weir ended the process, because it did not answer within {after:.0?}: if it needs longer, raise `{raise}`"
    )]
    ChildSilent {
        /// The time that it had.
        after: Duration,
        /// The setting that says so.
        raise: &'static str,
    },
    /// The caller's time is up, and the child process has not answered yet. Its start goes on.
    #[error("the process is still starting")]
    StillStarting,
    /// `timeouts.first_byte` is used up.
    #[error("no first byte of an answer within {0:?}")]
    FirstByte(Duration),
    /// `timeouts.idle` is used up.
    #[error("fell silent in the middle of an answer")]
    Idle,
    /// The connection broke while the answer came.
    #[error("the connection broke off")]
    Broken(#[source] TransferError),
    /// The answer is over `limits.response_bytes`.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The answer does not fit into what is left of `limits.memory`.
    #[error("{0}, and the answer does not fit into the rest")]
    NoMemory(#[from] OverBudget),
    /// An HTTP status without an MCP answer.
    #[error("HTTP status {0}")]
    Status(StatusCode),
    /// An HTTP status that refuses a message of a handshake.
    #[error("HTTP status {status} in answer to {method}{}", explain_handshake(*.status))]
    Handshake {
        /// The method of the message.
        method: &'static str,
        /// The status.
        status: StatusCode,
    },
    /// A redirect that is not followed.
    #[error("HTTP status {status}: redirected {to}")]
    Redirected {
        /// 3xx
        status: StatusCode,
        /// Where to.
        to: RedirectTarget,
    },
    /// The server did not run the request, because it redirects it to another path of its own. It
    /// has to be sent again.
    #[error("redirected with HTTP status {0}, and has to be sent again")]
    NotRun(StatusCode),
    /// The answer is in a content coding that weir does not read.
    #[error(
        "compressed with `{0}`, though weir asks for no compression: the upstream, or the proxy in front of it, has to send it plain, or with gzip"
    )]
    Coding(String),
    /// The upstream asks for a pause: status 429, or 503 with `Retry-After` (RFC 9110 §10.2.3), or a
    /// JSON-RPC error of the platform in front of it.
    #[error("{}{}", throttled(*.status), again(*.retry_after))]
    Throttled {
        /// The status; `None` if a JSON-RPC error asked for the pause.
        status: Option<StatusCode>,
        /// How long to wait, from now on.
        retry_after: Option<Duration>,
    },
    /// An answer of a media type that is not MCP's.
    #[error("not MCP: {}", describe_media(.0))]
    MediaType(String),
    /// 401 or 403: weir's own credentials, not the caller's.
    #[error("weir's credentials were refused with HTTP status {status}{}", describe_reason(.reason.as_deref()))]
    Denied {
        /// 401 or 403.
        status: StatusCode,
        /// The reason, in weir's own words, where it is known.
        reason: Option<Box<str>>,
    },
    /// The upstream is called on behalf of its callers, and this one has no token.
    #[error("the caller has no token that could be exchanged for one of the upstream")]
    CallerIdentity,
    /// Weir has no credential for the upstream.
    #[error(transparent)]
    Credential(#[from] NoCredential),
    /// 404 to a session that weir had: the upstream restarted, or ended it.
    #[error("the session is gone")]
    SessionLost,
    /// -32020: to a modern upstream the headers and the body disagree. Contains the whole answer.
    #[error("the headers do not agree with the body")]
    HeaderMismatch(bytes::Bytes),
    /// An answer that is not MCP.
    #[error("not MCP: {0}")]
    Nonsense(&'static str),
    /// A modern upstream sent a request, which waits for an answer in vain.
    #[error("it sent a request, which servers of 2026-07-28 must not")]
    SentRequest,
    /// A JSON-RPC error in answer to weir's own handshake or listing.
    #[error("refused {method}: {error}")]
    Refused {
        /// The method that weir called.
        method: &'static str,
        /// The JSON-RPC error's code, in words.
        error: String,
    },
    /// An error of the platform in front of the server, in answer to weir's own handshake or
    /// listing.
    #[error("the platform in front of it answered: {words} ({code})")]
    Platform {
        /// The JSON-RPC code.
        code: i64,
        /// The meaning of the code.
        words: &'static str,
    },
    /// No protocol version in common.
    #[error("speaks only protocol versions {0}")]
    NoCommonVersion(String),
    /// The child process could not be started.
    #[error("the child process does not start")]
    Start(#[source] crate::upstream::stdio::ChildStartError),
    /// The child process ended.
    #[error("the child process ended")]
    ChildClosed(#[source] ChildClosed),
    /// Too many calls are waiting.
    #[error("too many calls under way")]
    Busy,
    /// The last attempt to connect failed, and the next one is not due yet.
    #[error("not connected: {reason}")]
    NotConnected {
        /// The reason, in public words.
        reason: &'static str,
    },
    /// Calls failed one after the other, so this one was not tried.
    #[error(
        "not tried, because calls before it failed: {reason}; the next one is tried in {again:.1?}"
    )]
    CircuitOpen {
        /// The reason why they failed, in public words.
        reason: &'static str,
        /// The time until a call is tried again.
        again: Duration,
    },
    /// A listing passed a limit, or its cursors went in circles.
    #[error("the listing {0}")]
    Listing(&'static str),
}

/// Where a redirect that is not followed leads. Paths and queries are left out: they may be secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectTarget {
    /// To another server: its scheme, name and port.
    #[error("to {0}, another server, which gets no credentials of weir: correct `url`")]
    Server(String),
    /// To another path of the same server, with another method than weir's. Contains what differs.
    #[error(
        "to another path of the same server{0}, which weir follows after 307 and 308 only: correct `url`"
    )]
    Path(&'static str),
    /// To something that is no URL.
    #[error("to something that is no URL")]
    Unreadable,
    /// From path to path without an end.
    #[error("again and again")]
    Circle,
}

/// Whether the upstream works, as far as an error tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It answers.
    Alive,
    /// It cannot be reached, which showed at once.
    Broken,
    /// It did not answer within a time budget.
    Stalled,
    /// The error is no evidence: nothing was sent, or weir was refused.
    Unknown,
}

impl From<CircuitOpen> for LinkError {
    fn from(open: CircuitOpen) -> Self {
        Self::CircuitOpen {
            reason: open.reason,
            again: open.again,
        }
    }
}

impl LinkError {
    /// Returns what the error tells about whether the upstream works.
    #[must_use]
    pub fn liveness(&self) -> Liveness {
        match self {
            Self::Unreachable(_)
            | Self::Broken(_)
            | Self::Nonsense(_)
            | Self::MediaType(_)
            | Self::Coding(_)
            | Self::Start(_)
            | Self::ChildClosed(_) => Liveness::Broken,
            Self::Status(status)
            | Self::Handshake { status, .. }
            | Self::Throttled {
                status: Some(status),
                ..
            } if status.is_server_error() => Liveness::Broken,
            Self::Timeout | Self::ChildSilent { .. } | Self::FirstByte(_) | Self::Idle => {
                Liveness::Stalled
            }
            Self::Status(status) if is_about_request(*status) => Liveness::Unknown,
            Self::TooLarge { .. }
            | Self::Refused { .. }
            | Self::HeaderMismatch(_)
            | Self::SentRequest
            | Self::Listing(_)
            | Self::Status(_)
            | Self::Handshake { .. }
            | Self::Redirected { .. }
            | Self::NotRun(_)
            | Self::Throttled { .. }
            | Self::Platform { .. } => Liveness::Alive,
            Self::Denied { .. }
            | Self::Credential(_)
            | Self::CallerIdentity
            | Self::SessionLost
            | Self::NoCommonVersion(_)
            | Self::StillStarting
            | Self::NoMemory(_)
            | Self::Busy
            | Self::NotConnected { .. }
            | Self::CircuitOpen { .. } => Liveness::Unknown,
        }
    }

    /// Returns whether a request that may run twice is worth another attempt: the connection broke,
    /// or a proxy in between says that it could not reach the upstream.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let gateway = matches!(self, Self::Status(status) if matches!(status.as_u16(), 502..=504));
        gateway || matches!(self, Self::Broken(_) | Self::FirstByte(_))
    }

    /// Returns whether the upstream itself says that it failed at the request (500).
    #[must_use]
    pub fn is_server_failure(&self) -> bool {
        matches!(self, Self::Status(StatusCode::INTERNAL_SERVER_ERROR))
    }

    /// Returns whether the upstream hung up.
    #[must_use]
    pub fn is_hang_up(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::ChildClosed(_))
    }

    /// Returns whether the connection ended before an answer began. That happens to requests that
    /// are sent while the server closes a connection it kept alive for too long, so what may run
    /// twice should be sent again.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Broken(TransferError::Unanswered(_)))
    }

    /// Returns whether the upstream may still be working on the request, so that it has to be
    /// cancelled.
    #[must_use]
    pub fn may_still_run(&self) -> bool {
        self.liveness() == Liveness::Stalled
            || matches!(
                self,
                Self::TooLarge { .. } | Self::NoMemory(_) | Self::SentRequest
            )
    }

    /// Returns the error for a child that closed while a message was being sent.
    #[must_use]
    pub fn from_child(closed: ChildClosed) -> Self {
        Self::ChildClosed(closed)
    }

    /// Returns the error for an answer that is no message, or the wrong one.
    #[must_use]
    pub fn no_message(error: &MessageError) -> Self {
        Self::Nonsense(match matches!(error.fault, Fault::Parse) {
            true => "not JSON",
            false => "not a JSON-RPC message",
        })
    }

    /// Returns whether an error in answer to the modern request leaves open which era the upstream
    /// speaks: it failed, hung up or fell silent, as some legacy servers do at a method that they do
    /// not know.
    #[must_use]
    pub fn leaves_era_open(&self) -> bool {
        let failed = |status: &StatusCode| {
            status.is_server_error() || *status == StatusCode::REQUEST_TIMEOUT
        };
        matches!(self, Self::Broken(_))
            || self.liveness() == Liveness::Stalled
            || matches!(self, Self::Status(status) if failed(status))
    }

    /// Names the message of a handshake that a status refused.
    #[must_use]
    pub fn in_answer_to(self, method: &'static str) -> Self {
        let status = if let Self::Status(status) = self {
            status
        } else if matches!(self, Self::SessionLost) {
            StatusCode::NOT_FOUND
        } else {
            return self;
        };
        Self::Handshake { method, status }
    }

    /// Turns an error of the HTTP client into the one that tells whether the request was sent.
    #[must_use]
    pub fn from_transfer(error: TransferError) -> Self {
        match error {
            TransferError::Connect(_) => Self::Unreachable(error),
            TransferError::Unanswered(_) | TransferError::Broken(_) => Self::Broken(error),
            TransferError::Coding(coding) => Self::Coding(coding),
            TransferError::Gzip => Self::Nonsense("not gzip, though it says so, or cut off"),
        }
    }

    /// Returns whether the upstream is there and refused the handshake.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        // A server that fails (5xx) or is overloaded (429) has not read the handshake.
        let is_answer = |status: &StatusCode| {
            status.is_client_error() && *status != StatusCode::TOO_MANY_REQUESTS
        };
        matches!(
            self,
            Self::Refused { .. }
                | Self::NoCommonVersion(_)
                | Self::Nonsense(_)
                | Self::MediaType(_)
                | Self::Coding(_)
        ) || matches!(self, Self::Status(status) | Self::Handshake { status, .. } if is_answer(status))
    }

    /// Returns a text for callers, which gives nothing internal away.
    #[must_use]
    pub fn public_text(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "cannot connect",
            Self::Timeout | Self::FirstByte(_) => "no answer in time",
            Self::ChildSilent { .. } => "the process did not answer in time",
            Self::StillStarting => "the process is still starting",
            Self::Idle => "the answer stopped coming",
            Self::Broken(_) => "the connection broke off",
            Self::TooLarge { .. } => "the answer is too large",
            Self::NoMemory(_) => "there is no memory left for the answer",
            Self::Status(_) | Self::Handshake { .. } => "answered with an HTTP error",
            Self::Redirected { .. } | Self::NotRun(_) => "redirects to another address",
            Self::Throttled { .. } => "asks to be left alone for a while",
            Self::Denied { .. } | Self::Credential(_) => "weir is not let in",
            Self::CallerIdentity => "the caller has no token",
            Self::SessionLost => "the session was lost",
            Self::HeaderMismatch(_) => "refused the headers",
            Self::Nonsense(_) | Self::MediaType(_) | Self::SentRequest => "the answer is not MCP",
            Self::Coding(_) => "the answer is compressed",
            Self::Refused { .. } => "refused the connection",
            Self::Platform { .. } => "is not available",
            Self::NoCommonVersion(_) => "no protocol version in common",
            Self::Start(_) => "the process does not start",
            Self::ChildClosed(_) => "the process ended",
            Self::Busy => "too many calls under way",
            Self::NotConnected { reason } | Self::CircuitOpen { reason, .. } => reason,
            Self::Listing(_) => "the listing is not usable",
        }
    }

    /// Returns the text with its innermost cause, for operators. The causes in between only show
    /// how HTTP clients are built.
    #[must_use]
    pub fn full_text(&self) -> String {
        let text = self.to_string();
        let first = std::error::Error::source(self);
        let innermost = std::iter::successors(first, |error| error.source()).last();
        match innermost.map(ToString::to_string) {
            Some(cause) if !text.contains(&cause) => format!("{text}: {cause}"),
            _ => text,
        }
    }

    /// Returns the fault that a caller gets.
    #[must_use]
    pub fn to_fault(&self, upstream: &crate::name::UpstreamId) -> Fault {
        let upstream = upstream.as_str().into();
        if matches!(self, Self::CallerIdentity) {
            return Fault::CallerIdentity { upstream };
        }
        Fault::Upstream {
            upstream,
            reason: self.public_text(),
        }
    }
}

/// Returns whether a status refuses what a caller made of its request: its form, body, URL or headers
/// (RFC 9110 §15.5, RFC 6585 §5). Often a proxy answers so in the place of the upstream.
fn is_about_request(status: StatusCode) -> bool {
    let code = status.as_u16();
    matches!(code, 400 | 411 | 413..=415 | 417 | 422 | 431 | 494)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect): tcp connect error")]
    struct Between(#[source] std::io::Error);

    #[test]
    fn operators_read_what_failed_and_the_innermost_cause() {
        let refused = std::io::Error::from_raw_os_error(111);
        let error = LinkError::Unreachable(TransferError::Connect(Box::new(Between(refused))));
        assert_eq!(
            error.full_text(),
            "cannot connect: Connection refused (os error 111)"
        );
        assert_eq!(LinkError::Busy.full_text(), "too many calls under way");
    }
}
