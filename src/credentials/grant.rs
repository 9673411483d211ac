//! The ways to fetch tokens, behind one enum.

#[cfg(test)]
pub(in crate::credentials) mod scripted;

use std::time::SystemTime;

use crate::config::{Auth, HttpEndpoint, Upstream};
use crate::credentials::aws::agentcore_identity::AgentcoreIdentityClient;
use crate::credentials::caller_exchange::CallerGrant;
use crate::credentials::context::CredentialsContext;
use crate::credentials::error::SetupError;
use crate::credentials::oauth::authorization_code::AuthorizationCodeGrant;
use crate::credentials::oauth::client_credentials::ClientCredentialsGrant;
use crate::credentials::oauth::token_exchange::TokenExchangeGrant;
use crate::credentials::token::{GrantError, Token};

/// The way in which tokens are fetched.
#[derive(Debug)]
pub enum Grant {
    /// OAuth 2 client credentials (RFC 6749 §4.4).
    ClientCredentials(Box<ClientCredentialsGrant>),
    /// OAuth 2 token exchange (RFC 8693).
    TokenExchange(Box<TokenExchangeGrant>),
    /// OAuth 2 authorization code (RFC 6749 §4.1): what `weir login` stored.
    AuthorizationCode(Box<AuthorizationCodeGrant>),
    /// AgentCore Identity, which fetches and keeps tokens and API keys for agents.
    AgentcoreIdentity(Box<AgentcoreIdentityClient>),
    /// An exchange on behalf of a caller.
    Caller(CallerGrant),
    /// A test's own answers.
    #[cfg(test)]
    Scripted(scripted::ScriptedGrant),
}

impl Grant {
    /// Creates the grant that an upstream's `auth` describes. Opens no connection.
    ///
    /// # Errors
    /// A mistake in the config, or a kind of `auth` that fetches no tokens.
    pub fn new(
        upstream: &Upstream,
        endpoint: &HttpEndpoint,
        context: &CredentialsContext,
    ) -> Result<Self, SetupError> {
        match &upstream.auth {
            Auth::ClientCredentials(config) => {
                let grant = ClientCredentialsGrant::new(config, endpoint, context)?;
                Ok(Self::ClientCredentials(Box::new(grant)))
            }
            Auth::TokenExchange(config) => {
                let grant = TokenExchangeGrant::new(config, endpoint, context)?;
                Ok(Self::TokenExchange(Box::new(grant)))
            }
            Auth::AuthorizationCode(config) => {
                let grant = AuthorizationCodeGrant::new(upstream, endpoint, config, context)?;
                Ok(Self::AuthorizationCode(Box::new(grant)))
            }
            Auth::AgentcoreIdentity(config) => {
                let grant = AgentcoreIdentityClient::new(config, context)?;
                Ok(Self::AgentcoreIdentity(Box::new(grant)))
            }
            Auth::None
            | Auth::Bearer(_)
            | Auth::Header { .. }
            | Auth::Basic { .. }
            | Auth::Sigv4(_) => {
                debug_assert!(false, "{} fetches no tokens", upstream.auth.as_str());
                Err(SetupError::Config(
                    "this kind of `auth` fetches no tokens".into(),
                ))
            }
        }
    }

    /// Fetches a token, and a different one than last time if that is possible. `is_rejected` says
    /// that the upstream answered 401 to the last one. To be called by one task at a time; the
    /// future may be dropped at any time.
    ///
    /// # Errors
    /// There is no token.
    pub async fn fetch(&self, is_rejected: bool) -> Result<Token, GrantError> {
        match self {
            Self::ClientCredentials(grant) => grant.fetch().await,
            Self::TokenExchange(grant) => grant.fetch().await,
            Self::AuthorizationCode(grant) => grant.fetch(is_rejected).await,
            Self::AgentcoreIdentity(grant) => grant.fetch().await,
            Self::Caller(grant) => grant.fetch().await,
            #[cfg(test)]
            Self::Scripted(grant) => grant.fetch().await,
        }
    }

    /// Returns whether a failed fetch is repeated without a call that needs the token. On behalf of a
    /// caller it is not: the caller may never come back.
    #[must_use]
    pub fn retries_by_itself(&self) -> bool {
        !matches!(self, Self::Caller(_))
    }

    /// Returns whether a new token may be valid for longer than one that expires then.
    #[must_use]
    pub fn may_prolong(&self, expires: Option<SystemTime>) -> bool {
        match self {
            Self::Caller(grant) => grant.may_prolong(expires),
            Self::ClientCredentials(_)
            | Self::TokenExchange(_)
            | Self::AuthorizationCode(_)
            | Self::AgentcoreIdentity(_) => true,
            #[cfg(test)]
            Self::Scripted(_) => true,
        }
    }

    /// Returns a number that changes whenever the secrets or the stored login behind the grant have
    /// changed, so that another attempt is worth it at once.
    #[must_use]
    pub fn version(&self) -> u64 {
        match self {
            Self::ClientCredentials(grant) => grant.version(),
            Self::TokenExchange(grant) => grant.version(),
            Self::AuthorizationCode(grant) => grant.version(),
            Self::AgentcoreIdentity(grant) => grant.version(),
            Self::Caller(grant) => grant.version(),
            #[cfg(test)]
            Self::Scripted(grant) => grant.version(),
        }
    }
}
