//! `listen.auth.platform`

use std::net::IpAddr;

use http::HeaderName;
use ipnet::IpNet;

use crate::config::rules::{HeaderSettingError, Rule};
use crate::config::validate::check::Check;
use crate::config::validate::values::{expand_optional, expand_required, header_name};
use crate::config::{PlatformIdentity, ProblemKind, raw};
use crate::document::path::KeyPath;

/// The most networks, and the most claims.
const ENTRIES: usize = 64;

/// Validates the identity that a platform in front asserts. `gives_sessions`: it gives the ids of
/// sessions too.
pub(super) fn check_platform(
    check: &mut Check<'_>,
    raw: &raw::PlatformIdentity,
    gives_sessions: bool,
    at: &KeyPath,
) -> Option<PlatformIdentity> {
    let workload_token = raw.workload_token == Some(true);
    check_needs(check, raw, gives_sessions, at);
    let mut seen = Vec::new();
    let mut header = |check: &mut Check<'_>, text: &str, at: &KeyPath| {
        let text = expand_required(check, text, at);
        let name = check.ok(at, asserted(&text))?;
        if seen.contains(&name) {
            check.report(at, HeaderSettingError::Twice);
        }
        seen.push(name.clone());
        Some(name)
    };
    let place = at.key("subject_header");
    let subject_header = raw.subject_header.as_ref();
    let subject_header = subject_header.map(|text| header(check, text, &place));
    let place = at.key("scopes_header");
    let scopes_header = raw.scopes_header.as_ref();
    let scopes_header = scopes_header.and_then(|text| header(check, text, &place));
    let place = at.key("claims");
    let mut claims = Vec::new();
    for (claim, text) in raw.claims.iter().flatten().take(ENTRIES) {
        if claim.is_empty() {
            check.report(&place.key(claim), Rule::Empty);
        }
        if let Some(name) = header(check, text, &place.key(claim)) {
            claims.push((claim.as_str().into(), name));
        }
    }
    let counts = [
        (
            raw.claims.as_ref().map_or(0, indexmap::IndexMap::len),
            "claims",
        ),
        (raw.from.len(), "from"),
    ];
    for (count, key) in counts {
        if count > ENTRIES {
            check.report(&at.key(key), Rule::Most(ENTRIES as u64));
        }
    }
    let place = at.key("from");
    if raw.from.is_empty() {
        check.report(&place, Rule::NoNetwork);
    }
    let networks = raw.from.iter().take(ENTRIES).enumerate();
    let from = networks
        .filter_map(|(index, text)| check.ok(&place.item(index), network(text)))
        .collect();
    let issuer = expand_optional(check, raw.issuer.as_ref(), &at.key("issuer"));
    Some(PlatformIdentity {
        subject_header: match subject_header {
            None => None,
            Some(named) => Some(named?),
        },
        workload_token,
        issuer: issuer.map(String::into_boxed_str),
        scopes_header,
        claims,
        from,
    })
}

/// Checks that there is what the keys need.
fn check_needs(
    check: &mut Check<'_>,
    raw: &raw::PlatformIdentity,
    gives_sessions: bool,
    at: &KeyPath,
) {
    let takes_token = raw.workload_token == Some(true);
    let has_subject = raw.subject_header.is_some() || check.source.is_excused(at, "subject_header");
    if !has_subject && !takes_token {
        let key = "subject_header";
        check.report(at, ProblemKind::MissingKey { key });
    }
    let of_subject = [
        ("issuer", raw.issuer.is_some()),
        ("scopes_header", raw.scopes_header.is_some()),
        ("claims", raw.claims.is_some()),
    ];
    for (key, _) in of_subject.iter().filter(|(_, is_written)| *is_written) {
        if !has_subject && takes_token {
            let other = "subject_header";
            check.report(&at.key(key), Rule::Needs { key, other });
        }
    }
    if takes_token && !gives_sessions {
        let (key, other) = ("workload_token", "listen.sessions: platform");
        check.report(&at.key(key), Rule::Needs { key, other });
    }
}

/// Reads the name of a header that a platform may assert something in: none that HTTP, browsers or
/// MCP give another meaning to.
fn asserted(text: &str) -> Result<HeaderName, HeaderSettingError> {
    let name = header_name(text)?;
    let taken = matches!(
        name.as_str(),
        "authorization" | "cookie" | "origin" | "x-api-key"
    );
    match taken {
        true => Err(HeaderSettingError::Meaning),
        false => Ok(name),
    }
}

/// Reads a network, or one address.
fn network(text: &str) -> Result<IpNet, Rule> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let network = address.or_else(|_| text.parse::<IpNet>());
    network.map_err(|_| Rule::Network)
}
