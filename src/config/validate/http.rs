//! One HTTP upstream: URL, headers, credentials.

use http::header::{self, HeaderName, HeaderValue};
use url::Url;

use super::oauth::{self, EndpointContext};
use super::upstream::{expanded, text_or_secret};
use super::{Check, agentcore, aws, tls};
use crate::config::reach::Reach;
use crate::config::rules::{HeaderSettingError, Rule, UrlError};
use crate::config::{
    Auth, Connector, Endpoint, Gateway, HttpEndpoint, IdentityKind, SecretRef, TlsSettings, raw,
    secrets,
};
use crate::document::path::KeyPath;
use crate::secret::Secret;

/// The way to an upstream over HTTP.
pub(super) struct HttpTarget {
    pub(super) connector: Connector,
    pub(super) url: Url,
    pub(super) gateway: Option<Gateway>,
    /// The AWS region it is in, if that is known.
    pub(super) region: Option<String>,
}

/// The way that a `url` is.
pub(super) fn way(
    check: &mut Check<'_>,
    raw: &raw::Upstream,
    text: &str,
    at: &KeyPath,
) -> Option<HttpTarget> {
    if raw.gateway.is_some() || raw.connector == Some(raw::Connector::AgentcoreGateway) {
        return agentcore::gateway(check, raw, Some(text), at);
    }
    let url = url(check, text, raw, &at.key("url"))?;
    let connector = match raw.connector {
        Some(raw::Connector::Saas) => Connector::Saas,
        Some(raw::Connector::OnPrem) => Connector::OnPrem,
        Some(raw::Connector::AgentcoreRuntime) => Connector::AgentcoreRuntime,
        Some(raw::Connector::AgentcoreGateway) => Connector::AgentcoreGateway,
        None if raw.socket.is_some() => Connector::OnPrem,
        None => match Reach::of_url(&url) {
            Reach::Public => Connector::Saas,
            Reach::Loopback | Reach::Private | Reach::LinkLocal => Connector::OnPrem,
        },
    };
    let region = aws::named(&url).region;
    Some(HttpTarget {
        connector,
        url,
        gateway: None,
        region,
    })
}

/// What is at the end of the way.
pub(super) fn endpoint(
    check: &mut Check<'_>,
    raw: &raw::Upstream,
    way: HttpTarget,
    auth: &Auth,
    at: &KeyPath,
) -> (Connector, Endpoint) {
    let socket = raw.socket.as_ref().map(|text| {
        let text = expanded(check, text, &at.key("socket"));
        check.resolve(&text)
    });
    let tls = match &raw.tls {
        Some(written) => {
            let at = at.key("tls");
            if way.url.scheme() != "https" {
                check.report(&at, Rule::TlsOnPlain);
            }
            tls::settings(check, written, &at)
        }
        None => TlsSettings::default(),
    };
    let endpoint = HttpEndpoint {
        url: way.url,
        socket,
        tls,
        headers: headers(check, raw, auth, at),
        gateway: way.gateway,
        allow_plain_http: raw.allow_plain_http == Some(true),
    };
    (way.connector, Endpoint::Http(Box::new(endpoint)))
}

/// A URL of an upstream, with its `${VAR}` replaced.
pub(super) fn url(
    check: &mut Check<'_>,
    text: &str,
    raw: &raw::Upstream,
    at: &KeyPath,
) -> Option<Url> {
    // What goes through a socket leaves the machine at the other end's will only.
    let allow_plain = raw.allow_plain_http == Some(true) || raw.socket.is_some();
    checked_url(check, text, allow_plain, at)
}

