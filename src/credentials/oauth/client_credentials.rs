//! Client credentials (RFC 6749 §4.4): tokens for weir itself.

use crate::config::{ClientCredentials, HttpEndpoint, TokenParameters};
use crate::credentials::context::CredentialsContext;
use crate::credentials::error::SetupError;
use crate::credentials::oauth::token_client::{GrantType, TokenClient};
use crate::credentials::token::{GrantError, Token};

/// Fetches tokens with nothing but the client's own authentication.
#[derive(Debug)]
pub struct ClientCredentialsGrant {
    client: TokenClient,
    token: TokenParameters,
}

impl ClientCredentialsGrant {
    /// Creates the grant that the config describes. Opens no connection.
    ///
    /// # Errors
    /// A mistake in the config.
    pub fn new(
        config: &ClientCredentials,
        upstream: &HttpEndpoint,
        context: &CredentialsContext,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            client: TokenClient::new(&config.client, upstream, context)?,
            token: config.token.clone(),
        })
    }

    /// Fetches a new token.
    ///
    /// # Errors
    /// The server gave none.
    pub async fn fetch(&self) -> Result<Token, GrantError> {
        let grant_type = GrantType::ClientCredentials;
        self.client.fetch(grant_type, &self.token, Vec::new()).await
    }

    /// Returns a number that grows whenever the client's secret or key has changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.client.version()
    }
}
