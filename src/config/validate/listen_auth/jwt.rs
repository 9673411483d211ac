//! `listen.auth.jwt[]`

use std::time::Duration;

use indexmap::IndexMap;
use url::Url;

use crate::config::raw::forms::{self, ScalarText};
use crate::config::reach::Reach;
use crate::config::rules::{Rule, UrlError};
use crate::config::validate::check::Check;
use crate::config::validate::values::{
    check_lower_case, check_scopes, check_url, expand, expand_optional, expand_required, host,
};
use crate::config::{
    AudienceRule, ClaimRule, JwksOrigin, JwtIssuer, MAX_JWKS, SecretRefError, raw, units,
};
use crate::document::path::KeyPath;
use crate::files;
use crate::json::Object;

/// The most items of a list.
const MOST: usize = 64;
/// `leeway` where it is not written, and at most.
const LEEWAY: Duration = Duration::from_secs(60);
const MOST_LEEWAY: Duration = Duration::from_secs(300);
/// `keys_max_age` where it is not written.
const KEYS_MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// Validates an issuer. `has_public_url` says whether there is an audience for tokens where nothing
/// else is written.
pub(super) fn check_issuer(
    check: &mut Check<'_>,
    raw: raw::JwtIssuer,
    has_public_url: bool,
    at: &KeyPath,
) -> Option<JwtIssuer> {
    let audiences = check_texts(check, raw.audiences, &at.key("audiences"));
    let clients = check_texts(check, raw.clients, &at.key("clients"));
    let audience = match audiences {
        Some(audiences) => AudienceRule::OneOf(audiences),
        None if clients.is_some() => AudienceRule::Any,
        None => {
            if !has_public_url {
                check.report(at, Rule::NoAudience);
            }
            AudienceRule::PublicUrl
        }
    };
    let claims = raw.claims.unwrap_or_default();
    let claims = check_claims(check, claims, &at.key("claims"));
    let place = at.key("scopes");
    check_number(check, raw.scopes.as_ref().map_or(0, Vec::len), &place);
    let scopes = check_scopes(check, raw.scopes.as_ref(), &place);
    let place = at.key("all_scopes");
    check_number(check, raw.all_scopes.as_ref().map_or(0, Vec::len), &place);
    let all_scopes = check_scopes(check, raw.all_scopes.as_ref(), &place);
    let place = at.key("allowed_hosts");
    let allowed_hosts = check_lower_case(check, raw.allowed_hosts, &place, host);
    let leeway = check_leeway(check, raw.leeway.as_ref(), &at.key("leeway"));
    let keys_max_age = check_time(
        check,
        raw.keys_max_age.as_ref(),
        KEYS_MAX_AGE,
        &at.key("keys_max_age"),
    );
    let issuer = expand_optional(check, raw.issuer.as_ref(), &at.key("issuer"));
    let (issuer, keys) = check_origin(check, issuer, raw.discovery_url.as_ref(), raw.jwks, at)?;
    Some(JwtIssuer {
        issuer: issuer.into(),
        keys,
        allowed_hosts,
        keys_max_age,
        audience,
        clients: clients.unwrap_or_default(),
        scopes,
        all_scopes,
        claims,
        leeway,
    })
}

/// Checks where keys come from, and whose they are.
fn check_origin(
    check: &mut Check<'_>,
    issuer: Option<String>,
    discovery_url: Option<&String>,
    jwks: Option<raw::Jwks>,
    at: &KeyPath,
) -> Option<(String, JwksOrigin)> {
    let place = at.key("issuer");
    if issuer.as_deref() == Some("") {
        // It is reported already.
        return None;
    }
    if issuer.is_none() && discovery_url.is_none() {
        if !check.source.is_excused(at, "issuer") {
            check.report(at, Rule::Neither("issuer", "discovery_url"));
        }
        return None;
    }
    match (discovery_url, jwks) {
        (Some(_), Some(_)) => {
            let (key, other) = ("jwks", "discovery_url");
            check.report(&at.key(key), Rule::NotWith { key, other });
            None
        }
        (Some(text), None) => {
            let place = at.key("discovery_url");
            let text = expand(check, text, &place);
            let url = check_place(check, &text, &place)?;
            let Some(issuer) = issuer.or_else(|| issuer_of(&text)) else {
                let (key, other) = ("discovery_url", "issuer");
                check.report(&place, Rule::Needs { key, other });
                return None;
            };
            Some((issuer, JwksOrigin::Metadata(url)))
        }
        (None, Some(jwks)) => {
            let place = at.key("jwks");
            let origin = match jwks {
                raw::Jwks::Url(text) => {
                    let text = expand_required(check, &text, &place);
                    JwksOrigin::Url(check_place(check, &text, &place.key("url"))?)
                }
                raw::Jwks::File(text) => check_file(check, &text, &place.key("file")),
            };
            Some((issuer?, origin))
        }
        (None, None) => {
            let issuer = issuer?;
            let url = check_place(check, &issuer, &place)?;
            if url.query().is_some() {
                check.report(&place, UrlError::Query);
            }
            Some((issuer, JwksOrigin::Issuer(url)))
        }
    }
}

