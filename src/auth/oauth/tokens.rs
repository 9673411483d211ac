//! Token requests of a login: a code or a refresh token for tokens (RFC 6749 §4.1.3, §6).

use std::future::Future;
use std::pin::Pin;

use http::StatusCode;
use oauth2::basic::{BasicClient, BasicTokenResponse, BasicTokenType};
use oauth2::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, HttpRequest,
    HttpResponse, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError,
    TokenResponse as _, TokenUrl,
};
use url::Url;

use crate::auth::oauth::door::{Door, DoorError};
use crate::auth::oauth::store::Tokens;
use crate::secret::Secret;

/// Why the token endpoint gave no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// No answer.
    #[error("the token endpoint cannot be used")]
    Door(#[source] DoorError),
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

type Client = BasicClient<
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointSet,
>;

type Failure = RequestTokenError<DoorError, oauth2::basic::BasicErrorResponse>;

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
    pub(super) async fn send(&self, have: Have<'_>, door: &Door) -> Result<Tokens, TokensError> {
        let client = self.client();
        let bridge = Bridge(door);
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
        tokens(answer.map_err(explained)?)
    }

    fn client(&self) -> Client {
        let client = BasicClient::new(ClientId::new(self.client_id.to_owned()))
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

/// The door, as `oauth2` uses it.
struct Bridge<'d>(&'d Door);

impl<'c> AsyncHttpClient<'c> for Bridge<'_> {
    type Error = DoorError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, DoorError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let answer = self.0.send(request).await?;
            let status = answer.status();
            // It is not the server's word, or it may be another one soon.
            match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                true => Err(DoorError::Status(status)),
                false => Ok(answer),
            }
        })
    }
}

fn tokens(answer: BasicTokenResponse) -> Result<Tokens, TokensError> {
    if *answer.token_type() != BasicTokenType::Bearer {
        return Err(TokensError::Nonsense);
    }
    let scopes = answer.scopes();
    let scopes = scopes.map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect());
    let refresh = answer.refresh_token();
    Ok(Tokens {
        access: Secret::new(answer.access_token().secret()),
        refresh: refresh.map(|token| Secret::new(token.secret())),
        lifetime: answer.expires_in(),
        scopes,
    })
}

fn explained(failure: Failure) -> TokensError {
    match failure {
        RequestTokenError::Request(error) => TokensError::Door(error),
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
