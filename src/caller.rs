//! The caller of a request: who calls, as opposed to what is kept of its session.

/// What a caller proved to be.
///
/// Nothing asks callers for a proof yet, so there is one kind. It is a value and not an absence: code that decides
/// by it has to say what it does with an anonymous caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A caller that proved nothing.
    Anonymous,
}

/// The sender of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What it proved to be.
    pub principal: Principal,
}

impl Principal {
    /// Returns the name under which the caller is logged; `None` for one that proved nothing.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
        }
    }
}

impl Caller {
    /// A caller that proved nothing.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            principal: Principal::Anonymous,
        }
    }
}
