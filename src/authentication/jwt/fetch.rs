//! How the keys of an issuer are found and fetched: its metadata (OpenID Connect Discovery 1.0, RFC
//! 8414), then its JWK Set.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use oauth2::HttpRequest;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::key_cache::{FetchError, FetchKeys, FetchedKeys};
use super::keys::{JwksError, KeySet};
use super::token::excerpt;
use crate::authentication::context::AuthenticationContext;
use crate::config::{JwksOrigin, JwtIssuer, MAX_JWKS};
use crate::credentials::SetupError;
use crate::credentials::oauth::discovery::well_known_urls;
use crate::credentials::oauth::http::{OAuthHttpClient, OAuthHttpError};
use crate::credentials::reach::{ForbiddenUrl, ReachLimit};
use crate::tls::TlsConfigs;

/// The longest that one fetch may take, metadata and keys together.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The age at which metadata is fetched again.
const METADATA_AGE: Duration = Duration::from_secs(3600);

/// The part of an issuer's metadata that is needed here.
#[derive(Deserialize)]
struct IssuerMetadata {
    issuer: String,
    jwks_uri: Option<Url>,
}

/// Why there are no keys, in words for operators.
#[derive(Debug, thiserror::Error)]
enum KeysError {
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Slow,
    #[error("{place}: {source}")]
    Http { place: Url, source: OAuthHttpError },
    #[error("{place} is not used: {}", explain(.reason))]
    Forbidden { place: Url, reason: ForbiddenUrl },
    #[error("{place} answers with HTTP status {}", status.as_u16())]
    Status { place: Url, status: StatusCode },
    #[error(
        "there is no metadata at any of the issuer's well-known URLs; `discovery_url` or `jwks` says where its keys are"
    )]
    NoMetadata,
    #[error("the metadata at {0} is not a JSON object with `issuer` and `jwks_uri`")]
    Metadata(Url),
    #[error(
        "the metadata at {place} is of the issuer `{named}`; if it is right, write it as `issuer`, character by character"
    )]
    OtherIssuer { place: Url, named: String },
    #[error("{place}: {source}")]
    Jwks { place: Url, source: JwksError },
}

/// A client for the keys of one issuer.
struct KeyClient {
    http: OAuthHttpClient,
    issuer: Box<str>,
    origin: JwksOrigin,
    /// Where the metadata says that the keys are, and since when that is known.
    found: Mutex<Option<(Url, Instant)>>,
}

/// Makes the [`FetchKeys`] of an issuer whose keys are at `url`, or named by metadata there.
///
/// # Errors
/// The HTTP client cannot be built.
pub(super) fn make_fetch(
    entry: &JwtIssuer,
    url: &Url,
    context: &AuthenticationContext,
) -> Result<FetchKeys, SetupError> {
    // An address that the metadata names may not be nearer than the issuer itself.
    let limit = ReachLimit::new(url, None, &entry.allowed_hosts);
    // Without `https`, the certificates that the machine trusts are not read.
    let needs_trust = url.scheme() == "https" || !entry.allowed_hosts.is_empty();
    let tls = match needs_trust {
        true => context.tls.system_trust()?,
        false => TlsConfigs::plain()?,
    };
    let client = Arc::new(KeyClient {
        http: OAuthHttpClient::within(tls, false, Some(limit))?,
        issuer: entry.issuer.clone(),
        origin: entry.keys.clone(),
        found: Mutex::new(None),
    });
    Ok(Box::new(move || {
        let client = Arc::clone(&client);
        Box::pin(async move { client.fetch().await })
    }))
}

impl KeyClient {
    async fn fetch(&self) -> Result<FetchedKeys, FetchError> {
        let fetched = tokio::time::timeout(TIMEOUT, self.fetch_keys()).await;
        let fetched = fetched.unwrap_or(Err(KeysError::Slow));
        if fetched.is_err() {
            // The keys may have moved.
            *self.found.lock() = None;
        }
        fetched.map_err(|error| error.to_string().into())
    }

    async fn fetch_keys(&self) -> Result<FetchedKeys, KeysError> {
        let place = self.find().await?;
        let (headers, body) = match self.get(&place).await? {
            (StatusCode::OK, headers, body) => (headers, body),
            (status, ..) => return Err(KeysError::Status { place, status }),
        };
        let keys = std::str::from_utf8(&body).map_err(|_| JwksError::Syntax);
        let keys = keys.and_then(KeySet::parse);
        let keys = keys.map_err(|source| KeysError::Jwks { place, source })?;
        Ok(FetchedKeys {
            keys,
            max_age: max_age(&headers),
        })
    }

