//! Why a hook gave no usable answer.

use crate::upstream::circuit::CallOutcome;

/// Why a hook gave no usable answer. Nothing of what it was sent or answered is in it.
#[derive(Debug, thiserror::Error)]
pub enum HookFailure {
    /// It took longer than its timeout.
    #[error("no answer in time")]
    Timeout,
    /// The time of the request was over before the hook's own was.
    #[error("the request's time was over before it answered")]
    Deadline,
    /// All its places were taken for its whole timeout.
    #[error("no free place in time")]
    Busy,
    /// It failed often, and is left alone for a while.
    #[error("not asked, because it failed before: {0}")]
    CircuitOpen(&'static str),
    /// There is no connection, or no process.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The connection or the process ended before the answer did.
    #[error("ended before it had answered")]
    Broken,
    /// It answered with an HTTP status that is no success.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The Lambda function raised an error.
    #[error("the function failed ({0})")]
    Function(&'static str),
    /// The message is larger than it takes.
    #[error("the message has {bytes} bytes, more than {most}")]
    TooLarge {
        /// How many.
        bytes: usize,
        /// How many it takes.
        most: usize,
    },
    /// Its answer is larger than weir takes.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// Its answer is no output of an interceptor.
    #[error("the answer is not usable: {0}")]
    Answer(&'static str),
}

impl HookFailure {
    /// Returns a word for it that is the same each time.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Deadline => "deadline",
            Self::Busy => "busy",
            Self::CircuitOpen(_) => "circuit",
            Self::Unreachable(_) => "unreachable",
            Self::Broken => "broken",
            Self::Status(_) => "status",
            Self::Function(_) => "function",
            Self::TooLarge { .. } => "too_large",
            Self::TooLong(_) => "too_long",
            Self::Answer(_) => "answer",
        }
    }

    /// Returns what it says of the hook.
    pub(super) const fn outcome(&self) -> CallOutcome {
        match self {
            Self::Timeout => CallOutcome::Stalled("timeout"),
            // It was not asked, or not given its time: callers cannot open its circuit.
            Self::CircuitOpen(_) | Self::TooLarge { .. } | Self::Deadline | Self::Busy => {
                CallOutcome::Unknown
            }
            // It has answered, and may do so badly at this message alone.
            Self::Status(400..=500) | Self::Function(_) | Self::TooLong(_) | Self::Answer(_) => {
                CallOutcome::Unknown
            }
            Self::Unreachable(_) | Self::Broken | Self::Status(_) => {
                CallOutcome::Broke(self.word())
            }
        }
    }
}
