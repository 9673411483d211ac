//! The HTTP client for authorization servers. It follows no redirects, and limits the size and the
//! time of responses.

use std::error::Error as StdError;
use std::io;
use std::iter::successors;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use oauth2::{HttpRequest, HttpResponse};
use url::Url;

use crate::credentials::error::SetupError;
use crate::credentials::reach::{self, ForbiddenUrl, ReachLimit, Resolver};
use crate::credentials::token::GrantError;
use crate::protocol::headers::retry_after;
use crate::tls;

/// The longest that one request may take, including the whole response.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest body of a response.
const MAX_BODY: usize = 1024 * 1024;

/// An HTTP client for the authorization server of one upstream.
#[derive(Debug)]
pub struct OAuthHttpClient {
    client: reqwest::Client,
    allow_plain_http: bool,
    /// Where the URLs may lead that an upstream names.
    limit: Option<ReachLimit>,
}

/// The reason why there is no response, or none that is worth reading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OAuthHttpError {
    /// Weir sends nothing to this URL.
    #[error(transparent)]
    Forbidden(#[from] ForbiddenUrl),
    /// HTTP cannot carry the request.
    #[error("its URL cannot be used")]
    Url,
    /// There is no connection, for a reason in weir's own words.
    #[error("{0}")]
    Connect(Box<str>),
    /// There was no response in time.
    #[error("it does not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// The connection broke off.
    #[error("the connection broke off")]
    Broken,
    /// The response is longer than this many bytes.
    #[error("its response is longer than {} KiB", .0 / 1024)]
    TooLong(usize),
    /// Status 429 or 5xx, with the `Retry-After` of the response, if it has one.
    #[error("it answers with HTTP status {}", .0.as_u16())]
    Unavailable(StatusCode, Option<Duration>),
    /// Status 3xx.
    #[error("it answers with a redirect, which weir does not follow")]
    Redirect,
}

impl OAuthHttpError {
    /// Turns the error into that of a grant. `server` names where the request went: `the token
    /// endpoint`.
    #[must_use]
    pub fn into_grant_error(self, server: &str) -> GrantError {
        let reason = format!("{server} gives no token: {self}").into();
        match self {
            Self::Unavailable(_, Some(after)) => GrantError::RetryAfter(reason, after),
            Self::Forbidden(_) | Self::Url | Self::Redirect | Self::TooLong(_) => {
                GrantError::Rejected(reason)
            }
            Self::Connect(_) | Self::Timeout | Self::Broken | Self::Unavailable(..) => {
                GrantError::Temporary(reason)
            }
        }
    }
}

