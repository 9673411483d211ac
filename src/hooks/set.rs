//! The hooks of a config.

use std::sync::Arc;

use super::context::{HookContext, HookSetupError};
use super::link::HookLink;
use super::subject::{HookPhase, HookSubject};
use crate::config;

/// The hooks of a config, in its order.
#[derive(Debug, Default)]
pub struct Hooks {
    all: Vec<Arc<HookLink>>,
}

impl Hooks {
    /// Sets up the hooks of a config. Those that are the same as `before` keep their state. Opens
    /// nothing.
    ///
    /// # Errors
    /// A mistake in the config that shows only now, or there are no TLS roots.
    pub fn new(
        hooks: &[Arc<config::Hook>],
        before: &Self,
        context: &HookContext,
    ) -> Result<Self, HookSetupError> {
        let links = hooks.iter().map(|hook| {
            let mut known = before.all.iter();
            let known = known.find(|known| known.config().fingerprint == hook.fingerprint);
            match known {
                Some(known) => Ok(Arc::clone(known)),
                None => HookLink::new(Arc::clone(hook), context).map(Arc::new),
            }
        });
        Ok(Self {
            all: links.collect::<Result<_, _>>()?,
        })
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns whether one of them sees headers of callers.
    #[must_use]
    pub fn sees_headers(&self) -> bool {
        let mut all = self.all.iter();
        all.any(|hook| !hook.config().request_headers.is_empty())
    }

    /// Iterates over the hooks, in the order of the config.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<HookLink>> {
        self.all.iter()
    }

    /// Ends the processes of hooks.
    pub fn stop(&self) {
        for hook in &self.all {
            hook.stop();
        }
    }

    /// Returns the hooks that see something, in the order in which they are asked.
    #[must_use]
    pub fn matching(&self, phase: HookPhase, subject: &HookSubject<'_>) -> Vec<Arc<HookLink>> {
        let all = self.all.iter();
        all.filter(|hook| hook.sees(phase, subject))
            .cloned()
            .collect()
    }
}
