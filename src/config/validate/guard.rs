//! `guard:`

use std::time::Duration;

use indexmap::IndexMap;
use regex::RegexBuilder;

use super::check::Check;
use super::keys::{check_duration, check_keys};
use crate::classes::{Class, ClassNameError};
use crate::config::error::ProblemKind;
use crate::config::fingerprint::Fingerprint;
use crate::config::guard::{MAX_DETECTORS, MAX_FIELDS, PATTERN_BYTES};
use crate::config::rules::Rule;
use crate::config::{
    ClassActions, CustomDetector, FieldPath, FieldRule, GuardRules, GuardSettings, PseudonymForm,
    PseudonymSettings, RedactAction, RedactRules, UpstreamGuard, raw,
};
use crate::document::path::KeyPath;
use crate::secret::Secret;

/// `guard.redact.keep`
const KEEP: Duration = Duration::from_secs(30 * 86_400);

/// Validates `guard` of weir.
pub(super) fn check_guard(
    check: &mut Check<'_>,
    raw: Option<raw::Guard>,
    at: &KeyPath,
) -> GuardSettings {
    let redact = raw.and_then(|guard| guard.redact).unwrap_or_default();
    let at = at.key("redact");
    let detectors = check_detectors(check, redact.detectors, &at.key("detectors"));
    let rules = RedactRules {
        towards_upstream: check_actions(
            check,
            redact.towards_upstream,
            &detectors,
            &at.key("towards_upstream"),
        ),
        towards_caller: check_actions(
            check,
            redact.towards_caller,
            &detectors,
            &at.key("towards_caller"),
        ),
        fields: check_fields(check, redact.fields, &detectors, &at.key("fields")),
    };
    check_found(check, &rules, &[], &at);
    check.fields.clone_from(&rules.fields);
    if redact.tenant.as_deref() == Some("") {
        check.report(&at.key("tenant"), Rule::Empty);
    }
    let pseudonyms = PseudonymSettings {
        keys: check_keys(check, (redact.key, redact.keys), ["key", "keys"], &at),
        form: match redact.form {
            None | Some(raw::PseudonymForm::Stored) => PseudonymForm::Stored,
            Some(raw::PseudonymForm::Sealed) => PseudonymForm::Sealed,
        },
        keep: check_duration(check, redact.keep, KEEP, &at.key("keep")),
        tenant: redact.tenant.map(Into::into),
    };
    let keys: Vec<_> = pseudonyms.keys.iter().map(Secret::expose).collect();
    let of_pseudonyms = (keys, pseudonyms.form, pseudonyms.keep, &pseudonyms.tenant);
    let fingerprint = Fingerprint::of(&(&rules, &detectors, of_pseudonyms));
    GuardSettings {
        rules: GuardRules { redact: rules },
        detectors: detectors.into(),
        pseudonyms,
        fingerprint,
    }
}

/// Takes the rules for data out of an upstream, and validates them.
pub(super) fn check_upstream_guard(
    check: &mut Check<'_>,
    raw: &mut raw::Upstream,
    at: &KeyPath,
) -> UpstreamGuard {
    let rules = check_route_redact(check, take_redact(&mut raw.guard), at);
    let overrides = raw
        .tools
        .as_mut()
        .and_then(|tools| tools.overrides.as_mut());
    let mut tools = IndexMap::new();
    for (name, raw) in overrides.into_iter().flatten() {
        if let Some(redact) = take_redact(&mut raw.guard) {
            let at = at.key("tools").key("override").key(name);
            tools.insert(
                name.as_str().into(),
                check_route_redact(check, Some(redact), &at),
            );
        }
    }
    UpstreamGuard { rules, tools }
}

/// Takes `guard.redact` out of an upstream or a tool.
fn take_redact(guard: &mut Option<raw::RouteGuard>) -> Option<raw::RouteRedact> {
    let redact = guard.as_mut().and_then(|guard| guard.redact.take());
    // Nothing is left where nothing else is written.
    if guard.as_ref().is_some_and(|guard| guard.validate.is_none()) {
        *guard = None;
    }
    redact
}

/// Validates `guard.redact` of an upstream or a tool.
fn check_route_redact(
    check: &mut Check<'_>,
    raw: Option<raw::RouteRedact>,
    at: &KeyPath,
) -> GuardRules {
    let detectors = &check.detectors.clone();
    let redact = raw.unwrap_or_default();
    let at = at.key("guard").key("redact");
    let towards_upstream = check_actions(
        check,
        redact.towards_upstream,
        detectors,
        &at.key("towards_upstream"),
    );
    let towards_caller = check_actions(
        check,
        redact.towards_caller,
        detectors,
        &at.key("towards_caller"),
    );
    let rules = RedactRules {
        towards_upstream,
        towards_caller,
        fields: check_fields(check, redact.fields, detectors, &at.key("fields")),
    };
    let outer = check.fields.clone();
    check_found(check, &rules, &outer, &at);
    GuardRules { redact: rules }
}

