//! What tokens are had for: one enum of all grants, and the one thing they do.

use crate::auth::oauth::code::StoredGrant;
use crate::auth::token::{GrantError, Token};
use crate::auth::{Around, SetupError};
use crate::config::{Auth, HttpEndpoint, Upstream};

/// Where a token comes from.
#[derive(Debug)]
pub enum Grant {
    /// OAuth 2 client credentials (RFC 6749 §4.4).
    ClientCredentials,
    /// OAuth 2 token exchange (RFC 8693).
    TokenExchange,
    /// What `weir login` has stored.
    AuthorizationCode(Box<StoredGrant>),
    /// AgentCore Identity.
    Identity,
    /// What a test says.
    #[cfg(test)]
    Scripted(crate::auth::token::tests::Scripted),
}

impl Grant {
    /// The grant of an upstream's `auth`. Opens nothing.
    ///
    /// # Errors
    /// What shows in the config.
    pub fn new(
        upstream: &Upstream,
        endpoint: &HttpEndpoint,
        around: &Around,
    ) -> Result<Self, SetupError> {
        match &upstream.auth {
            Auth::ClientCredentials(_) => Ok(Self::ClientCredentials),
            Auth::TokenExchange(_) => Ok(Self::TokenExchange),
            Auth::AuthorizationCode(config) => {
                let grant = StoredGrant::new(upstream, endpoint, config, around)?;
                Ok(Self::AuthorizationCode(Box::new(grant)))
            }
            Auth::AgentcoreIdentity(_) => Ok(Self::Identity),
            Auth::None | Auth::Bearer(_) | Auth::Header { .. } | Auth::Basic { .. } => {
                Err(SetupError::Config("no tokens are fetched for it".into()))
            }
            Auth::Sigv4(_) => Err(SetupError::Config("signatures are no tokens".into())),
        }
    }

    /// Fetches a token, other than the one that this grant gave before. One call at a time; it may take as long as
    /// two requests with their timeouts. `refused`: because the upstream said 401 to the one before. May be dropped at any time, unless [`Grant::keeps_tokens`].
    ///
    /// # Errors
    /// None was had.
    pub async fn fetch(&self, refused: bool) -> Result<Token, GrantError> {
        match self {
            Self::AuthorizationCode(grant) => grant.fetch(refused).await,
            Self::ClientCredentials | Self::TokenExchange | Self::Identity => {
                Err(GrantError::Refused("not built".into()))
            }
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.fetch().await,
        }
    }

    /// Grows whenever what it logs in with has changed, so that another try is worth it at once.
    #[must_use]
    pub fn version(&self) -> u64 {
        match self {
            Self::AuthorizationCode(grant) => grant.version(),
            Self::ClientCredentials | Self::TokenExchange | Self::Identity => 0,
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.version(),
        }
    }

    /// Whether a fetch replaces something that is kept (a refresh token that is used once), so that it must not
    /// be broken off.
    #[must_use]
    pub fn keeps_tokens(&self) -> bool {
        matches!(self, Self::AuthorizationCode(_))
    }
}
