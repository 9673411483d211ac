//! `listen.auth`

mod api_keys;
mod client_certificates;
pub(super) mod jwt;
mod platform;

pub use api_keys::parse_api_keys;

use std::net::SocketAddr;

use url::Url;

use super::check::Check;
use super::values::{check_scopes, check_url, expand, expand_optional};
use crate::config::rules::{Rule, UrlError};
use crate::config::{CallerAuth, JwtIssuer, ListenAuth, ResourceMetadata, raw};
use crate::document::path::KeyPath;

/// The most entries of `jwt`, and of each list of `metadata`.
const ENTRIES: usize = 100;

/// The settings of the listener that `auth` depends on.
#[derive(Clone, Copy)]
pub(super) struct ListenContext<'c> {
    pub(super) address: SocketAddr,
    /// `server.title`
    pub(super) title: Option<&'c str>,
    /// Whether a platform in front gives the ids of sessions.
    pub(super) platform_sessions: bool,
}

/// Validates `listen.auth`. Without it the address must be loopback.
pub(super) fn check_listen_auth(
    check: &mut Check<'_>,
    raw: Option<raw::ListenAuth>,
    listener: ListenContext<'_>,
    at: &KeyPath,
) -> Option<ListenAuth> {
    let address = listener.address;
    let Some(raw) = raw else {
        if !address.ip().is_loopback() && !check.source.is_excused(at, "auth") {
            check.report(&at.key("address"), Rule::OpenListener(address));
        }
        return None;
    };
    Some(match raw {
        raw::ListenAuth::None => ListenAuth::None,
        raw::ListenAuth::Callers(raw) => {
            let auth = check_callers(check, *raw, listener, &at.key("auth"));
            ListenAuth::Callers(Box::new(auth))
        }
    })
}

fn check_callers(
    check: &mut Check<'_>,
    raw: raw::CallerAuth,
    listener: ListenContext<'_>,
    at: &KeyPath,
) -> CallerAuth {
    let written = ["jwt", "api_keys", "client_certificates", "platform"];
    let excused = written.iter().any(|key| check.source.is_excused(at, key));
    let has_jwt = raw.jwt.as_ref().is_some_and(|entries| !entries.is_empty());
    let platform = raw.platform.as_ref();
    let has_platform = platform
        .is_some_and(|one| one.subject_header.is_some() || one.workload_token != Some(true));
    let has_other = raw.api_keys.is_some() || raw.client_certificates.is_some() || has_platform;
    if !has_jwt && !has_other && !excused {
        check.report(at, Rule::NoWayIn);
    }
    let public_url = raw.public_url.as_ref();
    let public_url =
        public_url.and_then(|text| check_public_url(check, text, &at.key("public_url")));
    let is_loopback = listener.address.ip().is_loopback();
    if has_jwt
        && raw.public_url.is_none()
        && !is_loopback
        && !check.source.is_excused(at, "public_url")
    {
        let (key, other) = ("jwt", "public_url");
        check.report(&at.key(key), Rule::Needs { key, other });
    }
    let entries = raw.jwt.unwrap_or_default();
    if entries.len() > ENTRIES {
        check.report(&at.key("jwt"), Rule::Most(ENTRIES as u64));
    }
    let entries = entries.into_iter().take(ENTRIES).enumerate();
    // Beyond loopback its absence is reported above.
    let has_public_url = raw.public_url.is_some() || !is_loopback;
    let jwt: Vec<_> = entries
        .filter_map(|(index, raw)| {
            let at = at.key("jwt").item(index);
            jwt::check_issuer(check, raw, has_public_url, &at)
        })
        .collect();
    let metadata = raw.metadata.unwrap_or_default();
    CallerAuth {
        metadata: check_metadata(check, metadata, &jwt, listener.title, &at.key("metadata")),
        api_keys: raw
            .api_keys
            .map(|raw| api_keys::check_api_keys(check, &raw, &at.key("api_keys"))),
        client_certificates: raw.client_certificates.map(|raw| {
            let at = at.key("client_certificates");
            client_certificates::check_client_certificates(check, &raw, &at)
        }),
        platform: raw.platform.and_then(|raw| {
            let gives_sessions = listener.platform_sessions;
            platform::check_platform(check, &raw, gives_sessions, &at.key("platform"))
        }),
        jwt,
        public_url,
    }
}

/// Checks the URL of the endpoint. Clients compare it letter by letter (RFC 9728 §3.3), so it stays
/// as it is written.
fn check_public_url(check: &mut Check<'_>, text: &str, at: &KeyPath) -> Option<Box<str>> {
    let text = expand(check, text, at);
    // Weir cannot know whether something in front of it encrypts.
    let url = check_url(check, &text, true, at)?;
    if url.query().is_some() {
        check.report(at, Rule::PublicUrlQuery);
    }
    Some(text.into())
}

fn check_metadata(
    check: &mut Check<'_>,
    raw: raw::ResourceMetadata,
    jwt: &[JwtIssuer],
    title: Option<&str>,
    at: &KeyPath,
) -> ResourceMetadata {
    let name = expand_optional(check, raw.name.as_ref(), &at.key("name"));
    let scopes = match &raw.scopes {
        Some(_) => check_scopes(check, raw.scopes.as_ref(), &at.key("scopes")),
        None => {
            let all = jwt.iter().flat_map(JwtIssuer::needed_scopes);
            all.map(str::to_owned).collect()
        }
    };
    let servers = match raw.authorization_servers {
        Some(written) => check_servers(check, written, &at.key("authorization_servers")),
        None => jwt.iter().map(|one| one.issuer.clone()).collect(),
    };
    let documentation = raw.documentation.as_ref().and_then(|text| {
        let url = check_url(check, text, true, &at.key("documentation"))?;
        Some(url.as_str().into())
    });
    ResourceMetadata {
        name: name.as_deref().or(title).unwrap_or("weir").into(),
        scopes: each_once(scopes.into_iter().map(String::into_boxed_str)),
        authorization_servers: each_once(servers),
        documentation,
    }
}

fn check_servers(check: &mut Check<'_>, written: Vec<String>, at: &KeyPath) -> Vec<Box<str>> {
    if written.len() > ENTRIES {
        check.report(at, Rule::Most(ENTRIES as u64));
    }
    let mut servers = Vec::new();
    for (index, text) in written.into_iter().take(ENTRIES).enumerate() {
        let at = at.item(index);
        let text = expand(check, &text, &at);
        let url = Url::parse(&text).map_err(UrlError::Syntax);
        if check.ok(&at, url).is_some() {
            servers.push(text.into());
        }
    }
    servers
}

/// Leaves out what has come before.
fn each_once(texts: impl IntoIterator<Item = Box<str>>) -> Vec<Box<str>> {
    let all: indexmap::IndexSet<Box<str>> = texts.into_iter().collect();
    all.into_iter().collect()
}
