//! One attempt to send a request.

use crate::bridge::LogFilter;
use crate::protocol::error::Fault;
use crate::relay::send::client_span::ClientSpan;
use crate::relay::send::driven::CallTask;
use crate::relay::send::in_flight::CancelOnDrop;
use crate::relay::send::questions::CallQuestions;
use crate::upstream::{LinkError, OutboundRequest};

/// An attempt, ready to be sent.
pub(super) struct PreparedAttempt {
    pub(super) outbound: OutboundRequest,
    pub(super) token: Option<Box<str>>,
    pub(super) logs: LogFilter,
}

/// An attempt, sent.
pub(super) struct Attempt {
    pub(super) cancel: CancelOnDrop,
    pub(super) token: Option<Box<str>>,
    pub(super) logs: LogFilter,
    pub(super) is_task: bool,
    pub(super) span: ClientSpan,
    pub(super) questions: Option<Box<CallQuestions>>,
    pub(super) task: Option<Box<CallTask>>,
}

/// Why a request was not sent, or got no answer.
pub(super) enum SendError {
    /// The upstream could not be reached, or its answer is not usable.
    Link(LinkError),
    /// Weir itself refused it.
    Refused(Fault),
}

impl From<LinkError> for SendError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}