/// A URL with its `${VAR}` replaced.
pub(super) fn checked_url(
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

/// What logs in. Left out, it is what the services of AWS's connectors take by default.
pub(super) fn auth(
    check: &mut Check<'_>,
    raw: &raw::Upstream,
    around: EndpointContext<'_>,
    at: &KeyPath,
) -> Auth {
    let Some(written) = &raw.auth else {
        let is_aws = around.way.is_some_and(|way| way.connector.is_aws());
        let own = |name: &String| name.eq_ignore_ascii_case("authorization");
        let by_hand = raw
            .headers
            .iter()
            .flat_map(|headers| headers.keys())
            .any(own);
        return match is_aws && !by_hand && !check.source.is_excused(at, "auth") {
            true => aws::sigv4(check, &raw::Sigv4::default(), around.way, &at.key("auth")),
            false => Auth::None,
        };
    };
    let at = at.key("auth");
    match (written, around.way) {
        (raw::Auth::Basic { .. }, Some(way)) if way.connector.is_aws() => {
            let connector = way.connector.as_str();
            check.report(&at.key("type"), Rule::NotAtAws { connector });
        }
        _ => {}
    }
    match written {
        raw::Auth::None {} => Auth::None,
        raw::Auth::Bearer { token } => Auth::Bearer(secret(check, token, &at.key("token"))),
        raw::Auth::Header { name, value } => {
            let name = check.ok(&at.key("name"), header_name(name));
            let value = secret(check, value, &at.key("value"));
            name.map_or(Auth::None, |name| Auth::Header { name, value })
        }
        raw::Auth::Basic { username, password } => {
            if username.contains(|c: char| c == ':' || c.is_control()) {
                check.report(&at.key("username"), HeaderSettingError::Username);
            }
            Auth::Basic {
                username: username.clone(),
                password: secret_ref(check, password, &at.key("password")),
            }
        }
        raw::Auth::Sigv4(raw) => aws::sigv4(check, raw, around.way, &at),
        raw::Auth::ClientCredentials(raw) => oauth::client_credentials(check, raw, around, &at),
        raw::Auth::AuthorizationCode(raw) => oauth::authorization_code(check, raw, around, &at),
        raw::Auth::TokenExchange(raw) => oauth::token_exchange(check, raw, around, &at),
        raw::Auth::AgentcoreIdentity(raw) => aws::identity(check, raw, around.way, &at),
    }
}

/// The headers that `auth` sets.
fn own_headers(auth: &Auth) -> Vec<HeaderName> {
    match auth {
        Auth::None => Vec::new(),
        Auth::Header { name, .. } => vec![name.clone()],
        // Whatever begins with `x-amz-` must be signed, and these the signer makes.
        Auth::Sigv4(_) => vec![
            header::AUTHORIZATION,
            HeaderName::from_static("x-amz-date"),
            HeaderName::from_static("x-amz-security-token"),
            HeaderName::from_static("x-amz-content-sha256"),
        ],
        Auth::AgentcoreIdentity(identity) => match &identity.kind {
            IdentityKind::ApiKey { header, .. } => vec![header.clone()],
            IdentityKind::Oauth2 { .. } => vec![header::AUTHORIZATION],
        },
        Auth::Bearer(_)
        | Auth::Basic { .. }
        | Auth::ClientCredentials(_)
        | Auth::AuthorizationCode(_)
        | Auth::TokenExchange(_) => vec![header::AUTHORIZATION],
    }
}

/// `headers`: none that `auth` sends already.
fn headers(
    check: &mut Check<'_>,
    raw: &raw::Upstream,
    auth: &Auth,
    at: &KeyPath,
) -> Vec<(HeaderName, SecretRef)> {
    let mut headers: Vec<(HeaderName, SecretRef)> = Vec::new();
    let own = own_headers(auth);
    for (name, value) in raw.headers.iter().flatten() {
        let at = at.key("headers").key(name);
        let name = check.ok(&at, header_name(name));
        let value = text_or_secret(check, value, &at);
        let (Some(name), Some(value)) = (name, value) else {
            continue;
        };
        let value = sendable(check, value, &at);
        if own.contains(&name) || headers.iter().any(|(taken, _)| *taken == name) {
            check.report(&at, HeaderSettingError::Twice);
        }
        headers.push((name, value));
    }
    headers
}

/// A secret that goes into a header as it is.
fn secret(check: &mut Check<'_>, raw: &raw::Secret, at: &KeyPath) -> SecretRef {
    let secret = secret_ref(check, raw, at);
    sendable(check, secret, at)
}

/// A secret, or a stand-in and a report.
pub(super) fn secret_ref(check: &mut Check<'_>, raw: &raw::Secret, at: &KeyPath) -> SecretRef {
    let fetched = secrets::reference(raw, check.folder(), check.env);
    check.or(at, fetched, SecretRef::Fixed(Secret::new("")))
}

fn sendable(check: &mut Check<'_>, value: SecretRef, at: &KeyPath) -> SecretRef {
    let unfit = |value: &Secret| HeaderValue::from_str(value.expose()).is_err();
    if value.first().is_some_and(unfit) {
        check.report(at, HeaderSettingError::Value);
    }
    value
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

/// Whether weir would refuse the header in a config.
pub(crate) fn is_refused_header(header: &str) -> bool {
    header_name(header).is_err()
}

/// Whether `http://` to this URL needs `allow_plain_http`.
pub(crate) fn is_plain(url: &str) -> bool {
    let plain = |url: Url| url.scheme() == "http" && Reach::of_url(&url) != Reach::Loopback;
    Url::parse(url).is_ok_and(plain)
}
