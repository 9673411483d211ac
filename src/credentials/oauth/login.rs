//! `weir login`: a person authorizes weir at an upstream (OAuth 2.1 authorization code with PKCE).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use oauth2::PkceCodeVerifier;
use tokio::sync::mpsc;
use url::Url;

use crate::config::{Auth, AuthorizationCode, HttpEndpoint, Registration, Upstream};
use crate::credentials::context::CredentialsContext;
use crate::credentials::error::SetupError;
use crate::credentials::oauth::authorization_server::{AuthorizationServer, FindError};
use crate::credentials::oauth::callback::{
    AuthorizationResponse, CallbackListener, ExpectedRedirect, IncomingRedirect, ResultPage,
    parse_pasted,
};
use crate::credentials::oauth::client_authentication::{ClientAuthenticator, ClientSecretError};
use crate::credentials::oauth::login_http::LoginHttpClient;
use crate::credentials::oauth::registration::{self, RegistrationError};
use crate::credentials::oauth::store::{
    LoginParties, LoginStore, LoginStoreError, StoredClient, StoredLogin, TokenEndpointAuthMethod,
};
use crate::credentials::oauth::token_request::{PresentedGrant, TokenRequest, TokenRequestError};

/// How long a login waits for the lock of a serving weir.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// The reason why a login failed. Contains no text of a peer, except known error codes and host
/// names.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// `auth` is of another type.
    #[error("this upstream does not log in with `type: oauth2_authorization_code`")]
    OtherAuth,
    /// The config has no state folder.
    #[error("there is no state folder to keep the login in; set `state.dir`")]
    NoState,
    /// The HTTP client or the client's secret cannot be set up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The port of the redirect URI cannot be used.
    #[error(
        "cannot listen on port {port} of 127.0.0.1; free it, or set another `auth.redirect_port`"
    )]
    Listen {
        /// The port.
        port: u16,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// No usable authorization server was found.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The server does not support client id metadata documents.
    #[error(
        "the authorization server does not support client id metadata documents; register weir there and set `auth.client_id`"
    )]
    Document,
    /// The server does not support dynamic registration.
    #[error(
        "the authorization server does not support dynamic client registration; register weir there and set `auth.client_id`"
    )]
    NoRegistration,
    /// Weir could not register.
    #[error("cannot register weir at the authorization server")]
    Registration(#[from] RegistrationError),
    /// The client's secret cannot be read.
    #[error(transparent)]
    ClientSecret(#[from] ClientSecretError),
    /// The person or the server denied the authorization.
    #[error("the authorization server denied the login ({})", code.unwrap_or("without a known error code"))]
    Denied {
        /// The error code, if it is a known one.
        code: Option<&'static str>,
    },
    /// The response is from another server, or does not name its server: a mix-up attack (RFC
    /// 9207).
    #[error(
        "the response did not come from the authorization server that weir asked; nothing was stored"
    )]
    WrongIssuer,
    /// The redirect has neither a code nor an error.
    #[error("the browser came back without an authorization code")]
    NoCode,
    /// No redirect arrived in time.
    #[error("nobody logged in within {} minutes", .0.as_secs() / 60)]
    Timeout(Duration),
    /// The server did not accept the code.
    #[error("the authorization server gave no token")]
    Tokens(#[from] TokenRequestError),
    /// The tokens cannot be stored.
    #[error("the login cannot be stored")]
    Store(#[from] LoginStoreError),
}

/// An event to report while a login waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginNotice {
    /// A redirect of another login arrived.
    OtherLogin,
    /// The pasted text is not a redirect.
    NotARedirect,
}

/// A login that waits for a browser.
pub struct PendingLogin {
    listener: CallbackListener,
    http: Arc<LoginHttpClient>,
    store: LoginStore,
    url: Url,
    exchange: PendingExchange,
}

