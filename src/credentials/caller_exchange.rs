//! Tokens on behalf of a caller: the caller's token, exchanged at the token endpoint of the config (RFC
//! 8693) or at AgentCore Identity.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::caller::Identity;
use crate::config::{Auth, HttpEndpoint, IdentitySubject, OnBehalf};
use crate::credentials::aws::agentcore_identity::{AgentcoreIdentityClient, OnBehalfOf};
use crate::credentials::context::CredentialsContext;
use crate::credentials::error::SetupError;
use crate::credentials::oauth::token_exchange::TokenExchangeGrant;
use crate::credentials::secret_headers::SecretHeaders;
use crate::credentials::status::StatusCell;
use crate::credentials::token::{GrantError, Token};
use crate::secret::Secret;

/// The least time after which another workload token is a reason to try again what failed.
/// AgentCore Runtime sends another one with every request, and not every call may cost a request to
/// AgentCore Identity.
const WORKLOAD_TOKEN_PAUSE: Duration = Duration::from_secs(5);

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
pub struct CallerSubject {
    kind: SubjectToken,
    newest: Mutex<PresentedToken>,
}

/// The token of a caller that is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SubjectToken {
    /// The one that it authenticated with.
    Credential,
    /// The workload access token that the platform sent with its request.
    Workload,
}

/// A token that a caller brought.
#[derive(Clone, Debug)]
struct PresentedToken {
    token: Secret,
    /// `sub`
    subject: Arc<str>,
    /// When it ends.
    expires: Option<SystemTime>,
    /// Counts the tokens of the caller.
    version: u64,
    /// When that was counted last.
    counted: Instant,
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

    /// Returns whether a caller brought the token that is exchanged here.
    #[must_use]
    pub fn has_token_of(&self, identity: &Identity) -> bool {
        self.kind().of(identity).is_some()
    }

    /// Makes the subject of a caller; `None` if it brought no token that is exchanged here.
    #[must_use]
    pub fn subject(&self, identity: &Identity) -> Option<CallerSubject> {
        CallerSubject::new(self.kind(), identity)
    }

    fn kind(&self) -> SubjectToken {
        let is_workload = |subject: &IdentitySubject| *subject == IdentitySubject::WorkloadToken;
        match &*self.endpoint {
            ExchangeEndpoint::Identity(_, subject) if is_workload(subject) => {
                SubjectToken::Workload
            }
            ExchangeEndpoint::Identity(..) | ExchangeEndpoint::Token(_) => SubjectToken::Credential,
        }
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

impl SubjectToken {
    /// Returns the token of a caller, and when it ends as far as that is known.
    fn of(self, identity: &Identity) -> Option<(&Secret, Option<SystemTime>)> {
        match self {
            Self::Credential => Some((identity.token.as_ref()?, identity.expires)),
            Self::Workload => Some((identity.workload_token.as_ref()?, identity.expires)),
        }
    }
}

impl CallerSubject {
    fn new(kind: SubjectToken, identity: &Identity) -> Option<Self> {
        let (token, expires) = kind.of(identity)?;
        let newest = PresentedToken {
            token: token.clone(),
            subject: identity.subject.as_ref().into(),
            expires,
            version: 0,
            counted: Instant::now(),
        };
        Some(Self {
            kind,
            newest: Mutex::new(newest),
        })
    }

    /// Takes another token of the same caller, if it is valid for longer than the one before. Of
    /// workload tokens, whose end nobody knows, the newest is taken. A caller that brings none changes
    /// nothing.
    pub fn present(&self, identity: &Identity) {
        let Some((token, expires)) = self.kind.of(identity) else {
            return;
        };
        let mut newest = self.newest.lock();
        let is_better = match (self.kind, expires, newest.expires) {
            (SubjectToken::Workload, _, _) => true,
            (_, Some(expires), Some(before)) => expires > before,
            (_, None, Some(_)) => true,
            (_, _, None) => false,
        };
        if !is_better {
            return;
        }
        // The same workload token may come with another credential, which is valid for longer.
        newest.expires = expires;
        if newest.token == *token {
            return;
        }
        newest.token = token.clone();
        let is_due = newest.counted.elapsed() >= WORKLOAD_TOKEN_PAUSE;
        if self.kind == SubjectToken::Credential || is_due {
            newest.version += 1;
            newest.counted = Instant::now();
        }
    }

    /// Returns how many bytes the token has.
    #[must_use]
    pub fn token_bytes(&self) -> usize {
        self.newest.lock().token.expose().len()
    }

    /// Returns when the newest token ends.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.newest.lock().expires
    }

    /// Returns whether the newest token has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let now = SystemTime::now();
        self.expires().is_some_and(|end| end <= now)
    }

    fn newest(&self) -> PresentedToken {
        self.newest.lock().clone()
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
                    IdentitySubject::WorkloadToken => OnBehalfOf::WorkloadToken(&newest.token),
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
        endpoint.wrapping_add(self.subject.newest.lock().version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Principal;

    fn identity(token: &str, expires: Option<SystemTime>) -> Identity {
        Identity {
            token: Some(Secret::new(token)),
            expires,
            ..Identity::new(Principal::OAuthUser, "s")
        }
    }

    #[test]
    fn the_token_that_is_valid_for_longest_is_exchanged() {
        let at = |seconds| Some(SystemTime::now() + Duration::from_secs(seconds));
        let kind = SubjectToken::Credential;
        let subject = CallerSubject::new(kind, &identity("planted", at(60))).unwrap();
        subject.present(&identity("b", at(30)));
        assert_eq!(subject.newest().token, Secret::new("planted"));
        assert!(!format!("{subject:?}").contains("planted"));
        subject.present(&identity("c", at(90)));
        assert_eq!(subject.newest().token, Secret::new("c"));
        assert!(!subject.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_workload_token_is_exchanged_and_few_of_them_are_news() {
        let of = |token| Identity {
            workload_token: Some(Secret::new(token)),
            ..identity("credential", None)
        };
        let kind = SubjectToken::Workload;
        assert!(CallerSubject::new(kind, &identity("credential", None)).is_none());
        let subject = CallerSubject::new(kind, &of("1")).unwrap();
        let seen = |subject: &CallerSubject| {
            let newest = subject.newest();
            (newest.token.expose().to_owned(), newest.version)
        };
        subject.present(&of("2"));
        assert_eq!(seen(&subject), ("2".to_owned(), 0));
        // The caller comes without one: what it brought before stays.
        subject.present(&identity("credential", None));
        assert_eq!(seen(&subject), ("2".to_owned(), 0));
        // The same one with another credential.
        let end = Some(SystemTime::now() + Duration::from_secs(60));
        let renewed = Identity {
            expires: end,
            ..of("2")
        };
        subject.present(&renewed);
        assert_eq!(
            (seen(&subject), subject.expires()),
            (("2".to_owned(), 0), end)
        );
        tokio::time::advance(WORKLOAD_TOKEN_PAUSE).await;
        subject.present(&of("3"));
        subject.present(&of("4"));
        assert_eq!(seen(&subject), ("4".to_owned(), 1));
    }
}
