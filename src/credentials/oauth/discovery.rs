//! Authorization server metadata: from the issuer to its token endpoint (RFC 8414, OpenID Connect Discovery 1.0).

use parking_lot::Mutex;
use std::time::Duration;

use http::StatusCode;
use oauth2::HttpRequest;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use crate::config::{OAuthClient, TokenServer};
use crate::credentials::oauth::http::{Http, HttpError};
use crate::credentials::reach::{self, Unreachable};
use crate::credentials::token::GrantError;

/// How long metadata is taken for true.
const FRESH: Duration = Duration::from_secs(3600);

/// What weir needs of a server's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    /// `issuer`, as the server writes it.
    pub issuer: String,
    /// `token_endpoint`
    pub token_endpoint: Option<Url>,
}

/// Why metadata is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// No answer at one of the places where metadata is.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// An answer, but metadata at none of the places.
    #[error("there is no metadata at any of its well-known URLs")]
    None,
    /// The metadata is of another issuer than it was asked for (RFC 8414 §3.3).
    #[error("its metadata is of another issuer than the one in the config")]
    Issuer,
    /// It has no token endpoint.
    #[error("its metadata names no token endpoint")]
    NoEndpoint,
    /// A token endpoint that weir does not go to.
    #[error("its metadata names a token endpoint that weir does not use: {0}")]
    Endpoint(Unreachable),
}

/// Where tokens are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEndpoint {
    /// Its URL.
    pub url: Url,
    /// What a client assertion is made for: the issuer where it is known (draft-ietf-oauth-rfc7523bis), else the
    /// token endpoint (RFC 7523 §3).
    pub audience: String,
}

/// Finds the token endpoint of a client, and remembers it.
#[derive(Debug)]
pub struct Discovery {
    server: TokenServer,
    allowed_hosts: Vec<String>,
    found: Mutex<Option<(TokenEndpoint, Instant)>>,
}

impl Discovery {
    /// For a client. Opens nothing.
    #[must_use]
    pub fn new(client: &OAuthClient) -> Self {
        Self {
            server: client.server.clone(),
            allowed_hosts: client.allowed_hosts.clone(),
            found: Mutex::default(),
        }
    }

    /// The token endpoint. An hour after it was found it is looked for again; if that fails, the known one will do.
    ///
    /// # Errors
    /// There is none that weir uses.
    pub async fn endpoint(&self, http: &Http) -> Result<TokenEndpoint, GrantError> {
        let issuer = match &self.server {
            TokenServer::TokenUrl(url) => {
                return Ok(TokenEndpoint {
                    url: url.clone(),
                    audience: url.as_str().to_owned(),
                });
            }
            TokenServer::Issuer(issuer) => issuer,
        };
        let known = self.found().clone();
        if let Some((endpoint, when)) = &known
            && when.elapsed() < FRESH
        {
            return Ok(endpoint.clone());
        }
        match self.discover(issuer, http).await {
            Ok(endpoint) => {
                *self.found() = Some((endpoint.clone(), Instant::now()));
                Ok(endpoint)
            }
            Err(DiscoveryError::Http(_)) if let Some((endpoint, _)) = known => Ok(endpoint),
            Err(DiscoveryError::Http(error)) => Err(error.for_grant("the issuer")),
            Err(error) => Err(GrantError::Refused(
                format!("the issuer gives no token: {error}").into(),
            )),
        }
    }

    /// The endpoint may have moved: it is looked for again next time.
    pub fn forget(&self) {
        *self.found() = None;
    }

    fn found(&self) -> parking_lot::MutexGuard<'_, Option<(TokenEndpoint, Instant)>> {
        self.found.lock()
    }

    async fn discover(&self, issuer: &Url, http: &Http) -> Result<TokenEndpoint, DiscoveryError> {
        let (metadata, _) = metadata(issuer, http).await?;
        let url = metadata.token_endpoint.ok_or(DiscoveryError::NoEndpoint)?;
        belongs(&url, issuer, &self.allowed_hosts, http).map_err(DiscoveryError::Endpoint)?;
        Ok(TokenEndpoint {
            url,
            audience: metadata.issuer,
        })
    }
}

