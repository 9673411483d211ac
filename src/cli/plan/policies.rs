//! The names that callers would gain and lose by the policies of another config.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::catalog::diff::UpstreamConfigs;
use crate::config::Config;
use crate::live::access::configured_callers;
use crate::policy::{Access, AccessChange, KnownCaller, Policies, PolicyRules, compare_access};
use crate::server::known_instance;

/// The policies of a config, and the callers that it names.
pub(super) struct PlannedPolicies {
    rules: Option<Arc<PolicyRules>>,
    callers: Vec<KnownCaller>,
    upstreams: UpstreamConfigs,
    memory: usize,
}

impl PlannedPolicies {
    /// Takes them out of a config.
    pub(super) fn of(config: &Config) -> Self {
        let instance = known_instance(config);
        let settings = config.policy.as_ref();
        Self {
            rules: settings.map(|settings| PolicyRules::of_settings(settings, instance.as_ref())),
            callers: configured_callers(config),
            upstreams: config.upstreams.clone(),
            memory: config.memory,
        }
    }

    /// Returns what callers gain and lose when these come after others, of the catalog that there is
    /// then.
    pub(super) fn compare_to(&self, before: &Self, catalog: &Catalog) -> Vec<AccessChange> {
        let slice = |rules: &Option<Arc<PolicyRules>>| {
            let rules = rules.clone()?;
            Some(Policies::new(rules, &self.upstreams, catalog, self.memory))
        };
        let (earlier, now) = (slice(&before.rules), slice(&self.rules));
        let access = |policies| Access { policies, catalog };
        let mut callers = self.callers.clone();
        callers.extend_from_slice(&before.callers);
        compare_access(access(earlier.as_ref()), access(now.as_ref()), &callers)
    }
}
