//! What the config says about one upstream's definitions, and what it says in vain.

use std::sync::Arc;

use regex::Regex;

use crate::catalog::Kind;
use crate::catalog::listing::{Definition, Listing};
use crate::config::{ToolRules, Upstream};
use crate::json::Object;
use crate::name::{Instance, Namespace, UpstreamId};

/// What the config says about an upstream's definitions.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The weir that takes them in, if it is a hop of chains.
    pub instance: Option<&'a Instance>,
    /// The upstream.
    pub upstream: &'a UpstreamId,
    /// What its exposed names begin with.
    pub namespace: &'a Namespace,
    /// What is cut off the front of its names.
    pub strip: Option<&'a Regex>,
    /// Which tools are exposed, and how they are changed.
    pub tools: &'a ToolRules,
}

impl<'a> From<&'a Upstream> for Rules<'a> {
    fn from(config: &'a Upstream) -> Self {
        Self {
            instance: None,
            upstream: &config.id,
            namespace: &config.namespace,
            strip: config.strip.as_ref(),
            tools: &config.tools,
        }
    }
}

/// A tool that the config keeps out of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// Its original name.
    pub original: Arc<str>,
    /// `true` if `tools.deny` matches it; else `tools.allow` does not.
    pub denied: bool,
}

pub(super) fn exclusion(
    rules: &Rules<'_>,
    kind: Kind,
    definition: &Definition,
) -> Option<Excluded> {
    if kind != Kind::Tools {
        return None;
    }
    let name = &**definition.key();
    let denied = rules
        .tools
        .deny
        .as_ref()
        .is_some_and(|deny| deny.is_match(name));
    let allow = rules.tools.allow.as_ref();
    let allowed = allow.is_none_or(|allow| allow.is_match(name));
    (denied || !allowed).then(|| Excluded {
        original: definition.key().clone(),
        denied,
    })
}

/// Overrides and hidden arguments that have nothing to act on.
pub(super) fn warnings(rules: &ToolRules, listing: &Listing, excluded: &[Excluded]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, change) in &rules.overrides {
        let mut definitions = listing.definitions(Kind::Tools).iter();
        let Some(definition) = definitions.find(|d| **d.key() == **name) else {
            warnings.push(format!("tools.override: there is no tool `{name}`"));
            continue;
        };
        if excluded.iter().any(|tool| *tool.original == **name) {
            warnings.push(format!(
                "tools.override: the tool `{name}` is not exposed (tools.allow, tools.deny)"
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
