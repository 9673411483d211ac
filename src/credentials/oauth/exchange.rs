//! Token exchange (RFC 8693): a token of one server for a token of another.
//!
//! The subject is weir itself: a token in a file, such as a Kubernetes service account's, read anew for each exchange
//! because it is rotated. On behalf of a caller it will be the caller's token instead, with weir's as the actor: that takes
//! a subject per exchange and tokens kept per caller, and nothing here but `ExchangeGrant::exchange` knows which it is.

use crate::config::{HttpEndpoint, TokenExchange, TokenParameters};
use crate::credentials::oauth::client::{Asks, Client, read};
use crate::credentials::secrets::SecretCell;
use crate::credentials::token::{GrantError, Token};
use crate::credentials::{Around, SetupError};
use crate::secret::Secret;

/// Tokens for other tokens.
#[derive(Debug)]
pub struct ExchangeGrant {
    client: Client,
    token: TokenParameters,
    subject: SecretCell,
    subject_type: String,
    actor: Option<(SecretCell, String)>,
    requested_type: Option<String>,
}

impl ExchangeGrant {
    /// As the config wants it. Opens nothing.
    ///
    /// # Errors
    /// What shows in the config.
    pub fn new(
        config: &TokenExchange,
        upstream: &HttpEndpoint,
        around: &Around,
    ) -> Result<Self, SetupError> {
        let actor = match &config.actor_token {
            Some((token, kind)) => Some((around.secrets.open(token)?, kind.clone())),
            None => None,
        };
        Ok(Self {
            client: Client::new(&config.client, upstream, around)?,
            token: config.token.clone(),
            subject: around.secrets.open(&config.subject_token)?,
            subject_type: config.subject_token_type.clone(),
            actor,
            requested_type: config.requested_token_type.clone(),
        })
    }

    /// A new token for weir itself.
    ///
    /// # Errors
    /// None was had.
    pub async fn fetch(&self) -> Result<Token, GrantError> {
        let subject = read(&self.subject).await?;
        let result = self.exchange(&subject, &self.subject_type).await;
        if let Err(GrantError::Refused(_)) = &result {
            self.subject.refused(self.subject.version());
        }
        result
    }

    /// A token for whoever `subject` is of.
    async fn exchange(&self, subject: &Secret, kind: &str) -> Result<Token, GrantError> {
        // A file may end with a newline.
        let text = |secret: &Secret| secret.expose().trim().to_owned();
        let mut parameters = vec![
            ("subject_token", text(subject)),
            ("subject_token_type", kind.to_owned()),
        ];
        if let Some((actor, kind)) = &self.actor {
            parameters.push(("actor_token", text(&read(actor).await?)));
            parameters.push(("actor_token_type", kind.clone()));
        }
        if let Some(kind) = &self.requested_type {
            parameters.push(("requested_token_type", kind.clone()));
        }
        let asks = Asks::TokenExchange;
        self.client.token(asks, &self.token, parameters).await
    }

    /// Grows whenever what it logs in with has changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        let actor = self.actor.as_ref().map_or(0, |(actor, _)| actor.version());
        self.client.version() + self.subject.version() + actor
    }
}
