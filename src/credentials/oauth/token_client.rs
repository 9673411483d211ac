//! A client of an authorization server: finds the token endpoint, authenticates, and requests
//! tokens.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use futures::future::BoxFuture;
use http::StatusCode;
use oauth2::basic::BasicErrorResponse;
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse,
    RequestTokenError, Scope, TokenUrl,
};

use crate::config::{
    ClientAuthentication, HttpEndpoint, OAuthClient, TokenParameters, TokenServer,
};
use crate::credentials::context::CredentialsContext;
use crate::credentials::error::SetupError;
use crate::credentials::oauth::assertion::{self, Algorithm, AssertionError, assertion};
use crate::credentials::oauth::discovery::{Discovery, TokenEndpoint};
use crate::credentials::oauth::http::{OAuthHttpClient, OAuthHttpError};
use crate::credentials::oauth::token_response::{self, LibraryClient};
use crate::credentials::secrets::SecretCell;
use crate::credentials::token::{GrantError, Token};
use crate::tls::TlsConfigs;

/// The name of the token endpoint in errors.
const ENDPOINT_NAME: &str = "the token endpoint";
/// The beginning of the `oauth2` crate's requests, which are all of this grant type here.
const CLIENT_CREDENTIALS: &[u8] = b"grant_type=client_credentials";
/// The beginning of a token exchange (RFC 8693 §2.1), which the crate does not support. The rest of
/// the request is alike.
const TOKEN_EXCHANGE: &[u8] =
    b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";

/// A client of an authorization server, registered with an id.
#[derive(Debug)]
pub struct TokenClient {
    http: Arc<OAuthHttpClient>,
    discovery: Discovery,
    id: String,
    authentication: Authentication,
}

/// How the client authenticates (RFC 6749 §2.3).
#[derive(Debug)]
enum Authentication {
    None,
    Secret(AuthType, SecretCell),
    Jwt {
        key: SecretCell,
        algorithm: Option<Algorithm>,
        key_id: Option<String>,
    },
}

/// `grant_type` of a token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantType {
    /// `client_credentials` (RFC 6749 §4.4).
    ClientCredentials,
    /// `urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693 §2.1).
    TokenExchange,
}

