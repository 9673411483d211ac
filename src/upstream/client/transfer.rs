//! Why a request got no answer, or only a part of one.

use std::error::Error;

/// Why a request got no answer, or its answer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// No connection: refused, unknown host, TLS.
    #[error("cannot connect")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The connection ended after the request was sent and before an answer began.
    #[error("the connection broke off")]
    Unanswered(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke in the middle of an answer.
    #[error("the connection broke off")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// The answer is in this content coding, which weir does not read.
    #[error("compressed with `{0}`")]
    Coding(String),
    /// The answer says that it is gzip and is not, or ends too early.
    #[error("not gzip, though it says so, or cut off")]
    Gzip,
}
