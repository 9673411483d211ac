//! `tools` and `names` of an upstream.

use std::collections::HashMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use indexmap::IndexMap;
use regex::Regex;
use serde_json::value::RawValue;

use super::check::Check;
use super::validation::resolve_validate;
use crate::config::error::ProblemKind;
use crate::config::raw::forms::Json;
use crate::config::rules::Rule;
use crate::config::{CallTimeout, ToolOverride, ToolRules, ValidateSettings, raw, units};
use crate::document::path::KeyPath;
use crate::json;
use crate::name::is_legal;

pub(super) fn check_regex(check: &mut Check<'_>, text: &str, at: &KeyPath) -> Option<Regex> {
    check.ok(at, Regex::new(text).map_err(ProblemKind::Regex))
}

/// Validates `tools`. `validate` is that of the upstream.
pub(super) fn check_tool_rules(
    check: &mut Check<'_>,
    raw: raw::Tools,
    validate: &ValidateSettings,
    at: &KeyPath,
) -> ToolRules {
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
        overrides.insert(original, change(check, raw, validate, &at));
    }
    ToolRules {
        allow,
        deny,
        read_only: false,
        overrides,
    }
}

pub(super) fn check_globs(
    check: &mut Check<'_>,
    globs: &[String],
    at: &KeyPath,
) -> Option<GlobSet> {
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

fn change(
    check: &mut Check<'_>,
    mut raw: raw::Override,
    validate: &ValidateSettings,
    at: &KeyPath,
) -> ToolOverride {
    let timeout = check_timeout(check, &raw, at);
    let guard = raw.guard.take();
    let validate_at = at.key("guard").key("validate");
    let validate =
        guard.map(|guard| resolve_validate(check, guard.validate, validate, &validate_at));
    let annotations = check_annotations(raw.annotations.unwrap_or_default());
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
        annotations,
        timeout,
        validate,
    }
}

fn check_timeout(check: &mut Check<'_>, raw: &raw::Override, at: &KeyPath) -> Option<CallTimeout> {
    let resets_on_progress = raw.timeout_resets_on_progress == Some(true);
    let Some(written) = &raw.timeout else {
        if resets_on_progress && !check.source.is_excused(at, "timeout") {
            let (key, other) = ("timeout_resets_on_progress", "timeout");
            check.report(&at.key(key), Rule::Needs { key, other });
        }
        return None;
    };
    let after = check.ok(&at.key("timeout"), units::duration(&written.0))?;
    Some(CallTimeout {
        after,
        resets_on_progress,
    })
}

/// Returns the members that are written, as JSON text.
fn check_annotations(raw: raw::Annotations) -> IndexMap<String, Box<RawValue>> {
    let hint = |value: Option<bool>| value.map(|value| value.to_string());
    let members = [
        ("title", raw.title.map(|title| json::quote(&title))),
        ("readOnlyHint", hint(raw.read_only_hint)),
        ("destructiveHint", hint(raw.destructive_hint)),
        ("idempotentHint", hint(raw.idempotent_hint)),
        ("openWorldHint", hint(raw.open_world_hint)),
    ];
    let written = members.into_iter().filter_map(|(key, text)| {
        let value = RawValue::from_string(text?).ok()?;
        Some((key.to_owned(), value))
    });
    written.collect()
}
