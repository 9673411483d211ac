//! Token exchange (RFC 8693): a token of one server for a token of another.
//!
//! The subject is weir itself: a token in a file, such as the one of a Kubernetes service account,
//! read again for each exchange because it is rotated. Or it is a caller: then its token is the
//! subject, and weir's own token, if there is one, the actor.

use crate::config::{ExchangeSubject, HttpEndpoint, TokenExchange, TokenParameters};
use crate::credentials::context::CredentialsContext;
use crate::credentials::error::SetupError;
use crate::credentials::oauth::token_client::{GrantType, TokenClient, read};
use crate::credentials::secrets::SecretCell;
use crate::credentials::token::{GrantError, Token};
use crate::secret::Secret;

/// Exchanges one token for another.
#[derive(Debug)]
pub struct TokenExchangeGrant {
    client: TokenClient,
    token: TokenParameters,
    /// Weir's own token; `None` if callers are the subjects.
    own: Option<SecretCell>,
    subject_type: String,
    actor: Option<TypedToken>,
    requested_type: Option<String>,
}

/// A token to exchange.
#[derive(Debug)]
struct TypedToken {
    token: SecretCell,
    /// A token type identifier (RFC 8693 §3).
    kind: String,
}

impl TokenExchangeGrant {
    /// Creates the grant that the config describes. Opens no connection.
    ///
    /// # Errors
    /// A mistake in the config.
    pub fn new(
        config: &TokenExchange,
        upstream: &HttpEndpoint,
        context: &CredentialsContext,
    ) -> Result<Self, SetupError> {
        let actor = match &config.actor_token {
            Some((token, kind)) => Some(TypedToken {
                token: context.secrets.open(token)?,
                kind: kind.clone(),
            }),
            None => None,
        };
        Ok(Self {
            client: TokenClient::new(&config.client, upstream, context)?,
            token: config.token.clone(),
            own: match &config.subject {
                ExchangeSubject::Own(token) => Some(context.secrets.open(token)?),
                ExchangeSubject::Caller => None,
            },
            subject_type: config.subject_token_type.clone(),
            actor,
            requested_type: config.requested_token_type.clone(),
        })
    }

    /// Fetches a new token for weir itself.
    ///
    /// # Errors
    /// The server gave none.
    pub async fn fetch(&self) -> Result<Token, GrantError> {
        let Some(own) = &self.own else {
            return Err(GrantError::Rejected("there is no caller".into()));
        };
        let subject = read(own).await?;
        let result = self.fetch_for(&subject).await;
        if let Err(GrantError::Rejected(_)) = &result {
            own.renew_in_background(own.version());
        }
        result
    }

    /// Fetches a new token for the subject of this token.
    ///
    /// # Errors
    /// The server gave none.
    pub async fn fetch_for(&self, subject: &Secret) -> Result<Token, GrantError> {
        // A file may end with a newline.
        let text = |secret: &Secret| secret.expose().trim().to_owned();
        let mut parameters = vec![
            ("subject_token", text(subject)),
            ("subject_token_type", self.subject_type.clone()),
        ];
        if let Some(actor) = &self.actor {
            parameters.push(("actor_token", text(&read(&actor.token).await?)));
            parameters.push(("actor_token_type", actor.kind.clone()));
        }
        if let Some(kind) = &self.requested_type {
            parameters.push(("requested_token_type", kind.clone()));
        }
        let grant_type = GrantType::TokenExchange;
        self.client.fetch(grant_type, &self.token, parameters).await
    }

    /// Returns a number that grows whenever a secret of the exchange has changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        let actor = self.actor.as_ref();
        let actor = actor.map_or(0, |actor| actor.token.version());
        let own = self.own.as_ref().map_or(0, SecretCell::version);
        self.client.version() + own + actor
    }
}
