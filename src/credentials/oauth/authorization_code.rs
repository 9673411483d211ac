//! The tokens that `weir login` stored (authorization code grant, RFC 6749 §4.1), refreshed while
//! weir serves (§6).

mod among_replicas;

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header;
use tokio::sync::oneshot;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::config::{AuthorizationCode, HttpEndpoint, Registration, Upstream};
use crate::credentials::context::CredentialsContext;
use crate::credentials::error::SetupError;
use crate::credentials::oauth::client_authentication::ClientAuthenticator;
use crate::credentials::oauth::login_http::LoginHttpClient;
use crate::credentials::oauth::shared_logins::{RefreshTurn, SharedLogin};
use crate::credentials::oauth::store::{
    LoginLock, LoginStore, LoginStoreError, StoredLogin, TokenEndpointAuthMethod,
};
use crate::credentials::oauth::token_request::{PresentedGrant, TokenRequest, TokenRequestError};
use crate::credentials::token::{GrantError, Token};
use crate::secret::Secret;

/// How long to wait for another process that refreshes the same login.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);

/// Gives the tokens that a person has granted to weir for one upstream.
#[derive(Debug)]
pub struct AuthorizationCodeGrant {
    shared: Arc<SharedGrant>,
    tasks: TaskTracker,
    /// Ends what follows the other replicas.
    _following: Option<DropGuard>,
}

/// The part of the grant that the task of a refresh needs.
#[derive(Debug)]
struct SharedGrant {
    upstream: String,
    url: Url,
    issuer: Option<Url>,
    /// The client that the config names, if it names one: logins of other clients are not used.
    client_id: Option<String>,
    store: Option<LoginStore>,
    /// The login that replicas share, if they do.
    among_replicas: Option<SharedLogin>,
    /// Counts what other replicas told of the login.
    told: AtomicU64,
    http: LoginHttpClient,
    client: ClientAuthenticator,
    memory: Mutex<GrantMemory>,
}

/// The state that is in memory only.
#[derive(Debug, Default)]
struct GrantMemory {
    /// The access token that was last issued to the caller.
    last_issued: Option<Secret>,
    /// The refresh token that the server rejected.
    rejected: Option<Secret>,
    /// A refreshed login that could not be stored.
    unsaved: Option<UnsavedLogin>,
}

#[derive(Debug)]
struct UnsavedLogin {
    /// The refresh token in the store, which the login replaces.
    replaces: Secret,
    login: StoredLogin,
}

impl AuthorizationCodeGrant {
    /// Creates the grant of an upstream. Opens no connection.
    ///
    /// # Errors
    /// A mistake in the config.
    pub fn new(
        upstream: &Upstream,
        endpoint: &HttpEndpoint,
        config: &AuthorizationCode,
        context: &CredentialsContext,
    ) -> Result<Self, SetupError> {
        let client_id = match &config.client {
            Registration::Known { client_id, .. } => Some(client_id.clone()),
            Registration::Document(url) => Some(url.as_str().to_owned()),
            Registration::Dynamic => None,
        };
        let among_replicas = context.shared.as_ref().map(|store| {
            let name = upstream.id.as_str();
            SharedLogin::new(store, name, &endpoint.url, config.issuer.as_ref())
        });
        let shared = Arc::new(SharedGrant {
            upstream: upstream.id.as_str().to_owned(),
            url: endpoint.url.clone(),
            issuer: config.issuer.clone(),
            client_id,
            store: context.state_dir.as_deref().map(LoginStore::new),
            among_replicas,
            told: AtomicU64::new(0),
            http: LoginHttpClient::new(endpoint, config, context)?,
            client: ClientAuthenticator::new(config, context)?,
            memory: Mutex::default(),
        });
        let following = shared.among_replicas.as_ref().map(|_| {
            let stop = context.stop.child_token();
            let following = Arc::clone(&shared).follow(stop.clone());
            context.tasks.spawn(following);
            stop.drop_guard()
        });
        Ok(Self {
            shared,
            tasks: context.tasks.clone(),
            _following: following,
        })
    }

