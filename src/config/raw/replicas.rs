//! `replicas:`

use schemars::JsonSchema;
use serde::Deserialize;

use super::endpoint::TlsSettings;
use super::forms::Duration;
use super::secret::SecretRef;

/// The state that replicas of this weir share, and where they find one another. They have the same `sealing_key` and
/// the same `instance`. At least one of `store` and `peers` is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Replicas")]
pub(in crate::config) struct ReplicaSettings {
    /// The store: Valkey, or Redis from version 6 on. Without this key each replica counts and keeps for
    /// itself.
    pub(in crate::config) store: Option<ReplicaStore>,
    /// The listeners of all replicas: `http://HOST:PORT` on this machine and in private networks, or
    /// `https://HOST:PORT`; a name may have several addresses. The replica itself may be among them. What
    /// belongs to a call that another replica has is forwarded to it. Without this key such a call
    /// is over for its caller. `${VAR}` is replaced.
    pub(in crate::config) peers: Option<Vec<String>>,
    /// TLS settings, for `https://` in `peers`.
    pub(in crate::config) peer_tls: Option<TlsSettings>,
    /// The beginning of all keys in the store. Without this key: `weir:` and the instance.
    pub(in crate::config) prefix: Option<String>,
    /// How `limits.rates` are kept while the store cannot be reached. Default: `local`.
    pub(in crate::config) when_lost: Option<WhenLost>,
}

/// A Valkey or Redis server that all replicas reach.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ReplicaStore {
    /// Its URL: `rediss://HOST:PORT/DATABASE` with TLS, `redis://…` without, which only this machine
    /// and hosts of private networks may have. `${VAR}` is replaced.
    pub(in crate::config) url: String,
    /// The user to log in as. Without this key: the default user of the store.
    pub(in crate::config) username: Option<String>,
    /// The password.
    pub(in crate::config) password: Option<SecretRef>,
    /// TLS settings, for `rediss://`.
    pub(in crate::config) tls: Option<TlsSettings>,
    /// The longest that anything waits for an answer of the store. After that it counts as lost until
    /// there is another connection. Default: 250ms.
    pub(in crate::config) timeout: Option<Duration>,
}

/// `local` or `refuse`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum WhenLost {
    /// Each replica counts for itself, so that callers may get more.
    Local,
    /// Requests that a rule is about are refused until the store is back.
    Refuse,
}
