//! The authentication of callers: `listen.auth`. A request is authenticated by its headers and its
//! connection, before its body is read. A credential becomes a [`Caller`], or a [`Refusal`].
//!
//! A credential goes no further than here, but for an exchange on behalf of the caller: not
//! upstream, and not into a log.
//!
//! What a caller presents decides in which way it is authenticated. If that is wrong the request is
//! refused, whatever else would do: nobody falls back to another identity, or to none.

mod bearer;
mod context;
pub mod jwt;
mod refusal;
mod verifier;

use http::request::Parts;

use crate::caller::{Caller, CallerConnection};
use crate::config::CallerAuth;

use bearer::{Presented, read_bearer};
pub use context::AuthenticationContext;
pub use refusal::{Refusal, RefusalKind};

/// Authenticates callers in the ways of one `listen.auth`.
#[derive(Debug)]
pub struct Authenticator {
    settings: CallerAuth,
}

impl Authenticator {
    /// Makes the authenticator of these settings.
    #[must_use]
    pub fn new(settings: &CallerAuth, _context: &AuthenticationContext) -> Self {
        Self {
            settings: settings.clone(),
        }
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> &CallerAuth {
        &self.settings
    }

    /// Authenticates the sender of a request with what is at hand; `None` if [`Self::authenticate`]
    /// has to wait for something, such as keys of an issuer.
    pub fn try_now(
        &self,
        request: &Parts,
        connection: &CallerConnection,
    ) -> Option<Result<Caller, Refusal>> {
        let presented = match self.presented(request) {
            Ok(presented) => presented,
            Err(refusal) => return Some(Err(refusal)),
        };
        match presented {
            // Tokens and API keys.
            Some(Presented { .. }) => {
                let reason = "no way of `listen.auth` takes this credential";
                Some(Err(Refusal::invalid_token(
                    "the credential is not valid",
                    reason,
                )))
            }
            None => Some(Self::by_connection(request, connection)),
        }
    }

    /// Authenticates the sender of a request, and waits for what that needs.
    ///
    /// # Errors
    /// The request is not to be answered.
    pub async fn authenticate(
        &self,
        request: &Parts,
        connection: &CallerConnection,
    ) -> Result<Caller, Refusal> {
        match self.try_now(request, connection) {
            Some(verdict) => verdict,
            None => Err(Refusal::new(
                RefusalKind::Unavailable,
                "nothing to wait for",
            )),
        }
    }

    /// Returns the credential in the headers of a request. Where neither tokens nor keys are
    /// configured, `Authorization` is nothing for weir.
    fn presented<'r>(&self, request: &'r Parts) -> Result<Option<Presented<'r>>, Refusal> {
        if self.settings.jwt.is_empty() && self.settings.api_keys.is_none() {
            return Ok(None);
        }
        read_bearer(request)
    }

    /// Authenticates a request without a credential of its own: by the platform in front, or by the
    /// certificate of its connection.
    fn by_connection(_: &Parts, _: &CallerConnection) -> Result<Caller, Refusal> {
        Err(Refusal::missing())
    }
}
