//! A stored login, in the format of its file.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::secret::Secret;

/// The version of the format.
pub(super) const VERSION: u32 = 1;
/// A stored access token is used if it is valid for a quarter of its lifetime, or this long.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// A stored access token is not used if it is valid for less: it would expire on the way, or before
/// it can be put to use.
const SHORTEST_REST: Duration = Duration::from_millis(750);

/// The tokens that a person has granted to weir, with everything that a refresh needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLogin {
    /// The version of the format.
    pub(super) version: u32,
    /// The upstream's name in the config.
    pub upstream: String,
    /// The upstream's URL: the tokens are sent to no other.
    pub url: Url,
    /// The issuer of the authorization server (RFC 8414 §2).
    pub issuer: String,
    /// The token endpoint, which refreshes tokens.
    pub token_endpoint: Url,
    /// `resource` of every token request (RFC 8707).
    pub resource: String,
    /// The client that weir is at the server.
    pub client: StoredClient,
    /// The scopes that were requested.
    pub scopes: Vec<String>,
    /// The access token.
    #[serde(with = "text")]
    pub access_token: Secret,
    /// The refresh token, if the server gave one.
    #[serde(with = "optional_text")]
    pub refresh_token: Option<Secret>,
    /// When the access token was issued, in seconds since 1970.
    pub issued: u64,
    /// When it expires, in seconds since 1970, if that is known.
    pub expires: Option<u64>,
    /// When the person logged in, in seconds since 1970.
    pub logged_in: u64,
    /// How often it was refreshed since then.
    #[serde(default)]
    pub refreshes: u64,
}

/// A client at an authorization server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredClient {
    /// `client_id`
    pub id: String,
    /// The secret of a client that weir registered. Secrets of the config are not stored.
    #[serde(with = "optional_text")]
    pub secret: Option<Secret>,
    /// How the client authenticates.
    pub method: TokenEndpointAuthMethod,
}

/// `token_endpoint_auth_method`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenEndpointAuthMethod {
    /// Not at all: a public client.
    #[serde(rename = "none")]
    None,
    /// With its secret in the `Authorization` header.
    #[serde(rename = "client_secret_basic")]
    Basic,
    /// With its secret in the body.
    #[serde(rename = "client_secret_post")]
    Post,
    /// In the way that the config describes.
    #[serde(rename = "config")]
    Config,
}

/// The tokens of a token response.
#[derive(Clone, Debug)]
pub struct IssuedTokens {
    /// `access_token`
    pub access: Secret,
    /// `refresh_token`
    pub refresh: Option<Secret>,
    /// `expires_in`
    pub lifetime: Option<Duration>,
}

/// The parties of a login.
#[derive(Clone, Debug)]
pub struct LoginParties {
    /// The upstream's name in the config.
    pub upstream: String,
    /// The upstream's URL.
    pub url: Url,
    /// The issuer of the authorization server.
    pub issuer: String,
    /// The token endpoint, which refreshes tokens.
    pub token_endpoint: Url,
    /// `resource` of token requests (RFC 8707).
    pub resource: String,
    /// The client that weir is at the server.
    pub client: StoredClient,
}

impl StoredLogin {
    /// Creates the login of a person who has just logged in.
    #[must_use]
    pub fn new(parties: LoginParties, requested: Vec<String>, tokens: IssuedTokens) -> Self {
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
            expires: expiry(now, tokens.lifetime),
            logged_in: now,
            refreshes: 0,
        }
    }

    /// Reads a login that a replica wrote; `None` for another format.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let login = serde_json::from_slice::<Self>(text).ok()?;
        login.is_current().then_some(login)
    }

    /// Returns the time of the login and the number of refreshes since: the higher, the newer.
    #[must_use]
    pub fn age(&self) -> (u64, u64) {
        (self.logged_in, self.refreshes)
    }

    /// Returns the login after a refresh. If there is no new refresh token, the old one stays in
    /// use (RFC 6749 §6).
    #[must_use]
    pub fn with_refreshed(&self, tokens: IssuedTokens) -> Self {
        let now = now();
        Self {
            access_token: tokens.access,
            refresh_token: tokens.refresh.or_else(|| self.refresh_token.clone()),
            issued: now,
            expires: expiry(now, tokens.lifetime),
            refreshes: self.refreshes.saturating_add(1),
            ..self.clone()
        }
    }

    /// Returns when the access token expires, if that is known.
    #[must_use]
    pub fn expiry(&self) -> Option<SystemTime> {
        let seconds = Duration::from_secs(self.expires?);
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    }

    /// Returns whether it has the format that this weir writes.
    pub(super) fn is_current(&self) -> bool {
        self.version == VERSION
    }

    /// Returns whether the access token has expired.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.expires.is_some_and(|end| end <= now())
    }

    /// Returns whether the access token is worth sending: it is valid for another 30 s, or a
    /// quarter of its lifetime if that is less, and in any case for 0.75 s.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.is_fresh_at(SystemTime::now())
    }

    /// Returns whether [`Self::is_fresh`] holds at a time. Seconds are not enough for it: a token
    /// that ends at 102 is valid for a tenth of a second at 101.9.
    pub(super) fn is_fresh_at(&self, at: SystemTime) -> bool {
        let (Some(end), Some(expiry)) = (self.expires, self.expiry()) else {
            return true;
        };
        let rest = expiry.duration_since(at).unwrap_or_default();
        let lifetime = Duration::from_secs(end.saturating_sub(self.issued));
        rest > (lifetime / 4).min(LONGEST_REST).max(SHORTEST_REST)
    }
}

pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn expiry(now: u64, lifetime: Option<Duration>) -> Option<u64> {
    lifetime.map(|lifetime| now.saturating_add(lifetime.as_secs()))
}

/// Writes and reads a secret: the store is the only place where secrets are written.
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

/// Writes and reads an optional secret.
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
