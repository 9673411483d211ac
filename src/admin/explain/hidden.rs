//! Definitions that are known but not exposed.

use std::sync::Arc;

use crate::admin::explain::{AppliedRule, ExplainIndex, Hidden, HiddenReason, Owner, rules};
use crate::catalog::{ExclusionReason, Kind, NameOrigin, Part, Rules};
use crate::config::{StalePolicy, Upstream};
use crate::name::UpstreamIndex;

impl ExplainIndex<'_> {
    /// Returns everything that is known but not exposed.
    pub(super) fn hidden(&self) -> Vec<Hidden> {
        let mut found = Vec::new();
        for part in self.catalog.parts().chain(self.catalog.hidden()) {
            if let Some(upstream) = self.upstreams.get(&part.upstream) {
                self.add_left_out(part, upstream, &mut found);
            }
        }
        for part in self.catalog.hidden() {
            if let Some(upstream) = self.upstreams.get(&part.upstream) {
                self.add_stale(part, upstream, &mut found);
            }
        }
        for (index, (upstream, known)) in self.upstreams.values().zip(&self.known).enumerate() {
            for defect in &known.quarantined {
                let Some(name) = &defect.name else {
                    continue;
                };
                let because = format!("its definition cannot be used: {}", defect.reason);
                let owner = self.owner(UpstreamIndex::new(index), upstream);
                let item = HiddenItem::of(upstream, defect.kind, name, owner);
                found.push(self.describe(item, HiddenReason::Quarantined, because, Vec::new()));
            }
        }
        found
    }

    /// Adds what an upstream lists and the config, a loop or a drift policy keeps out.
    fn add_left_out(&self, part: &Part, upstream: &Arc<Upstream>, found: &mut Vec<Hidden>) {
        let owner = || self.owner(part.upstream_index, upstream);
        for tool in part.prepared.excluded() {
            let rules = rules::rules_against(upstream, &tool.original, tool.because);
            let (why, because) = match tool.because {
                ExclusionReason::Denied => {
                    (HiddenReason::Denied, "tools.deny matches its original name")
                }
                ExclusionReason::NotAllowed => (
                    HiddenReason::NotAllowed,
                    "tools.allow does not match its original name",
                ),
                ExclusionReason::SearchHidden => (
                    HiddenReason::NotAllowed,
                    "gateway.search is `hide`, and it is the gateway's search tool",
                ),
                ExclusionReason::NotReadOnly => (
                    HiddenReason::NotAllowed,
                    "`read_only` is set, and its annotations do not have `readOnlyHint: true`",
                ),
            };
            let item = HiddenItem::of(upstream, Kind::Tools, &tool.original, owner());
            found.push(self.describe(item, why, because.to_owned(), rules));
        }
        for left_out in part.prepared.left_out() {
            let (why, because) = match left_out.own {
                true => (
                    HiddenReason::Own,
                    "it came from this weir itself, through another one",
                ),
                false => (HiddenReason::Far, "it came through too many weirs"),
            };
            let item = HiddenItem::of(upstream, left_out.kind, &left_out.original, owner());
            found.push(self.describe(item, why, because.to_owned(), Vec::new()));
        }
        let drifted = part.prepared.drift().drifted.iter();
        for drifted in drifted.filter(|drifted| drifted.quarantined) {
            let because = match (drifted.pinned(), drifted.changes.first()) {
                // A new definition: there is no room for it, or its name belongs to a pinned one.
                (None, Some(change)) => change.what.clone(),
                (None, None) | (Some(_), _) => {
                    "it differs from its pin, and `drift` is `quarantine`".to_owned()
                }
            };
            let item = HiddenItem::of(upstream, drifted.kind, &drifted.original, owner());
            let hidden = self.describe(item, HiddenReason::Drifted, because, Vec::new());
            found.push(Hidden {
                drift: self.drift(upstream, drifted.kind, &drifted.original),
                ..hidden
            });
        }
    }

    /// Adds what a failing upstream would expose if `stale` did not hide it.
    fn add_stale(&self, part: &Part, upstream: &Arc<Upstream>, found: &mut Vec<Hidden>) {
        let because = match upstream.stale.policy {
            StalePolicy::Hide => "its upstream fails, and `stale.policy` is `hide`".to_owned(),
            StalePolicy::Serve => format!(
                "its upstream has failed for longer than `stale.max_age`, {:?}",
                upstream.stale.max_age
            ),
        };
        for kind in Kind::ALL {
            for (original, wanted) in part.prepared.wanted(kind) {
                let owner = self.owner(part.upstream_index, upstream);
                let item = HiddenItem::of(upstream, kind, original, owner);
                let hidden = self.describe(item, HiddenReason::Stale, because.clone(), Vec::new());
                found.push(Hidden {
                    wanted: wanted.to_string(),
                    ..hidden
                });
            }
        }
    }

    fn describe(
        &self,
        item: HiddenItem<'_>,
        why: HiddenReason,
        because: String,
        rules: Vec<AppliedRule>,
    ) -> Hidden {
        let wanted = match item.kind {
            Kind::Tools | Kind::Prompts | Kind::Instructions => {
                NameOrigin::wanted_name(&item.rules, self.naming, item.kind, item.original)
            }
            Kind::Resources | Kind::Templates => item.original.to_owned(),
        };
        Hidden {
            kind: item.kind,
            original: item.original.to_owned(),
            wanted,
            why,
            because,
            rules,
            drift: None,
            upstream: item.owner,
        }
    }
}

/// A definition that is not exposed.
struct HiddenItem<'n> {
    kind: Kind,
    original: &'n str,
    rules: Rules<'n>,
    owner: Owner,
}

impl<'n> HiddenItem<'n> {
    fn of(upstream: &'n Arc<Upstream>, kind: Kind, original: &'n str, owner: Owner) -> Self {
        Self {
            kind,
            original,
            rules: Rules::from(upstream.as_ref()),
            owner,
        }
    }
}
