//! Whether a tool may be called twice, as its annotations say.

use crate::json::Object;

/// Whether a tool may be called twice, by its annotations (`ToolAnnotations` in the schema of the
/// specification). They are hints: whoever relies on them trusts the upstream. Later values allow
/// more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Repetition {
    /// Nothing says so.
    #[default]
    Unknown,
    /// `idempotentHint`: a second call does no more than the first.
    Idempotent,
    /// `readOnlyHint`: a call changes nothing.
    ReadOnly,
}

impl Repetition {
    /// Reads `annotations` of a tool.
    #[must_use]
    pub fn read(annotations: &str) -> Self {
        let hints = Object::parse(annotations).unwrap_or_default();
        let has = |hint| hints.get(hint) == Some("true");
        match (has("readOnlyHint"), has("idempotentHint")) {
            (true, _) => Self::ReadOnly,
            (false, true) => Self::Idempotent,
            (false, false) => Self::Unknown,
        }
    }
}
