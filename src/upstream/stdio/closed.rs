//! How a child process ends, and why it takes no more messages.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

/// Why a child takes no more messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClosedReason {
    /// The process ended by itself.
    #[error("the process {0}")]
    Exited(Exit),
    /// The process closed its stdout and stayed.
    #[error("weir ended the process, because it closed its stdout")]
    OutputClosed,
    /// The process closed its stdin and stayed.
    #[error("weir ended the process, because it closed its stdin")]
    InputClosed,
    /// The process wrote a line longer than the limit.
    #[error(
        "weir ended the process, because it wrote a line of more than {limit} bytes: if its answers are that long, raise `limits.response_bytes`"
    )]
    Oversized {
        /// The `max_message` of its [`ChildSpec`](super::ChildSpec).
        limit: usize,
    },
    /// Weir stopped it.
    #[error("weir stopped the process")]
    Stopped,
}

/// A message could not be handed to the child.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection to the process is closed")]
pub struct ChildClosed(#[source] pub ClosedReason);

/// How a process ended. Below a reaper, a status of 128 + n is read as signal n, as a shell reads
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The process returned a status.
    Status(i32),
    /// A signal ended the process.
    Signal(i32),
    /// The process is gone, and its status is not known.
    Unknown,
}

/// The end of a process, for the log.
#[derive(Debug)]
pub(super) struct ChildEnd {
    pub(super) exit: Exit,
    /// Why weir ended it, if it did not end by itself.
    pub(super) ended_for: Option<ClosedReason>,
}

impl fmt::Display for ChildEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ended_for {
            None => write!(f, "the process {}", self.exit),
            Some(reason) => write!(f, "{reason}; it {}", self.exit),
        }
    }
}

impl Exit {
    pub(super) fn from_status(status: ExitStatus, has_reaper: bool) -> Self {
        match (status.code(), status.signal()) {
            (Some(code @ 129..=192), _) if has_reaper => Self::Signal(code - 128),
            (Some(code), _) => Self::Status(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "exited with status {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::Unknown => f.write_str("is gone"),
        }
    }
}
