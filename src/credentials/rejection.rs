//! Rejections: answers 401 and 403 of an upstream to the credential of a request.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// The answer by which an upstream rejected weir's credential.
#[derive(Debug)]
pub struct Rejection<'r> {
    /// 401 or 403.
    pub status: StatusCode,
    /// The headers of the answer.
    pub headers: &'r HeaderMap,
    /// The beginning of its body.
    pub body: &'r Bytes,
}

/// Whether a rejected request is worth another attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectionOutcome {
    /// The credential has been replaced, or the clock corrected: send the request once more.
    Retry,
    /// Another attempt would be rejected too. Carries the reason in weir's own words, if it is
    /// known.
    Final(Option<Box<str>>),
}

/// Identifies the credential that a request was sent with. Compared for equality only; each kind of
/// credentials chooses its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialVersion(pub u64);
