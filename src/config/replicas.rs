//! `replicas:` — the store that replicas of this weir share, and where they find one another.

use std::time::Duration;

use super::{Fingerprint, SecretRef, TlsSettings};

/// The state that replicas share: where it is, and what happens without it.
#[derive(Debug)]
pub struct ReplicaSettings {
    /// The store; `None` where each replica counts and keeps for itself.
    pub store: Option<ReplicaStore>,
    /// The listeners of the replicas; none where nothing is forwarded.
    pub peers: Box<[ReplicaUrl]>,
    /// TLS towards them.
    pub peer_tls: TlsSettings,
    /// The beginning of all keys in the store.
    pub prefix: Box<str>,
    /// How limits are kept while the store cannot be reached.
    pub when_lost: WhenLost,
    /// Equal for two configs that mean the same.
    pub fingerprint: Fingerprint,
}

/// The listener of a replica, or of several that have one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaUrl {
    /// Its host.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// Whether it has TLS.
    pub has_tls: bool,
}

/// A Valkey or Redis server.
#[derive(Debug)]
pub struct ReplicaStore {
    /// Its host.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// The number of the database.
    pub database: u32,
    /// The user to log in as; `None` is the default user.
    pub username: Option<Box<str>>,
    /// The password; `None` logs in nowhere.
    pub password: Option<SecretRef>,
    /// TLS; `None` is plain TCP.
    pub tls: Option<TlsSettings>,
    /// The longest that a request waits for an answer.
    pub timeout: Duration,
}

/// `replicas.when_lost`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenLost {
    /// Each replica counts for itself.
    #[default]
    Local,
    /// Requests that a limit is about are refused.
    Refuse,
}

impl WhenLost {
    /// Returns the word in the config.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Refuse => "refuse",
        }
    }
}

/// A rule of `replicas` that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaRule {
    /// `replicas.store.url` without a server.
    #[error("not the URL of a store: write `redis://HOST:PORT` or `rediss://HOST:PORT`")]
    Url,
    /// A password in the URL.
    #[error("a URL must not hold credentials; write `username` and `password` beside it")]
    Credentials,
    /// Something behind the host that is no database.
    #[error("behind host and port comes the number of a database, such as `/0`, and nothing else")]
    Database,
    /// `redis://` to a host that is not of this network.
    #[error("can be read and changed on the way: write `rediss://`")]
    Plain,
    /// `tls` beside `redis://`.
    #[error("`redis://` has no TLS: write `rediss://`, or leave this out")]
    NoTls,
    /// A user without a password.
    #[error("a user logs in with a `password`")]
    NoPassword,
    /// Replicas with different keys.
    #[error(
        "replicas read what the others have sealed: write `sealing_key` (or `sealing_keys`), the same on each"
    )]
    NoKey,
    /// Replicas with different names.
    #[error("replicas are known by one name: write `instance`, the same on each")]
    NoInstance,
    /// Neither a store nor other replicas.
    #[error("replicas share a `store`, or have `peers` that they forward to: write one of them")]
    Nothing,
    /// An entry of `replicas.peers` that is no listener.
    #[error("not the listener of a replica: write `http://HOST:PORT` or `https://HOST:PORT`")]
    Peer,
    /// `http://` to a host that is not of this network.
    #[error("can be read and changed on the way: write `https://`")]
    PlainPeer,
    /// More replicas than there may be.
    #[error("at most {0} replicas")]
    Peers(usize),
    /// `replicas.prefix`
    #[error("the beginning of keys has 1 to 64 of the characters A-Z a-z 0-9 _ . - :")]
    Prefix,
}
