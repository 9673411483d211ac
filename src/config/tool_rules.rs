//! The rules of the config for the tools of an upstream.

use std::time::Duration;

use globset::GlobSet;
use indexmap::IndexMap;

use super::ValidateSettings;

/// `tools:` of an upstream. Globs match original names; deny wins.
#[derive(Debug, Default)]
pub struct ToolRules {
    /// The tools to expose; `None` is all.
    pub allow: Option<GlobSet>,
    /// The tools not to expose.
    pub deny: Option<GlobSet>,
    /// Whether only tools are exposed of which the annotations have `readOnlyHint`.
    pub read_only: bool,
    /// Changes to single tools, by original name.
    pub overrides: IndexMap<String, ToolOverride>,
}

/// A change to one tool.
#[derive(Debug, Default)]
pub struct ToolOverride {
    /// The name to expose instead of the original; the namespace is still added.
    pub name: Option<String>,
    /// The description to show.
    pub description: Option<String>,
    /// Arguments that are removed from the schema and that callers may not send.
    pub hide_args: Vec<String>,
    /// Arguments that weir adds, as JSON text. They are removed from the schema, and callers may
    /// not send them.
    pub set_args: IndexMap<String, Box<serde_json::value::RawValue>>,
    /// Annotations that take the place of the tool's own, member by member, as JSON text.
    pub annotations: IndexMap<String, Box<serde_json::value::RawValue>>,
    /// The time that a call may take, if it has one of its own.
    pub timeout: Option<CallTimeout>,
    /// The checks of its calls, if it has settings of its own.
    pub validate: Option<ValidateSettings>,
}

/// The time that a call of one tool may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTimeout {
    /// For a whole call, to the last byte.
    pub after: Duration,
    /// Whether the time begins anew when the upstream reports progress.
    pub resets_on_progress: bool,
}
