//! Single values that several settings have: text, URLs, hosts, header names, scopes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::HeaderName;
use indexmap::IndexMap;
use url::Url;

use super::check::Check;
use crate::config::raw::forms::ScalarText;
use crate::config::reach::Reach;
use crate::config::rules::{HeaderSettingError, Rule, UrlError};
use crate::config::secrets;
use crate::document::path::KeyPath;

/// Replaces the `${VAR}` of a text.
pub(super) fn expand(check: &mut Check<'_>, text: &str, at: &KeyPath) -> String {
    secrets::expand(text, check.env).unwrap_or_else(|error| {
        check.report(at, error);
        check.unknown.push(at.clone());
        String::new()
    })
}

/// Replaces the `${VAR}` of an optional text, which must not be empty.
pub(super) fn expand_optional(
    check: &mut Check<'_>,
    text: Option<&String>,
    at: &KeyPath,
) -> Option<String> {
    let text = expand(check, text?, at);
    if text.is_empty() {
        check.report(at, Rule::Empty);
    }
    Some(text)
}

/// Replaces the `${VAR}` of a text, which must not be empty.
pub(super) fn expand_required(check: &mut Check<'_>, text: &str, at: &KeyPath) -> String {
    let text = expand(check, text, at);
    if text.is_empty() {
        check.report(at, Rule::Empty);
    }
    text
}

pub(super) fn expand_map(
    check: &mut Check<'_>,
    raw: Option<&IndexMap<String, ScalarText>>,
    at: &KeyPath,
) -> IndexMap<String, String> {
    let mut texts = IndexMap::new();
    for (key, ScalarText(text)) in raw.into_iter().flatten() {
        texts.insert(key.clone(), expand(check, text, &at.key(key)));
    }
    texts
}

/// Checks scopes (RFC 6749 §3.3).
pub(super) fn check_scopes(
    check: &mut Check<'_>,
    raw: Option<&Vec<String>>,
    at: &KeyPath,
) -> Vec<String> {
    let mut scopes = Vec::new();
    for (index, text) in raw.into_iter().flatten().enumerate() {
        let at = at.item(index);
        let scope = expand(check, text, &at);
        let legal = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if scope.is_empty() || !scope.bytes().all(legal) {
            check.report(&at, Rule::Scope);
        }
        scopes.push(scope);
    }
    scopes
}

/// Returns the texts in lower case, each checked.
pub(super) fn check_lower_case(
    check: &mut Check<'_>,
    written: Option<Vec<String>>,
    at: &KeyPath,
    rule: fn(&str) -> Result<(), Rule>,
) -> Vec<String> {
    let mut texts = written.unwrap_or_default();
    for (index, text) in texts.iter_mut().enumerate() {
        *text = text.to_ascii_lowercase();
        if let Err(rule) = rule(text) {
            check.report(&at.item(index), rule);
        }
    }
    texts
}

pub(super) fn host(text: &str) -> Result<(), Rule> {
    let authority = text
        .parse::<http::uri::Authority>()
        .map_err(|_| Rule::Host)?;
    if authority.as_str().contains('@') || authority.host() == "*" {
        return Err(Rule::Host);
    }
    Ok(())
}

/// Checks a URL, with its `${VAR}` replaced.
pub(super) fn check_url(
    check: &mut Check<'_>,
    text: &str,
    allow_plain: bool,
    at: &KeyPath,
) -> Option<Url> {
    let text = check.ok(at, secrets::expand(text, check.env))?;
    let url = check.ok(at, Url::parse(&text).map_err(UrlError::Syntax))?;
    if let Err(error) = url_rules(&url, allow_plain) {
        check.report(at, error);
    }
    Some(url)
}

fn url_rules(url: &Url, allow_plain: bool) -> Result<(), UrlError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(UrlError::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Credentials);
    }
    if url.fragment().is_some() {
        return Err(UrlError::Fragment);
    }
    if url.scheme() == "https" || allow_plain || Reach::of_url(url) == Reach::Loopback {
        return Ok(());
    }
    let host = url.host_str().unwrap_or_default().to_owned();
    Err(UrlError::Plain { host })
}

pub(super) fn header_name(text: &str) -> Result<HeaderName, HeaderSettingError> {
    let name: HeaderName = text.parse().map_err(|_| HeaderSettingError::Name)?;
    let hop = matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    );
    let ours = matches!(
        name.as_str(),
        "accept" | "content-length" | "content-type" | "host"
    );
    if hop || ours || name.as_str().starts_with("mcp-") {
        return Err(HeaderSettingError::Reserved);
    }
    Ok(name)
}

/// Validates the address of a listener: loopback with this port, if none is written.
pub(super) fn check_address(
    check: &mut Check<'_>,
    written: Option<String>,
    port: u16,
    at: &KeyPath,
) -> SocketAddr {
    let usual = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let parsed = written.map_or(Ok(usual), |text| text.parse().map_err(|_| Rule::Address));
    check.or(&at.key("address"), parsed, SocketAddr::new(usual.ip(), 0))
}
