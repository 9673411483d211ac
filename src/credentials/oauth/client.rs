//! A client at its authorization server: finds the token endpoint, says who it is, asks for a token.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use futures::future::BoxFuture;
use http::StatusCode;
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
};
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse,
    RequestTokenError, Scope, StandardRevocableToken, TokenUrl,
};

use crate::config::{
    ClientAuthentication, HttpEndpoint, OAuthClient, TokenParameters, TokenServer,
};
use crate::credentials::oauth::answer::{self, Answer};
use crate::credentials::oauth::assertion::{self, Algorithm, AssertionError, assertion};
use crate::credentials::oauth::discovery::{Discovery, TokenEndpoint};
use crate::credentials::oauth::http::{Http, HttpError};
use crate::credentials::secrets::SecretCell;
use crate::credentials::token::{GrantError, Token};
use crate::credentials::{Around, SetupError};
use crate::tls::Tls;

/// What the token endpoint is called in errors.
const ENDPOINT: &str = "the token endpoint";
/// How the `oauth2` crate begins the one request that is used of it here.
const CLIENT_CREDENTIALS: &[u8] = b"grant_type=client_credentials";
/// The same of a token exchange (RFC 8693 §2.1), which it does not know. All else is alike.
const TOKEN_EXCHANGE: &[u8] =
    b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";

/// A client at its authorization server.
#[derive(Debug)]
pub struct Client {
    http: Arc<Http>,
    discovery: Discovery,
    id: String,
    authentication: Authentication,
}

/// How it proves who it is.
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

/// What a token is asked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// With nothing but who the client is (RFC 6749 §4.4).
    ClientCredentials,
    /// With another token (RFC 8693).
    TokenExchange,
}

type Request = oauth2::Client<
    BasicErrorResponse,
    Answer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;

impl Client {
    /// The client that the config names. Opens nothing.
    ///
    /// # Errors
    /// What shows in the config.
    pub fn new(
        config: &OAuthClient,
        upstream: &HttpEndpoint,
        around: &Around,
    ) -> Result<Self, SetupError> {
        let (TokenServer::TokenUrl(url) | TokenServer::Issuer(url)) = &config.server;
        let tls = match url.scheme() {
            "http" => Tls::none()?,
            _ => around.tls.for_tokens(&upstream.tls)?,
        };
        let http = Http::new(tls, config.allow_plain_http)?;
        // Where it is for the operator to put right, it is said before anything runs.
        http.may(url)
            .map_err(|error| SetupError::Config(format!("the token server: {error}")))?;
        let open = |reference| around.secrets.open(reference);
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
                algorithm: algorithm.as_deref().map(known).transpose()?,
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

    /// Asks for a token. `more` are the parameters of the grant.
    ///
    /// # Errors
    /// None was given.
    pub async fn token(
        &self,
        asks: Asks,
        token: &TokenParameters,
        more: Vec<(&'static str, String)>,
    ) -> Result<Token, GrantError> {
        let endpoint = self.discovery.endpoint(&self.http).await?;
        let result = self.request(asks, token, &more, &endpoint).await;
        let Err(GrantError::Refused(_)) = &result else {
            return result;
        };
        self.discovery.forget();
        let Some(secret) = self.secret() else {
            return result;
        };
        // It may have been rotated just now: another one is tried at once.
        let version = secret.version();
        secret.renew(version).await;
        match secret.version() == version {
            true => result,
            false => self.request(asks, token, &more, &endpoint).await,
        }
    }

    async fn request(
        &self,
        asks: Asks,
        token: &TokenParameters,
        more: &[(&'static str, String)],
        endpoint: &TokenEndpoint,
    ) -> Result<Token, GrantError> {
        let mut client = Request::new(ClientId::new(self.id.clone()))
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
                    .map_err(|error| unusable(&error))?;
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
        for (name, value) in more {
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
        let sender = Sender {
            http: Arc::clone(&self.http),
            asks,
            status: Arc::default(),
        };
        let answered = request.request_async(&sender).await;
        let status = sender.status.load(Ordering::Relaxed);
        let status = StatusCode::from_u16(status).unwrap_or_default();
        answered
            .map_err(|error| not_given(error, status))?
            .token(asks == Asks::TokenExchange)
    }

    fn secret(&self) -> Option<&SecretCell> {
        match &self.authentication {
            Authentication::None => None,
            Authentication::Secret(_, secret) | Authentication::Jwt { key: secret, .. } => {
                Some(secret)
            }
        }
    }

    /// Grows whenever what the client proves itself with has changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.secret().map_or(0, SecretCell::version)
    }
}

/// Carries one request of the `oauth2` crate's.
struct Sender {
    http: Arc<Http>,
    asks: Asks,
    /// Of the answer: the crate does not tell the status of what it cannot read.
    status: Arc<AtomicU16>,
}

impl<'c> AsyncHttpClient<'c> for Sender {
    type Error = HttpError;
    type Future = BoxFuture<'static, Result<HttpResponse, HttpError>>;

    fn call(&'c self, mut request: HttpRequest) -> Self::Future {
        if self.asks == Asks::TokenExchange
            && let Some(rest) = request.body().strip_prefix(CLIENT_CREDENTIALS)
        {
            *request.body_mut() = [TOKEN_EXCHANGE, rest].concat();
        }
        let (http, status) = (Arc::clone(&self.http), Arc::clone(&self.status));
        Box::pin(async move {
            let answer = http.send(request).await?;
            status.store(answer.status().as_u16(), Ordering::Relaxed);
            Ok(answer)
        })
    }
}

fn known(name: &str) -> Result<Algorithm, SetupError> {
    Algorithm::from_name(name)
        .ok_or_else(|| SetupError::Config(format!("weir signs nothing with {name}")))
}

/// A secret of the client, as it is now.
///
/// # Errors
/// It cannot be had.
pub(super) async fn read(secret: &SecretCell) -> Result<crate::secret::Secret, GrantError> {
    let secret = secret.read().await;
    secret.map_err(|error| GrantError::Passing(error.to_string().into()))
}

fn unusable(error: &AssertionError) -> GrantError {
    GrantError::Refused(error.to_string().into())
}

fn not_given(
    error: RequestTokenError<HttpError, BasicErrorResponse>,
    status: StatusCode,
) -> GrantError {
    match error {
        RequestTokenError::ServerResponse(error) => {
            answer::refusal(Some(error.error().as_ref()), status)
        }
        RequestTokenError::Request(error) => error.for_grant(ENDPOINT),
        // Its texts have the server's in them.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) if status.is_success() => {
            GrantError::Passing(
                format!("{ENDPOINT} answers with something else than a token").into(),
            )
        }
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => answer::refusal(None, status),
    }
}
