//! The token requests of a login: exchange a code or a refresh token for tokens (RFC 6749 §4.1.3
//! and §6).

use std::future::Future;
use std::pin::Pin;
use std::time::SystemTime;

use oauth2::basic::BasicErrorResponse;
use oauth2::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, EndpointSet, HttpRequest,
    HttpResponse, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError,
    TokenResponse as _, TokenUrl,
};
use url::Url;

use crate::credentials::oauth::http::{OAuthHttpClient, OAuthHttpError};
use crate::credentials::oauth::store::IssuedTokens;
use crate::credentials::oauth::token_response::{AccessTokenResponse, LibraryClient};
use crate::secret::Secret;

/// The reason why the token endpoint gave no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokenRequestError {
    /// The request failed.
    #[error("the token endpoint cannot be used")]
    Http(#[source] OAuthHttpError),
    /// The server rejected the request.
    #[error("the token endpoint rejects the request ({})", code.unwrap_or("without a known error code"))]
    Rejected {
        /// The error code, if it is one of RFC 6749 §5.2 or RFC 8707 §2.
        code: Option<&'static str>,
    },
    /// The response has no token, or one of another type than `Bearer`.
    #[error("the response of the token endpoint has no bearer token")]
    Unreadable,
}

/// The grant of a token request.
pub(super) enum PresentedGrant<'h> {
    /// An authorization code.
    Code {
        /// `code`
        code: String,
        /// `code_verifier`
        verifier: PkceCodeVerifier,
        /// `redirect_uri`
        redirect: String,
    },
    /// A refresh token.
    RefreshToken(&'h Secret),
}

/// The client's secret, as one request presents it (RFC 6749 §2.3.1).
#[derive(Debug)]
pub(super) enum PresentedSecret {
    /// None: the client is public.
    None,
    /// In the `Authorization` header: `client_secret_basic`.
    Basic(Secret),
    /// In the body: `client_secret_post`.
    Post(Secret),
}

type LibraryError = RequestTokenError<OAuthHttpError, BasicErrorResponse>;

/// A token request without its grant.
pub(super) struct TokenRequest<'r> {
    /// The token endpoint.
    pub(super) endpoint: &'r Url,
    /// `client_id`
    pub(super) client_id: &'r str,
    /// The client's secret.
    pub(super) secret: PresentedSecret,
    /// `resource` (RFC 8707).
    pub(super) resource: &'r str,
}

impl TokenRequest<'_> {
    /// Sends the request with a grant, and reads the tokens.
    ///
    /// # Errors
    /// The server gave no tokens.
    pub(super) async fn send(
        &self,
        grant: PresentedGrant<'_>,
        http: &OAuthHttpClient,
    ) -> Result<IssuedTokens, TokenRequestError> {
        let client = self.client();
        let adapter = HttpAdapter(http);
        let response = match grant {
            PresentedGrant::Code {
                code,
                verifier,
                redirect,
            } => {
                let redirect =
                    RedirectUrl::new(redirect).map_err(|_| TokenRequestError::Unreadable)?;
                let request = client
                    .exchange_code(AuthorizationCode::new(code))
                    .set_pkce_verifier(verifier)
                    .set_redirect_uri(std::borrow::Cow::Owned(redirect));
                let request = request.add_extra_param("resource", self.resource);
                request.request_async(&adapter).await
            }
            PresentedGrant::RefreshToken(token) => {
                let token = RefreshToken::new(token.expose().to_owned());
                let request = client.exchange_refresh_token(&token);
                let request = request.add_extra_param("resource", self.resource);
                request.request_async(&adapter).await
            }
        };
        read_tokens(&response.map_err(explain)?)
    }

    fn client(&self) -> LibraryClient<EndpointSet> {
        let client = LibraryClient::new(ClientId::new(self.client_id.to_owned()))
            .set_token_uri(TokenUrl::from_url(self.endpoint.clone()));
        let secret = |secret: &Secret| ClientSecret::new(secret.expose().to_owned());
        match &self.secret {
            PresentedSecret::None => client,
            PresentedSecret::Basic(text) => client.set_client_secret(secret(text)),
            PresentedSecret::Post(text) => client
                .set_client_secret(secret(text))
                .set_auth_type(AuthType::RequestBody),
        }
    }
}

/// The HTTP client in the form that `oauth2` takes.
struct HttpAdapter<'h>(&'h OAuthHttpClient);

impl<'c> AsyncHttpClient<'c> for HttpAdapter<'_> {
    type Error = OAuthHttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, OAuthHttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.0.send(request))
    }
}

fn read_tokens(response: &AccessTokenResponse) -> Result<IssuedTokens, TokenRequestError> {
    let token = response
        .token(false)
        .map_err(|_| TokenRequestError::Unreadable)?;
    let left = |end: SystemTime| end.duration_since(SystemTime::now()).ok();
    Ok(IssuedTokens {
        access: Secret::new(response.access_token().secret()),
        refresh: response
            .refresh_token()
            .map(|token| Secret::new(token.secret())),
        lifetime: token.expires.and_then(left),
    })
}

fn explain(error: LibraryError) -> TokenRequestError {
    match error {
        RequestTokenError::Request(error) => TokenRequestError::Http(error),
        RequestTokenError::ServerResponse(response) => {
            let written = response.error().as_ref();
            let code = ERROR_CODES.into_iter().find(|code| *code == written);
            TokenRequestError::Rejected { code }
        }
        // The texts of these errors may contain a token.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => TokenRequestError::Unreadable,
    }
}

/// The error codes that may be shown.
const ERROR_CODES: [&str; 8] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "access_denied",
];
