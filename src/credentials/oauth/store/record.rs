//! A grant, as the store writes it.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::secret::Secret;

/// The version of the files' format.
pub(super) const VERSION: u32 = 1;

/// A grant, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The format.
    pub(super) version: u32,
    /// The upstream's name in the config.
    pub upstream: String,
    /// The upstream's URL: a token is for no other.
    pub url: Url,
    /// The authorization server (RFC 8414 §2).
    pub issuer: String,
    /// Where tokens are refreshed.
    pub token_endpoint: Url,
    /// `resource` of every token request (RFC 8707).
    pub resource: String,
    /// Who weir is there.
    pub client: ClientRecord,
    /// What was asked for.
    pub scopes: Vec<String>,
    /// The access token.
    #[serde(with = "text")]
    pub access_token: Secret,
    /// The refresh token, if the server gave one.
    #[serde(with = "optional_text")]
    pub refresh_token: Option<Secret>,
    /// When the access token came, in seconds since 1970.
    pub issued: u64,
    /// When it ends, if the server said so.
    pub expires: Option<u64>,
    /// When a person logged in.
    pub logged_in: u64,
}

/// A client at an authorization server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRecord {
    /// `client_id`
    pub id: String,
    /// The secret of a client that weir registered itself; those of the config stay there.
    #[serde(with = "optional_text")]
    pub secret: Option<Secret>,
    /// How such a client shows its secret.
    pub method: Method,
}

/// `token_endpoint_auth_method`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// A public client.
    #[serde(rename = "none")]
    None,
    /// In the `Authorization` header.
    #[serde(rename = "client_secret_basic")]
    Basic,
    /// In the body.
    #[serde(rename = "client_secret_post")]
    Post,
    /// As the config says.
    #[serde(rename = "config")]
    Config,
}

/// What a token answer brought.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// `access_token`
    pub access: Secret,
    /// `refresh_token`
    pub refresh: Option<Secret>,
    /// `expires_in`
    pub lifetime: Option<Duration>,
}

/// Who a grant is for, and from whom.
#[derive(Clone, Debug)]
pub struct Parties {
    /// The upstream's name in the config.
    pub upstream: String,
    /// The upstream's URL.
    pub url: Url,
    /// The authorization server.
    pub issuer: String,
    /// Where tokens are refreshed.
    pub token_endpoint: Url,
    /// `resource`
    pub resource: String,
    /// Who weir is there.
    pub client: ClientRecord,
}

impl Record {
    /// What a login has brought, now.
    #[must_use]
    pub fn new(parties: Parties, requested: Vec<String>, tokens: Tokens) -> Self {
        let now = now();
        Self {
            version: VERSION,
            upstream: parties.upstream,
            url: parties.url,
            issuer: parties.issuer,
            token_endpoint: parties.token_endpoint,
            resource: parties.resource,
            client: parties.client,
            scopes: requested,
            access_token: tokens.access,
            refresh_token: tokens.refresh,
            issued: now,
            expires: end(now, tokens.lifetime),
            logged_in: now,
        }
    }

    /// The same grant after a refresh. A refresh token that was not replaced goes on being used (RFC 6749 §6).
    #[must_use]
    pub fn refreshed(&self, tokens: Tokens) -> Self {
        let now = now();
        Self {
            access_token: tokens.access,
            refresh_token: tokens.refresh.or_else(|| self.refresh_token.clone()),
            issued: now,
            expires: end(now, tokens.lifetime),
            ..self.clone()
        }
    }

    /// When the access token ends, if that is known.
    #[must_use]
    pub fn end(&self) -> Option<SystemTime> {
        let seconds = Duration::from_secs(self.expires?);
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    }

    /// Whether it is in the format that this weir writes.
    pub(super) fn is_current(&self) -> bool {
        self.version == VERSION
    }

    /// Whether the access token has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.expires.is_some_and(|end| end <= now())
    }

    /// Whether the access token is worth sending: for half a minute more, or a quarter of its life if that is less.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        let Some(end) = self.expires else {
            return true;
        };
        let life = end.saturating_sub(self.issued);
        end.saturating_sub(now()) > (life / 4).min(30)
    }
}

pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn end(now: u64, lifetime: Option<Duration>) -> Option<u64> {
    lifetime.map(|lifetime| now.saturating_add(lifetime.as_secs()))
}

/// A secret in a file of the store, the one place where it is written.
mod text {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::secret::Secret;

    pub(super) fn serialize<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret.expose())
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Secret, D::Error> {
        String::deserialize(from).map(|text| Secret::new(&text))
    }
}

/// A secret that may not be there.
mod optional_text {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::secret::Secret;

    pub(super) fn serialize<S: Serializer>(
        secret: &Option<Secret>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(Secret::expose).serialize(to)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Option<Secret>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        Ok(text.map(|text| Secret::new(&text)))
    }
}
