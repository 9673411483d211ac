//! Tokens and API keys of AgentCore Identity.

use crate::auth::token::{GrantError, Token};
use crate::auth::{Around, SetupError};
use crate::config::AgentcoreIdentity;

/// Asks AgentCore Identity for one upstream.
#[derive(Debug)]
pub struct Identity {}

impl Identity {
    /// As the config wants it. Opens nothing.
    ///
    /// # Errors
    /// What shows in the config.
    pub fn new(_config: &AgentcoreIdentity, _around: &Around) -> Result<Self, SetupError> {
        Ok(Self {})
    }

    /// A token or an API key. It says when it ends: what does not say so itself is taken to last five minutes.
    ///
    /// # Errors
    /// There is none.
    pub async fn fetch(&self) -> Result<Token, GrantError> {
        Err(GrantError::Refused("not built".into()))
    }
}
