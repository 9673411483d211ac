//! The token in use.

use std::time::SystemTime;

use http::{HeaderName, HeaderValue};

use super::timing::TokenLifetime;
use crate::credentials::token::{GrantError, Token};

/// The token in use, ready to be sent.
#[derive(Debug)]
pub(super) struct CurrentToken {
    /// Counts the tokens of the source, from 1.
    pub(super) number: u64,
    pub(super) header: HeaderName,
    pub(super) value: HeaderValue,
    pub(super) lifetime: TokenLifetime,
    pub(super) expires: Option<SystemTime>,
}

impl CurrentToken {
    pub(super) fn new(token: Token, number: u64) -> Result<Self, GrantError> {
        let mut value = HeaderValue::from_str(token.value.expose()).map_err(|_| {
            let reason = "the token has characters that an HTTP header cannot carry";
            GrantError::Rejected(reason.into())
        })?;
        value.set_sensitive(true);
        let lifetime = TokenLifetime::until(token.expires).ok_or_else(|| {
            let reason = "the token had expired before it came: are the clocks right?";
            GrantError::Temporary(reason.into())
        })?;
        Ok(Self {
            number,
            header: token.header,
            value,
            lifetime,
            expires: token.expires,
        })
    }
}
