//! Client credentials (RFC 6749 §4.4): weir as itself.

use crate::config::{ClientCredentials, HttpEndpoint, TokenParameters};
use crate::credentials::oauth::client::{Asks, Client};
use crate::credentials::token::{GrantError, Token};
use crate::credentials::{Around, SetupError};

/// Tokens for who the client is.
#[derive(Debug)]
pub struct ServiceGrant {
    client: Client,
    token: TokenParameters,
}

impl ServiceGrant {
    /// As the config wants it. Opens nothing.
    ///
    /// # Errors
    /// What shows in the config.
    pub fn new(
        config: &ClientCredentials,
        upstream: &HttpEndpoint,
        around: &Around,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            client: Client::new(&config.client, upstream, around)?,
            token: config.token.clone(),
        })
    }

    /// A new token.
    ///
    /// # Errors
    /// None was had.
    pub async fn fetch(&self) -> Result<Token, GrantError> {
        let asks = Asks::ClientCredentials;
        self.client.token(asks, &self.token, Vec::new()).await
    }

    /// Grows whenever what it logs in with has changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.client.version()
    }
}
