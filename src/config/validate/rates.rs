//! `limits`: memory, and rates.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use super::check::Check;
use super::tools::check_globs;
use crate::config::fingerprint::Fingerprint;
use crate::config::rates::{MAX_RATE_NAMES, MAX_RATES, TOOLS_CALL, UNTARGETED, limitable_methods};
use crate::config::rules::Rule;
use crate::config::{Rate, RateAnswer, RatePer, RateRule, UnitError, raw, units};
use crate::document::path::KeyPath;

/// `limits.memory`: the default, and the least.
const MEMORY: usize = 512 << 20;
const LEAST_MEMORY: usize = 16 << 20;

/// The most that may be written for `burst` and `in_flight`.
const MOST_AT_ONCE: u64 = 1_000_000;
/// The size that bytes are counted in.
const CELL: u64 = 1024;
/// The shortest time in which a request, or a KiB, comes back: below, nanoseconds are too coarse.
const SHORTEST: Duration = Duration::from_nanos(100);
/// The longest time in which a burst comes back.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

pub(super) fn check_memory(check: &mut Check<'_>, raw: &raw::Limits, at: &KeyPath) -> usize {
    let at = at.key("memory");
    let bytes = raw.memory.as_ref();
    let bytes = bytes.map_or(Ok(MEMORY), |size| units::size(&size.0));
    let bytes = check.or(&at, bytes, MEMORY);
    if bytes < LEAST_MEMORY {
        check.report(&at, Rule::LittleMemory);
    }
    bytes
}

/// Validates `limits.rates`. `has_policy`: whether there are classes of callers.
pub(super) fn check_rates(
    check: &mut Check<'_>,
    raw: Vec<raw::RateRule>,
    has_policy: bool,
    at: &KeyPath,
) -> Box<[RateRule]> {
    if raw.len() > MAX_RATES {
        check.report(at, Rule::Most(MAX_RATES as u64));
    }
    let mut names = HashMap::new();
    let rules = raw.into_iter().enumerate().map(|(index, raw)| {
        let at = at.item(index);
        let rule = check_rule(check, raw, index, &at);
        if rule.per == RatePer::Class && !has_policy {
            let (key, other) = ("per: class", "policy");
            check.report(&at.key("per"), Rule::Needs { key, other });
        }
        if let Some(first) = names.insert(rule.name.clone(), check.origin(&at)) {
            check.report(&at.key("name"), Rule::RateTwice { first });
        }
        rule
    });
    rules.collect()
}

fn check_rule(check: &mut Check<'_>, raw: raw::RateRule, index: usize, at: &KeyPath) -> RateRule {
    // The name is no part of what a rule means.
    let written = format!(
        "{:?}",
        raw::RateRule {
            name: None,
            ..raw.clone()
        }
    );
    let per = match raw.per {
        raw::RatePer::Caller => RatePer::Caller,
        raw::RatePer::Tool => RatePer::Tool,
        raw::RatePer::Upstream => RatePer::Upstream,
        raw::RatePer::Class => RatePer::Class,
        raw::RatePer::All => RatePer::All,
    };
    check_amounts(check, &raw, at);
    let name = check_name(check, raw.name.as_deref(), index, &at.key("name"));
    let methods = check_methods(check, raw.methods.as_deref(), &at.key("methods"));
    check_reach(check, &raw, per, &methods, at);
    let burst = check_at_once(check, raw.burst, &at.key("burst"));
    let in_flight = check_at_once(check, raw.in_flight, &at.key("in_flight"));
    let requests = raw.requests.as_deref().and_then(|text| {
        let rate = split(text, |amount| amount.parse().map_err(|_| UnitError::Rate));
        check_rate(check, rate, burst, 1, &at.key("requests"))
    });
    let bytes = raw.bytes.as_deref().and_then(|text| {
        let rate = split(text, |amount| Ok(units::size(amount)? as u64));
        check_rate(check, rate, None, CELL, &at.key("bytes"))
    });
    let patterns = raw.tools.unwrap_or_default();
    let tools = check_names(check, &patterns, &at.key("tools"))
        .then(|| check_globs(check, &patterns, &at.key("tools")))
        .flatten();
    let upstreams = raw.upstreams.map(|names| {
        check_names(check, &names, &at.key("upstreams"));
        names.into_iter().map(Box::from).collect()
    });
    RateRule {
        name,
        per,
        tools: tools.filter(|_| !patterns.iter().any(|pattern| pattern == "*")),
        tool_patterns: patterns.into_iter().map(Box::from).collect(),
        upstreams,
        methods,
        requests,
        bytes,
        in_flight,
        answer: match raw.answer {
            None | Some(raw::RateAnswer::Error) => RateAnswer::Error,
            Some(raw::RateAnswer::ToolError) => RateAnswer::ToolError,
        },
        fingerprint: Fingerprint::of(&written),
    }
}

/// Checks that a rule limits something, and has what its keys need.
fn check_amounts(check: &mut Check<'_>, raw: &raw::RateRule, at: &KeyPath) {
    let has_one = raw.requests.is_some() || raw.in_flight.is_some() || raw.bytes.is_some();
    let mut excused = ["requests", "in_flight", "bytes"].into_iter();
    if !has_one && !excused.any(|key| check.source.is_excused(at, key)) {
        check.report(at, Rule::NoRate);
    }
    if raw.burst.is_some() && raw.requests.is_none() && !check.source.is_excused(at, "requests") {
        let (key, other) = ("burst", "requests");
        check.report(&at.key(key), Rule::Needs { key, other });
    }
}

