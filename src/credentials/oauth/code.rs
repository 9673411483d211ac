//! The tokens of `weir login`: refreshed while serving (RFC 6749 §6).

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::Duration;

use http::header;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::config::{AuthorizationCode, HttpEndpoint, Registration, Upstream};
use crate::credentials::oauth::door::Door;
use crate::credentials::oauth::proof::Prover;
use crate::credentials::oauth::store::{Lock, Method, Record, Store, StoreError};
use crate::credentials::oauth::tokens::{Have, Request, TokensError};
use crate::credentials::token::{GrantError, Token};
use crate::credentials::{Around, SetupError};
use crate::secret::Secret;

/// How long another process may take to refresh the same grant.
const LOCK: Duration = Duration::from_secs(20);

/// What a person has granted to weir at one upstream.
#[derive(Debug)]
pub struct StoredGrant {
    keeping: Arc<Keeping>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Keeping {
    upstream: String,
    url: Url,
    issuer: Option<Url>,
    /// The client of the config, if it names one: grants of another are of no use.
    client_id: Option<String>,
    store: Option<Store>,
    door: Door,
    client: Prover,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// The access token that was given last.
    given: Option<Secret>,
    /// The refresh token that the server takes no more.
    dead: Option<Secret>,
    /// What took the place of a refresh token, where it could not be written.
    unkept: Option<(Secret, Record)>,
}

impl StoredGrant {
    /// The grant of an upstream. Opens nothing.
    ///
    /// # Errors
    /// What shows in the config.
    pub fn new(
        upstream: &Upstream,
        endpoint: &HttpEndpoint,
        config: &AuthorizationCode,
        around: &Around,
    ) -> Result<Self, SetupError> {
        let client_id = match &config.client {
            Registration::Known { client_id, .. } => Some(client_id.clone()),
            Registration::Document(url) => Some(url.as_str().to_owned()),
            Registration::Dynamic => None,
        };
        let keeping = Keeping {
            upstream: upstream.id.as_str().to_owned(),
            url: endpoint.url.clone(),
            issuer: config.issuer.clone(),
            client_id,
            store: around.state_dir.as_deref().map(Store::new),
            door: Door::new(endpoint, config, around)?,
            client: Prover::new(config, around)?,
            memory: Mutex::default(),
        };
        Ok(Self {
            keeping: Arc::new(keeping),
            tasks: around.tasks.clone(),
        })
    }

    /// A token, other than the one given before where that can be had. `refused`: because the upstream said 401 to
    /// that one; without, a token that cannot be refreshed is given again until it ends.
    ///
    /// It may be dropped at any time: a refresh that has begun is finished by a task of its own. Without anything to
    /// refresh with it is one look at a small folder.
    ///
    /// # Errors
    /// No token; [`GrantError::Reauth`] where only `weir login` helps.
    pub async fn fetch(&self, refused: bool) -> Result<Token, GrantError> {
        let keeping = Arc::clone(&self.keeping);
        let (sender, done) = oneshot::channel();
        // A rotated refresh token that nobody stores is lost.
        self.tasks.spawn(async move {
            let _ = sender.send(keeping.fetch(refused).await);
        });
        let broken = |_| Err(GrantError::Passing("the refresh broke off".into()));
        done.await.unwrap_or_else(broken)
    }

    /// Another number whenever somebody has logged in or refreshed: then another try is worth it at once.
    #[must_use]
    pub fn version(&self) -> u64 {
        let (store, upstream) = (&self.keeping.store, &self.keeping.upstream);
        store.as_ref().map_or(0, |store| store.version(upstream))
    }
}

impl Keeping {
    async fn fetch(&self, refused: bool) -> Result<Token, GrantError> {
        let record = self.record()?;
        if let Some(token) = self.usable(&record, refused) {
            return Ok(token);
        }
        let Some(store) = &self.store else {
            return Err(self.reauth());
        };
        let lock = store.lock(&self.upstream, &record.issuer, LOCK).await;
        let lock = lock.map_err(|error| passing(&error))?;
        // Somebody else may have been at it meanwhile.
        let record = self.record()?;
        if let Some(token) = self.usable(&record, refused) {
            return Ok(token);
        }
        self.refresh(record, &lock, refused).await
    }