fn check_detectors(
    check: &mut Check<'_>,
    raw: Option<IndexMap<String, raw::Detector>>,
    at: &KeyPath,
) -> Vec<CustomDetector> {
    let raw = raw.unwrap_or_default();
    if raw.len() > MAX_DETECTORS {
        check.report(at, Rule::Most(MAX_DETECTORS as u64));
    }
    let mut detectors = Vec::with_capacity(raw.len());
    for (class, raw::Detector { pattern }) in raw.into_iter().take(MAX_DETECTORS) {
        let at = at.key(&class);
        match Class::own(&class) {
            Err(ClassNameError::Form) => check.report(&at, Rule::ClassName),
            Err(ClassNameError::Known) => check.report(&at, Rule::ClassTaken),
            Ok(_) => {}
        }
        let compiled = RegexBuilder::new(&pattern)
            .size_limit(PATTERN_BYTES)
            .build();
        let at = at.key("pattern");
        let Some(compiled) = check.ok(&at, compiled.map_err(ProblemKind::Regex)) else {
            continue;
        };
        if compiled.is_match("") {
            check.report(&at, Rule::MatchesNothing);
        }
        detectors.push(CustomDetector {
            class: class.into(),
            pattern: pattern.into(),
        });
    }
    detectors
}

fn check_actions(
    check: &mut Check<'_>,
    raw: Option<IndexMap<String, raw::RedactAction>>,
    detectors: &[CustomDetector],
    at: &KeyPath,
) -> ClassActions {
    let mut actions = ClassActions::default();
    for (class, action) in raw.into_iter().flatten() {
        let action = match action {
            raw::RedactAction::Tokenise => RedactAction::Tokenise,
            raw::RedactAction::Mask => RedactAction::Mask,
            raw::RedactAction::Block => RedactAction::Block,
            raw::RedactAction::Report => RedactAction::Report,
            raw::RedactAction::Pass => RedactAction::Pass,
            raw::RedactAction::Restore => RedactAction::Restore,
        };
        if class == "*" {
            actions.others = Some(action);
            continue;
        }
        let at = at.key(&class);
        check_class(check, &class, detectors, &at);
        let known = Class::known(&class);
        if action == RedactAction::Tokenise && known.is_some_and(|class| class.is_guessable()) {
            check.report(&at, Rule::GuessableClass);
        }
        actions.named.insert(class.into(), action);
    }
    actions
}

/// Reports classes that rules name though nothing finds their values: neither text nor a field has
/// them. What is only written under `*` is meant for what there is.
fn check_found(check: &mut Check<'_>, rules: &RedactRules, outer: &[FieldRule], at: &KeyPath) {
    let directions = [
        ("towards_upstream", &rules.towards_upstream),
        ("towards_caller", &rules.towards_caller),
    ];
    for (key, actions) in directions {
        for (class, action) in &actions.named {
            let is_harmless = matches!(action, RedactAction::Pass | RedactAction::Restore);
            let in_text = Class::known(class).is_none_or(|class| class.is_detected());
            let mut fields = rules.fields.iter().chain(outer);
            if !is_harmless && !in_text && !fields.any(|field| field.class == *class) {
                check.report(&at.key(key).key(class), Rule::NotFound);
            }
        }
    }
}

fn check_fields(
    check: &mut Check<'_>,
    raw: Option<IndexMap<String, String>>,
    detectors: &[CustomDetector],
    at: &KeyPath,
) -> Vec<FieldRule> {
    let raw = raw.unwrap_or_default();
    if raw.len() > MAX_FIELDS {
        check.report(at, Rule::Most(MAX_FIELDS as u64));
    }
    let mut fields = Vec::new();
    for (path, class) in raw.into_iter().take(MAX_FIELDS) {
        let at = at.key(&path);
        check_class(check, &class, detectors, &at);
        if let Some(path) = check.ok(&at, FieldPath::parse(&path).map_err(Rule::FieldPath)) {
            let class = class.into();
            fields.push(FieldRule { path, class });
        }
    }
    fields
}

/// Reports a class that there is not, with the one that was probably meant.
fn check_class(check: &mut Check<'_>, class: &str, detectors: &[CustomDetector], at: &KeyPath) {
    let mut known: Vec<&str> = Class::names().collect();
    known.extend(detectors.iter().map(|detector| &*detector.class));
    if known.contains(&class) {
        return;
    }
    let upper = class.to_ascii_uppercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&upper, known);
    let near = known.into_iter().min_by_key(|known| distance(known));
    let near = near.filter(|known| distance(known) <= (known.len() / 4).max(1));
    let similar = alias(&upper).or(near).map(str::to_owned);
    let found = class.chars().take(64).collect();
    check.report(at, Rule::UnknownClass { found, similar });
}

/// Returns the class that others call by this name.
fn alias(name: &str) -> Option<&'static str> {
    Some(match name {
        "SSN" | "US_SSN" => "US_SOCIAL_SECURITY_NUMBER",
        "CREDIT_CARD" | "CREDIT_DEBIT_NUMBER" | "CARD" => "CREDIT_DEBIT_CARD_NUMBER",
        "IBAN" | "IBAN_CODE" => "INTERNATIONAL_BANK_ACCOUNT_NUMBER",
        "EMAIL_ADDRESS" | "MAIL" => "EMAIL",
        "PHONE_NUMBER" | "TELEPHONE" => "PHONE",
        "PERSON" => "NAME",
        "LOCATION" => "ADDRESS",
        "UK_NHS" | "NHS" => "UK_NATIONAL_HEALTH_SERVICE_NUMBER",
        "CA_SIN" => "CA_SOCIAL_INSURANCE_NUMBER",
        "BIC" | "SWIFT" => "SWIFT_CODE",
        "IP" => "IP_ADDRESS",
        _ => return None,
    })
}
