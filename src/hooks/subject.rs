//! The messages that hooks see.

/// The kinds of messages that hooks see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPhase {
    /// A request.
    Request,
    /// A result or an error.
    Response,
}

impl HookPhase {
    /// Returns the word in the config.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// The facts of a request by which hooks are chosen.
#[derive(Clone, Copy, Debug)]
pub struct HookSubject<'s> {
    /// The method.
    pub method: &'s str,
    /// The exposed name of the tool or prompt, if it names one.
    pub name: Option<&'s str>,
    /// The upstream.
    pub upstream: &'s str,
    /// The subject of the caller; empty if it has none.
    pub caller: &'s str,
}
