//! Token exchange (RFC 8693): a token of one server for a token of another.
//!
//! The subject is weir itself: a token in a file, such as the one of a Kubernetes service account,
//! read again for each exchange because it is rotated. On behalf of a caller, the caller's token
//! would be the subject and weir's the actor. That takes a subject for each exchange and tokens for
//! each caller; only [`TokenExchangeGrant::fetch`] would change.

use crate::config::{HttpEndpoint, TokenExchange, TokenParameters};
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
    subject: TypedToken,
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
            subject: TypedToken {
                token: context.secrets.open(&config.subject_token)?,
                kind: config.subject_token_type.clone(),
            },
            actor,
            requested_type: config.requested_token_type.clone(),
        })
    }

    /// Fetches a new token for weir itself.
    ///
    /// # Errors
    /// The server gave none.
    pub async fn fetch(&self) -> Result<Token, GrantError> {
        let subject = read(&self.subject.token).await?;
        let result = self.exchange(&subject, &self.subject.kind).await;
        if let Err(GrantError::Rejected(_)) = &result {
            let token = &self.subject.token;
            token.renew_in_background(token.version());
        }
        result
    }

    async fn exchange(&self, subject: &Secret, kind: &str) -> Result<Token, GrantError> {
        // A file may end with a newline.
        let text = |secret: &Secret| secret.expose().trim().to_owned();
        let mut parameters = vec![
            ("subject_token", text(subject)),
            ("subject_token_type", kind.to_owned()),
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
        self.client.version() + self.subject.token.version() + actor
    }
}
