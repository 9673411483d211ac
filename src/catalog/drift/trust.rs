//! The exposed names that callers trust, because pinned definitions want them.

use std::sync::Arc;

use foldhash::HashMap;

use crate::catalog::named::NameOrigin;
use crate::catalog::pins::Pins;
use crate::catalog::redefinition::{Change, ChangeClass};
use crate::catalog::rules::Rules;
use crate::catalog::{Kind, naming};
use crate::name::{Naming, UpstreamId};

/// Exposed names, each with the definitions that want it: the original name, and whether that
/// definition has another name now.
pub(super) type TrustedNames = HashMap<String, Vec<(Arc<str>, bool)>>;

/// Returns the exposed names that pinned definitions want, listed or not. Callers trust these
/// names: they see no others.
pub(super) fn trusted(
    (rules, naming): (&Rules<'_>, &Naming),
    kind: Kind,
    pins: &Pins,
) -> TrustedNames {
    let mut trusted = TrustedNames::default();
    for (original, moved) in pins.names(kind) {
        let wanted = NameOrigin::wanted_name(rules, naming, kind, original);
        let owners = trusted.entry(wanted).or_default();
        owners.push((Arc::clone(original), moved));
    }
    // Of the definitions that want one name, all but one have an alternative. Which of them holds
    // the name may change, so all alternatives are trusted too.
    let mut made = Vec::new();
    for (wanted, owners) in trusted.iter().filter(|(_, owners)| owners.len() > 1) {
        made.extend(owners.iter().map(|owner| {
            let name = naming::find_free_name(naming, wanted, rules.upstream, &owner.0, |_| false);
            (name, owner.clone())
        }));
    }
    for (name, owner) in made {
        trusted.entry(name).or_default().push(owner);
    }
    trusted
}

/// Describes a newcomer that wants the exposed name of `owner`.
pub(super) fn usurps(owner: &str) -> Change {
    // The upstream chose the name: it may be long.
    const QUOTED: usize = 120;
    let mut name: String = owner.chars().take(QUOTED).collect();
    if name.len() < owner.len() {
        name.push('…');
    }
    Change {
        class: ChangeClass::Description,
        what: format!("would take the exposed name of `{name}`"),
    }
}

/// Describes a newcomer that wants an exposed name of another upstream.
pub(super) fn usurps_of(name: &str, upstream: &UpstreamId) -> Change {
    Change {
        class: ChangeClass::Description,
        what: format!("would take the exposed name `{name}` of {upstream}"),
    }
}
