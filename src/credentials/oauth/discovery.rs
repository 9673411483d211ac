//! Authorization server metadata (RFC 8414, OpenID Connect Discovery 1.0): finds the token endpoint
//! of an issuer.

use parking_lot::Mutex;
use std::time::Duration;

use http::StatusCode;
use oauth2::HttpRequest;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use crate::config::{OAuthClient, TokenServer};
use crate::credentials::oauth::http::{OAuthHttpClient, OAuthHttpError};
use crate::credentials::reach::{self, ForbiddenUrl};
use crate::credentials::token::GrantError;

/// The age at which metadata is fetched again.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// The part of a server's metadata that weir needs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ServerMetadata {
    /// `issuer`, as the server writes it.
    pub issuer: String,
    /// `token_endpoint`
    pub token_endpoint: Option<Url>,
}

/// The reason why there is no usable metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// A request for metadata failed.
    #[error(transparent)]
    Http(#[from] OAuthHttpError),
    /// None of the well-known URLs has metadata.
    #[error("there is no metadata at any of its well-known URLs")]
    None,
    /// The metadata names another issuer than the one that it was requested for (RFC 8414 §3.3).
    #[error("its metadata is of another issuer than the one in the config")]
    Issuer,
    /// It has no token endpoint.
    #[error("its metadata names no token endpoint")]
    NoEndpoint,
    /// It has a token endpoint to which weir sends nothing.
    #[error("its metadata names a token endpoint that weir does not use: {0}")]
    Endpoint(ForbiddenUrl),
}

/// The URL to which token requests are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEndpoint {
    /// The URL.
    pub url: Url,
    /// The audience of client assertions: the issuer if it is known (draft-ietf-oauth-rfc7523bis),
    /// otherwise the token endpoint (RFC 7523 §3).
    pub audience: String,
}

/// Finds the token endpoint of a client and remembers it.
#[derive(Debug)]
pub struct Discovery {
    server: TokenServer,
    allowed_hosts: Vec<String>,
    found: Mutex<Option<(TokenEndpoint, Instant)>>,
}

impl Discovery {
    /// Creates the discovery of a client. Opens no connection.
    #[must_use]
    pub fn new(client: &OAuthClient) -> Self {
        Self {
            server: client.server.clone(),
            allowed_hosts: client.allowed_hosts.clone(),
            found: Mutex::default(),
        }
    }

    /// Returns the token endpoint. After an hour it is discovered again; if that request fails, the
    /// known one is returned.
    ///
    /// # Errors
    /// There is no usable one.
    pub async fn endpoint(&self, http: &OAuthHttpClient) -> Result<TokenEndpoint, GrantError> {
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
            && when.elapsed() < MAX_AGE
        {
            return Ok(endpoint.clone());
        }
        match self.discover(issuer, http).await {
            Ok(endpoint) => {
                *self.found() = Some((endpoint.clone(), Instant::now()));
                Ok(endpoint)
            }
            Err(DiscoveryError::Http(_)) if let Some((endpoint, _)) = known => Ok(endpoint),
            Err(DiscoveryError::Http(error)) => Err(error.into_grant_error("the issuer")),
            Err(error) => Err(GrantError::Rejected(
                format!("the issuer names no usable token endpoint: {error}").into(),
            )),
        }
    }

    /// Forgets the endpoint, because it may have moved: it is discovered again next time.
    pub fn forget(&self) {
        *self.found() = None;
    }

    fn found(&self) -> parking_lot::MutexGuard<'_, Option<(TokenEndpoint, Instant)>> {
        self.found.lock()
    }

    async fn discover(
        &self,
        issuer: &Url,
        http: &OAuthHttpClient,
    ) -> Result<TokenEndpoint, DiscoveryError> {
        let (metadata, _) = fetch_metadata(issuer, http).await?;
        let url = metadata.token_endpoint.ok_or(DiscoveryError::NoEndpoint)?;
        check_endpoint(&url, issuer, &self.allowed_hosts, http)
            .map_err(DiscoveryError::Endpoint)?;
        Ok(TokenEndpoint {
            url,
            audience: metadata.issuer,
        })
    }
}

/// Fetches the metadata of an issuer from the first of its well-known URLs that has any. Returns
/// its whole text too.
///
/// # Errors
/// There is none, or it is of another issuer.
pub async fn fetch_metadata(
    issuer: &Url,
    http: &OAuthHttpClient,
) -> Result<(ServerMetadata, Vec<u8>), DiscoveryError> {
    let mut unavailable = None;
    for url in well_known_urls(issuer) {
        let mut request = HttpRequest::new(Vec::new());
        *request.uri_mut() = url.as_str().parse().map_err(|_| OAuthHttpError::Url)?;
        let response = match http.send(request).await {
            Ok(response) => response,
            // Some servers answer a path that they do not know with these.
            Err(error @ (OAuthHttpError::Unavailable(..) | OAuthHttpError::Redirect)) => {
                unavailable = unavailable.or(Some(error));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if response.status() != StatusCode::OK {
            continue;
        }
        let Ok(metadata) = serde_json::from_slice::<ServerMetadata>(response.body()) else {
            continue;
        };
        // Compared as URLs: an issuer may be written without the `/` after the host.
        return match Url::parse(&metadata.issuer) {
            Ok(written) if written == *issuer => Ok((metadata, response.into_body())),
            _ => Err(DiscoveryError::Issuer),
        };
    }
    Err(unavailable.map_or(DiscoveryError::None, DiscoveryError::Http))
}

/// Returns the URLs where an issuer may publish its metadata. RFC 8414 §3 inserts the well-known
/// part before the issuer's path, OpenID Connect Discovery §4 appends it, and some servers insert
/// OpenID's part (RFC 8414 §5).
#[must_use]
pub fn well_known_urls(issuer: &Url) -> Vec<Url> {
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

/// Checks that an endpoint belongs to an issuer: it has the issuer's origin, a host that the
/// operator allows, or both are of Amazon Cognito.
pub(super) fn check_endpoint(
    endpoint: &Url,
    issuer: &Url,
    allowed_hosts: &[String],
    http: &OAuthHttpClient,
) -> Result<(), ForbiddenUrl> {
    http.check(endpoint)?;
    match is_cognito_pair(endpoint, issuer) {
        true => Ok(()),
        false => reach::check_origin(endpoint, issuer, allowed_hosts, http.allows_plain_http()),
    }
}

/// Returns whether an endpoint and an issuer are of an Amazon Cognito user pool in the same region.
/// The issuer is `https://cognito-idp.{region}.amazonaws.com/{pool}`, the token endpoint
/// `https://{prefix}.auth.{region}.amazoncognito.com/oauth2/token` (Cognito developer guide, "Token
/// endpoint"). AWS owns both domains, so the pair is allowed. A custom domain of a user pool has to
/// be in `allowed_hosts`.
fn is_cognito_pair(endpoint: &Url, issuer: &Url) -> bool {
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
            let places = well_known_urls(&url(issuer));
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
        let http = OAuthHttpClient::new(crate::tls::TlsConfigs::plain().unwrap(), false).unwrap();
        let allowed = ["tokens.example".to_owned()];
        for (endpoint, issuer, expected) in cases {
            let check_endpoint = check_endpoint(&url(endpoint), &url(issuer), &allowed, &http);
            assert_eq!(check_endpoint.is_ok(), expected, "{endpoint} of {issuer}");
        }
    }
}
