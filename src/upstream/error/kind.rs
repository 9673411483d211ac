//! The kinds of errors, for telemetry.

use crate::upstream::error::LinkError;

impl LinkError {
    /// Returns the kind of the error: one of few words, for `error.type` of a span.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Timeout | Self::ChildSilent { .. } | Self::FirstByte(_) | Self::Idle => "timeout",
            Self::StillStarting => "starting",
            Self::Broken(_) => "connection_broken",
            Self::TooLarge { .. } => "too_large",
            Self::NoMemory(_) => "no_memory",
            Self::Status(_) | Self::Handshake { .. } => "http_status",
            Self::Redirected { .. } | Self::NotRun(_) => "redirected",
            Self::Throttled { .. } => "throttled",
            Self::Denied { .. } | Self::Credential(_) | Self::CallerIdentity => "credentials",
            Self::SessionLost => "session_lost",
            Self::HeaderMismatch(_) => "header_mismatch",
            Self::Nonsense(_) | Self::SentRequest | Self::MediaType(_) | Self::Coding(_) => {
                "invalid_answer"
            }
            Self::Refused { .. } | Self::Platform { .. } => "refused",
            Self::NoCommonVersion(_) => "protocol_version",
            Self::Start(_) | Self::ChildClosed(_) => "child_ended",
            Self::Busy => "busy",
            Self::NotConnected { .. } => "not_connected",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::Listing(_) => "listing",
        }
    }
}