/// Parameters of a token request.
pub type Parameters = Vec<(&'static str, String)>;

impl TokenClient {
    /// Creates the client that the config describes. Opens no connection.
    ///
    /// # Errors
    /// A mistake in the config.
    pub fn new(
        config: &OAuthClient,
        upstream: &HttpEndpoint,
        context: &CredentialsContext,
    ) -> Result<Self, SetupError> {
        let (TokenServer::TokenUrl(url) | TokenServer::Issuer(url)) = &config.server;
        let tls = match url.scheme() {
            "http" => TlsConfigs::plain()?,
            _ => context.tls.for_tokens(&upstream.tls)?,
        };
        let http = OAuthHttpClient::new(tls, config.allow_plain_http)?;
        // The operator can correct a URL of the config, so it is checked before anything runs.
        http.check(url)
            .map_err(|error| SetupError::Config(format!("the token server: {error}")))?;
        let open = context.secrets.opener();
        let authentication = match &config.authentication {
            ClientAuthentication::None => Authentication::None,
            ClientAuthentication::SecretBasic(secret) => {
                Authentication::Secret(AuthType::BasicAuth, open(secret)?)
            }
            ClientAuthentication::SecretPost(secret) => {
                Authentication::Secret(AuthType::RequestBody, open(secret)?)
            }
            ClientAuthentication::PrivateKeyJwt {
                key,
                algorithm,
                key_id,
            } => Authentication::Jwt {
                key: open(key)?,
                algorithm: algorithm.as_deref().map(parse_algorithm).transpose()?,
                key_id: key_id.clone(),
            },
        };
        Ok(Self {
            http: Arc::new(http),
            discovery: Discovery::new(config),
            id: config.client_id.clone(),
            authentication,
        })
    }

    /// Requests a token. `parameters` are those of the grant.
    ///
    /// # Errors
    /// The server gave no token.
    pub async fn fetch(
        &self,
        grant_type: GrantType,
        token: &TokenParameters,
        parameters: Parameters,
    ) -> Result<Token, GrantError> {
        let endpoint = self.discovery.endpoint(&self.http).await?;
        let result = self
            .request(grant_type, token, &parameters, &endpoint)
            .await;
        let Err(GrantError::Rejected(_)) = &result else {
            return result;
        };
        self.discovery.forget();
        let Some(secret) = self.secret() else {
            return result;
        };
        // The secret may just have been rotated: a new one is tried at once.
        let version = secret.version();
        secret.renew(version).await;
        match secret.version() == version {
            true => result,
            false => {
                self.request(grant_type, token, &parameters, &endpoint)
                    .await
            }
        }
    }

    async fn request(
        &self,
        grant_type: GrantType,
        token: &TokenParameters,
        of_grant: &[(&'static str, String)],
        endpoint: &TokenEndpoint,
    ) -> Result<Token, GrantError> {
        let mut client = LibraryClient::new(ClientId::new(self.id.clone()))
            .set_token_uri(TokenUrl::from_url(endpoint.url.clone()))
            .set_auth_type(AuthType::RequestBody);
        let mut parameters: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
        match &self.authentication {
            Authentication::None => {}
            Authentication::Secret(how, secret) => {
                let secret = read(secret).await?.expose().to_owned();
                client = client
                    .set_auth_type(how.clone())
                    .set_client_secret(ClientSecret::new(secret));
            }
            Authentication::Jwt {
                key,
                algorithm,
                key_id,
            } => {
                let (key, audience) = (read(key).await?, &endpoint.audience);
                let made = assertion(&key, *algorithm, key_id.as_deref(), &self.id, audience)
                    .map_err(|error| explain_assertion_error(&error))?;
                parameters.push(("client_assertion_type".into(), assertion::TYPE.into()));
                parameters.push(("client_assertion".into(), made.expose().to_owned().into()));
            }
        }
        if let Some(audience) = &token.audience {
            parameters.push(("audience".into(), audience.as_str().into()));
        }
        if let Some(resource) = &token.resource {
            parameters.push(("resource".into(), resource.as_str().into()));
        }
        for (name, value) in of_grant {
            parameters.push(((*name).into(), value.as_str().into()));
        }
        for (name, value) in &token.parameters {
            parameters.push((name.as_str().into(), value.as_str().into()));
        }
        let scopes = token.scopes.iter().cloned().map(Scope::new);
        let mut request = client.exchange_client_credentials().add_scopes(scopes);
        for (name, value) in parameters {
            request = request.add_extra_param(name, value);
        }
        let sender = TokenRequestSender {
            http: Arc::clone(&self.http),
            grant_type,
            status: Arc::default(),
        };
        let response = request.request_async(&sender).await;
        let status = sender.status.load(Ordering::Relaxed);
        let status = StatusCode::from_u16(status).unwrap_or_default();
        response
            .map_err(|error| explain_failure(error, status))?
            .token(grant_type == GrantType::TokenExchange)
    }

    fn secret(&self) -> Option<&SecretCell> {
        match &self.authentication {
            Authentication::None => None,
            Authentication::Secret(_, secret) | Authentication::Jwt { key: secret, .. } => {
                Some(secret)
            }
        }
    }

    /// Returns a number that grows whenever the client's secret or key has changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.secret().map_or(0, SecretCell::version)
    }
}

/// Sends one request for the `oauth2` crate.
struct TokenRequestSender {
    http: Arc<OAuthHttpClient>,
    grant_type: GrantType,
    /// The status of the response: the crate does not tell it for a response that it cannot read.
    status: Arc<AtomicU16>,
}

impl<'c> AsyncHttpClient<'c> for TokenRequestSender {
    type Error = OAuthHttpError;
    type Future = BoxFuture<'static, Result<HttpResponse, OAuthHttpError>>;

    fn call(&'c self, mut request: HttpRequest) -> Self::Future {
        if self.grant_type == GrantType::TokenExchange
            && let Some(rest) = request.body().strip_prefix(CLIENT_CREDENTIALS)
        {
            *request.body_mut() = [TOKEN_EXCHANGE, rest].concat();
        }
        let (http, status) = (Arc::clone(&self.http), Arc::clone(&self.status));
        Box::pin(async move {
            let response = http.send(request).await?;
            status.store(response.status().as_u16(), Ordering::Relaxed);
            Ok(response)
        })
    }
}

fn parse_algorithm(name: &str) -> Result<Algorithm, SetupError> {
    Algorithm::from_name(name)
        .ok_or_else(|| SetupError::Config(format!("weir cannot sign with {name}")))
}

/// Reads a secret of the client.
///
/// # Errors
/// It cannot be read or fetched.
pub(super) async fn read(secret: &SecretCell) -> Result<crate::secret::Secret, GrantError> {
    let secret = secret.read().await;
    secret.map_err(|error| GrantError::Temporary(error.to_string().into()))
}

fn explain_assertion_error(error: &AssertionError) -> GrantError {
    GrantError::Rejected(error.to_string().into())
}

fn explain_failure(
    error: RequestTokenError<OAuthHttpError, BasicErrorResponse>,
    status: StatusCode,
) -> GrantError {
    match error {
        RequestTokenError::ServerResponse(error) => {
            token_response::explain_error(Some(error.error().as_ref()), status)
        }
        RequestTokenError::Request(error) => error.into_grant_error(ENDPOINT_NAME),
        // The texts of these errors contain text of the server.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) if status.is_success() => {
            GrantError::Temporary(format!("the response of {ENDPOINT_NAME} is not a token").into())
        }
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            token_response::explain_error(None, status)
        }
    }
}
