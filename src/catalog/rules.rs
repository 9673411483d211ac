//! The rules of the config for the definitions of one upstream, and warnings of rules without
//! effect.

use std::sync::Arc;

use globset::GlobSet;
use regex::Regex;

use crate::catalog::listing::{Definition, Listing};
use crate::catalog::{Kind, PerKind, Repetition, StaleSince, render};
use crate::config::{Endpoint, Instructions, Search, ToolRules, Upstream, ValidateSettings};
use crate::json::Object;
use crate::name::{Instance, Namespace, UpstreamId};

/// The rules of the config for the definitions of an upstream.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The weir that takes them in, if it is a hop of chains.
    pub instance: Option<&'a Instance>,
    /// When those of a kind were last found to hold, if callers are to be told.
    pub stale: PerKind<Option<StaleSince>>,
    /// The upstream.
    pub upstream: &'a UpstreamId,
    /// The beginning of its exposed names.
    pub namespace: &'a Namespace,
    /// The expression that is cut off the front of its names.
    pub strip: Option<&'a Regex>,
    /// Which tools are exposed, and how they are changed.
    pub tools: &'a ToolRules,
    /// The checks of calls, where a tool has no settings of its own.
    pub validate: &'a ValidateSettings,
    /// Which instructions callers see of the upstream.
    pub instructions: &'a Instructions,
    /// Whether schemas are shown without references.
    pub inline_schemas: bool,
    /// How the search tool of an AgentCore Gateway is exposed; [`Search::Namespaced`] for all other
    /// upstreams.
    pub search: Search,
}

/// The tool by which an AgentCore Gateway is searched for tools (AgentCore developer guide, "Search
/// for tools in your AgentCore gateway").
const SEARCH_TOOL: &str = "x_amz_bedrock_agentcore_search";

impl<'a> From<&'a Upstream> for Rules<'a> {
    fn from(config: &'a Upstream) -> Self {
        Self {
            instance: None,
            stale: PerKind::default(),
            upstream: &config.id,
            namespace: &config.namespace,
            strip: config.strip.as_ref(),
            tools: &config.tools,
            validate: &config.validate,
            instructions: &config.instructions,
            inline_schemas: false,
            search: match &config.endpoint {
                Endpoint::Http(endpoint) => endpoint.gateway.as_ref(),
                Endpoint::Child { .. } => None,
            }
            .map_or(Search::default(), |gateway| gateway.search),
        }
    }
}

impl Rules<'_> {
    /// The name that one tool keeps as it is, if there is one.
    pub(super) fn kept(&self) -> Option<&'static str> {
        (self.search == Search::Keep).then_some(SEARCH_TOOL)
    }
}

/// A tool that the config keeps out of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExcludedTool {
    /// Its original name.
    pub original: Arc<str>,
    /// Why.
    pub because: ExclusionReason,
}

/// Why a tool is not exposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExclusionReason {
    /// `tools.deny` matches it.
    Denied,
    /// `tools.allow` does not match it.
    NotAllowed,
    /// `gateway.search` is `hide`, and it is that tool.
    SearchHidden,
    /// `read_only` is set, and its annotations do not say that it only reads.
    NotReadOnly,
}

pub(super) fn exclude(
    rules: &Rules<'_>,
    kind: Kind,
    definition: &Definition,
) -> Option<ExcludedTool> {
    if kind != Kind::Tools {
        return None;
    }
    let name = &**definition.key();
    let matches = |globs: &Option<GlobSet>| globs.as_ref().map(|globs| globs.is_match(name));
    let because = if matches(&rules.tools.deny) == Some(true) {
        ExclusionReason::Denied
    } else if matches(&rules.tools.allow) == Some(false) {
        ExclusionReason::NotAllowed
    } else if rules.search == Search::Hide && name == SEARCH_TOOL {
        ExclusionReason::SearchHidden
    } else if rules.tools.read_only && repetition(rules.tools, definition) != Repetition::ReadOnly {
        ExclusionReason::NotReadOnly
    } else {
        return None;
    };
    Some(ExcludedTool {
        original: definition.key().clone(),
        because,
    })
}

/// Returns whether a tool may be called twice, by the annotations that callers see.
pub(super) fn repetition(rules: &ToolRules, definition: &Definition) -> Repetition {
    let change = rules.overrides.get(&**definition.key());
    let own = definition.facts.repetition;
    let Some(change) = change.filter(|change| !change.annotations.is_empty()) else {
        return own;
    };
    let tool = Object::parse(definition.raw()).unwrap_or_default();
    Repetition::read(&render::annotate(tool.get("annotations"), change))
}

/// Overrides and hidden arguments that have nothing to act on.
pub(super) fn warn_of_unused(
    rules: &ToolRules,
    listing: &Listing,
    excluded: &[ExcludedTool],
) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, change) in &rules.overrides {
        let mut definitions = listing.definitions(Kind::Tools).iter();
        let Some(definition) = definitions.find(|d| **d.key() == **name) else {
            warnings.push(format!("tools.override: there is no tool `{name}`"));
            continue;
        };
        if let Some(tool) = excluded.iter().find(|tool| *tool.original == **name) {
            let keys = match tool.because {
                ExclusionReason::Denied | ExclusionReason::NotAllowed => "tools.allow, tools.deny",
                ExclusionReason::SearchHidden => "gateway.search",
                ExclusionReason::NotReadOnly => "read_only",
            };
            warnings.push(format!(
                "tools.override: the tool `{name}` is not exposed ({keys})"
            ));
        }
        let schema = Object::parse(definition.raw())
            .ok()
            .and_then(|tool| tool.borrowed("inputSchema"));
        let properties = schema
            .and_then(|schema| Object::parse(schema).ok())
            .and_then(|schema| schema.borrowed("properties"))
            .and_then(|text| Object::parse(text).ok())
            .unwrap_or_default();
        let unknown = change
            .hide_args
            .iter()
            .filter(|arg| !properties.contains(arg));
        warnings.extend(unknown.map(|arg| {
            format!("tools.override: the tool `{name}` has no argument `{arg}` to hide")
        }));
    }
    warnings
}
