//! One HTTP upstream: URL, headers, credentials.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::{self, HeaderName, HeaderValue};
use url::{Host, Url};

use super::Check;
use super::upstream::{expanded, text_or_secret};
use crate::config::path::Path;
use crate::config::rules::{HeaderError, UrlError};
use crate::config::{
    Auth, Connector, Endpoint, HttpEndpoint, SecretRef, TlsSettings, raw, secrets,
};
use crate::secret::Secret;

/// Where it is, if that is a URL.
pub(super) fn endpoint(
    check: &mut Check<'_>,
    raw: &raw::Upstream,
    url: &str,
    auth: &Auth,
    at: &Path,
) -> Option<(Connector, Endpoint)> {
    let place = at.key("url");
    let expanded = match secrets::expand(url, check.env) {
        Ok(_) => expanded(check, url, &place),
        Err(error) => {
            check.report(&place, error);
            return None;
        }
    };
    let url = check.ok(&place, Url::parse(&expanded).map_err(UrlError::Syntax))?;
    let connector = match raw.connector {
        Some(raw::Connector::Saas) => Connector::Saas,
        Some(raw::Connector::OnPrem) => Connector::OnPrem,
        None if reach(&url) == Reach::Public => Connector::Saas,
        None => Connector::OnPrem,
    };
    if let Err(error) = url_rules(&url, connector, raw.allow_plain_http == Some(true)) {
        check.report(&place, error);
    }
    let endpoint = HttpEndpoint {
        url,
        socket: None,
        tls: TlsSettings::default(),
        headers: headers(check, raw, auth, at),
        gateway: None,
        allow_plain_http: raw.allow_plain_http == Some(true),
    };
    Some((connector, Endpoint::Http(Box::new(endpoint))))
}

fn url_rules(url: &Url, connector: Connector, allow_plain: bool) -> Result<(), UrlError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(UrlError::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Credentials);
    }
    if url.fragment().is_some() {
        return Err(UrlError::Fragment);
    }
    if url.scheme() == "https" || allow_plain {
        return Ok(());
    }
    let host = url.host_str().unwrap_or_default().to_owned();
    match (reach(url), connector) {
        (Reach::Loopback, _) | (Reach::Private, Connector::OnPrem) => Ok(()),
        (Reach::Private, _) => Err(UrlError::PlainSaas { host }),
        (Reach::Public, _) => Err(UrlError::PlainPublic { host }),
    }
}

/// How far away a host can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// This machine.
    Loopback,
    /// The organisation's network: private addresses, `.internal`, `.local`, one label.
    Private,
    /// Anywhere.
    Public,
}

fn reach(url: &Url) -> Reach {
    match url.host() {
        Some(Host::Ipv4(address)) => reach_v4(address),
        Some(Host::Ipv6(address)) => reach_v6(address),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            let within = |zone: &str| name.ends_with(zone);
            if name == "localhost" || within(".localhost") {
                Reach::Loopback
            } else if !name.contains('.') || within(".internal") || within(".local") {
                Reach::Private
            } else {
                Reach::Public
            }
        }
        None => Reach::Public,
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    if address.is_loopback() {
        Reach::Loopback
    } else if address.is_private() || address.is_link_local() {
        Reach::Private
    } else {
        Reach::Public
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    if let Some(address) = address.to_ipv4_mapped() {
        reach_v4(address)
    } else if address.is_loopback() {
        Reach::Loopback
    } else if address.is_unique_local() || address.is_unicast_link_local() {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// What logs in.
pub(super) fn auth(check: &mut Check<'_>, raw: Option<&raw::Auth>, at: &Path) -> Auth {
    match raw {
        None | Some(raw::Auth::None {}) => Auth::None,
        Some(raw::Auth::Bearer { token }) => Auth::Bearer(secret(check, token, &at.key("token"))),
        Some(raw::Auth::Header { name, value }) => {
            let name = check.ok(&at.key("name"), header_name(name));
            let value = secret(check, value, &at.key("value"));
            name.map_or(Auth::None, |name| Auth::Header { name, value })
        }
        Some(raw::Auth::Basic { username, password }) => {
            if username.contains(|c: char| c == ':' || c.is_control()) {
                check.report(&at.key("username"), HeaderError::Username);
            }
            let place = at.key("password");
            let fetched = secrets::reference(password, check.folder(), check.env);
            Auth::Basic {
                username: username.clone(),
                password: check.or(&place, fetched, SecretRef::Fixed(Secret::new(""))),
            }
        }
    }
}

/// `headers`: none that `auth` sends already.
fn headers(
    check: &mut Check<'_>,
    raw: &raw::Upstream,
    auth: &Auth,
    at: &Path,
) -> Vec<(HeaderName, SecretRef)> {
    let mut headers: Vec<(HeaderName, SecretRef)> = Vec::new();
    let own = match auth {
        Auth::None => None,
        Auth::Header { name, .. } => Some(name.clone()),
        Auth::Bearer(_)
        | Auth::Basic { .. }
        | Auth::Sigv4(_)
        | Auth::ClientCredentials(_)
        | Auth::AuthorizationCode(_)
        | Auth::TokenExchange(_)
        | Auth::AgentcoreIdentity(_) => Some(header::AUTHORIZATION),
    };
    for (name, value) in raw.headers.iter().flatten() {
        let at = at.key("headers").key(name);
        let name = check.ok(&at, header_name(name));
        let value = text_or_secret(check, value, &at);
        let (Some(name), Some(value)) = (name, value) else {
            continue;
        };
        let value = sendable(check, value, &at);
        if own.as_ref() == Some(&name) || headers.iter().any(|(taken, _)| *taken == name) {
            check.report(&at, HeaderError::Twice);
        }
        headers.push((name, value));
    }
    headers
}

/// A secret that goes into a header as it is.
fn secret(check: &mut Check<'_>, raw: &raw::Secret, at: &Path) -> SecretRef {
    let fetched = secrets::reference(raw, check.folder(), check.env);
    match check.ok(at, fetched) {
        Some(secret) => sendable(check, secret, at),
        None => SecretRef::Fixed(Secret::new("")),
    }
}

fn sendable(check: &mut Check<'_>, value: SecretRef, at: &Path) -> SecretRef {
    let unfit = |value: &Secret| HeaderValue::from_str(value.expose()).is_err();
    if value.first().is_some_and(unfit) {
        check.report(at, HeaderError::Value);
    }
    value
}

fn header_name(text: &str) -> Result<HeaderName, HeaderError> {
    let name: HeaderName = text.parse().map_err(|_| HeaderError::Name)?;
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
        return Err(HeaderError::Reserved);
    }
    Ok(name)
}

/// Whether weir would refuse the header in a config.
pub(in crate::config) fn is_refused_header(header: &str) -> bool {
    header_name(header).is_err()
}

/// Whether `http://` to this URL needs `allow_plain_http`.
pub(in crate::config) fn is_plain_public(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "http" && reach(&url) == Reach::Public)
}
