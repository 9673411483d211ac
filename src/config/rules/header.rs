//! Errors of headers that the config sets.

/// An error of a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderSettingError {
    /// Not a name.
    #[error("not a header name")]
    Name,
    /// One that weir or HTTP itself sets.
    #[error("weir sets this header itself")]
    Reserved,
    /// One that has a meaning of its own.
    #[error("this header has another meaning: name one that only the platform sets")]
    Meaning,
    /// One with a credential of the caller.
    #[error("this header has a credential or a session in it, which hooks do not get")]
    Credential,
    /// A value with a line break or another character that cannot be sent.
    #[error("has characters that a header cannot have, such as a line break")]
    Value,
    /// The same header twice.
    #[error("this header is set twice")]
    Twice,
    /// `basic` with `:` in the user name (RFC 7617 §2).
    #[error("a user name has no `:` and no control characters")]
    Username,
}
