//! The rules of the config that affect a definition, and their places.

use globset::GlobSet;
use serde::{Deserialize, Serialize};

use crate::catalog::{ExclusionReason, Kind, NameOrigin, NameStep};
use crate::config::{RuleText, ToolOverride, Upstream};

/// A rule of the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedRule {
    /// Its key: `tools.deny`.
    pub rule: String,
    /// Its place: `file:line`.
    pub at: String,
    /// Its text, or what it does.
    pub what: String,
}

/// Returns the rules that shaped an exposed definition.
pub(super) fn rules_for(
    upstream: &Upstream,
    kind: Kind,
    original: &str,
    named: &NameOrigin,
) -> Vec<AppliedRule> {
    let origins = &upstream.rule_origins;
    let mut rules = Vec::new();
    let mut add = |rule: &str, written: &RuleText| rules.push(quote_rule(rule, written));
    if matches!(kind, Kind::Tools | Kind::Prompts) {
        if let Some(namespace) = &origins.namespace {
            add("namespace", namespace);
        }
        let stripped = |step: &NameStep| matches!(step, NameStep::Stripped { .. });
        if let Some(strip) = &origins.strip
            && named.steps.iter().any(stripped)
        {
            add("names.strip", strip);
        }
    }
    if kind == Kind::Tools {
        rules.extend(matching(
            "tools.allow",
            upstream.tools.allow.as_ref(),
            &origins.allow,
            original,
        ));
        let at = origins.overrides.get(original);
        if let (Some(change), Some(at)) = (upstream.tools.overrides.get(original), at) {
            rules.push(AppliedRule {
                rule: "tools.override".to_owned(),
                at: at.clone(),
                what: describe_override(change),
            });
        }
    }
    rules
}

/// Returns the rules that keep a tool out.
pub(super) fn rules_against(
    upstream: &Upstream,
    original: &str,
    because: ExclusionReason,
) -> Vec<AppliedRule> {
    let origins = &upstream.rule_origins;
    match because {
        ExclusionReason::Denied => {
            let deny = upstream.tools.deny.as_ref();
            return matching("tools.deny", deny, &origins.deny, original).collect();
        }
        // The setting has no place of its own.
        ExclusionReason::SearchHidden => return Vec::new(),
        ExclusionReason::NotReadOnly => {
            let rule = origins.read_only.iter();
            return rule.map(|rule| quote_rule("read_only", rule)).collect();
        }
        ExclusionReason::NotAllowed => {}
    }
    let first = origins.allow.first().map(|first| AppliedRule {
        rule: "tools.allow".to_owned(),
        at: first.at.clone(),
        what: {
            let globs = origins.allow.iter();
            let globs = globs.map(|glob| format!("`{}`", glob.text));
            globs.collect::<Vec<_>>().join(", ")
        },
    });
    first.into_iter().collect()
}

/// Returns the globs that match a name.
fn matching<'m>(
    rule: &'static str,
    globs: Option<&GlobSet>,
    written: &'m [RuleText],
    name: &str,
) -> impl Iterator<Item = AppliedRule> + use<'m> {
    let matches = globs.map(|globs| globs.matches(name)).unwrap_or_default();
    let found = matches.into_iter().filter_map(|at| written.get(at));
    found.map(move |written| quote_rule(rule, written))
}

fn quote_rule(rule: &str, written: &RuleText) -> AppliedRule {
    AppliedRule {
        rule: rule.to_owned(),
        at: written.at.clone(),
        what: format!("`{}`", written.text),
    }
}

fn describe_override(change: &ToolOverride) -> String {
    let quoted = |names: Vec<&str>| {
        let names = names.into_iter().map(|name| format!("`{name}`"));
        names.collect::<Vec<_>>().join(", ")
    };
    let mut effects = Vec::new();
    if let Some(name) = &change.name {
        effects.push(format!("names it `{name}`"));
    }
    if change.description.is_some() {
        effects.push("describes it".to_owned());
    }
    if !change.hide_args.is_empty() {
        let names = change.hide_args.iter().map(String::as_str);
        effects.push(format!("hides {}", quoted(names.collect())));
    }
    if !change.set_args.is_empty() {
        let names = change.set_args.keys().map(String::as_str);
        effects.push(format!("sets {}", quoted(names.collect())));
    }
    if !change.annotations.is_empty() {
        let names = change.annotations.keys().map(String::as_str);
        effects.push(format!("sets the annotations {}", quoted(names.collect())));
    }
    if let Some(timeout) = change.timeout {
        let resets = match timeout.resets_on_progress {
            true => ", anew with each progress",
            false => "",
        };
        effects.push(format!("gives it {:?}{resets}", timeout.after));
    }
    if effects.is_empty() {
        effects.push("changes nothing".to_owned());
    }
    effects.join(", ")
}
