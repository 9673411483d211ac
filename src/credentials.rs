//! How weir authenticates to upstreams. A caller's own token is sent to none of them: at most to the
//! token endpoint of the config, which exchanges it.
//!
//! [`Credentials`] are added to each request as the last step before it is sent, and learn whether
//! the upstream accepted them. Operators see their [`CredentialStatus`].

pub mod auth_mismatch;
pub mod aws;
pub mod caller_exchange;
pub mod context;
pub mod error;
pub mod grant;
pub mod oauth;
pub mod reach;
pub mod rejection;
pub mod secret_headers;
pub mod secrets;
pub mod status;
pub mod token;
pub mod token_source;

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderMap, Method};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

pub use context::CredentialsContext;
pub use error::{NoCredential, SetupError};
pub use rejection::{CredentialVersion, Rejection, RejectionOutcome};

use crate::config::{self, Auth, OnBehalf};
use crate::files::Files;
use crate::tls::TlsConfigs;
use aws::secrets_manager::SecretFetcher;
use aws::{AwsContext, Signer};
use caller_exchange::{CallerExchange, CallerSubject};
use grant::Grant;
use secret_headers::SecretHeaders;
use secrets::Secrets;
use status::{CredentialStatus, RequestCounts, StatusCell};
use token_source::TokenSource;

impl CredentialsContext {
    /// Creates the context of a weir. `state_dir` is where `weir login` stores tokens, if weir
    /// keeps state on disk.
    #[must_use]
    pub fn new(
        files: &Arc<Files>,
        state_dir: Option<PathBuf>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let tls = Arc::new(TlsConfigs::new(Arc::clone(files)));
        let aws = AwsContext {
            tls: Arc::clone(&tls),
            tasks: tasks.clone(),
            stop: stop.clone(),
            endpoint: None,
        };
        let secrets = Secrets::new(
            Arc::clone(files),
            Box::new(move |secret, open| SecretFetcher::make_fetch(secret, &aws, open)),
            tasks.clone(),
            stop.clone(),
        );
        Self {
            tls,
            secrets: Arc::new(secrets),
            state_dir,
            shared: None,
            tasks: tasks.clone(),
            stop: stop.clone(),
        }
    }
}

/// The credentials of weir at one upstream.
#[derive(Debug)]
pub struct Credentials {
    /// The headers of `headers`, and of kinds of `auth` that are a header with a secret in it.
    headers: Arc<SecretHeaders>,
    mechanism: Mechanism,
    /// `auth.type` in the config.
    name: &'static str,
    status: Arc<StatusCell>,
}

/// The mechanism that authenticates requests besides [`SecretHeaders`].
#[derive(Debug)]
enum Mechanism {
    None,
    Signer(Box<Signer>),
    Token(Arc<TokenSource>),
}

impl Credentials {
    /// Creates the credentials of an upstream that is reached over HTTP. Opens no connection.
    ///
    /// # Errors
    /// A mistake in the config.
    pub fn new(
        upstream: &config::Upstream,
        endpoint: &config::HttpEndpoint,
        context: &CredentialsContext,
    ) -> Result<Self, SetupError> {
        let status = Arc::new(StatusCell::default());
        let headers = SecretHeaders::new(&upstream.auth, &endpoint.headers, &context.secrets)?;
        let mechanism = match &upstream.auth {
            Auth::None | Auth::Bearer(_) | Auth::Header { .. } | Auth::Basic { .. } => {
                Mechanism::None
            }
            Auth::Sigv4(config) => {
                let signer = Signer::new(config, context, Arc::clone(&status))?;
                Mechanism::Signer(Box::new(signer))
            }
            Auth::ClientCredentials(_)
            | Auth::AuthorizationCode(_)
            | Auth::TokenExchange(_)
            | Auth::AgentcoreIdentity(_) => {
                let source = TokenSource::new(upstream, endpoint, context, Arc::clone(&status))?;
                Mechanism::Token(source)
            }
        };
        Ok(Self {
            headers: Arc::new(headers),
            mechanism,
            name: upstream.auth.as_str(),
            status,
        })
    }

    /// Creates the credentials of one caller. Opens no connection.
    #[must_use]
    pub fn for_caller(
        exchange: &CallerExchange,
        subject: &Arc<CallerSubject>,
        context: &CredentialsContext,
    ) -> Self {
        let status = Arc::new(StatusCell::counted_in(exchange.status()));
        let grant = Grant::Caller(exchange.grant(subject));
        let source = TokenSource::from_grant(grant, context, Arc::clone(&status));
        Self {
            headers: Arc::clone(exchange.headers()),
            mechanism: Mechanism::Token(source),
            name: exchange.name(),
            status,
        }
    }

    /// Creates what exchanges the tokens of callers for those of the upstream; its requests count
    /// among those of these credentials. Opens no connection.
    ///
    /// # Errors
    /// A mistake in the config.
    pub fn caller_exchange(
        &self,
        config: &OnBehalf,
        endpoint: &config::HttpEndpoint,
        context: &CredentialsContext,
    ) -> Result<CallerExchange, SetupError> {
        CallerExchange::new(config, endpoint, context, &self.status)
    }

    /// Returns whether nothing is added to requests.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.mechanism, Mechanism::None) && self.headers.is_empty()
    }

    /// Adds the credentials to a request. Nothing may change the request after this: its bytes may
    /// be signed.
    ///
    /// # Errors
    /// There is no credential, and none arrived before `deadline`.
    pub async fn authorize(
        &self,
        method: &Method,
        url: &Url,
        headers: &mut HeaderMap,
        body: &[u8],
        deadline: Instant,
    ) -> Result<CredentialVersion, NoCredential> {
        let version = self.headers.apply(headers, deadline).await?;
        match &self.mechanism {
            Mechanism::None => Ok(version),
            Mechanism::Signer(signer) => signer.sign(method, url, headers, body, deadline).await,
            Mechanism::Token(source) => source.apply(headers, deadline).await,
        }
    }

    /// Notes that the upstream accepted a request with the credential of this version.
    pub fn handle_accepted(&self, version: CredentialVersion) {
        match &self.mechanism {
            Mechanism::None => self.status.confirm(),
            Mechanism::Signer(signer) => signer.handle_accepted(),
            Mechanism::Token(source) => source.handle_accepted(version),
        }
    }

    /// Replaces a credential that the upstream rejected, as far as that is possible before
    /// `deadline`, and returns whether another attempt may succeed.
    pub async fn handle_rejection(
        &self,
        version: CredentialVersion,
        rejection: &Rejection<'_>,
        deadline: Instant,
    ) -> RejectionOutcome {
        match &self.mechanism {
            Mechanism::None => {
                let (headers, status) = (&self.headers, &self.status);
                headers
                    .handle_rejection(version, rejection, status, deadline)
                    .await
            }
            Mechanism::Signer(signer) => signer.handle_rejection(version, rejection),
            Mechanism::Token(source) => source.handle_rejection(version, rejection, deadline).await,
        }
    }

    /// Returns the kind of the credentials: `auth.type` in the config.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns how many requests for credentials were made so far: to token endpoints, and to AWS.
    #[must_use]
    pub fn request_counts(&self) -> RequestCounts {
        self.status.request_counts()
    }

    /// Waits until credentials that were missing are available again. Supports one waiting task.
    pub async fn wait_recovered(&self) {
        self.status.wait_recovered().await;
    }

    /// Returns the state that operators see.
    #[must_use]
    pub fn status(&self) -> CredentialStatus {
        self.status.get()
    }
}