impl OAuthHttpClient {
    /// Creates a client. Opens no connection.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(tls: rustls::ClientConfig, allow_plain_http: bool) -> Result<Self, SetupError> {
        Self::within(tls, allow_plain_http, None)
    }

    /// Creates a client for URLs that an upstream names. Opens no connection.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn within(
        tls: rustls::ClientConfig,
        allow_plain_http: bool,
        limit: Option<ReachLimit>,
    ) -> Result<Self, SetupError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Resolver::new(limit.clone()))
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            // Requests are minutes apart: until then the server would have closed an idle
            // connection.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(SetupError::Client)?;
        Ok(Self {
            client,
            allow_plain_http,
            limit,
        })
    }

    /// Checks that weir may send requests to a URL.
    ///
    /// # Errors
    /// It may not.
    pub fn check(&self, url: &Url) -> Result<(), ForbiddenUrl> {
        reach::check(url, self.allow_plain_http)?;
        self.limit.as_ref().map_or(Ok(()), |limit| limit.check(url))
    }

    /// Returns whether plain `http` is allowed beyond loopback.
    #[must_use]
    pub const fn allows_plain_http(&self) -> bool {
        self.allow_plain_http
    }

    /// Sends a request and reads the response, whatever its status, except for a redirect, 429 and
    /// 5xx.
    ///
    /// # Errors
    /// There is no such response, or it is longer than 1 MiB.
    pub async fn send(&self, request: HttpRequest) -> Result<HttpResponse, OAuthHttpError> {
        self.send_within(request, MAX_BODY).await
    }

    /// Does the same with another bound for the body of the response, in bytes.
    ///
    /// # Errors
    /// There is no such response, or it is longer.
    pub async fn send_within(
        &self,
        request: HttpRequest,
        most: usize,
    ) -> Result<HttpResponse, OAuthHttpError> {
        let mut response = self.begin(request).await?;
        let status = response.status();
        if status.is_redirection() {
            return Err(OAuthHttpError::Redirect);
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(OAuthHttpError::Unavailable(
                status,
                retry_after(response.headers(), SystemTime::now()),
            ));
        }
        let headers = response.headers().clone();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(from_reqwest)? {
            if body.len() + chunk.len() > most {
                return Err(OAuthHttpError::TooLong(most));
            }
            body.extend_from_slice(&chunk);
        }
        let mut read = HttpResponse::new(body);
        *read.status_mut() = status;
        *read.headers_mut() = headers;
        Ok(read)
    }

    /// Sends a request and reads only the head of the response, whatever its status: the body may
    /// be an endless stream.
    ///
    /// # Errors
    /// There is no response.
    pub async fn send_for_head(
        &self,
        request: HttpRequest,
    ) -> Result<HttpResponse, OAuthHttpError> {
        let response = self.begin(request).await?;
        let mut read = HttpResponse::default();
        *read.status_mut() = response.status();
        *read.headers_mut() = response.headers().clone();
        Ok(read)
    }

    async fn begin(&self, request: HttpRequest) -> Result<reqwest::Response, OAuthHttpError> {
        let request = reqwest::Request::try_from(request).map_err(|_| OAuthHttpError::Url)?;
        self.check(request.url())?;
        self.client.execute(request).await.map_err(from_reqwest)
    }
}

fn from_reqwest(error: reqwest::Error) -> OAuthHttpError {
    if error.is_timeout() {
        OAuthHttpError::Timeout
    } else if error.is_connect() {
        explain_connect(&error)
    } else {
        OAuthHttpError::Broken
    }
}

/// Explains in weir's own words why there is no connection.
fn explain_connect(error: &(dyn StdError + 'static)) -> OAuthHttpError {
    if let Some(forbidden) = find_cause::<ForbiddenUrl>(error) {
        return OAuthHttpError::Forbidden(*forbidden);
    }
    if let Some(failure) = find_cause::<rustls::Error>(error) {
        return OAuthHttpError::Connect(tls::describe(failure).into());
    }
    let is_name = causes(error).any(|cause| cause.to_string().starts_with("dns error"));
    let reason = match is_name {
        true => "its name cannot be resolved",
        false => "no connection",
    };
    OAuthHttpError::Connect(reason.into())
}

/// Finds the first cause of a type. An `io::Error` does not name what it contains as its source, so
/// that is searched too.
fn find_cause<'e, E: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    let unwrapped = |error: &&'e (dyn StdError + 'static)| {
        let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
        Some(inner as &'e (dyn StdError + 'static))
    };
    causes(error)
        .flat_map(|cause| successors(Some(cause), unwrapped))
        .find_map(|cause| cause.downcast_ref())
}

fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let next = |error: &&'e (dyn StdError + 'static)| StdError::source(*error);
    successors(Some(error), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn why_there_is_no_connection_is_in_words_of_weirs_own() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = OAuthHttpClient::new(tls::TlsConfigs::plain().unwrap(), false).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        for (url, words) in [
            (format!("http://127.0.0.1:{port}/"), "no connection"),
            (
                "https://no-such-name.invalid/".to_owned(),
                "its name cannot be resolved",
            ),
        ] {
            let mut request = HttpRequest::new(Vec::new());
            *request.uri_mut() = url.parse().unwrap();
            let error = http.send(request).await.unwrap_err();
            assert_eq!(error, OAuthHttpError::Connect(words.into()), "{url}");
        }
        let broken = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let error = io::Error::other(io::Error::other(broken));
        let words = explain_connect(&error).to_string();
        assert!(words.contains("unknown CA"), "{words}");
        let error = io::Error::other(ForbiddenUrl::LinkLocal);
        assert_eq!(
            explain_connect(&error),
            OAuthHttpError::Forbidden(ForbiddenUrl::LinkLocal)
        );
    }
}
