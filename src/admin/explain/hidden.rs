//! What is known and not exposed.

use std::sync::Arc;

use crate::admin::explain::{Hidden, Owner, RuleTold, Why, World, rules};
use crate::catalog::{ExclusionReason, Kind, NameOrigin, Part, Rules};
use crate::config::{StalePolicy, Upstream};
use crate::name::UpstreamIndex;

impl World<'_> {
    /// Everything that is known and not exposed.
    pub(super) fn hidden(&self) -> Vec<Hidden> {
        let mut found = Vec::new();
        for part in self.catalog.parts().chain(self.catalog.hidden()) {
            if let Some(upstream) = self.upstreams.get(&part.upstream) {
                self.left_out(part, upstream, &mut found);
            }
        }
        for part in self.catalog.hidden() {
            if let Some(upstream) = self.upstreams.get(&part.upstream) {
                self.stale(part, upstream, &mut found);
            }
        }
        for (index, (upstream, known)) in self.upstreams.values().zip(&self.known).enumerate() {
            for defect in &known.quarantined {
                let Some(name) = &defect.name else {
                    continue;
                };
                let because = format!("its definition is set aside: {}", defect.reason);
                let owner = self.owner(UpstreamIndex::new(index), upstream);
                let kept = Kept::of(upstream, defect.kind, name, owner);
                found.push(self.told(kept, Why::Quarantined, because, Vec::new()));
            }
        }
        found
    }

    /// What an upstream lists, and the config or a loop keeps out.
    fn left_out(&self, part: &Part, upstream: &Arc<Upstream>, found: &mut Vec<Hidden>) {
        let owner = || self.owner(part.upstream_index, upstream);
        for tool in part.prepared.excluded() {
            let rules = rules::excluding(upstream, &tool.original, tool.because);
            let (why, because) = match tool.because {
                ExclusionReason::Denied => (Why::Denied, "tools.deny matches its original name"),
                ExclusionReason::NotAllowed => (
                    Why::NotAllowed,
                    "tools.allow does not match its original name",
                ),
                ExclusionReason::SearchHidden => (
                    Why::NotAllowed,
                    "gateway.search is `hide`, and it is the gateway's search tool",
                ),
            };
            let kept = Kept::of(upstream, Kind::Tools, &tool.original, owner());
            found.push(self.told(kept, why, because.to_owned(), rules));
        }
        for left_out in part.prepared.left_out() {
            let (why, because) = match left_out.own {
                true => (Why::Own, "it came from this weir itself, by a detour"),
                false => (Why::Far, "it came through too many weirs"),
            };
            let kept = Kept::of(upstream, left_out.kind, &left_out.original, owner());
            found.push(self.told(kept, why, because.to_owned(), Vec::new()));
        }
        let drifted = part.prepared.drift().drifted.iter();
        for drifted in drifted.filter(|drifted| drifted.quarantined) {
            let because = match (drifted.pinned(), drifted.changes.first()) {
                // A newcomer: there is no room for it, or its name belongs to something that is pinned.
                (None, Some(change)) => change.what.clone(),
                (None, None) | (Some(_), _) => {
                    "it says otherwise than what is pinned, and `drift` is `quarantine`".to_owned()
                }
            };
            let kept = Kept::of(upstream, drifted.kind, &drifted.original, owner());
            let hidden = self.told(kept, Why::DriftedDefinition, because, Vec::new());
            found.push(Hidden {
                drift: self.drift(upstream, drifted.kind, &drifted.original),
                ..hidden
            });
        }
    }

    /// What an upstream that fails would bring.
    fn stale(&self, part: &Part, upstream: &Arc<Upstream>, found: &mut Vec<Hidden>) {
        let because = match upstream.stale.policy {
            StalePolicy::Hide => "its upstream fails, and `stale.policy` is `hide`".to_owned(),
            StalePolicy::Serve => format!(
                "its upstream fails for longer than `stale.max_age`, {:?}",
                upstream.stale.max_age
            ),
        };
        for kind in Kind::ALL {
            for (original, wanted) in part.prepared.wanted(kind) {
                let owner = self.owner(part.upstream_index, upstream);
                let kept = Kept::of(upstream, kind, original, owner);
                let hidden = self.told(kept, Why::Stale, because.clone(), Vec::new());
                found.push(Hidden {
                    wanted: wanted.to_string(),
                    ..hidden
                });
            }
        }
    }

    fn told(&self, kept: Kept<'_>, why: Why, because: String, rules: Vec<RuleTold>) -> Hidden {
        let wanted = match kept.kind {
            Kind::Tools | Kind::Prompts => {
                NameOrigin::wanted(&kept.rules, self.naming, kept.kind, kept.original)
            }
            Kind::Resources | Kind::Templates => kept.original.to_owned(),
        };
        Hidden {
            kind: kept.kind,
            original: kept.original.to_owned(),
            wanted,
            why,
            because,
            rules,
            drift: None,
            upstream: kept.owner,
        }
    }
}

/// Something that is not exposed, before it is said why.
struct Kept<'n> {
    kind: Kind,
    original: &'n str,
    rules: Rules<'n>,
    owner: Owner,
}

impl<'n> Kept<'n> {
    fn of(upstream: &'n Arc<Upstream>, kind: Kind, original: &'n str, owner: Owner) -> Self {
        Self {
            kind,
            original,
            rules: Rules::from(upstream.as_ref()),
            owner,
        }
    }
}
