//! Logging in to AWS: Signature Version 4.

pub mod sign;
pub mod skew;

use std::sync::Arc;

use http::{HeaderMap, Method};
use tokio::time::Instant;
use url::Url;

use crate::auth::state::StateCell;
use crate::auth::{Around, NoCredential, Refused, SetupError, Stamp, Verdict};
use crate::config::Sigv4;

/// Signs requests to one upstream.
#[derive(Debug)]
pub struct Signer {
    state: Arc<StateCell>,
}

impl Signer {
    /// A signer as the config wants it. Opens nothing.
    ///
    /// # Errors
    /// What shows in the config.
    pub fn new(
        _config: &Sigv4,
        _around: &Around,
        state: Arc<StateCell>,
    ) -> Result<Self, SetupError> {
        Ok(Self { state })
    }

    /// Signs; nothing may change afterwards.
    ///
    /// # Errors
    /// No credentials until `deadline`.
    pub async fn sign(
        &self,
        _method: &Method,
        _url: &Url,
        _headers: &mut HeaderMap,
        _body: &[u8],
        _deadline: Instant,
    ) -> Result<Stamp, NoCredential> {
        Err(NoCredential("not built".into()))
    }

    /// The signature was accepted.
    pub fn accepted(&self) {
        self.state.ok(None);
    }

    /// The signature was refused.
    pub fn refused(&self, _stamp: &Stamp, _refusal: &Refused<'_>) -> Verdict {
        Verdict::Final(None)
    }
}