/// Everything that is needed to exchange the code for tokens.
struct PendingExchange {
    expected: ExpectedRedirect,
    verifier: PkceCodeVerifier,
    redirect: String,
    secret: ClientAuthenticator,
    parties: LoginParties,
    scopes: Vec<String>,
}

impl fmt::Debug for PendingLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PendingLogin")
    }
}

impl PendingLogin {
    /// Finds the authorization server, registers there if necessary, and listens for the browser.
    ///
    /// # Errors
    /// The upstream has another kind of `auth`, or weir cannot log in to its server.
    pub async fn begin(
        upstream: &Upstream,
        endpoint: &HttpEndpoint,
        context: &CredentialsContext,
    ) -> Result<Self, LoginError> {
        let Auth::AuthorizationCode(config) = &upstream.auth else {
            return Err(LoginError::OtherAuth);
        };
        let store = LoginStore::new(context.state_dir.as_deref().ok_or(LoginError::NoState)?);
        let http = Arc::new(LoginHttpClient::new(endpoint, config, context)?);
        let listener = CallbackListener::bind(config.redirect_port);
        let listener = listener.await.map_err(|source| LoginError::Listen {
            port: config.redirect_port,
            source,
        })?;
        let redirect = listener.redirect();
        let mut server = AuthorizationServer::find(&endpoint.url, config, &http).await?;
        let client = find_client(config, &server, &redirect, &http).await?;
        let request = server.build_request(&client.id, &redirect).await?;
        let parties = LoginParties {
            upstream: upstream.id.as_str().to_owned(),
            url: endpoint.url.clone(),
            issuer: server.issuer,
            token_endpoint: server.token_endpoint,
            resource: request.resource,
            client,
        };
        Ok(Self {
            listener,
            http,
            store,
            url: request.url,
            exchange: PendingExchange {
                expected: request.expected,
                verifier: request.verifier,
                redirect,
                secret: ClientAuthenticator::new(config, context)?,
                parties,
                scopes: server.scopes,
            },
        })
    }

    /// Returns the URL to open in a browser.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Waits for a redirect of the browser, or for its address in `lines`, then fetches and stores
    /// the tokens.
    ///
    /// # Errors
    /// No redirect arrived within `timeout`, or it brought no tokens.
    pub async fn finish(
        self,
        timeout: Duration,
        lines: mpsc::Receiver<String>,
        report: impl FnMut(LoginNotice),
    ) -> Result<StoredLogin, LoginError> {
        let Self {
            listener,
            http,
            store,
            exchange,
            ..
        } = self;
        listener
            .serve(async |redirects| {
                let response = wait_for_response(redirects, lines, &exchange.expected, report);
                let response = tokio::time::timeout(timeout, response).await;
                let (response, page) = response.map_err(|_| LoginError::Timeout(timeout))?;
                let name = exchange.parties.upstream.clone();
                let done = exchange.run(response, &http, &store).await;
                if let Some(page) = page {
                    let _ = page.send(ResultPage::of(&done, &name));
                }
                done
            })
            .await
    }
}

/// Waits for a redirect that belongs to this login. Returns its content, and what takes the page
/// for the browser.
async fn wait_for_response(
    mut redirects: mpsc::Receiver<IncomingRedirect>,
    mut lines: mpsc::Receiver<String>,
    expected: &ExpectedRedirect,
    mut report: impl FnMut(LoginNotice),
) -> (
    AuthorizationResponse,
    Option<tokio::sync::oneshot::Sender<ResultPage>>,
) {
    let mut has_lines = true;
    loop {
        let redirect = tokio::select! {
            Some(redirect) = redirects.recv() => redirect,
            line = lines.recv(), if has_lines => {
                let Some(line) = line else {
                    has_lines = false;
                    continue;
                };
                if line.trim().is_empty() {
                    continue;
                }
                let Some(query) = parse_pasted(&line) else {
                    report(LoginNotice::NotARedirect);
                    continue;
                };
                IncomingRedirect { query, page: None }
            }
            else => std::future::pending().await,
        };
        match expected.check(&redirect.query) {
            // Any page can send a browser here, so only a redirect of this login ends the wait.
            AuthorizationResponse::OtherLogin => {
                report(LoginNotice::OtherLogin);
                if let Some(page) = redirect.page {
                    let _ = page.send(ResultPage::other_login());
                }
            }
            response @ (AuthorizationResponse::Code(_)
            | AuthorizationResponse::Error(_)
            | AuthorizationResponse::WrongIssuer
            | AuthorizationResponse::Empty) => {
                return (response, redirect.page);
            }
        }
    }
}

