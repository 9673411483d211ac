//! The HTTP client of a login: all requests go through it, including those of rmcp.

use oauth2::{HttpRequest, HttpResponse};
use rmcp::transport::auth::{
    OAuthHttpClient as RmcpHttpClient, OAuthHttpClientFuture, OAuthHttpRequest,
};
use url::Url;

use crate::config::{AuthorizationCode, HttpEndpoint};
use crate::credentials::context::CredentialsContext;
use crate::credentials::error::SetupError;
use crate::credentials::oauth::discovery;
use crate::credentials::oauth::http::{OAuthHttpClient, OAuthHttpError};
use crate::credentials::reach::{ForbiddenUrl, ReachLimit};

/// A client for an upstream and for its authorization server.
#[derive(Debug)]
pub(super) struct LoginHttpClient {
    /// Checks every URL before it sends something there.
    pub(super) client: OAuthHttpClient,
    upstream: Url,
    allowed_hosts: Vec<String>,
}

impl LoginHttpClient {
    /// Creates the client for one upstream. Opens no connection.
    pub(super) fn new(
        upstream: &HttpEndpoint,
        config: &AuthorizationCode,
        context: &CredentialsContext,
    ) -> Result<Self, SetupError> {
        let tls = context.tls.for_tokens(&upstream.tls)?;
        let limit = ReachLimit::new(&upstream.url, config.issuer.as_ref(), &config.allowed_hosts);
        let plain = config.allow_plain_http || upstream.allow_plain_http;
        Ok(Self {
            client: OAuthHttpClient::within(tls, plain, Some(limit))?,
            upstream: upstream.url.clone(),
            allowed_hosts: config.allowed_hosts.clone(),
        })
    }

    /// Checks that an endpoint belongs to the issuer or is allowed, see
    /// [`discovery::check_endpoint`].
    pub(super) fn check_endpoint(&self, endpoint: &Url, issuer: &Url) -> Result<(), ForbiddenUrl> {
        discovery::check_endpoint(endpoint, issuer, &self.allowed_hosts, &self.client)
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, OAuthHttpError> {
        // A response of the upstream itself may be an endless stream.
        match request.uri() == self.upstream.as_str() {
            true => self.client.send_for_head(request).await,
            false => self.client.send(request).await,
        }
    }
}

impl RmcpHttpClient for LoginHttpClient {
    fn execute(&self, request: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        // The request may ask to follow redirects; that is ignored, so that metadata comes from the
        // URL that was named.
        Box::pin(async move { self.send(request.request).await.map_err(Into::into) })
    }
}