/// The metadata that an issuer publishes, at the first of its places that has any, and its whole text.
///
/// # Errors
/// There is none, or it is of another issuer.
pub async fn metadata(issuer: &Url, http: &Http) -> Result<(Metadata, Vec<u8>), DiscoveryError> {
    let mut unwell = None;
    for place in well_known(issuer) {
        let mut request = HttpRequest::new(Vec::new());
        *request.uri_mut() = place.as_str().parse().map_err(|_| HttpError::Url)?;
        let answer = match http.send(request).await {
            Ok(answer) => answer,
            // Some servers answer so where they do not know the place.
            Err(error @ (HttpError::Unwell(..) | HttpError::Redirect)) => {
                unwell = unwell.or(Some(error));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if answer.status() != StatusCode::OK {
            continue;
        }
        let Ok(metadata) = serde_json::from_slice::<Metadata>(answer.body()) else {
            continue;
        };
        // A URL that is written in another way (no `/` after the host) is the same.
        return match Url::parse(&metadata.issuer) {
            Ok(written) if written == *issuer => Ok((metadata, answer.into_body())),
            _ => Err(DiscoveryError::Issuer),
        };
    }
    Err(unwell.map_or(DiscoveryError::None, DiscoveryError::Http))
}

/// Where metadata is: RFC 8414 §3 puts its part before the issuer's path, OpenID Connect Discovery §4 after it, and
/// some servers put OpenID's part before it (RFC 8414 §5).
fn well_known(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut paths = vec![
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("{path}/.well-known/openid-configuration"),
    ];
    if !path.is_empty() {
        paths.push(format!("/.well-known/openid-configuration{path}"));
        paths.push(format!("{path}/.well-known/oauth-authorization-server"));
    }
    let place = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url.set_query(None);
        url
    };
    paths.into_iter().map(place).collect()
}

/// Whether an endpoint is the issuer's: on its origin, on a host that the operator allows, or Cognito's.
pub(super) fn belongs(
    endpoint: &Url,
    issuer: &Url,
    allowed_hosts: &[String],
    http: &Http,
) -> Result<(), Unreachable> {
    http.may(endpoint)?;
    match is_cognito(endpoint, issuer) {
        true => Ok(()),
        false => reach::check_origin(endpoint, issuer, allowed_hosts, http.allows_plain()),
    }
}

/// The issuer of an Amazon Cognito user pool is `https://cognito-idp.{region}.amazonaws.com/{pool}`, its token endpoint
/// `https://{prefix}.auth.{region}.amazoncognito.com/oauth2/token` (Cognito developer guide, "Token endpoint"). Both
/// domains are AWS's own, so where the region is the same it is let through. A pool's custom domain needs `allowed_hosts`.
fn is_cognito(endpoint: &Url, issuer: &Url) -> bool {
    let region = |host: &str, before: &str, after: &str| {
        let region = host.strip_prefix(before)?.strip_suffix(after)?;
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (!region.is_empty() && region.chars().all(is_plain)).then(|| region.to_owned())
    };
    let plain = |url: &Url| url.scheme() == "https" && url.port().is_none();
    let (Some(issuer_host), Some(host)) = (issuer.host_str(), endpoint.host_str()) else {
        return false;
    };
    let Some(of_issuer) = region(issuer_host, "cognito-idp.", ".amazonaws.com") else {
        return false;
    };
    let Some((prefix, rest)) = host.split_once(".auth.") else {
        return false;
    };
    let is_label = !prefix.is_empty() && !prefix.contains('.');
    let same = region(rest, "", ".amazoncognito.com").is_some_and(|region| region == of_issuer);
    plain(issuer) && plain(endpoint) && is_label && same
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn metadata_is_looked_for_before_and_after_the_path() {
        let places = |issuer: &str| -> Vec<String> {
            let places = well_known(&url(issuer));
            places.into_iter().map(String::from).collect()
        };
        assert_eq!(
            places("https://as.example"),
            [
                "https://as.example/.well-known/oauth-authorization-server",
                "https://as.example/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            places("https://as.example/tenant/a/"),
            [
                "https://as.example/.well-known/oauth-authorization-server/tenant/a",
                "https://as.example/tenant/a/.well-known/openid-configuration",
                "https://as.example/.well-known/openid-configuration/tenant/a",
                "https://as.example/tenant/a/.well-known/oauth-authorization-server",
            ]
        );
    }

    #[test]
    fn an_endpoint_is_on_the_origin_of_its_issuer_or_where_the_operator_says() {
        let pool = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC";
        let cases = [
            ("https://as.example/t", "https://as.example", true),
            ("https://as.example:8443/t", "https://as.example", false),
            ("http://as.example/t", "https://as.example", false),
            (
                "https://as.example.evil.example/t",
                "https://as.example",
                false,
            ),
            ("https://tokens.example/t", "https://as.example", true),
            ("data:text/plain,x", "data:text/plain,x", false),
            (
                "https://corp.auth.eu-west-1.amazoncognito.com/oauth2/token",
                pool,
                true,
            ),
            (
                "https://corp.auth.eu-west-2.amazoncognito.com/oauth2/token",
                pool,
                false,
            ),
            (
                "http://corp.auth.eu-west-1.amazoncognito.com/oauth2/token",
                pool,
                false,
            ),
            (
                "https://corp.auth.eu-west-1.amazoncognito.com:1/oauth2/token",
                pool,
                false,
            ),
            (
                "https://x.evil.auth.eu-west-1.amazoncognito.com/",
                pool,
                false,
            ),
            (
                "https://corp.auth.eu-west-1.amazoncognito.com.evil.example/",
                pool,
                false,
            ),
            (
                "https://corp.auth.eu-west-1.amazoncognito.com/",
                "https://cognito-idp.eu-west-1.amazonaws.com.evil.example/",
                false,
            ),
        ];
        let http = Http::new(crate::tls::Tls::none().unwrap(), false).unwrap();
        let allowed = ["tokens.example".to_owned()];
        for (endpoint, issuer, expected) in cases {
            let belongs = belongs(&url(endpoint), &url(issuer), &allowed, &http);
            assert_eq!(belongs.is_ok(), expected, "{endpoint} of {issuer}");
        }
    }
}