    /// Fetches a token, and a different one than last time if that is possible. `is_rejected`:
    /// because the upstream answered 401 to the last one; otherwise a token that cannot be
    /// refreshed is given again until it expires.
    ///
    /// The future may be dropped at any time: a refresh that has begun is finished by a task of its
    /// own. If there is nothing to refresh with, this only reads a small folder.
    ///
    /// # Errors
    /// There is no token; [`GrantError::LoginNeeded`] if only `weir login` helps.
    pub async fn fetch(&self, is_rejected: bool) -> Result<Token, GrantError> {
        let shared = Arc::clone(&self.shared);
        let (sender, done) = oneshot::channel();
        // The server has used up the old refresh token, so the new one has to be stored even if
        // nobody waits any more.
        self.tasks.spawn(async move {
            let _ = sender.send(shared.fetch(is_rejected).await);
        });
        let broken = |_| Err(GrantError::Temporary("the refresh broke off".into()));
        done.await.unwrap_or_else(broken)
    }

    /// Returns a number that changes whenever somebody has logged in or refreshed, so that another
    /// attempt is worth it at once.
    #[must_use]
    pub fn version(&self) -> u64 {
        let (store, upstream) = (&self.shared.store, &self.shared.upstream);
        let stored = store.as_ref().map_or(0, |store| store.version(upstream));
        stored.wrapping_add(self.shared.told.load(Ordering::Relaxed))
    }
}

impl SharedGrant {
    async fn fetch(&self, is_rejected: bool) -> Result<Token, GrantError> {
        let login = self.newest(None).await?;
        if let Some(token) = self.issue_stored(&login, is_rejected) {
            return Ok(token);
        }
        let Some(store) = &self.store else {
            return Err(self.login_needed());
        };
        // Held until the next login is where the others find it.
        let _lease = match self.lease(is_rejected).await? {
            RefreshTurn::Mine(lease) => lease,
            RefreshTurn::Done(token) => return Ok(token),
        };
        let lock = store
            .lock(&self.upstream, &login.issuer, LOCK_TIMEOUT)
            .await;
        let lock = lock.map_err(|error| temporary(&error))?;
        // Another process may have refreshed it while this one waited for the lock.
        let login = self.newest(Some(&lock)).await?;
        if let Some(token) = self.issue_stored(&login, is_rejected) {
            return Ok(token);
        }
        self.refresh(login, &lock, is_rejected).await
    }

    /// Loads the login from the store, or from memory if it could not be stored.
    fn load(&self) -> Result<StoredLogin, GrantError> {
        let Some(store) = &self.store else {
            let reason = "there is no state folder to keep a login in; set `state.dir`";
            return Err(GrantError::LoginNeeded(reason.into()));
        };
        let issuer = self.issuer.as_ref().map(Url::as_str);
        let found = store.find(&self.upstream, &self.url, issuer);
        let found = found.map_err(|error| temporary(&error))?;
        let login = found.ok_or_else(|| self.login_needed())?;
        let is_of_other_client = |id: &String| *id != login.client.id;
        if self.client_id.as_ref().is_some_and(is_of_other_client) {
            return Err(self.login_needed());
        }
        match &self.memory().unsaved {
            Some(unsaved) if login.refresh_token.as_ref() == Some(&unsaved.replaces) => {
                Ok(unsaved.login.clone())
            }
            _ => Ok(login),
        }
    }

    /// Issues the stored access token if it can be used.
    fn issue_stored(&self, login: &StoredLogin, is_rejected: bool) -> Option<Token> {
        let is_same = self.memory().last_issued.as_ref() == Some(&login.access_token);
        let is_usable = match is_same {
            // Without a refresh token only a login brings a new one.
            true => login.refresh_token.is_none() && !is_rejected && !login.is_expired(),
            false => login.is_fresh(),
        };
        is_usable.then(|| self.issue(login))
    }

