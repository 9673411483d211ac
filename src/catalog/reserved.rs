//! The exposed names of pinned definitions. Callers trust them, so no other upstream gets one of
//! them, whichever comes first in the config, and whether the pinned definition is listed or not.

use std::sync::Arc;

use foldhash::HashMap;

use crate::catalog::drift::is_exposed;
use crate::catalog::named::NameOrigin;
use crate::catalog::pins::{PINNED, Pins};
use crate::catalog::{Kind, PerKind, Rules};
use crate::name::{Naming, UpstreamId, UpstreamIndex};

/// The names that the pins of one upstream want, by kind.
#[derive(Clone, Debug, Default)]
pub struct PinnedNames(PerKind<Vec<Arc<str>>>);

impl PinnedNames {
    /// Returns the names that pinned definitions want under these rules. What the rules do not
    /// expose wants none.
    #[must_use]
    pub fn of(rules: &Rules<'_>, naming: &Naming, pins: &Pins) -> Self {
        Self(PerKind::from_fn(|kind| match kind {
            Kind::Tools | Kind::Prompts => {
                let current = pins.names(kind).filter(|(_, moved)| !moved);
                let exposed = current.filter(|(original, _)| {
                    let pin = pins.get(kind, original);
                    pin.is_some_and(|pin| is_exposed(rules, kind, pin.definition()))
                });
                let wanted = exposed.map(|(original, _)| {
                    NameOrigin::wanted_name(rules, naming, kind, original).into()
                });
                wanted.collect()
            }
            // Instructions have no name of their own.
            Kind::Resources | Kind::Templates | Kind::Instructions => Vec::new(),
        }))
    }
}

#[cfg(test)]
impl PinnedNames {
    pub(in crate::catalog) fn these(names: PerKind<Vec<Arc<str>>>) -> Self {
        Self(names)
    }
}

/// One upstream whose names are reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameOwner {
    /// Its index among the snapshot's upstreams.
    pub index: UpstreamIndex,
    /// The upstream.
    pub upstream: UpstreamId,
    /// Whether its pins were there when this process started. Otherwise it was first listed by this
    /// process, and between it and others of which the same is true the order of the config
    /// decides, not which of them answered first.
    pub is_restored: bool,
}

/// The names that are reserved, each for one upstream: the first in the config that has pinned it.
#[derive(Debug, Default)]
pub struct ReservedNames(PerKind<HashMap<Arc<str>, NameOwner>>);

impl ReservedNames {
    /// Joins the names of upstreams, given in the order of the config.
    #[must_use]
    pub fn of<'n>(upstreams: impl Iterator<Item = (NameOwner, &'n PinnedNames)>) -> Self {
        let mut all = Self::default();
        for (owner, names) in upstreams {
            for kind in PINNED {
                for name in names.0.get(kind) {
                    let entry = all.0.get_mut(kind).entry(Arc::clone(name));
                    entry.or_insert_with(|| owner.clone());
                }
            }
        }
        all
    }

    /// Returns the upstream that a name is reserved for.
    #[must_use]
    pub fn owner(&self, kind: Kind, name: &str) -> Option<&NameOwner> {
        self.0.get(kind).get(name)
    }

    /// Returns whether another upstream than this one may not have the name.
    pub(super) fn is_barred(&self, kind: Kind, name: &str, index: UpstreamIndex) -> bool {
        self.owner(kind, name)
            .is_some_and(|owner| owner.index != index)
    }

    /// Returns the names that are not reserved for the same upstream in both.
    pub(super) fn differing<'n>(
        &'n self,
        other: &'n Self,
        kind: Kind,
    ) -> impl Iterator<Item = &'n Arc<str>> {
        let differ = move |one: &'n Self, other: &'n Self| {
            let index = move |of: &Self, name: &str| of.owner(kind, name).map(|owner| owner.index);
            let names = one.0.get(kind).keys();
            names.filter(move |name| index(one, name) != index(other, name))
        };
        differ(self, other).chain(differ(other, self))
    }
}
