//! How callers prove who they are: the credential of a request becomes a
//! [`Caller`](crate::caller::Caller), or a [`Refusal`].
//!
//! A credential goes no further than here, but for an exchange on behalf of the caller: not
//! upstream, and not into a log.

mod refusal;

pub use refusal::{Refusal, RefusalKind};