/// Checks a URL that keys come from. Nothing may replace them on their way.
fn check_place(check: &mut Check<'_>, text: &str, at: &KeyPath) -> Option<Url> {
    let url = check_url(check, text, true, at)?;
    if url.scheme() == "http" && Reach::of_url(&url) != Reach::Loopback {
        check.report(at, Rule::PlainKeys);
    }
    Some(url)
}

/// Returns the issuer that metadata at a well-known place is of: the well-known part is appended to it
/// (OpenID Connect Discovery §4), or inserted before its path (RFC 8414 §3).
fn issuer_of(discovery_url: &str) -> Option<String> {
    let (before, after) = discovery_url.split_once("/.well-known/")?;
    let after = after
        .strip_prefix("openid-configuration")
        .or_else(|| after.strip_prefix("oauth-authorization-server"))?;
    let is_path = after.is_empty() || after.starts_with('/');
    is_path.then(|| format!("{before}{after}"))
}

fn check_file(check: &mut Check<'_>, text: &str, at: &KeyPath) -> JwksOrigin {
    let text = expand(check, text, at);
    let path = check.resolve(&text);
    let held = files::read(&path, MAX_JWKS).map_err(SecretRefError::File);
    if let Some(held) = check.ok(at, held) {
        let keys = Object::parse(held.expose()).ok();
        if keys.is_none_or(|keys| keys.get("keys").is_none()) {
            check.report(at, Rule::Jwks);
        }
    }
    JwksOrigin::File(path)
}

/// Checks what claims must be.
pub(in crate::config::validate) fn check_claims(
    check: &mut Check<'_>,
    raw: IndexMap<String, raw::ClaimRule>,
    at: &KeyPath,
) -> IndexMap<String, ClaimRule> {
    check_number(check, raw.len(), at);
    let mut rules = IndexMap::new();
    for (name, raw) in raw {
        let place = at.key(&name);
        if name.is_empty() {
            check.report(&place, Rule::Empty);
        }
        let rule = match raw {
            raw::ClaimRule::Equals(ScalarText(text)) => {
                ClaimRule::Equals(expand(check, &text, &place.key("equals")))
            }
            raw::ClaimRule::Contains(ScalarText(text)) => {
                ClaimRule::Contains(expand(check, &text, &place.key("contains")))
            }
            raw::ClaimRule::ContainsAny(texts) => {
                let place = place.key("contains_any");
                let texts = texts.into_iter().map(|ScalarText(text)| text).collect();
                let texts = check_texts(check, Some(texts), &place);
                ClaimRule::ContainsAny(texts.unwrap_or_default())
            }
        };
        rules.insert(name, rule);
    }
    rules
}

/// Checks a list of which a token needs one: an empty one would let nobody in.
pub(in crate::config::validate) fn check_texts(
    check: &mut Check<'_>,
    raw: Option<Vec<String>>,
    at: &KeyPath,
) -> Option<Vec<String>> {
    let raw = raw?;
    if raw.is_empty() {
        check.report(at, Rule::Empty);
    }
    check_number(check, raw.len(), at);
    let texts = raw.iter().enumerate();
    let texts = texts.map(|(index, text)| expand_required(check, text, &at.item(index)));
    Some(texts.collect())
}

fn check_number(check: &mut Check<'_>, number: usize, at: &KeyPath) {
    if number > MOST {
        check.report(at, Rule::Most(MOST as u64));
    }
}

fn check_leeway(check: &mut Check<'_>, raw: Option<&forms::Duration>, at: &KeyPath) -> Duration {
    let leeway = check_time(check, raw, LEEWAY, at);
    if leeway > MOST_LEEWAY {
        check.report(at, Rule::Leeway);
    }
    leeway
}

fn check_time(
    check: &mut Check<'_>,
    raw: Option<&forms::Duration>,
    usual: Duration,
    at: &KeyPath,
) -> Duration {
    let written = raw.map_or(Ok(usual), |text| units::duration(&text.0));
    check.or(at, written, usual)
}