/// Checks the name of the rule at an index, or gives it one.
fn check_name(check: &mut Check<'_>, raw: Option<&str>, index: usize, at: &KeyPath) -> Box<str> {
    let Some(name) = raw else {
        return format!("rate-{}", index + 1).into();
    };
    if !is_name(name) {
        check.report(at, Rule::RateName);
    }
    name.into()
}

/// Checks a number of requests.
fn check_at_once(check: &mut Check<'_>, number: Option<u64>, at: &KeyPath) -> Option<NonZeroU32> {
    let number = number?;
    let small = u32::try_from(number).ok().and_then(NonZeroU32::new);
    let small = small.filter(|_| number <= MOST_AT_ONCE);
    let (least, most) = (1, MOST_AT_ONCE);
    check.ok(at, small.ok_or(Rule::Range { least, most }))
}

/// Returns whether a text is fit for a label of metrics.
fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(legal)
}

/// Checks the number of names of a list that is written. Returns whether there are any.
fn check_names(check: &mut Check<'_>, names: &[String], at: &KeyPath) -> bool {
    if names.len() > MAX_RATE_NAMES {
        check.report(at, Rule::Most(MAX_RATE_NAMES as u64));
    }
    !names.is_empty()
}

fn check_methods(
    check: &mut Check<'_>,
    raw: Option<&[String]>,
    at: &KeyPath,
) -> Box<[&'static str]> {
    let Some(names) = raw else {
        return Box::new([TOOLS_CALL]);
    };
    if names.is_empty() {
        check.report(at, Rule::Empty);
    }
    let mut methods = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let mut all = limitable_methods();
        let known = all.find(|known| known == name).ok_or(Rule::RateMethod);
        methods.extend(check.ok(&at.item(index), known));
    }
    methods.into()
}

/// Checks that a rule asks for nothing that requests of its methods do not have.
fn check_reach(
    check: &mut Check<'_>,
    raw: &raw::RateRule,
    per: RatePer,
    methods: &[&str],
    at: &KeyPath,
) {
    let mut report = |key: &'static str, rule: Rule| check.report(&at.key(key), rule);
    if methods.iter().any(|name| *name != TOOLS_CALL) {
        if per == RatePer::Tool {
            report("per", Rule::RateTools);
        }
        if raw.tools.is_some() {
            report("tools", Rule::RateTools);
        }
    }
    if let Some(without) = UNTARGETED.into_iter().find(|name| methods.contains(name)) {
        if per == RatePer::Upstream {
            report("per", Rule::RateUpstreams(without));
        }
        if raw.upstreams.is_some() {
            report("upstreams", Rule::RateUpstreams(without));
        }
    }
    for key in ["tools", "upstreams"] {
        let written = if key == "tools" {
            &raw.tools
        } else {
            &raw.upstreams
        };
        if written.as_ref().is_some_and(Vec::is_empty) {
            report(key, Rule::Empty);
        }
    }
}

/// Splits `100/1m`.
fn split(
    text: &str,
    amount: impl FnOnce(&str) -> Result<u64, UnitError>,
) -> Result<(u64, Duration), UnitError> {
    let (number, period) = text.split_once('/').ok_or(UnitError::Rate)?;
    Ok((amount(number.trim())?, units::duration(period)?))
}

/// Checks a rate of things that are counted in so many at a time.
fn check_rate(
    check: &mut Check<'_>,
    rate: Result<(u64, Duration), UnitError>,
    burst: Option<NonZeroU32>,
    cell: u64,
    at: &KeyPath,
) -> Option<Rate> {
    let (amount, period) = check.ok(at, rate)?;
    let amount = check.ok(at, NonZeroU64::new(amount).ok_or(Rule::ZeroRate))?;
    let cells = amount.get().div_ceil(cell);
    let each = period.as_nanos() / u128::from(cells);
    if each < SHORTEST.as_nanos() {
        check.report(at, Rule::FastRate);
        return None;
    }
    let all = u32::try_from(cells).ok().and_then(NonZeroU32::new);
    let burst = check.ok(at, burst.or(all).ok_or(Rule::FastRate))?;
    if each * u128::from(burst.get()) > LONGEST.as_nanos() {
        check.report(at, Rule::SlowRate);
        return None;
    }
    Some(Rate {
        amount,
        period,
        burst,
    })
}

/// Returns the places of upstreams that rules name and that are nowhere, not even disabled.
pub(super) fn unknown_upstreams(
    rules: &[RateRule],
    is_known: impl Fn(&str) -> bool,
) -> impl Iterator<Item = (KeyPath, Rule)> {
    let at = KeyPath::default().key("limits").key("rates");
    let named = rules.iter().enumerate().flat_map(move |(index, rule)| {
        let at = at.item(index).key("upstreams");
        let names = rule.upstreams.iter().flatten().enumerate();
        names.map(move |(index, name)| (at.item(index), name))
    });
    named.filter_map(move |(at, name)| (!is_known(name)).then_some((at, Rule::RateUpstream)))
}