    /// Returns where the keys are.
    async fn find(&self) -> Result<Url, KeysError> {
        if let Some((url, at)) = &*self.found.lock()
            && at.elapsed() < METADATA_AGE
        {
            return Ok(url.clone());
        }
        let url = match &self.origin {
            JwksOrigin::Url(url) => return Ok(url.clone()),
            JwksOrigin::Metadata(url) => match self.get_metadata(url).await? {
                Some(keys) => keys,
                None => return Err(KeysError::Metadata(url.clone())),
            },
            JwksOrigin::Issuer(issuer) => self.discover(issuer).await?,
            // Its keys are not fetched.
            JwksOrigin::File(_) => return Err(KeysError::NoMetadata),
        };
        *self.found.lock() = Some((url.clone(), Instant::now()));
        Ok(url)
    }

    /// Looks for metadata at the well-known places of the issuer: OpenID's first, which more issuers
    /// of users have.
    async fn discover(&self, issuer: &Url) -> Result<Url, KeysError> {
        let mut places = well_known_urls(issuer);
        places.sort_by_key(|place| !place.path().contains("openid-configuration"));
        let mut failed = None;
        for place in places {
            match self.get_metadata(&place).await {
                Ok(Some(keys)) => return Ok(keys),
                Ok(None) => {}
                // Some servers answer a path that they do not know with an error of their own.
                Err(
                    error @ KeysError::Http {
                        source: OAuthHttpError::Unavailable(..) | OAuthHttpError::Redirect,
                        ..
                    },
                ) => failed = failed.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Err(failed.unwrap_or(KeysError::NoMetadata))
    }

    /// Returns where the metadata at a place says that the keys are; `None` if there is no metadata.
    async fn get_metadata(&self, place: &Url) -> Result<Option<Url>, KeysError> {
        let (status, _, body) = self.get(place).await?;
        if status != StatusCode::OK {
            return Ok(None);
        }
        let Ok(metadata) = serde_json::from_slice::<IssuerMetadata>(&body) else {
            return Ok(None);
        };
        // RFC 8414 §3.3: identical, so that no issuer speaks for another one.
        if *metadata.issuer != *self.issuer {
            return Err(KeysError::OtherIssuer {
                place: place.clone(),
                named: excerpt(&metadata.issuer),
            });
        }
        let missing = || KeysError::Metadata(place.clone());
        metadata.jwks_uri.map(Some).ok_or_else(missing)
    }

    async fn get(&self, place: &Url) -> Result<(StatusCode, HeaderMap, Vec<u8>), KeysError> {
        let failed = |error| {
            let place = place.clone();
            if let OAuthHttpError::Forbidden(reason) = error {
                return KeysError::Forbidden { place, reason };
            }
            let source = error;
            KeysError::Http { place, source }
        };
        let mut request = HttpRequest::new(Vec::new());
        let uri = place.as_str().parse();
        *request.uri_mut() = uri.map_err(|_| failed(OAuthHttpError::Url))?;
        let accept = header::HeaderValue::from_static("application/json, application/jwk-set+json");
        request.headers_mut().insert(header::ACCEPT, accept);
        let most = usize::try_from(MAX_JWKS).unwrap_or(usize::MAX);
        let response = self.http.send_within(request, most).await.map_err(failed)?;
        let (parts, body) = response.into_parts();
        Ok((parts.status, parts.headers, body))
    }
}

/// Explains why a URL that the metadata names is not used.
fn explain(reason: &ForbiddenUrl) -> String {
    match reason {
        ForbiddenUrl::Plain => "it is plain http, which is used on loopback only".to_owned(),
        ForbiddenUrl::Nearer | ForbiddenUrl::OtherOrigin => {
            "it is nearer to weir than the issuer, or another port there; if it is right, name its host in `allowed_hosts`".to_owned()
        }
        ForbiddenUrl::Scheme | ForbiddenUrl::Parts | ForbiddenUrl::LinkLocal => reason.to_string(),
    }
}

/// Returns how long a response may be used (RFC 9111 §5.2.2): `max-age`, or nothing of `no-store` and
/// `no-cache`.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let directives: Vec<_> = values
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase())
        .collect();
    let is_one_time = |directive: &String| directive == "no-store" || directive == "no-cache";
    if directives.iter().any(is_one_time) {
        return Some(Duration::ZERO);
    }
    let seconds = directives
        .iter()
        .find_map(|directive| directive.strip_prefix("max-age="))?;
    seconds
        .trim_matches('"')
        .parse()
        .ok()
        .map(Duration::from_secs)
}
