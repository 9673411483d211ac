//! The way callers and operators are authenticated, as the config says.

use std::sync::Arc;

use crate::admin::AdminToken;
use crate::authentication::{
    AuthenticationContext, AuthenticationSetupError, Authenticator, CurrentAuthenticator,
};
use crate::config::{Config, Fingerprint, Listen, ListenAuth};
use crate::credentials::CredentialsContext;
use crate::credentials::secrets::{SecretCell, Secrets};
use crate::files::Files;
use crate::memory::MemoryBudget;
use crate::server::admin_listener::AdminListener;
use crate::server::error::ServeError;
use crate::tls::CallerTrust;

/// The way callers and operators are authenticated.
pub(super) struct Authentication {
    current: Arc<CurrentAuthenticator>,
    context: AuthenticationContext,
    /// Whether there is a listener: commands have no callers.
    is_started: bool,
    /// The settings in force.
    settings: Option<Fingerprint>,
    admin_token: Arc<AdminToken>,
    secrets: Arc<Secrets>,
}

/// The settings of another config, to be put in force.
pub(super) struct NextAuthentication {
    callers: Option<NextCallers>,
    admin_token: Option<SecretCell>,
}

/// The part of it that is about callers.
struct NextCallers {
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
            admin_token: Arc::new(AdminToken::new(None)),
            secrets: Arc::clone(&outward.secrets),
        }
    }

    /// Returns the way callers are authenticated, which may not have begun yet.
    pub(super) fn current(&self) -> &Arc<CurrentAuthenticator> {
        &self.current
    }

    /// Returns the token of the admin listener.
    pub(super) fn admin_token(&self) -> &Arc<AdminToken> {
        &self.admin_token
    }

    /// Returns the way callers are authenticated, which follows the config from now on. `trust` is
    /// that of the listener's handshakes, if they ask for certificates, and `bound` the admin
    /// listener, whose token counts if none is written.
    ///
    /// # Errors
    /// A file that it needs cannot be used.
    pub(super) fn start(
        &mut self,
        config: &Config,
        trust: Option<Arc<CallerTrust>>,
        bound: Option<&AdminListener>,
    ) -> Result<Arc<CurrentAuthenticator>, ServeError> {
        self.context.caller_trust = trust;
        self.is_started = true;
        if let Some(made) = bound.and_then(|bound| bound.token.as_ref()) {
            let cell = SecretCell::fixed(made.expose());
            self.admin_token.replace(cell);
        }
        let next = self.prepare(config)?;
        self.apply(next);
        Ok(Arc::clone(&self.current))
    }

    /// Makes what puts the settings of a config in force.
    ///
    /// # Errors
    /// A file that it needs cannot be used.
    pub(super) fn prepare(&self, config: &Config) -> Result<NextAuthentication, ServeError> {
        let written = config.admin.as_ref().and_then(|admin| admin.token.as_ref());
        let opened = written.map(|token| self.secrets.open(token)).transpose();
        Ok(NextAuthentication {
            callers: self.prepare_callers(&config.listen)?,
            admin_token: opened.map_err(ServeError::AdminToken)?,
        })
    }

    /// Makes the part that is about callers; `None` if its settings are in force already, so that
    /// nobody's keys are forgotten and no stream ends.
    fn prepare_callers(
        &self,
        listen: &Listen,
    ) -> Result<Option<NextCallers>, AuthenticationSetupError> {
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
        Ok(Some(NextCallers {
            authenticator,
            settings,
        }))
    }

    /// Puts other settings in force.
    pub(super) fn apply(&mut self, next: NextAuthentication) {
        if let Some(token) = next.admin_token {
            self.admin_token.replace(token);
        }
        if let Some(next) = next.callers {
            self.settings = Some(next.settings);
            self.current.replace(next.authenticator);
        }
    }
}
