//! The login of a person, as replicas use it together.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::credentials::oauth::authorization_code::{LOCK_TIMEOUT, SharedGrant};
use crate::credentials::oauth::shared_logins::{LEASE_POLL, RefreshTurn};
use crate::credentials::oauth::store::{LoginLock, StoredLogin};
use crate::credentials::token::GrantError;
use crate::replicas::{NewsTopic, StoreLost};

/// How long to wait for a process that keeps the login of another replica from being stored.
const KEEP_TIMEOUT: Duration = Duration::from_secs(1);

impl SharedGrant {
    /// Waits for the turn to refresh among replicas, or for what another one's refresh brings.
    pub(super) async fn lease(&self, is_rejected: bool) -> Result<RefreshTurn, GrantError> {
        let Some(shared) = &self.among_replicas else {
            return Ok(RefreshTurn::Mine(None));
        };
        let waiting = async {
            loop {
                if let Some(lease) = shared.lease().await.map_err(lost)? {
                    return Ok(RefreshTurn::Mine(Some(lease)));
                }
                tokio::time::sleep(LEASE_POLL).await;
                let login = self.newest(None).await?;
                if let Some(token) = self.issue_stored(&login, is_rejected) {
                    return Ok(RefreshTurn::Done(token));
                }
            }
        };
        let late = |_| {
            Err(GrantError::Temporary(
                "another replica refreshes the login".into(),
            ))
        };
        let waited = tokio::time::timeout(LOCK_TIMEOUT, waiting).await;
        waited.unwrap_or_else(late)
    }

    /// Loads the login, or that of the other replicas if it is newer. `lock` is that of the login, if
    /// it is held.
    pub(super) async fn newest(&self, lock: Option<&LoginLock>) -> Result<StoredLogin, GrantError> {
        let own = self.load();
        let Some(shared) = &self.among_replicas else {
            return own;
        };
        let theirs = match shared.read().await {
            Ok(theirs) => theirs.filter(|theirs| self.may_use(theirs)),
            // A token that there is may still be used. It is not refreshed.
            Err(StoreLost) => return own,
        };
        let age = own.as_ref().ok().map(StoredLogin::age);
        let their_age = theirs.as_ref().map(StoredLogin::age);
        match (own, theirs) {
            (_, Some(theirs)) if their_age > age => {
                self.keep(&theirs, lock).await;
                Ok(theirs)
            }
            (Ok(own), _) => {
                // The other replicas wait for a login as this one does.
                if age > their_age {
                    let _ = shared.put(&own).await;
                }
                Ok(own)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Returns whether a login is for this upstream, and of the client that the config names.
    fn may_use(&self, login: &StoredLogin) -> bool {
        let is_other = |id: &String| *id != login.client.id;
        login.upstream == self.upstream
            && login.url == self.url
            && !self.client_id.as_ref().is_some_and(is_other)
    }

    /// Keeps the login of another replica in the state folder.
    async fn keep(&self, login: &StoredLogin, lock: Option<&LoginLock>) {
        let Some(store) = &self.store else {
            return;
        };
        let own_lock = match lock {
            Some(_) => None,
            None => {
                let locked = store.lock(&self.upstream, &login.issuer, KEEP_TIMEOUT);
                locked.await.ok()
            }
        };
        let Some(lock) = lock.or(own_lock.as_ref()) else {
            return;
        };
        let kept = lock.draft().and_then(|draft| draft.commit(login));
        if let Err(error) = kept {
            tracing::warn!(upstream = self.upstream, %error, "the login of another replica cannot be stored here");
        }
    }

    /// Hears of the other replicas, and brings the login to a store that may have lost it, until
    /// `stop`.
    pub(super) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let Some(shared) = &self.among_replicas else {
            return;
        };
        let mut news = shared.subscribe();
        loop {
            let news = match stop.run_until_cancelled(news.recv()).await {
                None | Some(Err(broadcast::error::RecvError::Closed)) => return,
                Some(Err(broadcast::error::RecvError::Lagged(_))) => continue,
                Some(Ok(news)) => news,
            };
            if news.topic == NewsTopic::Reached
                && let Ok(own) = self.load()
            {
                // Nothing is lost if that fails: the next connection brings it.
                let _ = shared.put(&own).await;
            }
            if news.topic == NewsTopic::Reached || shared.is_about(&news) {
                self.told.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn lost(StoreLost: StoreLost) -> GrantError {
    let reason = "the store of the replicas does not answer, and without it no login is refreshed";
    GrantError::Temporary(reason.into())
}
