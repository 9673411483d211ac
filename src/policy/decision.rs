//! The decision about one request, and its reasons.

use std::sync::Arc;

/// A decision about one request. There is no other way to a [`crate::policy::Permit`] where there is
/// a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub(super) allowed: bool,
    /// Whether it would be denied, but passes: by `policy.mode: log_only`, or by policies that are
    /// only recorded.
    pub would_deny: bool,
    /// The names of the policies that decided: the permits of what is allowed, the forbids of what is
    /// denied; none where nothing permits it.
    pub policies: Vec<Arc<str>>,
    /// Why policies could not be evaluated. Each of them denies.
    pub errors: Vec<String>,
}

impl Decision {
    /// Returns the decision about what no policy covers.
    pub(super) fn open() -> Self {
        Self {
            allowed: true,
            ..Self::default()
        }
    }

    /// Returns the decision about what cannot be evaluated.
    pub(super) fn failed(error: impl Into<String>) -> Self {
        Self {
            errors: vec![error.into()],
            ..Self::default()
        }
    }

    /// Returns whether the request may be sent.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.allowed
    }

    /// Returns what a record says of it: `allow`, `deny` or `would_deny`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match (self.allowed, self.would_deny) {
            (true, false) => "allow",
            (true, true) => "would_deny",
            (false, _) => "deny",
        }
    }

    /// Returns the names of the policies as texts.
    #[must_use]
    pub fn policy_names(&self) -> Vec<String> {
        self.policies.iter().map(ToString::to_string).collect()
    }

    /// Lets pass what is denied, as only recorded.
    pub(super) fn recorded(self) -> Self {
        Self {
            allowed: true,
            would_deny: self.would_deny || !self.allowed,
            ..self
        }
    }
}
