//! The HTTP client for authorization servers: nothing followed, nothing long, nothing slow.

use std::error::Error as StdError;
use std::io;
use std::iter::successors;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use oauth2::{HttpRequest, HttpResponse};
use url::Url;

use crate::credentials::SetupError;
use crate::credentials::reach::{self, Resolver, Unreachable};
use crate::credentials::token::GrantError;
use crate::protocol::headers::retry_after;
use crate::tls;

/// How long one request may take, its whole answer included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const BODY: usize = 1024 * 1024;

/// An HTTP client for the authorization server of one upstream.
#[derive(Debug)]
pub struct Http {
    client: reqwest::Client,
    allow_plain_http: bool,
}

/// Why there is no answer, or none to look at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Weir does not go there.
    #[error(transparent)]
    Reach(#[from] Unreachable),
    /// The request is none that HTTP can carry.
    #[error("its URL is not usable")]
    Url,
    /// No connection. In weir's own words why.
    #[error("{0}")]
    Connect(Box<str>),
    /// Too slow.
    #[error("it does not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// The connection broke.
    #[error("the connection broke off")]
    Broken,
    /// The answer is too long.
    #[error("its answer is too long")]
    TooLong,
    /// 429, 5xx.
    #[error("it answers with HTTP status {}", .0.as_u16())]
    Unwell(StatusCode, Option<Duration>),
    /// 3xx.
    #[error("it answers with a redirect, which is not followed")]
    Redirect,
}

impl HttpError {
    /// What it means for a grant. `what` is where the request went: `the token endpoint`.
    #[must_use]
    pub fn for_grant(self, what: &str) -> GrantError {
        let words = format!("{what} gives no token: {self}").into();
        match self {
            Self::Unwell(_, Some(after)) => GrantError::Later(words, after),
            Self::Reach(_) | Self::Url | Self::Redirect | Self::TooLong => {
                GrantError::Refused(words)
            }
            Self::Connect(_) | Self::Timeout | Self::Broken | Self::Unwell(..) => {
                GrantError::Passing(words)
            }
        }
    }
}

impl Http {
    /// A client. Opens nothing.
    ///
    /// # Errors
    /// No HTTP client on this machine.
    pub fn new(tls: rustls::ClientConfig, allow_plain_http: bool) -> Result<Self, SetupError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Resolver::new())
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            // Requests are minutes apart: a kept connection would be a dead one.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(SetupError::Client)?;
        Ok(Self {
            client,
            allow_plain_http,
        })
    }

    /// Whether weir sends anything there.
    ///
    /// # Errors
    /// Why not.
    pub fn may(&self, url: &Url) -> Result<(), Unreachable> {
        reach::check(url, self.allow_plain_http)
    }

    /// Whether plain `http` is allowed beyond loopback.
    #[must_use]
    pub const fn allows_plain(&self) -> bool {
        self.allow_plain_http
    }

    /// Sends a request and reads its answer, whatever it says, unless that is a redirect, 429 or 5xx.
    ///
    /// # Errors
    /// There is no such answer.
    pub async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut response = self.begin(request).await?;
        let status = response.status();
        if status.is_redirection() {
            return Err(HttpError::Redirect);
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(HttpError::Unwell(
                status,
                retry_after(response.headers(), SystemTime::now()),
            ));
        }
        let headers = response.headers().clone();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(from_reqwest)? {
            if body.len() + chunk.len() > BODY {
                return Err(HttpError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        let mut answer = HttpResponse::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    /// Sends a request and reads the head of its answer, whatever it says: what follows may be a stream.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn head(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.begin(request).await?;
        let mut answer = HttpResponse::default();
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        Ok(answer)
    }

    async fn begin(&self, request: HttpRequest) -> Result<reqwest::Response, HttpError> {
        let request = reqwest::Request::try_from(request).map_err(|_| HttpError::Url)?;
        self.may(request.url())?;
        self.client.execute(request).await.map_err(from_reqwest)
    }
}

fn from_reqwest(error: reqwest::Error) -> HttpError {
    if error.is_timeout() {
        HttpError::Timeout
    } else if error.is_connect() {
        not_connected(&error)
    } else {
        HttpError::Broken
    }
}

/// What the system and the TLS library say, in words that are known beforehand.
fn not_connected(error: &(dyn StdError + 'static)) -> HttpError {
    if let Some(refused) = within::<Unreachable>(error) {
        return HttpError::Reach(*refused);
    }
    if let Some(broken) = within::<rustls::Error>(error) {
        return HttpError::Connect(tls::cause(broken).into());
    }
    let is_name = causes(error).any(|cause| cause.to_string().starts_with("dns error"));
    let words = match is_name {
        true => "its name cannot be resolved",
        false => "no connection",
    };
    HttpError::Connect(words.into())
}

/// The cause of this kind, if there is one. Errors of IO hide what they were made of, one in the other.
fn within<'e, E: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e E> {
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
        let http = Http::new(tls::Tls::none().unwrap(), false).unwrap();
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
            assert_eq!(error, HttpError::Connect(words.into()), "{url}");
        }
        let broken = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let error = io::Error::other(io::Error::other(broken));
        let words = not_connected(&error).to_string();
        assert!(words.contains("unknown CA"), "{words}");
        let error = io::Error::other(Unreachable::LinkLocal);
        assert_eq!(
            not_connected(&error),
            HttpError::Reach(Unreachable::LinkLocal)
        );
    }
}
