//! The authentication of callers: `listen.auth`. A request is authenticated by its headers and its
//! connection, before its body is read. A credential becomes a [`Caller`], or a [`Refusal`].
//!
//! A credential goes no further than here, but for an exchange on behalf of the caller: not
//! upstream, and not into a log.
//!
//! The credential that a caller presents decides in which way it is authenticated. If that is wrong the request is
//! refused, whatever else would do: nobody falls back to another identity, or to none.

mod api_key;
mod api_keys;
mod bearer;
mod client_certificates;
mod context;
mod current;
pub mod jwt;
mod platform;
mod refusal;
mod verifier;

use http::request::Parts;

use crate::caller::{Caller, CallerConnection, PeerCertificate, Principal};
use crate::config::CallerAuth;

pub use api_key::{ApiKeyError, ApiKeyText, make_api_key, write_hash};
pub use api_keys::{ApiKeys, ApiKeysError, KEY_ID, read_api_key_callers};

use bearer::{Presented, read_bearer};
pub use client_certificates::CertificateAuthenticator;
use client_certificates::check_binding;
pub use context::AuthenticationContext;
pub use current::CurrentAuthenticator;
use jwt::{JwtAuthenticator, JwtSetupError};
pub use platform::PlatformAuthenticator;
pub use refusal::{Refusal, RefusalKind};

/// Why callers cannot be authenticated as the config says. A mistake in it, or a file that changed
/// since it was read.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationSetupError {
    /// Tokens cannot be verified.
    #[error("`listen.auth.jwt`")]
    Jwt(#[from] JwtSetupError),
    /// The API keys cannot be used.
    #[error("`listen.auth.api_keys`")]
    ApiKeys(#[from] ApiKeysError),
}

/// Authenticates callers in the ways of one `listen.auth`.
#[derive(Debug)]
pub struct Authenticator {
    settings: CallerAuth,
    jwt: Option<JwtAuthenticator>,
    api_keys: Option<ApiKeys>,
    certificates: Option<CertificateAuthenticator>,
    platform: Option<PlatformAuthenticator>,
}

impl Authenticator {
    /// Returns how many look-ups of tokens found a verdict, and how many did not; `None` where callers
    /// bring no tokens.
    #[must_use]
    pub fn token_lookups(&self) -> Option<(u64, u64)> {
        self.jwt.as_ref().map(JwtAuthenticator::lookups)
    }

    /// Returns how many look-ups of issuers' keys found some, and how many did not; `None` where none
    /// are fetched.
    #[must_use]
    pub fn key_lookups(&self) -> Option<(u64, u64)> {
        self.jwt.as_ref()?.key_lookups()
    }

    /// Makes the authenticator of these settings. Reads their files, and connects to nothing.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn new(
        settings: &CallerAuth,
        context: &AuthenticationContext,
    ) -> Result<Self, AuthenticationSetupError> {
        Self::after(None, settings, context)
    }

    /// Makes the authenticator of these settings in place of an earlier one, and takes over what it
    /// knows of issuers: see [`JwtAuthenticator::after`].
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn after(
        earlier: Option<&Self>,
        settings: &CallerAuth,
        context: &AuthenticationContext,
    ) -> Result<Self, AuthenticationSetupError> {
        let earlier = earlier.and_then(|earlier| earlier.jwt.as_ref());
        let (entries, public_url) = (&settings.jwt, settings.public_url.as_deref());
        let jwt = match entries.is_empty() {
            true => None,
            false => Some(JwtAuthenticator::after(
                earlier, entries, public_url, context,
            )?),
        };
        let api_keys = settings.api_keys.as_ref();
        let api_keys = api_keys.map(|keys| ApiKeys::open(&keys.file, context));
        let trust = context.caller_trust.clone();
        let trust = trust.filter(|_| settings.client_certificates.is_some());
        Ok(Self {
            settings: settings.clone(),
            jwt,
            api_keys: api_keys.transpose()?,
            certificates: trust.map(CertificateAuthenticator::new),
            platform: settings.platform.as_ref().map(PlatformAuthenticator::new),
        })
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
        let text = match self.presented(request) {
            Err(refusal) => return Some(Err(refusal)),
            Ok(None) => {
                let verdict = self.by_connection(request, connection);
                return Some(self.complete(verdict, request, connection));
            }
            Ok(Some(Presented { text })) => text,
        };
        let verdict = match (&self.api_keys, &self.jwt) {
            (Some(keys), _) if ApiKeyText::is_meant(text) => keys.authenticate(text),
            (_, Some(jwt)) => {
                let verdict = jwt.try_now(text)?;
                verdict.and_then(|caller| check_binding(caller, connection))
            }
            (_, None) => Err(unusable()),
        };
        Some(self.complete(verdict, request, connection))
    }

    /// Adds to a caller what the platform in front says besides its identity.
    fn complete(
        &self,
        verdict: Result<Caller, Refusal>,
        request: &Parts,
        connection: &CallerConnection,
    ) -> Result<Caller, Refusal> {
        let Some(platform) = &self.platform else {
            return verdict;
        };
        let (headers, address) = (&request.headers, connection.address);
        verdict.and_then(|caller| platform.add_workload_token(caller, headers, address))
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
        if let Some(verdict) = self.try_now(request, connection) {
            return verdict;
        }
        match (self.presented(request)?, &self.jwt) {
            (Some(Presented { text }), Some(jwt)) => {
                let verdict = jwt.authenticate(text).await;
                let verdict = verdict.and_then(|caller| check_binding(caller, connection));
                self.complete(verdict, request, connection)
            }
            (None, _) | (_, None) => Err(unusable()),
        }
    }

    /// Returns whether a caller that was let in before would be let in now, as far as that can change:
    /// keys and certificates are revoked. `certificate` is the one that the caller logged in with.
    #[must_use]
    pub fn still_accepts(&self, caller: &Caller, certificate: Option<&PeerCertificate>) -> bool {
        let has_key = match &self.api_keys {
            Some(keys) if caller.principal() == Principal::ApiKey => keys.still_has(caller),
            Some(_) | None => true,
        };
        let is_trusted = match (&self.certificates, certificate) {
            (Some(certificates), Some(certificate)) => certificates.still_trusts(certificate),
            (Some(_), None) | (None, _) => true,
        };
        has_key && is_trusted
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
    fn by_connection(
        &self,
        request: &Parts,
        connection: &CallerConnection,
    ) -> Result<Caller, Refusal> {
        let platform = self.platform.as_ref();
        let asserted = platform
            .and_then(|platform| platform.authenticate(&request.headers, connection.address));
        if let Some(asserted) = asserted {
            return asserted;
        }
        let certificate = connection.certificate.as_ref();
        match self.certificates.as_ref().zip(certificate) {
            Some((certificates, certificate)) => certificates.authenticate(certificate),
            None => Err(Refusal::missing()),
        }
    }
}

/// Refuses a credential that no configured way takes.
fn unusable() -> Refusal {
    let reason = "no way of `listen.auth` takes this credential";
    Refusal::invalid_token("the credential is not valid", reason)
}
