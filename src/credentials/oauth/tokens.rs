//! Token requests of a login: a code or a refresh token for tokens (RFC 6749 §4.1.3, §6).

use std::future::Future;
use std::pin::Pin;
use std::time::SystemTime;

use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
};
use oauth2::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, EndpointNotSet,
    EndpointSet, HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl, RefreshToken,
    RequestTokenError, StandardRevocableToken, TokenResponse as _, TokenUrl,
};
use url::Url;

use crate::credentials::oauth::answer::Answer;
use crate::credentials::oauth::http::{Http, HttpError};
use crate::credentials::oauth::store::Tokens;
use crate::secret::Secret;

/// Why the token endpoint gave no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// No answer.
    #[error("the token endpoint cannot be used")]
    Http(#[source] HttpError),
    /// The server said no, with a code of RFC 6749 §5.2 or RFC 8707 §2 if it has one.
    #[error("the token endpoint refuses ({})", code.unwrap_or("without a known error code"))]
    Refused {
        /// The code.
        code: Option<&'static str>,
    },
    /// The answer is no token, or one of a type that is not `Bearer`.
    #[error("the answer of the token endpoint is not a bearer token")]
    Nonsense,
}

/// What is turned into tokens.
pub(super) enum Have<'h> {
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
    Refresh(&'h Secret),
}

/// How the client proves who it is.
#[derive(Debug)]
pub(super) enum Proof {
    /// Not at all.
    None,
    /// `client_secret_basic`
    Basic(Secret),
    /// `client_secret_post`
    Post(Secret),
}

type Client<Endpoint = EndpointNotSet> = oauth2::Client<
    BasicErrorResponse,
    Answer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    Endpoint,
>;

type Failure = RequestTokenError<HttpError, BasicErrorResponse>;

/// What goes with every token request besides the grant.
pub(super) struct Request<'r> {
    /// Where.
    pub(super) endpoint: &'r Url,
    /// `client_id`
    pub(super) client_id: &'r str,
    /// How the client proves who it is.
    pub(super) proof: Proof,
    /// `resource` (RFC 8707).
    pub(super) resource: &'r str,
}

impl Request<'_> {
    /// Sends it.
    ///
    /// # Errors
    /// No tokens came of it.
    pub(super) async fn send(&self, have: Have<'_>, http: &Http) -> Result<Tokens, TokensError> {
        let client = self.client();
        let bridge = Bridge(http);
        let answer = match have {
            Have::Code {
                code,
                verifier,
                redirect,
            } => {
                let redirect = RedirectUrl::new(redirect).map_err(|_| TokensError::Nonsense)?;
                let request = client
                    .exchange_code(AuthorizationCode::new(code))
                    .set_pkce_verifier(verifier)
                    .set_redirect_uri(std::borrow::Cow::Owned(redirect));
                let request = request.add_extra_param("resource", self.resource);
                request.request_async(&bridge).await
            }
            Have::Refresh(token) => {
                let token = RefreshToken::new(token.expose().to_owned());
                let request = client.exchange_refresh_token(&token);
                let request = request.add_extra_param("resource", self.resource);
                request.request_async(&bridge).await
            }
        };
        tokens(&answer.map_err(explained)?)
    }

    fn client(&self) -> Client<EndpointSet> {
        let client = Client::new(ClientId::new(self.client_id.to_owned()))
            .set_token_uri(TokenUrl::from_url(self.endpoint.clone()));
        let secret = |secret: &Secret| ClientSecret::new(secret.expose().to_owned());
        match &self.proof {
            Proof::None => client,
            Proof::Basic(text) => client.set_client_secret(secret(text)),
            Proof::Post(text) => client
                .set_client_secret(secret(text))
                .set_auth_type(AuthType::RequestBody),
        }
    }
}

/// The client, as `oauth2` uses it.
struct Bridge<'h>(&'h Http);

impl<'c> AsyncHttpClient<'c> for Bridge<'_> {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.0.send(request))
    }
}

fn tokens(answer: &Answer) -> Result<Tokens, TokensError> {
    let token = answer.token(false).map_err(|_| TokensError::Nonsense)?;
    let left = |end: SystemTime| end.duration_since(SystemTime::now()).ok();
    Ok(Tokens {
        access: Secret::new(answer.access_token().secret()),
        refresh: answer
            .refresh_token()
            .map(|token| Secret::new(token.secret())),
        lifetime: token.expires.and_then(left),
    })
}

fn explained(failure: Failure) -> TokensError {
    match failure {
        RequestTokenError::Request(error) => TokensError::Http(error),
        RequestTokenError::ServerResponse(answer) => {
            let said = answer.error().as_ref();
            let code = CODES.into_iter().find(|code| *code == said);
            TokensError::Refused { code }
        }
        // What it says may have a token in it.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => TokensError::Nonsense,
    }
}

/// The error codes that may be shown.
const CODES: [&str; 8] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "access_denied",
];
