//! Warnings of a config that is valid and not wise.

use crate::config::{AuditedData, Config, GuardRules, PolicyMode, RedactAction};

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
    warn_of_records(config);
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

/// Logs whose data is written down as it is, because no rule of `guard.redact` is about it.
fn warn_of_records(config: &Config) {
    let Some(audit) = &config.audit else {
        return;
    };
    let forms = [
        ("audit.arguments", audit.arguments),
        ("audit.results", audit.results),
    ];
    let text = forms
        .iter()
        .filter(|(_, form)| *form == AuditedData::Redacted);
    let settings: Vec<_> = text.map(|(name, _)| *name).collect();
    if settings.is_empty() || hides(&config.guard.rules) {
        return;
    }
    let open = config.upstreams.values();
    let open = open.filter(|upstream| !hides(&upstream.guard.rules));
    let open: Vec<_> = open.map(|upstream| upstream.id.as_str()).collect();
    if !open.is_empty() {
        let (settings, upstreams) = (settings.join(", "), open.join(", "));
        tracing::warn!(
            settings,
            upstreams,
            "RECORDS HAVE DATA AS IT IS: with `redacted`, but no rule of `guard.redact` that hides anything of these upstreams, all of it can be read in the record file"
        );
    }
}

/// Returns whether rules hide values of any class.
fn hides(rules: &GuardRules) -> bool {
    let redact = &rules.redact;
    [&redact.towards_upstream, &redact.towards_caller]
        .iter()
        .flat_map(|actions| actions.named.values().chain(&actions.others))
        .any(|action| !matches!(action, RedactAction::Pass | RedactAction::Report))
}

/// Returns whether an upstream has pins that decide something.
pub(super) fn is_gated(config: &Config) -> bool {
    let mut upstreams = config.upstreams.values();
    upstreams.any(|upstream| upstream.drift.is_gated())
}