    /// The grant as it is stored, or as it would be.
    fn record(&self) -> Result<Record, GrantError> {
        let Some(store) = &self.store else {
            let why = "there is no state folder to keep a login in; set `state.dir`";
            return Err(GrantError::Reauth(why.into()));
        };
        let issuer = self.issuer.as_ref().map(Url::as_str);
        let found = store.find(&self.upstream, &self.url, issuer);
        let found = found.map_err(|error| passing(&error))?;
        let record = found.ok_or_else(|| self.reauth())?;
        if self
            .client_id
            .as_ref()
            .is_some_and(|id| *id != record.client.id)
        {
            return Err(self.reauth());
        }
        match &self.memory().unkept {
            Some((old, new)) if record.refresh_token.as_ref() == Some(old) => Ok(new.clone()),
            _ => Ok(record),
        }
    }

    /// The stored access token, if it will do.
    fn usable(&self, record: &Record, refused: bool) -> Option<Token> {
        let again = self.memory().given.as_ref() == Some(&record.access_token);
        let usable = match again {
            // Other than by logging in there is no better one.
            true => record.refresh_token.is_none() && !refused && !record.is_over(),
            false => record.is_fresh(),
        };
        usable.then(|| self.give(record))
    }

    fn give(&self, record: &Record) -> Token {
        self.memory().given = Some(record.access_token.clone());
        Token {
            header: header::AUTHORIZATION,
            value: Secret::new(&format!("Bearer {}", record.access_token.expose())),
            expires: record.end(),
        }
    }

    async fn refresh(
        &self,
        record: Record,
        lock: &Lock,
        refused: bool,
    ) -> Result<Token, GrantError> {
        let dead = self.memory().dead.clone();
        let alive = |token: &Secret| dead.as_ref() != Some(token);
        let Some(old) = record.refresh_token.clone().filter(alive) else {
            return Err(self.reauth());
        };
        // Before the refresh token is used up: where the next one cannot be kept, it stays.
        let draft = lock.draft().map_err(|error| passing(&error))?;
        let proof = self.client.prove(&record.client).await;
        let request = Request {
            endpoint: &record.token_endpoint,
            client_id: &record.client.id,
            proof: proof.map_err(|error| GrantError::Refused(error.to_string().into()))?,
            resource: &record.resource,
        };
        let tokens = match request.send(Have::Refresh(&old), &self.door.http).await {
            Ok(tokens) => tokens,
            Err(error) => return self.failed(&error, &record, old, refused),
        };
        let next = record.refreshed(tokens);
        if let Err(error) = draft.keep(&next) {
            tracing::error!(upstream = self.upstream, %error, "a refreshed login cannot be stored; weir has it in memory only");
            self.memory().unkept = Some((old, next.clone()));
        }
        Ok(self.give(&next))
    }

    /// What a failed refresh means.
    fn failed(
        &self,
        error: &TokensError,
        record: &Record,
        old: Secret,
        refused: bool,
    ) -> Result<Token, GrantError> {
        let code = match error {
            TokensError::Refused { code } => code,
            TokensError::Http(error) => {
                return Err(error.clone().for_grant("the token endpoint"));
            }
            TokensError::Nonsense => return Err(GrantError::Passing(worded(error).into())),
        };
        let weirs_own = record.client.method != Method::Config;
        match code {
            Some("invalid_grant") => {
                // A weir on another machine, where locks do not reach, may have been first.
                if let Ok(newer) = self.record()
                    && newer.refresh_token.as_ref() != Some(&old)
                    && let Some(token) = self.usable(&newer, refused)
                {
                    return Ok(token);
                }
                self.memory().dead = Some(old);
                Err(self.reauth())
            }
            // The server has forgotten the client; a login registers another.
            Some("invalid_client" | "unauthorized_client") if weirs_own => {
                self.memory().dead = Some(old);
                Err(self.reauth())
            }
            _ => Err(GrantError::Refused(worded(error).into())),
        }
    }

    fn reauth(&self) -> GrantError {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = match self.upstream.chars().all(plain) {
            true => self.upstream.clone(),
            false => format!("'{}'", self.upstream.replace('\'', r"'\''")),
        };
        GrantError::Reauth(format!("log in again: weir login {name}").into())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock()
    }
}

fn passing(error: &StoreError) -> GrantError {
    GrantError::Passing(worded(error).into())
}

/// An error with its causes.
fn worded(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