    fn issue(&self, login: &StoredLogin) -> Token {
        self.memory().last_issued = Some(login.access_token.clone());
        Token {
            header: header::AUTHORIZATION,
            value: Secret::new(&format!("Bearer {}", login.access_token.expose())),
            expires: login.expiry(),
        }
    }

    async fn refresh(
        &self,
        login: StoredLogin,
        lock: &LoginLock,
        is_rejected: bool,
    ) -> Result<Token, GrantError> {
        let rejected = self.memory().rejected.clone();
        let is_usable = |token: &Secret| rejected.as_ref() != Some(token);
        let Some(old) = login.refresh_token.clone().filter(is_usable) else {
            return Err(self.login_needed());
        };
        // Before the request, which uses up the refresh token: if the next one could not be stored,
        // the old one stays.
        let draft = lock.draft().map_err(|error| temporary(&error))?;
        let secret = self.client.authenticate(&login.client).await;
        let request = TokenRequest {
            endpoint: &login.token_endpoint,
            client_id: &login.client.id,
            secret: secret.map_err(|error| GrantError::Rejected(error.to_string().into()))?,
            resource: &login.resource,
        };
        let grant = PresentedGrant::RefreshToken(&old);
        let tokens = match request.send(grant, &self.http.client).await {
            Ok(tokens) => tokens,
            Err(error) => return self.handle_failure(&error, &login, old, is_rejected),
        };
        let next = login.with_refreshed(tokens);
        if let Err(error) = draft.commit(&next) {
            tracing::error!(upstream = self.upstream, %error, "a refreshed login cannot be stored; weir keeps it in memory only");
            self.memory().unsaved = Some(UnsavedLogin {
                replaces: old,
                login: next.clone(),
            });
        }
        if let Some(shared) = &self.among_replicas
            && let Err(error) = shared.put(&next).await
        {
            tracing::warn!(upstream = self.upstream, %error, "the other replicas get a refreshed login when the store is back");
        }
        Ok(self.issue(&next))
    }

    /// Decides what a failed refresh means. `old` is the refresh token that was sent.
    fn handle_failure(
        &self,
        error: &TokenRequestError,
        login: &StoredLogin,
        old: Secret,
        is_rejected: bool,
    ) -> Result<Token, GrantError> {
        let code = match error {
            TokenRequestError::Rejected { code } => code,
            TokenRequestError::Http(error) => {
                return Err(error.clone().into_grant_error("the token endpoint"));
            }
            TokenRequestError::Unreadable => {
                return Err(GrantError::Temporary(describe_chain(error).into()));
            }
        };
        let is_registered_by_weir = login.client.method != TokenEndpointAuthMethod::Config;
        match code {
            Some("invalid_grant") => {
                // A weir on another machine, which the lock does not exclude, may have refreshed
                // first.
                if let Ok(newer) = self.load()
                    && newer.refresh_token.as_ref() != Some(&old)
                    && let Some(token) = self.issue_stored(&newer, is_rejected)
                {
                    return Ok(token);
                }
                self.memory().rejected = Some(old);
                Err(self.login_needed())
            }
            // The server has forgotten the client; a login registers a new one.
            Some("invalid_client" | "unauthorized_client") if is_registered_by_weir => {
                self.memory().rejected = Some(old);
                Err(self.login_needed())
            }
            _ => Err(GrantError::Rejected(describe_chain(error).into())),
        }
    }

    fn login_needed(&self) -> GrantError {
        // Quoted for a shell if need be: people copy the command.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = match self.upstream.chars().all(is_plain) {
            true => self.upstream.clone(),
            false => format!("'{}'", self.upstream.replace('\'', r"'\''")),
        };
        GrantError::LoginNeeded(format!("log in again: weir login {name}").into())
    }

    fn memory(&self) -> MutexGuard<'_, GrantMemory> {
        self.memory.lock()
    }
}

fn temporary(error: &LoginStoreError) -> GrantError {
    GrantError::Temporary(describe_chain(error).into())
}

/// Describes an error and its causes.
fn describe_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
