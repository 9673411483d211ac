//! The keys of requests that count together.

use std::sync::Arc;

use crate::caller::ShareKey;
use crate::name::UpstreamId;
use crate::policy::ClassKey;

/// The key of the requests that count together under one rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum RateKey {
    /// All.
    All,
    /// Those of one caller.
    Caller(ShareKey),
    /// Those for one tool, by its exposed name.
    Tool(Arc<str>),
    /// Those for one upstream.
    Upstream(UpstreamId),
    /// Those of one class of callers; `None` is that of identities that may do nothing.
    Class(Option<ClassKey>),
}
