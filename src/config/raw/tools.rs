//! `names` and `tools` of an upstream: which are exposed, and how they are changed.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{Duration, Json};
use super::guard::RouteGuard;

/// Changes to all names of an upstream.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Names {
    /// A regular expression. What it matches at the beginning of a name is removed before the
    /// namespace is added.
    pub(in crate::config) strip: Option<String>,
}

/// Which tools are exposed, and how they are changed. Globs match the upstream's own names.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Tools {
    /// Globs of tools to expose. An empty list exposes none. Default: all.
    pub(in crate::config) allow: Option<Vec<String>>,
    /// Globs of tools not to expose. It wins over `allow`.
    pub(in crate::config) deny: Option<Vec<String>>,
    /// Changes to single tools, by the upstream's own name.
    #[serde(rename = "override")]
    pub(in crate::config) overrides: Option<IndexMap<String, Override>>,
}

/// Annotations of a tool (`ToolAnnotations`).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Annotations {
    /// A title for people.
    pub(in crate::config) title: Option<String>,
    /// Whether the tool changes nothing.
    #[serde(rename = "readOnlyHint")]
    pub(in crate::config) read_only_hint: Option<bool>,
    /// Whether it may destroy something, and not only add to it.
    #[serde(rename = "destructiveHint")]
    pub(in crate::config) destructive_hint: Option<bool>,
    /// Whether a second call with the same arguments does no more than the first.
    #[serde(rename = "idempotentHint")]
    pub(in crate::config) idempotent_hint: Option<bool>,
    /// Whether it reaches into the open world, such as the web.
    #[serde(rename = "openWorldHint")]
    pub(in crate::config) open_world_hint: Option<bool>,
}

/// A change to one tool.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Override {
    /// The name to expose instead of the original one. The namespace is still added.
    pub(in crate::config) name: Option<String>,
    /// The description to show instead of the original one.
    pub(in crate::config) description: Option<String>,
    /// Arguments that are removed from the schema and that callers may not send.
    pub(in crate::config) hide_args: Option<Vec<String>>,
    /// Arguments with fixed values, which weir adds. They are removed from the schema, and callers
    /// may not send them.
    pub(in crate::config) set_args: Option<IndexMap<String, Json>>,
    /// Annotations that replace the tool's own, one by one. Weir goes by them too, in `read_only` and
    /// `retry`.
    pub(in crate::config) annotations: Option<Annotations>,
    /// Maximum time for a whole call of this tool, to the last byte. Default: `timeouts.call`.
    pub(in crate::config) timeout: Option<Duration>,
    /// If true, the time of a call begins anew whenever the upstream reports progress, up to ten times
    /// as long in all. Weir asks the upstream for it. Default: `false`.
    pub(in crate::config) timeout_resets_on_progress: Option<bool>,
    /// The data that may pass to and from this tool. Default: as `guard` of the upstream.
    pub(in crate::config) guard: Option<RouteGuard>,
}
