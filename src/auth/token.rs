//! Tokens that end: fetched once however many calls wait, replaced ahead of their end, fetched again after a 401.

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

use crate::auth::state::StateCell;
use crate::auth::{Around, NoCredential, Refused, SetupError, Stamp, Verdict};
use crate::config::{HttpEndpoint, Upstream};
use crate::secret::Secret;

/// A token, and the header it is sent in.
#[derive(Clone, Debug)]
pub struct Token {
    /// The header.
    pub header: HeaderName,
    /// What it says, `Bearer ` and the like included.
    pub value: Secret,
    /// When it ends, if that is known.
    pub expires: Option<SystemTime>,
}

/// Why no token was had. The words are weir's own: no text of a peer, no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// It may work another time: no connection, a timeout, 5xx, 429.
    #[error("{0}")]
    Passing(Box<str>),
    /// The server says no, and will again: `invalid_client`, `invalid_scope`.
    #[error("{0}")]
    Refused(Box<str>),
    /// A person has to log in.
    #[error("{0}")]
    Reauth(Box<str>),
}

/// Where tokens of one upstream come from.
#[derive(Debug)]
pub struct TokenSource {
    state: Arc<StateCell>,
}

impl TokenSource {
    /// The source that an upstream's `auth` names. Opens nothing.
    ///
    /// # Errors
    /// What shows in the config.
    pub fn new(
        _upstream: &Upstream,
        _endpoint: &HttpEndpoint,
        _around: &Around,
        state: Arc<StateCell>,
    ) -> Result<Arc<Self>, SetupError> {
        Ok(Arc::new(Self { state }))
    }

    /// Puts the token on.
    ///
    /// # Errors
    /// There is none, and none came until `deadline`.
    pub async fn put(
        &self,
        _headers: &mut HeaderMap,
        _deadline: Instant,
    ) -> Result<Stamp, NoCredential> {
        Err(NoCredential("not built".into()))
    }

    /// The token was let in.
    pub fn accepted(&self, _stamp: &Stamp) {
        self.state.ok(None);
    }

    /// The token was refused.
    pub async fn refused(
        &self,
        _stamp: &Stamp,
        _refusal: &Refused<'_>,
        _deadline: Instant,
    ) -> Verdict {
        Verdict::Final(None)
    }
}
