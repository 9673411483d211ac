//! Tokens on behalf of a caller: the caller's token, exchanged at the token endpoint of the config (RFC
//! 8693) or at AgentCore Identity.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::config::{Auth, HttpEndpoint, IdentitySubject, OnBehalf};
use crate::credentials::aws::agentcore_identity::{AgentcoreIdentityClient, OnBehalfOf};
use crate::credentials::context::CredentialsContext;
use crate::credentials::error::SetupError;
use crate::credentials::oauth::token_exchange::TokenExchangeGrant;
use crate::credentials::secret_headers::SecretHeaders;
use crate::credentials::status::StatusCell;
use crate::credentials::token::{GrantError, Token};
use crate::secret::Secret;

/// Exchanges the tokens of callers for those of one upstream.
#[derive(Debug)]
pub struct CallerExchange {
    endpoint: Arc<ExchangeEndpoint>,
    /// The `headers` of the upstream, which all requests have.
    headers: Arc<SecretHeaders>,
    /// `auth.type` in the config.
    name: &'static str,
    status: Arc<StatusCell>,
}

/// The server that exchanges.
#[derive(Debug)]
enum ExchangeEndpoint {
    Token(Box<TokenExchangeGrant>),
    Identity(Box<AgentcoreIdentityClient>, IdentitySubject),
}

/// The caller that an exchange is for: its newest token.
#[derive(Debug)]
pub struct CallerSubject(Mutex<PresentedToken>);

/// A token that a caller authenticated with.
#[derive(Clone, Debug)]
struct PresentedToken {
    token: Secret,
    /// `sub`
    subject: Arc<str>,
    /// When it ends.
    expires: Option<SystemTime>,
    /// Counts the tokens of the caller.
    version: u64,
}

/// Fetches the tokens of one caller.
#[derive(Debug)]
pub struct CallerGrant {
    endpoint: Arc<ExchangeEndpoint>,
    subject: Arc<CallerSubject>,
}

impl CallerExchange {
    /// Creates the exchange that the config describes. Opens no connection.
    ///
    /// # Errors
    /// A mistake in the config.
    pub fn new(
        config: &OnBehalf,
        upstream: &HttpEndpoint,
        context: &CredentialsContext,
        status: &Arc<StatusCell>,
    ) -> Result<Self, SetupError> {
        let endpoint = match &config.auth {
            Auth::TokenExchange(exchange) => {
                let grant = TokenExchangeGrant::new(exchange, upstream, context)?;
                ExchangeEndpoint::Token(Box::new(grant))
            }
            Auth::AgentcoreIdentity(identity) => {
                let client = AgentcoreIdentityClient::new(identity, context)?;
                ExchangeEndpoint::Identity(Box::new(client), identity.subject)
            }
            Auth::None
            | Auth::Bearer(_)
            | Auth::Header { .. }
            | Auth::Basic { .. }
            | Auth::Sigv4(_)
            | Auth::ClientCredentials(_)
            | Auth::AuthorizationCode(_) => {
                let reason = "this kind of `auth` exchanges no tokens of callers";
                return Err(SetupError::Config(reason.into()));
            }
        };
        let headers = SecretHeaders::new(&config.auth, &upstream.headers, &context.secrets)?;
        Ok(Self {
            endpoint: Arc::new(endpoint),
            headers: Arc::new(headers),
            name: config.auth.as_str(),
            status: Arc::clone(status),
        })
    }

    /// Returns the grant for one caller.
    #[must_use]
    pub fn grant(&self, subject: &Arc<CallerSubject>) -> CallerGrant {
        CallerGrant {
            endpoint: Arc::clone(&self.endpoint),
            subject: Arc::clone(subject),
        }
    }

    /// Returns the `headers` of the upstream.
    #[must_use]
    pub fn headers(&self) -> &Arc<SecretHeaders> {
        &self.headers
    }

    /// Returns `auth.type` in the config.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the cell in which all requests count.
    #[must_use]
    pub fn status(&self) -> &Arc<StatusCell> {
        &self.status
    }
}

impl CallerSubject {
    /// Makes the subject of a caller with this token.
    #[must_use]
    pub fn new(token: Secret, subject: &str, expires: Option<SystemTime>) -> Self {
        Self(Mutex::new(PresentedToken {
            token,
            subject: subject.into(),
            expires,
            version: 0,
        }))
    }

    /// Takes another token of the same caller, if it is valid for longer than the one before.
    pub fn present(&self, token: &Secret, expires: Option<SystemTime>) {
        let mut newest = self.0.lock();
        let is_longer = match (expires, newest.expires) {
            (Some(expires), Some(before)) => expires > before,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if is_longer && newest.token != *token {
            newest.token = token.clone();
            newest.expires = expires;
            newest.version += 1;
        }
    }

    /// Returns when the newest token ends.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.0.lock().expires
    }

    /// Returns whether the newest token has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let now = SystemTime::now();
        self.expires().is_some_and(|end| end <= now)
    }

    fn newest(&self) -> PresentedToken {
        self.0.lock().clone()
    }
}

impl CallerGrant {
    /// Fetches a new token. It ends with the caller's token at the latest.
    ///
    /// # Errors
    /// There is none, or the caller's token has ended.
    pub async fn fetch(&self) -> Result<Token, GrantError> {
        if self.subject.is_over() {
            return Err(GrantError::Rejected("the caller's token has ended".into()));
        }
        let newest = self.subject.newest();
        let token = match &*self.endpoint {
            ExchangeEndpoint::Token(grant) => grant.fetch_for(&newest.token).await,
            ExchangeEndpoint::Identity(client, subject) => {
                let subject = match subject {
                    // A caller is never served as weir's own workload.
                    IdentitySubject::Caller | IdentitySubject::Workload => {
                        OnBehalfOf::Jwt(&newest.token)
                    }
                    IdentitySubject::CallerId => OnBehalfOf::User(&newest.subject),
                };
                client.fetch_for(&subject).await
            }
        }?;
        let ends = [token.expires, newest.expires];
        Ok(Token {
            expires: ends.into_iter().flatten().min(),
            ..token
        })
    }

    /// Returns whether a new token may be valid for longer than one that expires then.
    #[must_use]
    pub fn may_prolong(&self, expires: Option<SystemTime>) -> bool {
        match (self.subject.expires(), expires) {
            (Some(end), Some(expires)) => end > expires,
            (None, _) | (Some(_), None) => true,
        }
    }

    /// Returns a number that changes with the caller's token, and with the secrets of the exchange.
    #[must_use]
    pub fn version(&self) -> u64 {
        let endpoint = match &*self.endpoint {
            ExchangeEndpoint::Token(grant) => grant.version(),
            ExchangeEndpoint::Identity(client, _) => client.version(),
        };
        endpoint.wrapping_add(self.subject.0.lock().version)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_token_that_is_valid_for_longest_is_exchanged() {
        let at = |seconds| Some(SystemTime::now() + Duration::from_secs(seconds));
        let subject = CallerSubject::new(Secret::new("planted"), "s", at(60));
        subject.present(&Secret::new("b"), at(30));
        assert_eq!(subject.newest().token, Secret::new("planted"));
        assert!(!format!("{subject:?}").contains("planted"));
        subject.present(&Secret::new("c"), at(90));
        assert_eq!(subject.newest().token, Secret::new("c"));
        assert!(!subject.is_over());
    }
}
