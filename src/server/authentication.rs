//! The way callers are authenticated, as the config says.

use std::sync::Arc;

use crate::authentication::{
    AuthenticationContext, AuthenticationSetupError, Authenticator, CurrentAuthenticator,
};
use crate::config::{Fingerprint, Listen, ListenAuth};
use crate::credentials::CredentialsContext;
use crate::files::Files;
use crate::memory::MemoryBudget;
use crate::tls::CallerTrust;

/// The way callers are authenticated.
pub(super) struct Authentication {
    current: Arc<CurrentAuthenticator>,
    context: AuthenticationContext,
    /// Whether there is a listener: commands have no callers.
    is_started: bool,
    /// The settings in force.
    settings: Option<Fingerprint>,
}

/// The handle that puts other settings in force.
pub(super) struct NextAuthentication {
    authenticator: Option<Arc<Authenticator>>,
    settings: Fingerprint,
}

impl Authentication {
    pub(super) fn new(
        files: &Arc<Files>,
        outward: &CredentialsContext,
        memory: &Arc<MemoryBudget>,
    ) -> Self {
        Self {
            current: Arc::default(),
            context: AuthenticationContext {
                files: Arc::clone(files),
                tls: Arc::clone(&outward.tls),
                tasks: outward.tasks.clone(),
                shutdown: outward.stop.clone(),
                memory: Arc::clone(memory),
                caller_trust: None,
            },
            is_started: false,
            settings: None,
        }
    }

    /// Returns the way callers are authenticated, which may not have begun yet.
    pub(super) fn current(&self) -> &Arc<CurrentAuthenticator> {
        &self.current
    }

    /// Returns the way callers are authenticated, which follows the config from now on. `trust` is
    /// that of the listener's handshakes, if they ask for certificates.
    ///
    /// # Errors
    /// A file that it needs cannot be used.
    pub(super) fn start(
        &mut self,
        listen: &Listen,
        trust: Option<Arc<CallerTrust>>,
    ) -> Result<Arc<CurrentAuthenticator>, AuthenticationSetupError> {
        self.context.caller_trust = trust;
        self.is_started = true;
        let next = self.prepare(listen)?;
        self.apply(next);
        Ok(Arc::clone(&self.current))
    }

    /// Makes what puts the settings of a config in force; `None` if they are in force already, so that
    /// nobody's keys are forgotten and no stream ends.
    ///
    /// # Errors
    /// A file that it needs cannot be used.
    pub(super) fn prepare(
        &self,
        listen: &Listen,
    ) -> Result<Option<NextAuthentication>, AuthenticationSetupError> {
        let settings = listen.auth_fingerprint();
        if !self.is_started || self.settings == Some(settings) {
            return Ok(None);
        }
        let authenticator = match &listen.auth {
            None | Some(ListenAuth::None) => None,
            Some(ListenAuth::Callers(settings)) => {
                let earlier = self.current.load_full();
                let authenticator =
                    Authenticator::after(earlier.as_deref(), settings, &self.context)?;
                Some(Arc::new(authenticator))
            }
        };
        Ok(Some(NextAuthentication {
            authenticator,
            settings,
        }))
    }

    /// Puts other settings in force.
    pub(super) fn apply(&mut self, next: Option<NextAuthentication>) {
        if let Some(next) = next {
            self.settings = Some(next.settings);
            self.current.replace(next.authenticator);
        }
    }
}
