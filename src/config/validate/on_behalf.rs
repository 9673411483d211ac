//! Logins for callers, and weir's own beside them.

use std::collections::BTreeSet;

use super::check::Check;
use super::http;
use super::target::{EndpointContext, Logins};
use crate::config::error::Problem;
use crate::config::rules::Rule;
use crate::config::{Auth, Config, IdentitySubject, ListenAuth, OnBehalf, WithoutCaller, raw};
use crate::document::path::KeyPath;

/// Checks `auth` and `listing_auth`.
pub(super) fn check_logins(
    check: &mut Check<'_>,
    raw: &raw::Upstream,
    context: EndpointContext<'_>,
    at: &KeyPath,
) -> Logins {
    let auth = http::check_auth(check, raw, context, at);
    let place = at.key("listing_auth");
    let own = raw.listing_auth.as_ref();
    let own = own.map(|own| http::check_written(check, own, context, &place));
    if own.as_ref().is_some_and(Auth::is_of_caller) {
        check.report(&place, Rule::ListingAuthOfCaller);
    }
    let without_caller = check_without_caller(check, raw, &at.key("auth"));
    if !asks_for_caller(raw.auth.as_ref()) {
        if own.is_some() && !check.source.is_excused(at, "auth") {
            check.report(&place, Rule::ListingAuthUnneeded);
        }
        return Logins {
            auth,
            on_behalf: None,
        };
    }
    if own.is_none() && !check.source.is_excused(at, "listing_auth") {
        check.report(&at.key("auth").key("subject"), Rule::NeedsListingAuth);
    }
    Logins {
        auth: own.unwrap_or(Auth::None),
        on_behalf: Some(Box::new(OnBehalf {
            auth,
            without_caller,
        })),
    }
}

/// Reports upstreams that need the platform's workload token where `listen` does not take it, in a
/// config that is valid otherwise.
pub(super) fn check_workload_tokens(config: &Config) -> Vec<Problem> {
    let takes_them = match &config.listen.auth {
        Some(ListenAuth::Callers(auth)) => {
            let platform = auth.platform.as_ref();
            platform.is_some_and(|platform| platform.workload_token)
        }
        Some(ListenAuth::None) | None => false,
    };
    if takes_them {
        return Vec::new();
    }
    problems_of(config, IdentitySubject::WorkloadToken, || Rule::Needs {
        key: "subject: workload_token",
        other: "listen.auth.platform.workload_token: true",
    })
}

/// Reports upstreams that know callers by the subject alone, where subjects of several issuers could be
/// equal, in a config that is valid otherwise.
pub(super) fn check_issuers(config: &Config) -> Vec<Problem> {
    let issuers: BTreeSet<_> = match &config.listen.auth {
        Some(ListenAuth::Callers(auth)) => auth.jwt.iter().map(|one| &one.issuer).collect(),
        Some(ListenAuth::None) | None => BTreeSet::new(),
    };
    if issuers.len() < 2 {
        return Vec::new();
    }
    problems_of(config, IdentitySubject::CallerId, || {
        Rule::SubjectsOfIssuers
    })
}

/// Returns a problem for each upstream whose callers are known by this.
fn problems_of(config: &Config, by: IdentitySubject, rule: impl Fn() -> Rule) -> Vec<Problem> {
    let is_known_so = |on_behalf: &OnBehalf| match &on_behalf.auth {
        Auth::AgentcoreIdentity(identity) => identity.subject == by,
        Auth::None
        | Auth::Bearer(_)
        | Auth::Header { .. }
        | Auth::Basic { .. }
        | Auth::Sigv4(_)
        | Auth::ClientCredentials(_)
        | Auth::AuthorizationCode(_)
        | Auth::TokenExchange(_) => false,
    };
    let upstreams = config.upstreams.values();
    let found = upstreams.filter(|one| one.on_behalf.as_deref().is_some_and(is_known_so));
    let found = found.map(|upstream| Problem {
        file: upstream
            .origin
            .rsplit_once(':')
            .map_or("", |(file, _)| file)
            .into(),
        order: 0,
        at: None,
        path: format!("upstreams.{}.auth.subject", upstream.id),
        kind: rule().into(),
    });
    found.collect()
}

/// Checks `without_caller`, which means something only beside `subject`.
fn check_without_caller(check: &mut Check<'_>, raw: &raw::Upstream, at: &KeyPath) -> WithoutCaller {
    let Some(written) = without_caller(raw.auth.as_ref()) else {
        return WithoutCaller::Refuse;
    };
    if !asks_for_caller(raw.auth.as_ref()) && !check.source.is_excused(at, "subject") {
        let (key, other) = ("without_caller", "subject");
        check.report(&at.key(key), Rule::Needs { key, other });
    }
    match written {
        raw::WithoutCaller::Refuse => WithoutCaller::Refuse,
        raw::WithoutCaller::Service => WithoutCaller::Service,
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "two kinds have it")]
fn without_caller(auth: Option<&raw::Auth>) -> Option<raw::WithoutCaller> {
    match auth? {
        raw::Auth::TokenExchange(exchange) => exchange.without_caller,
        raw::Auth::AgentcoreIdentity(identity) => identity.without_caller,
        _ => None,
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "two kinds have it")]
fn asks_for_caller(auth: Option<&raw::Auth>) -> bool {
    match auth {
        Some(raw::Auth::TokenExchange(exchange)) => exchange.subject.is_some(),
        Some(raw::Auth::AgentcoreIdentity(identity)) => identity.subject.is_some(),
        _ => false,
    }
}
