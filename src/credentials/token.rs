//! Results of grants: a token and the header that carries it, or the reason why there is none.

use std::time::{Duration, SystemTime};

use http::HeaderName;

use crate::secret::Secret;

/// A token or API key for an upstream, and the header it is sent in.
#[derive(Clone, Debug)]
pub struct Token {
    /// The header: `Authorization` for OAuth tokens, any other for API keys.
    pub header: HeaderName,
    /// The whole value of the header, including a prefix such as `Bearer `.
    pub value: Secret,
    /// When the token expires. `None` if that is not known: it is then renewed every five minutes,
    /// and used until it has been replaced or the upstream rejects it.
    pub expires: Option<SystemTime>,
}

/// The reason why a grant gave no token. The texts are weir's own: they contain no text of a peer
/// and no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// A failure that may pass by itself: no connection, a timeout, status 5xx or 429.
    #[error("{0}")]
    Temporary(Box<str>),
    /// A temporary failure for which the server named a wait (`Retry-After`, RFC 9110 §10.2.3).
    #[error("{0}")]
    RetryAfter(Box<str>, Duration),
    /// A refusal that the server will repeat: `invalid_client`, `invalid_scope` (RFC 6749 §5.2).
    #[error("{0}")]
    Rejected(Box<str>),
    /// A person has to run `weir login`.
    #[error("{0}")]
    LoginNeeded(Box<str>),
}
