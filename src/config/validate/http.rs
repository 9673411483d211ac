//! One HTTP upstream: URL, headers, credentials.

use http::header::{self, HeaderName, HeaderValue};
use url::Url;

use super::check::Check;
use super::secret_values::{resolve_secret, resolve_text_or_secret};
use super::target::{EndpointContext, HttpTarget, Logins, check_upstream_url};
use super::values::{expand, header_name};
use super::{agentcore, aws, oauth, tls};
use crate::config::reach::Reach;
use crate::config::rules::{HeaderSettingError, Rule};
use crate::config::{
    Auth, Connector, Endpoint, HttpEndpoint, IdentityKind, SecretRef, TlsSettings, raw,
};
use crate::document::path::KeyPath;
use crate::secret::Secret;

/// Checks a `url`, and finds the connector.
pub(super) fn find_target(
    check: &mut Check<'_>,
    raw: &raw::Upstream,
    text: &str,
    at: &KeyPath,
) -> Option<HttpTarget> {
    if raw.gateway.is_some() || raw.connector == Some(raw::Connector::AgentcoreGateway) {
        return agentcore::check_gateway(check, raw, Some(text), at);
    }
    let url = check_upstream_url(check, text, raw, &at.key("url"))?;
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
    let region = aws::parse_aws_host(&url).region;
    Some(HttpTarget {
        connector,
        url,
        gateway: None,
        region,
    })
}

/// Checks how the target is connected to: socket, TLS, headers.
pub(super) fn check_endpoint(
    check: &mut Check<'_>,
    raw: &raw::Upstream,
    target: HttpTarget,
    logins: &Logins,
    at: &KeyPath,
) -> (Connector, Endpoint) {
    let socket = raw.socket.as_ref().map(|text| {
        let text = expand(check, text, &at.key("socket"));
        check.resolve(&text)
    });
    let tls = match &raw.tls {
        Some(written) => {
            let at = at.key("tls");
            if target.url.scheme() != "https" {
                check.report(&at, Rule::TlsOnPlain);
            }
            tls::check_settings(check, written, &at)
        }
        None => TlsSettings::default(),
    };
    let endpoint = HttpEndpoint {
        url: target.url,
        socket,
        tls,
        headers: check_headers(check, raw, logins, at),
        gateway: target.gateway,
        allow_plain_http: raw.allow_plain_http == Some(true),
    };
    (target.connector, Endpoint::Http(Box::new(endpoint)))
}

/// Checks `auth`. The default of the AWS connectors is `sigv4`, unless `headers` has
/// `Authorization`.
pub(super) fn check_auth(
    check: &mut Check<'_>,
    raw: &raw::Upstream,
    context: EndpointContext<'_>,
    at: &KeyPath,
) -> Auth {
    let Some(written) = &raw.auth else {
        let is_aws = context
            .target
            .is_some_and(|target| target.connector.is_aws());
        let own = |name: &String| name.eq_ignore_ascii_case("authorization");
        let by_hand = raw
            .headers
            .iter()
            .flat_map(|headers| headers.keys())
            .any(own);
        return match is_aws && !by_hand && !check.source.is_excused(at, "auth") {
            true => Auth::Sigv4(aws::check_sigv4(
                check,
                &raw::Sigv4::default(),
                context.target,
                &at.key("auth"),
            )),
            false => Auth::None,
        };
    };
    check_written(check, written, context, &at.key("auth"))
}

/// Checks `auth` or `listing_auth` as it is written.
pub(super) fn check_written(
    check: &mut Check<'_>,
    written: &raw::Auth,
    context: EndpointContext<'_>,
    at: &KeyPath,
) -> Auth {
    match (written, context.target) {
        (raw::Auth::Basic { .. }, Some(target)) if target.connector.is_aws() => {
            let connector = target.connector.as_str();
            check.report(&at.key("type"), Rule::NotAtAws { connector });
        }
        _ => {}
    }
    match written {
        raw::Auth::None {} => Auth::None,
        raw::Auth::Bearer { token } => {
            Auth::Bearer(resolve_header_secret(check, token, &at.key("token")))
        }
        raw::Auth::Header { name, value } => {
            let name = check.ok(&at.key("name"), header_name(name));
            let value = resolve_header_secret(check, value, &at.key("value"));
            name.map_or(Auth::None, |name| Auth::Header { name, value })
        }
        raw::Auth::Basic { username, password } => {
            if username.contains(|c: char| c == ':' || c.is_control()) {
                check.report(&at.key("username"), HeaderSettingError::Username);
            }
            Auth::Basic {
                username: username.clone(),
                password: resolve_secret(check, password, &at.key("password")),
            }
        }
        raw::Auth::Sigv4(raw) => Auth::Sigv4(aws::check_sigv4(check, raw, context.target, at)),
        raw::Auth::ClientCredentials(raw) => {
            oauth::check_client_credentials(check, raw, context, at)
        }
        raw::Auth::AuthorizationCode(raw) => {
            oauth::check_authorization_code(check, raw, context, at)
        }
        raw::Auth::TokenExchange(raw) => oauth::check_token_exchange(check, raw, context, at),
        raw::Auth::AgentcoreIdentity(raw) => aws::check_identity(check, raw, context.target, at),
    }
}

/// Returns the headers that `auth` sets.
fn own_headers(auth: &Auth) -> Vec<HeaderName> {
    match auth {
        Auth::None => Vec::new(),
        Auth::Header { name, .. } => vec![name.clone()],
        // All that begins with `x-amz-` must be signed, and these the signer makes.
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

/// Checks `headers`. None may be a header that `auth` sets.
fn check_headers(
    check: &mut Check<'_>,
    raw: &raw::Upstream,
    logins: &Logins,
    at: &KeyPath,
) -> Vec<(HeaderName, SecretRef)> {
    let mut headers: Vec<(HeaderName, SecretRef)> = Vec::new();
    let mut own = own_headers(&logins.auth);
    if let Some(on_behalf) = &logins.on_behalf {
        own.extend(own_headers(&on_behalf.auth));
    }
    for (name, value) in raw.headers.iter().flatten() {
        let at = at.key("headers").key(name);
        let name = check.ok(&at, header_name(name));
        let value = resolve_text_or_secret(check, value, &at);
        let (Some(name), Some(value)) = (name, value) else {
            continue;
        };
        let value = check_header_value(check, value, &at);
        if own.contains(&name) || headers.iter().any(|(taken, _)| *taken == name) {
            check.report(&at, HeaderSettingError::Twice);
        }
        headers.push((name, value));
    }
    headers
}

/// Resolves a secret that is sent in a header as it is.
fn resolve_header_secret(check: &mut Check<'_>, raw: &raw::SecretRef, at: &KeyPath) -> SecretRef {
    let secret = resolve_secret(check, raw, at);
    check_header_value(check, secret, at)
}

pub(super) fn check_header_value(
    check: &mut Check<'_>,
    value: SecretRef,
    at: &KeyPath,
) -> SecretRef {
    let unfit = |value: &Secret| HeaderValue::from_str(value.expose()).is_err();
    if value.first().is_some_and(unfit) {
        check.report(at, HeaderSettingError::Value);
    }
    value
}

/// Returns whether weir would refuse the header in a config.
pub(crate) fn is_refused_header(header: &str) -> bool {
    header_name(header).is_err()
}

/// Returns whether `http://` to this URL needs `allow_plain_http`.
pub(crate) fn is_plain(url: &str) -> bool {
    let plain = |url: Url| url.scheme() == "http" && Reach::of_url(&url) != Reach::Loopback;
    Url::parse(url).is_ok_and(plain)
}
