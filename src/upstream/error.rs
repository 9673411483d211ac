//! What can go wrong between weir and an upstream.

use http::StatusCode;

use crate::protocol::error::Fault;
use crate::upstream::client::TransferError;
use crate::upstream::stdio::ChildClosed;

/// Why a message did not reach an upstream, or nothing usable came back.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No connection: refused, unknown host, TLS.
    #[error("cannot connect")]
    Unreachable(#[source] TransferError),
    /// The time budget is used up.
    #[error("no answer within the time budget")]
    Timeout,
    /// The connection broke while the answer came.
    #[error("the connection broke off")]
    Broken(#[source] TransferError),
    /// The answer is over `limits.response_bytes`.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// An HTTP status that says nothing of MCP.
    #[error("HTTP status {0}")]
    Status(StatusCode),
    /// 401 or 403: weir's own credentials, not the caller's.
    #[error("weir's credentials were refused with HTTP status {0}")]
    Denied(StatusCode),
    /// 404 to a session weir had: the upstream restarted, or ended it.
    #[error("the session is gone")]
    SessionLost,
    /// -32020: a modern upstream reads other headers than weir made. The whole answer is in it.
    #[error("the headers do not agree with the body")]
    HeaderMismatch(bytes::Bytes),
    /// An answer that is not MCP.
    #[error("not MCP: {0}")]
    Nonsense(&'static str),
    /// A JSON-RPC error in answer to weir's own handshake or listing.
    #[error("refused {method}: {error}")]
    Refused {
        /// What weir asked.
        method: &'static str,
        /// The JSON-RPC error as JSON text, cut.
        error: String,
    },
    /// No protocol version in common.
    #[error("speaks only protocol versions {0}")]
    NoCommonVersion(String),
    /// The child process could not be started.
    #[error("the child process does not start")]
    Start(#[source] crate::upstream::stdio::StartError),
    /// The child process ended.
    #[error("the child process ended")]
    ChildClosed(#[source] ChildClosed),
    /// Too many calls are waiting.
    #[error("too many calls under way")]
    Busy,
    /// The last attempt to connect failed.
    #[error("not connected: {reason}")]
    NotConnected {
        /// Why, in public words.
        reason: &'static str,
    },
    /// A listing went over a bound or round in circles.
    #[error("the listing {0}")]
    Listing(&'static str),
}

impl LinkError {
    /// The child closed while a message was on its way.
    #[must_use]
    pub fn from_child(closed: ChildClosed) -> Self {
        Self::ChildClosed(closed)
    }

    /// Sorts what the HTTP client says by what it means for the call.
    #[must_use]
    pub fn from_transfer(error: TransferError) -> Self {
        match error {
            TransferError::Connect(_) => Self::Unreachable(error),
            TransferError::Broken(_) => Self::Broken(error),
        }
    }

    /// Whether the upstream answered a handshake and did not want it, rather than not being there.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::NoCommonVersion(_) | Self::Nonsense(_) => true,
            // A server in trouble, or with too much to do, has not looked at the handshake.
            Self::Status(status) => {
                status.is_client_error() && *status != StatusCode::TOO_MANY_REQUESTS
            }
            _ => false,
        }
    }

    /// In words that give nothing away, for callers.
    #[must_use]
    pub fn public(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "cannot connect",
            Self::Timeout => "no answer in time",
            Self::Broken(_) => "the connection broke off",
            Self::TooLarge { .. } => "the answer is too large",
            Self::Status(_) => "answered with an HTTP error",
            Self::Denied(_) => "weir is not let in",
            Self::SessionLost => "the session was lost",
            Self::HeaderMismatch(_) => "refused the headers",
            Self::Nonsense(_) => "the answer is not MCP",
            Self::Refused { .. } => "refused the connection",
            Self::NoCommonVersion(_) => "no protocol version in common",
            Self::Start(_) => "the process does not start",
            Self::ChildClosed(_) => "the process ended",
            Self::Busy => "too many calls under way",
            Self::NotConnected { reason } => reason,
            Self::Listing(_) => "the listing is not usable",
        }
    }

    /// With its innermost cause, for operators. What lies between is how clients are built inside.
    #[must_use]
    pub fn in_full(&self) -> String {
        let text = self.to_string();
        let first = std::error::Error::source(self);
        let innermost = std::iter::successors(first, |error| error.source()).last();
        match innermost.map(ToString::to_string) {
            Some(cause) if !text.contains(&cause) => format!("{text}: {cause}"),
            _ => text,
        }
    }

    /// The answer a caller gets.
    #[must_use]
    pub fn fault(&self, upstream: &crate::name::UpstreamId) -> Fault {
        Fault::Upstream {
            upstream: upstream.as_str().into(),
            reason: self.public(),
        }
    }
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
            error.in_full(),
            "cannot connect: Connection refused (os error 111)"
        );
        assert_eq!(LinkError::Busy.in_full(), "too many calls under way");
    }
}
