//! `guard.validate:`

use super::check::Check;
use crate::config::rules::Rule;
use crate::config::{
    ArgumentLimits, InvisibleAction, ValidateAction, ValidateSettings, raw, units,
};
use crate::document::path::KeyPath;

/// Most levels that can be asked for: weir's parser takes 128, with what is around arguments.
const DEEPEST: u64 = 120;

/// Takes the value of each key that is written, otherwise that of `base`.
pub(super) fn resolve_validate(
    check: &mut Check<'_>,
    raw: Option<raw::Validate>,
    base: &ValidateSettings,
    at: &KeyPath,
) -> ValidateSettings {
    let Some(raw) = raw else {
        return *base;
    };
    let invisible = raw.invisible.unwrap_or_default();
    let limits = raw.limits.unwrap_or_default();
    let limits_at = at.key("limits");
    let string = limits.string.and_then(|size| {
        let bytes = units::size(&size.0);
        check.ok(&limits_at.key("string"), bytes)
    });
    ValidateSettings {
        arguments: raw.arguments.map_or(base.arguments, action_of),
        results: raw.results.map_or(base.results, action_of),
        invisible_arguments: invisible
            .arguments
            .map_or(base.invisible_arguments, invisible_of),
        invisible_results: invisible
            .results
            .map_or(base.invisible_results, invisible_of),
        limits: ArgumentLimits {
            depth: check_limit(check, limits.depth, DEEPEST, &limits_at.key("depth"))
                .or(base.limits.depth),
            values: check_limit(check, limits.values, 10_000_000, &limits_at.key("values"))
                .or(base.limits.values),
            string: string.or(base.limits.string),
        },
    }
}

fn action_of(raw: raw::ValidateAction) -> ValidateAction {
    match raw {
        raw::ValidateAction::Off => ValidateAction::Off,
        raw::ValidateAction::Report => ValidateAction::Report,
        raw::ValidateAction::Refuse => ValidateAction::Refuse,
    }
}

fn invisible_of(raw: raw::InvisibleAction) -> InvisibleAction {
    match raw {
        raw::InvisibleAction::Off => InvisibleAction::Off,
        raw::InvisibleAction::Report => InvisibleAction::Report,
        raw::InvisibleAction::Remove => InvisibleAction::Remove,
        raw::InvisibleAction::Refuse => InvisibleAction::Refuse,
    }
}

fn check_limit(
    check: &mut Check<'_>,
    written: Option<u64>,
    most: u64,
    at: &KeyPath,
) -> Option<usize> {
    let written = written?;
    if !(1..=most).contains(&written) {
        check.report(at, Rule::Range { least: 1, most });
    }
    usize::try_from(written).ok()
}
