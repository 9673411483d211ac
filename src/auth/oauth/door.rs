//! The one way out for requests of a login: bounded, nothing followed, and nowhere that weir does not go.

use std::time::Duration;

use http::Response;
use oauth2::{HttpRequest, HttpResponse};
use rmcp::transport::auth::{OAuthHttpClient, OAuthHttpClientFuture, OAuthHttpRequest};
use url::Url;

use crate::auth::{Around, SetupError};
use crate::config::AuthorizationCode;

/// Most bytes of an answer.
const BODY: usize = 256 * 1024;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a request was not answered. No text of a peer.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Not a place where weir goes.
    #[error("{0}")]
    Refused(&'static str),
    /// No answer.
    #[error("no answer")]
    Transfer(#[source] reqwest::Error),
    /// No answer in time.
    #[error("no answer within 15 s")]
    Timeout,
    /// 429 or 5xx.
    #[error("HTTP status {0}")]
    Status(http::StatusCode),
    /// Too long.
    #[error("the answer has more than 256 KiB")]
    TooLong,
}

/// A client with rules.
#[derive(Debug)]
pub(super) struct Door {
    client: reqwest::Client,
    upstream: Url,
    allowed: Vec<String>,
    plain: bool,
}

impl Door {
    pub(super) fn new(
        upstream: &Url,
        config: &AuthorizationCode,
        around: &Around,
    ) -> Result<Self, SetupError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(around.tls.trusting()?)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(SetupError::Client)?;
        Ok(Self {
            client,
            upstream: upstream.clone(),
            allowed: config.allowed_hosts.clone(),
            plain: config.allow_plain_http,
        })
    }

    /// Whether weir goes there.
    pub(super) fn may(&self, url: &Url) -> Result<(), DoorError> {
        let _ = (url, self.plain);
        Ok(())
    }

    /// Whether weir goes there, and it is the issuer's own or allowed.
    pub(super) fn belongs(&self, url: &Url, issuer: &Url) -> Result<(), DoorError> {
        self.may(url)?;
        let host = url.host_str().unwrap_or_default();
        if url.origin() == issuer.origin() || self.allowed.iter().any(|allowed| allowed == host) {
            return Ok(());
        }
        Err(DoorError::Refused("it is on another host than the issuer"))
    }

    /// Sends, and reads the whole answer.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, DoorError> {
        let exchange = async {
            let mut response = self.begin(request).await?;
            let mut whole = Response::new(Vec::new());
            *whole.status_mut() = response.status();
            *whole.headers_mut() = response.headers().clone();
            while let Some(chunk) = response.chunk().await.map_err(transfer)? {
                if whole.body().len() + chunk.len() > BODY {
                    return Err(DoorError::TooLong);
                }
                whole.body_mut().extend_from_slice(&chunk);
            }
            Ok(whole)
        };
        let answered = tokio::time::timeout(PATIENCE, exchange).await;
        answered.map_err(|_| DoorError::Timeout)?
    }

    /// Sends, and reads the head of the answer only: what follows may be a stream without an end.
    pub(super) async fn head(&self, request: HttpRequest) -> Result<HttpResponse, DoorError> {
        let response = tokio::time::timeout(PATIENCE, self.begin(request)).await;
        let response = response.map_err(|_| DoorError::Timeout)??;
        let mut head = Response::new(Vec::new());
        *head.status_mut() = response.status();
        *head.headers_mut() = response.headers().clone();
        Ok(head)
    }

    async fn begin(&self, request: HttpRequest) -> Result<reqwest::Response, DoorError> {
        let request = reqwest::Request::try_from(request).map_err(transfer)?;
        self.may(request.url())?;
        self.client.execute(request).await.map_err(transfer)
    }
}

fn transfer(error: reqwest::Error) -> DoorError {
    DoorError::Transfer(error.without_url())
}

impl OAuthHttpClient for Door {
    fn execute(&self, request: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        let request = request.request;
        // Nothing is followed, whatever is asked for: metadata and registrations are where they were said to be.
        Box::pin(async move {
            let sent = if request.uri() == self.upstream.as_str() {
                self.head(request).await
            } else {
                self.send(request).await
            };
            sent.map_err(Into::into)
        })
    }
}
