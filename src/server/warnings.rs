//! Warnings of a config that is valid and not wise.

use crate::config::{Config, PolicyMode};

/// Most pairs of namespaces that are warned of.
const MOST_WARNINGS: usize = 16;

/// Logs what is allowed in a config and not wise.
pub(super) fn warn_of_config(config: &Config) {
    for ambiguous in config
        .ambiguous_namespaces()
        .into_iter()
        .take(MOST_WARNINGS)
    {
        tracing::warn!("{ambiguous}");
    }
    warn_of_policy(config);
    if config.state_dir.is_none() && is_gated(config) {
        tracing::warn!("`drift` without `state.dir`: pins are forgotten at a restart");
    }
}

/// Logs what passes though there is a policy.
fn warn_of_policy(config: &Config) {
    let Some(policy) = &config.policy else {
        return;
    };
    let covers = policy.covers;
    let all = [
        (covers.tools, "tools"),
        (covers.prompts, "prompts"),
        (covers.resources, "resources"),
    ];
    let open = all.iter().filter(|(covered, _)| !covered);
    let open: Vec<_> = open.map(|(_, name)| *name).collect();
    if !open.is_empty() {
        tracing::warn!(
            open = open.join(", "),
            "POLICY COVERS NOT EVERYTHING: every caller may use all of these, of all upstreams; `policy.covers: [tools, prompts, resources]` closes them"
        );
    }
    if policy.mode == PolicyMode::LogOnly {
        tracing::warn!("POLICY IS NOT IN FORCE: `policy.mode: log_only` lets everything pass");
    }
}

/// Returns whether an upstream has pins that decide something.
pub(super) fn is_gated(config: &Config) -> bool {
    let mut upstreams = config.upstreams.values();
    upstreams.any(|upstream| upstream.drift.is_gated())
}
