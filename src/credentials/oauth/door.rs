//! The one way out for requests of a login: what rmcp sends goes through it too.

use oauth2::{HttpRequest, HttpResponse};
use rmcp::transport::auth::{OAuthHttpClient, OAuthHttpClientFuture, OAuthHttpRequest};
use url::Url;

use crate::config::{AuthorizationCode, HttpEndpoint};
use crate::credentials::oauth::discovery;
use crate::credentials::oauth::http::{Http, HttpError};
use crate::credentials::reach::Unreachable;
use crate::credentials::{Around, SetupError};

/// A client of an upstream and of its authorization server.
#[derive(Debug)]
pub(super) struct Door {
    /// The client, which goes nowhere that weir does not.
    pub(super) http: Http,
    upstream: Url,
    allowed_hosts: Vec<String>,
}

impl Door {
    /// For one upstream. Opens nothing.
    pub(super) fn new(
        upstream: &HttpEndpoint,
        config: &AuthorizationCode,
        around: &Around,
    ) -> Result<Self, SetupError> {
        let tls = around.tls.for_tokens(&upstream.tls)?;
        let plain = config.allow_plain_http || upstream.allow_plain_http;
        Ok(Self {
            http: Http::new(tls, plain)?,
            upstream: upstream.url.clone(),
            allowed_hosts: config.allowed_hosts.clone(),
        })
    }

    /// Whether an endpoint is the issuer's, or allowed.
    pub(super) fn belongs(&self, endpoint: &Url, issuer: &Url) -> Result<(), Unreachable> {
        discovery::belongs(endpoint, issuer, &self.allowed_hosts, &self.http)
    }

    async fn carry(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // What the upstream itself answers may have no end.
        match request.uri() == self.upstream.as_str() {
            true => self.http.head(request).await,
            false => self.http.send(request).await,
        }
    }
}

impl OAuthHttpClient for Door {
    fn execute(&self, request: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        // Nothing is followed, whatever is asked for: metadata is where it was said to be.
        Box::pin(async move { self.carry(request.request).await.map_err(Into::into) })
    }
}
