//! `tools` and `names` of an upstream.

use std::collections::HashMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use indexmap::IndexMap;
use regex::Regex;
use serde_json::value::RawValue;

use super::check::Check;
use crate::config::error::ProblemKind;
use crate::config::raw::forms::Json;
use crate::config::rules::Rule;
use crate::config::{ToolOverride, ToolRules, raw};
use crate::document::path::KeyPath;
use crate::name::is_legal;

pub(super) fn check_regex(check: &mut Check<'_>, text: &str, at: &KeyPath) -> Option<Regex> {
    check.ok(at, Regex::new(text).map_err(ProblemKind::Regex))
}

pub(super) fn check_tool_rules(check: &mut Check<'_>, raw: raw::Tools, at: &KeyPath) -> ToolRules {
    let allow = raw
        .allow
        .and_then(|globs| check_globs(check, &globs, &at.key("allow")));
    let deny = raw
        .deny
        .and_then(|globs| check_globs(check, &globs, &at.key("deny")));
    let at = at.key("override");
    let mut names: HashMap<String, String> = HashMap::new();
    let mut overrides = IndexMap::new();
    for (original, raw) in raw.overrides.into_iter().flatten() {
        let at = at.key(&original);
        if original.is_empty() {
            check.report(&at, Rule::Empty);
        }
        if let Some(name) = &raw.name {
            name_rules(check, name, &original, &mut names, &at.key("name"));
        }
        overrides.insert(original, change(check, raw, &at));
    }
    ToolRules {
        allow,
        deny,
        overrides,
    }
}

fn check_globs(check: &mut Check<'_>, globs: &[String], at: &KeyPath) -> Option<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for (index, text) in globs.iter().enumerate() {
        // Names are not paths: `\` is no separator, and `*` passes `/`.
        let glob = GlobBuilder::new(text).backslash_escape(true).build();
        if let Some(glob) = check.ok(&at.item(index), glob.map_err(ProblemKind::Glob)) {
            set.add(glob);
        }
    }
    check.ok(at, set.build().map_err(ProblemKind::Glob))
}

fn name_rules(
    check: &mut Check<'_>,
    name: &str,
    original: &str,
    names: &mut HashMap<String, String>,
    at: &KeyPath,
) {
    if !(1..=128).contains(&name.len()) || !name.bytes().all(is_legal) {
        check.report(at, Rule::ToolName);
    }
    if let Some(taken) = names.insert(name.to_owned(), original.to_owned()) {
        check.report(at, Rule::ToolNameTwice(taken));
    }
}

fn change(check: &mut Check<'_>, raw: raw::Override, at: &KeyPath) -> ToolOverride {
    let mut hide_args = raw.hide_args.unwrap_or_default();
    let mut set_args = IndexMap::new();
    for (name, Json(text)) in raw.set_args.into_iter().flatten() {
        let at = at.key("set_args").key(&name);
        let value = RawValue::from_string(text);
        if let Some(value) = check.ok(
            &at,
            value.map_err(|error| ProblemKind::Form(error.to_string())),
        ) {
            set_args.insert(name, value);
        }
    }
    // Arguments that are set are hidden anyway.
    hide_args.retain(|name| !set_args.contains_key(name));
    ToolOverride {
        name: raw.name,
        description: raw.description,
        hide_args,
        set_args,
    }
}