impl PendingExchange {
    /// Exchanges the code of a response for tokens, and stores them.
    async fn run(
        self,
        response: AuthorizationResponse,
        http: &LoginHttpClient,
        store: &LoginStore,
    ) -> Result<StoredLogin, LoginError> {
        let code = match response {
            AuthorizationResponse::Code(code) => code,
            AuthorizationResponse::Error(code) => return Err(LoginError::Denied { code }),
            AuthorizationResponse::WrongIssuer => return Err(LoginError::WrongIssuer),
            AuthorizationResponse::OtherLogin | AuthorizationResponse::Empty => {
                return Err(LoginError::NoCode);
            }
        };
        let parties = self.parties;
        // Before the request, which uses up the code: if the tokens could not be stored, they are
        // not requested.
        let lock = store
            .lock(&parties.upstream, &parties.issuer, LOCK_TIMEOUT)
            .await?;
        let draft = lock.draft()?;
        let request = TokenRequest {
            endpoint: &parties.token_endpoint,
            client_id: &parties.client.id,
            secret: self.secret.authenticate(&parties.client).await?,
            resource: &parties.resource,
        };
        let grant = PresentedGrant::Code {
            code,
            verifier: self.verifier,
            redirect: self.redirect,
        };
        let tokens = request.send(grant, &http.client).await?;
        let login = StoredLogin::new(parties, self.scopes, tokens);
        draft.commit(&login)?;
        Ok(login)
    }
}

impl ResultPage {
    fn of(done: &Result<StoredLogin, LoginError>, name: &str) -> Self {
        match done {
            Ok(_) => Self {
                good: true,
                text: format!("Weir is logged in to {name}. You can close this page."),
            },
            Err(error) => Self {
                good: false,
                text: format!(
                    "Weir is not logged in to {name}: {error}. See the terminal where weir login runs."
                ),
            },
        }
    }

    fn other_login() -> Self {
        let text =
            "This redirect belongs to another login. Use the address that weir login printed last.";
        Self {
            good: false,
            text: text.to_owned(),
        }
    }
}

/// Returns the client that weir is at the server: the one of the config, or a newly registered one.
async fn find_client(
    config: &AuthorizationCode,
    server: &AuthorizationServer,
    redirect: &str,
    http: &LoginHttpClient,
) -> Result<StoredClient, LoginError> {
    let known = |id: &str, method| StoredClient {
        id: id.to_owned(),
        secret: None,
        method,
    };
    match &config.client {
        Registration::Known { client_id, .. } => {
            Ok(known(client_id, TokenEndpointAuthMethod::Config))
        }
        Registration::Document(url) if server.supports_documents() => {
            Ok(known(url.as_str(), TokenEndpointAuthMethod::None))
        }
        Registration::Document(_) => Err(LoginError::Document),
        Registration::Dynamic => {
            let endpoint = server.registration_endpoint(http)?;
            let endpoint = endpoint.ok_or(LoginError::NoRegistration)?;
            let methods = server.auth_methods();
            let scopes = &server.scopes;
            let client = registration::register(
                &http.client,
                &endpoint,
                redirect,
                scopes,
                methods.as_deref(),
            );
            Ok(client.await?)
        }
    }
}
