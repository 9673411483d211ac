//! The facts that one upstream has to know of the others: the exposed names that are theirs.

use std::sync::Arc;

use crate::catalog::{Catalog, Kind, NameOwner, PinnedNames, ReservedNames};
use crate::config::Config;
use crate::live::state::upstream::{UpstreamState, rules_of};
use crate::name::{UpstreamId, UpstreamIndex};

/// The exposed names that upstreams hold now, and those that they have pinned.
#[derive(Clone, Debug)]
pub(super) struct OtherUpstreams {
    pub(super) published: Arc<Catalog>,
    pub(super) reserved: Arc<ReservedNames>,
}

impl OtherUpstreams {
    /// Returns the upstream that a name belongs to, if it is another one than this. Where that one
    /// and this one are both listed for the first time (`is_first`), the order of the config
    /// decides, so that it does not matter which of them answers sooner.
    pub(super) fn holder(
        &self,
        own: &UpstreamId,
        is_first: bool,
        kind: Kind,
        name: &str,
    ) -> Option<UpstreamId> {
        match kind {
            Kind::Tools | Kind::Prompts => {}
            // Instructions have no name, and URIs are wrapped.
            Kind::Resources | Kind::Templates | Kind::Instructions => return None,
        }
        let owner = self.reserved.owner(kind, name);
        let owner = owner.filter(|owner| owner.upstream != *own);
        if let Some(owner) = owner.filter(|owner| !is_first || owner.is_restored) {
            return Some(owner.upstream.clone());
        }
        let holder = self.published.route(kind, name).filter(|_| !is_first)?;
        (holder.upstream != *own).then_some(holder.upstream)
    }

    /// Joins the names that upstreams have pinned, where any of them changed since `reserved`.
    pub(super) fn reserve(
        config: &Config,
        upstreams: &mut [UpstreamState],
        reserved: &mut Arc<ReservedNames>,
    ) {
        let mut changed = false;
        for entry in upstreams.iter_mut() {
            changed |= entry.pinned_names.is_none();
            let pins = entry
                .pins
                .as_deref()
                .filter(|_| entry.config.drift.is_gated());
            entry.pinned_names.get_or_insert_with(|| {
                let rules = rules_of(config, &entry.config);
                pins.map_or_else(PinnedNames::default, |pins| {
                    PinnedNames::of(&rules, &config.naming, pins)
                })
            });
        }
        if !changed {
            return;
        }
        let owned = upstreams.iter().enumerate().filter_map(|(index, entry)| {
            let owner = NameOwner {
                index: UpstreamIndex::new(index),
                upstream: entry.config.id.clone(),
                is_restored: entry.restored,
            };
            Some((owner, entry.pinned_names.as_ref()?))
        });
        *reserved = Arc::new(ReservedNames::of(owned));
    }
}
