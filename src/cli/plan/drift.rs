//! The definitions that drift policies would hold back after a reload.

use std::sync::Arc;

use foldhash::HashMap;
use serde::Serialize;

use crate::admin::drift::DriftState;
use crate::catalog::diff::UpstreamConfigs;
use crate::catalog::{Change, Kind, Side, compare_definitions, drift, pins};
use crate::cli::plan::baseline::Baseline;
use crate::config::{self, DriftPolicy};

/// A definition that would differ from its pin, and wait to be accepted.
#[derive(Debug, Serialize)]
pub(super) struct HeldDefinition {
    #[serde(skip)]
    pub(super) upstream: Arc<str>,
    /// Whether it is a tool or a prompt.
    pub(super) kind: Kind,
    /// Its exposed name, or the one that it would have.
    pub(super) name: String,
    /// Its name at its upstream.
    pub(super) original: String,
    /// Whether callers would see the pinned definition or nothing.
    pub(super) state: DriftState,
    /// How it differs from its pin.
    pub(super) changes: Vec<Change>,
}

/// Removes from `after` what drift policies would hold back, as far as the baseline tells, and returns
/// it.
pub(super) fn hold_back(
    after: &mut Side,
    before: &Baseline,
    upstreams: &UpstreamConfigs,
    shown: impl Fn(&config::Upstream) -> Side,
) -> Vec<HeldDefinition> {
    let mut found = Vec::new();
    for (id, upstream) in upstreams {
        let name = id.as_str();
        let compared = &before.compared;
        let is_gated = upstream.drift.is_gated() && compared.changed.contains(name);
        if !is_gated || compared.moved.contains(name) {
            continue;
        }
        let is_kept_out = |kind: Kind, original: &str| {
            let mut waiting = before.waiting.iter();
            upstream.drift.policy == DriftPolicy::Quarantine
                && waiting.any(|one| {
                    one.state == DriftState::Quarantined
                        && (one.upstream.as_str(), one.kind, one.original.as_str())
                            == (name, kind, original)
                })
        };
        let known = shown(upstream).entries.into_iter();
        let known: HashMap<_, _> = known
            .map(|entry| ((entry.kind, entry.original), entry.definition))
            .collect();
        after.entries.retain_mut(|entry| {
            if *entry.upstream != *name || !pins::PINNED.contains(&entry.kind) {
                return true;
            }
            let Some(then) = known.get(&(entry.kind, Arc::clone(&entry.original))) else {
                return !is_kept_out(entry.kind, &entry.original);
            };
            let changes = compare_definitions(entry.kind, then, &entry.definition);
            if drift::passes(upstream.drift.threshold, &changes) {
                return true;
            }
            let stays = upstream.drift.policy == DriftPolicy::Hold;
            found.push(HeldDefinition {
                upstream: Arc::clone(&entry.upstream),
                kind: entry.kind,
                name: entry.exposed.to_string(),
                original: entry.original.to_string(),
                state: match stays {
                    true => DriftState::Held,
                    false => DriftState::Quarantined,
                },
                changes,
            });
            entry.definition = Arc::clone(then);
            stays
        });
    }
    found
}
