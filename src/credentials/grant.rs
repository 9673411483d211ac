//! What tokens are had for: one enum of all grants, and the one thing they do.

use crate::config::{Auth, HttpEndpoint, Upstream};
use crate::credentials::aws::Identity;
use crate::credentials::oauth::client_credentials::ServiceGrant;
use crate::credentials::oauth::code::StoredGrant;
use crate::credentials::oauth::exchange::ExchangeGrant;
use crate::credentials::token::{GrantError, Token};
use crate::credentials::{Around, SetupError};

/// Where a token comes from.
#[derive(Debug)]
pub enum Grant {
    /// OAuth 2 client credentials (RFC 6749 §4.4).
    ClientCredentials(Box<ServiceGrant>),
    /// OAuth 2 token exchange (RFC 8693).
    TokenExchange(Box<ExchangeGrant>),
    /// What `weir login` has stored.
    AuthorizationCode(Box<StoredGrant>),
    /// AgentCore Identity.
    Identity(Box<Identity>),
    /// What a test says.
    #[cfg(test)]
    Scripted(crate::credentials::token::tests::Scripted),
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
            Auth::ClientCredentials(config) => {
                let grant = ServiceGrant::new(config, endpoint, around)?;
                Ok(Self::ClientCredentials(Box::new(grant)))
            }
            Auth::TokenExchange(config) => {
                let grant = ExchangeGrant::new(config, endpoint, around)?;
                Ok(Self::TokenExchange(Box::new(grant)))
            }
            Auth::AuthorizationCode(config) => {
                let grant = StoredGrant::new(upstream, endpoint, config, around)?;
                Ok(Self::AuthorizationCode(Box::new(grant)))
            }
            Auth::AgentcoreIdentity(config) => {
                let grant = Identity::new(config, around)?;
                Ok(Self::Identity(Box::new(grant)))
            }
            Auth::None
            | Auth::Bearer(_)
            | Auth::Header { .. }
            | Auth::Basic { .. }
            | Auth::Sigv4(_) => Err(SetupError::Config("no tokens are fetched for it".into())),
        }
    }

    /// Fetches a token, other than the one that this grant gave before where that can be had. `refused`: because the
    /// upstream said 401 to that one. One call at a time; may be dropped at any time.
    ///
    /// # Errors
    /// None was had.
    pub async fn fetch(&self, refused: bool) -> Result<Token, GrantError> {
        match self {
            Self::ClientCredentials(grant) => grant.fetch().await,
            Self::TokenExchange(grant) => grant.fetch().await,
            Self::AuthorizationCode(grant) => grant.fetch(refused).await,
            Self::Identity(grant) => grant.fetch().await,
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.fetch().await,
        }
    }

    /// Another number whenever what it logs in with has changed, so that another try is worth it at once.
    #[must_use]
    pub fn version(&self) -> u64 {
        match self {
            Self::ClientCredentials(grant) => grant.version(),
            Self::TokenExchange(grant) => grant.version(),
            Self::AuthorizationCode(grant) => grant.version(),
            Self::Identity(grant) => grant.version(),
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.version(),
        }
    }
}
