//! The way callers are authenticated, as the config says.

use std::sync::Arc;

use crate::authentication::{
    AuthenticationContext, AuthenticationSetupError, Authenticator, CurrentAuthenticator,
};
use crate::config::{Listen, ListenAuth};
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
        }
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
        self.apply(listen)?;
        Ok(Arc::clone(&self.current))
    }

    /// Puts the settings of a config in force.
    ///
    /// # Errors
    /// A file that it needs cannot be used; then everything stays as it was.
    pub(super) fn apply(&self, listen: &Listen) -> Result<(), AuthenticationSetupError> {
        if !self.is_started {
            return Ok(());
        }
        let next = match &listen.auth {
            None | Some(ListenAuth::None) => None,
            Some(ListenAuth::Callers(settings)) => {
                let earlier = self.current.load_full();
                let authenticator =
                    Authenticator::after(earlier.as_deref(), settings, &self.context)?;
                Some(Arc::new(authenticator))
            }
        };
        self.current.replace(next);
        Ok(())
    }
}
