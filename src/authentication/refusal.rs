//! Why a request is not let in: what its sender is told, and what operators are.

use std::sync::Arc;

use http::StatusCode;

/// Why a request is not let in. Clones are cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The part that the sender of the request is told.
    pub kind: RefusalKind,
    /// The part for operators: names, claims and settings. It has no part of a credential that
    /// could be used, but text of others: it goes through [`crate::printable`].
    pub reason: Arc<str>,
}

/// The kind of a [`Refusal`]. It has no text of others in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// There is no credential, and one is needed.
    MissingCredential,
    /// The request presents credentials in a way that has no meaning: two of them, or a
    /// token in the query (`invalid_request`, RFC 6750 §3.1).
    Malformed,
    /// The credential is wrong, has ended, or is of an issuer that nobody trusts
    /// (`invalid_token`), with an `error_description`.
    InvalidToken(&'static str),
    /// The credential is right, and lacks scopes (`insufficient_scope`).
    InsufficientScope {
        /// The scopes to ask the issuer for: all that are needed, also those that were granted
        /// (RFC 6750 §3.1). Some clients ask for no others.
        needed: Arc<[Box<str>]>,
    },
    /// Whether the credential is right cannot be said now, because the keys of its issuer cannot be
    /// fetched.
    ///
    /// That is 503 and not 401: a client that is told that its token is wrong throws it away, and
    /// asks an issuer for another that is hardly reachable as it is.
    Unavailable,
}

impl Refusal {
    /// Makes a refusal with the reason for operators.
    #[must_use]
    pub fn new(kind: RefusalKind, reason: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            reason: reason.into(),
        }
    }

    /// Refuses a request without a credential that weir knows.
    #[must_use]
    pub fn missing() -> Self {
        Self::new(RefusalKind::MissingCredential, "no credential")
    }

    /// Refuses a request whose credential cannot be read.
    #[must_use]
    pub fn malformed(reason: impl Into<Arc<str>>) -> Self {
        Self::new(RefusalKind::Malformed, reason)
    }

    /// Refuses a token. `public` is harmless, and the sender gets it as `error_description`.
    #[must_use]
    pub fn invalid_token(public: &'static str, reason: impl Into<Arc<str>>) -> Self {
        Self::new(RefusalKind::InvalidToken(public), reason)
    }
}

impl RefusalKind {
    /// Returns the status of the response (RFC 6750 §3.1).
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::MissingCredential | Self::InvalidToken(_) => StatusCode::UNAUTHORIZED,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::InsufficientScope { .. } => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the word for the kind, as metrics have it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::MissingCredential => "missing",
            Self::Malformed => "malformed",
            Self::InvalidToken(_) => "invalid_token",
            Self::InsufficientScope { .. } => "insufficient_scope",
            Self::Unavailable => "unavailable",
        }
    }

    /// Returns `error` of the challenge; `None` where a challenge has none (RFC 6750 §3.1: a request
    /// without credentials).
    #[must_use]
    pub const fn error(&self) -> Option<&'static str> {
        match self {
            Self::MissingCredential | Self::Unavailable => None,
            Self::Malformed => Some("invalid_request"),
            Self::InvalidToken(_) => Some("invalid_token"),
            Self::InsufficientScope { .. } => Some("insufficient_scope"),
        }
    }

    /// Returns what the sender is told, as `error_description` or as the message of an error: nothing
    /// that helps to guess.
    #[must_use]
    pub const fn description(&self) -> &'static str {
        match self {
            Self::MissingCredential => "a credential is needed",
            Self::Malformed => "exactly one credential is needed, in a header",
            Self::InvalidToken(description) => description,
            Self::InsufficientScope { .. } => "the credential lacks a scope",
            Self::Unavailable => "the credential cannot be checked at the moment",
        }
    }
}
