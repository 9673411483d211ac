//! A login that replicas share: whichever refreshes it, all go on with what came of it, and no refresh
//! token is used twice.
//!
//! The store has the latest login, sealed. A replica refreshes it under a lease, after another look at
//! what is there. While the store cannot be reached, nothing is refreshed: two uses of one refresh token
//! would lose the login for all of them (RFC 9700 §4.14.2). Every replica keeps the login in its own
//! state folder too, from which a store that has lost its data gets it again.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::credentials::oauth::store::StoredLogin;
use crate::credentials::token::Token;
use crate::replicas::{NewsTopic, SharedStore, StoreLease, StoreLost, StoreNews};

/// How long one replica may take to refresh: longer than any request to a token endpoint.
const LEASE: Duration = Duration::from_secs(30);
/// Seconds until a login that nobody refreshes is forgotten by the store: 180 days.
const LIFE: u64 = 180 * 86_400;
/// The pause between two looks while another replica refreshes.
pub(super) const LEASE_POLL: Duration = Duration::from_millis(50);

/// Stores a login, unless there is one that is as new: by the time of the login, and by the number
/// of refreshes since. Returns whether it did.
const PUT: &str = "\
local l = tonumber(redis.call('HGET', KEYS[1], 'logged_in') or -1) \
local r = tonumber(redis.call('HGET', KEYS[1], 'refreshes') or -1) \
local nl, nr = tonumber(ARGV[1]), tonumber(ARGV[2]) \
if l > nl or (l == nl and r >= nr) then return 0 end \
redis.call('HSET', KEYS[1], 'logged_in', ARGV[1], 'refreshes', ARGV[2], 'sealed', ARGV[3]) \
redis.call('EXPIRE', KEYS[1], ARGV[4]) \
return 1";

/// The turn of a replica to refresh.
pub(super) enum RefreshTurn {
    /// It may, as long as it has the lease; `None` if there are no replicas.
    Mine(Option<StoreLease>),
    /// Another one has refreshed.
    Done(Token),
}

/// The login of an upstream in the store.
#[derive(Debug)]
pub(super) struct SharedLogin {
    store: Arc<SharedStore>,
    /// Its place among logins.
    place: String,
    key: String,
}

impl SharedLogin {
    /// Returns the login of an upstream with this URL, at the issuer that its config names if it does.
    pub(super) fn new(
        store: &Arc<SharedStore>,
        upstream: &str,
        url: &Url,
        issuer: Option<&Url>,
    ) -> Self {
        let issuer = issuer.map_or("", Url::as_str);
        let parts = [upstream, url.as_str(), issuer.trim_end_matches('/')];
        let place = store.mark(&parts);
        Self {
            key: store.key("login", &place),
            place,
            store: Arc::clone(store),
        }
    }

    /// Reads the login.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn read(&self) -> Result<Option<StoredLogin>, StoreLost> {
        let command = redis::cmd("HGET").arg(&self.key).arg("sealed").to_owned();
        let sealed: Option<String> = self.store.ask(&command).await?;
        let login = sealed.and_then(|sealed| self.store.unseal(&self.key, &sealed));
        Ok(login.and_then(|text| StoredLogin::parse(&text)))
    }

    /// Stores the login, unless the store has one that is as new, and tells the other replicas.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn put(&self, login: &StoredLogin) -> Result<(), StoreLost> {
        let text = serde_json::to_vec(login).map_err(|_| StoreLost)?;
        let sealed = self.store.seal(&self.key, &text).map_err(|_| StoreLost)?;
        let (logged_in, refreshes) = login.age();
        let mut command = redis::cmd("EVAL");
        command.arg(PUT).arg(1).arg(&self.key);
        command.arg(logged_in).arg(refreshes).arg(sealed).arg(LIFE);
        if self.store.ask::<bool>(&command).await? {
            self.store.tell(NewsTopic::Logins, &self.place);
        }
        Ok(())
    }

    /// Takes the right to refresh; `None` if another replica has it.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn lease(&self) -> Result<Option<StoreLease>, StoreLost> {
        // Replicas bring their logins first, in case that the store has lost them.
        self.store.settled().await;
        let name = format!("login:{}", self.place);
        self.store.lease(&name, LEASE).await
    }

    /// Returns a receiver of news.
    pub(super) fn subscribe(&self) -> tokio::sync::broadcast::Receiver<StoreNews> {
        self.store.subscribe()
    }

    /// Returns whether news are about this login.
    pub(super) fn is_about(&self, news: &StoreNews) -> bool {
        news.topic == NewsTopic::Logins && *news.text == *self.place
    }
}
