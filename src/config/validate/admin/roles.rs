//! `admin.auth`

use std::collections::BTreeSet;

use crate::caller::Principal;
use crate::config::rules::Rule;
use crate::config::validate::check::Check;
use crate::config::validate::listen_auth::jwt::{check_claims, check_texts};
use crate::config::validate::values::{check_scopes, expand_optional};
use crate::config::{AdminRoles, CallerAuth, Listen, ListenAuth, OperatorRule, raw};
use crate::document::path::KeyPath;

/// The most rules of a role.
const MOST: usize = 64;

/// Validates the roles of operators, who are callers of `listen.auth`.
pub(super) fn check_roles(
    check: &mut Check<'_>,
    raw: raw::AdminRoles,
    listen: &Listen,
    at: &KeyPath,
) -> AdminRoles {
    let callers = match &listen.auth {
        Some(ListenAuth::Callers(callers)) => Some(&**callers),
        Some(ListenAuth::None) | None => None,
    };
    if callers.is_none()
        && !check
            .source
            .is_excused(&KeyPath::default().key("listen"), "auth")
    {
        check.report(at, Rule::NoOperators);
    }
    if raw.read.is_none() && raw.write.is_none() {
        check.report(at, Rule::Neither("read", "write"));
    }
    let mut rules = |raw: Option<Vec<raw::OperatorRule>>, key: &str| {
        let (raw, at) = (raw?, at.key(key));
        match raw.len() {
            0 => check.report(&at, Rule::Empty),
            1..=MOST => {}
            _ => check.report(&at, Rule::Most(MOST as u64)),
        }
        let raw = raw.into_iter().take(MOST).enumerate();
        let rules = raw.map(|(index, raw)| check_rule(check, raw, callers, &at.item(index)));
        Some(rules.collect())
    };
    AdminRoles {
        read: rules(raw.read, "read").unwrap_or_default(),
        write: rules(raw.write, "write").unwrap_or_default(),
    }
}

fn check_rule(
    check: &mut Check<'_>,
    raw: raw::OperatorRule,
    callers: Option<&CallerAuth>,
    at: &KeyPath,
) -> OperatorRule {
    let issuer = expand_optional(check, raw.issuer.as_ref(), &at.key("issuer"));
    let subjects = check_texts(check, raw.subjects, &at.key("subjects"));
    let place = at.key("scopes");
    if raw.scopes.as_ref().is_some_and(Vec::is_empty) {
        check.report(&place, Rule::Empty);
    }
    let scopes = check_scopes(check, raw.scopes.as_ref(), &place);
    let place = at.key("claims");
    if raw
        .claims
        .as_ref()
        .is_some_and(indexmap::IndexMap::is_empty)
    {
        check.report(&place, Rule::Empty);
    }
    if subjects.is_none() && raw.scopes.is_none() && raw.claims.is_none() {
        check.report(at, Rule::AnyOperator);
    }
    if let Some(callers) = callers {
        check_kind(check, raw.kind, callers, &at.key("kind"));
        check_issuer(check, raw.kind, issuer.as_deref(), callers, at);
    }
    OperatorRule {
        kind: match raw.kind {
            raw::OperatorKind::OauthUser => Principal::OAuthUser,
            raw::OperatorKind::IamEntity => Principal::IamEntity,
            raw::OperatorKind::ApiKey => Principal::ApiKey,
            raw::OperatorKind::Workload => Principal::Workload,
        },
        issuer,
        subjects: subjects.unwrap_or_default(),
        scopes,
        claims: check_claims(check, raw.claims.unwrap_or_default(), &place),
    }
}

/// Checks that somebody can be of a kind.
fn check_kind(check: &mut Check<'_>, kind: raw::OperatorKind, callers: &CallerAuth, at: &KeyPath) {
    let (jwt, platform) = (!callers.jwt.is_empty(), callers.platform.is_some());
    let (is_known, ways) = match kind {
        raw::OperatorKind::OauthUser => (jwt || platform, "jwt` or `platform"),
        raw::OperatorKind::IamEntity => (platform, "platform"),
        raw::OperatorKind::ApiKey => (callers.api_keys.is_some(), "api_keys"),
        raw::OperatorKind::Workload => {
            check.report(at, Rule::OperatorCertificate);
            return;
        }
    };
    if !is_known {
        check.report(at, Rule::NoSuchKind(ways));
    }
}

/// Checks that a rule says whose subjects it means.
fn check_issuer(
    check: &mut Check<'_>,
    kind: raw::OperatorKind,
    issuer: Option<&str>,
    callers: &CallerAuth,
    at: &KeyPath,
) {
    if !matches!(kind, raw::OperatorKind::OauthUser) {
        if issuer.is_some() {
            let (key, other) = ("issuer", "kind: oauth_user");
            check.report(&at.key("issuer"), Rule::Needs { key, other });
        }
        return;
    }
    let of_tokens = callers.jwt.iter().map(|one| Some(&*one.issuer));
    let platform = callers.platform.iter();
    let asserted = platform.map(|platform| platform.issuer.as_deref());
    let known: BTreeSet<_> = of_tokens.chain(asserted).collect();
    match issuer {
        None if known.len() > 1 => check.report(at, Rule::WhichIssuer),
        Some(issuer) if !known.contains(&Some(issuer)) => {
            let known: Vec<_> = known.into_iter().flatten().collect();
            let known = match known.is_empty() {
                true => "none".to_owned(),
                false => known.join(", "),
            };
            check.report(&at.key("issuer"), Rule::NoSuchIssuer(known));
        }
        None | Some(_) => {}
    }
}
