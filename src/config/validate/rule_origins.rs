//! Where the rules of an upstream stand.

use super::check::Check;
use crate::config::{RuleOrigins, RuleText, raw};
use crate::document::path::KeyPath;

pub(super) fn find_rule_origins(
    check: &Check<'_>,
    raw: &raw::Upstream,
    at: &KeyPath,
) -> RuleOrigins {
    let written = |text: &String, at: &KeyPath| RuleText {
        text: text.clone(),
        at: check.origin(at),
    };
    let tools = raw.tools.as_ref();
    let tools_at = at.key("tools");
    let globs = |globs: Option<&Vec<String>>, key: &str| {
        let at = tools_at.key(key);
        let globs = globs.into_iter().flatten().enumerate();
        globs
            .map(|(index, glob)| written(glob, &at.item(index)))
            .collect()
    };
    let strip = raw.names.as_ref().and_then(|names| names.strip.as_ref());
    let overrides = tools.and_then(|tools| tools.overrides.as_ref());
    let override_at = tools_at.key("override");
    let overrides = overrides.into_iter().flatten().map(|(name, _)| {
        let at = check.origin(&override_at.key(name));
        (name.clone(), at)
    });
    let read_only = raw.read_only.filter(|is| *is).map(|_| RuleText {
        text: "true".to_owned(),
        at: check.origin(&at.key("read_only")),
    });
    let namespace = raw.namespace.as_ref();
    RuleOrigins {
        namespace: namespace.map(|text| written(text, &at.key("namespace"))),
        strip: strip.map(|text| written(text, &at.key("names").key("strip"))),
        allow: globs(tools.and_then(|tools| tools.allow.as_ref()), "allow"),
        deny: globs(tools.and_then(|tools| tools.deny.as_ref()), "deny"),
        read_only,
        overrides: overrides.collect(),
    }
}
