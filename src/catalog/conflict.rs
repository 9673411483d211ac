//! Names that two definitions want.

use std::fmt;
use std::sync::Arc;

use crate::catalog::Kind;
use crate::name::UpstreamId;

/// A name that two definitions wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The kind of both definitions.
    pub kind: Kind,
    /// The exposed name or URI both wanted.
    pub exposed: Arc<str>,
    /// The upstream that keeps it: the one that has pinned it, else the earlier one in the config.
    pub kept_by: UpstreamId,
    /// Whether it keeps it because it has pinned it.
    pub is_pinned: bool,
    /// The upstream whose definition has to take another name; it may be the same one.
    pub upstream: UpstreamId,
    /// The original name of that definition.
    pub original: Arc<str>,
    /// The name it is exposed under instead.
    pub to: Arc<str>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            exposed,
            kept_by,
            is_pinned,
            upstream,
            original,
            to,
        } = self;
        write!(
            f,
            "{kind} `{original}` of {upstream} is exposed as `{to}`: `{exposed}` is {} by {kept_by}",
            if *is_pinned { "pinned" } else { "taken" }
        )
    }
}
