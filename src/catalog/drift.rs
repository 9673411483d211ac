//! The drift filter, between the listing of an upstream and what callers see: it holds back
//! definitions that differ from their pin.
//!
//! Pure. A new definition is pinned as it is, unless it wants the exposed name of a pinned one. A
//! redefinition up to the threshold moves its pin. One beyond it is held back (callers see the
//! pinned definition) or quarantined (callers see neither) until an operator accepts it.

mod trust;

use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use tokio::time::Instant;
use trust::{TrustedNames, trusted, usurps, usurps_of};

use crate::catalog::digest::Digest;
use crate::catalog::listing::{Definition, Listing};
use crate::catalog::named::NameOrigin;
use crate::catalog::origin::DroppedCounts;
use crate::catalog::pins::{PINNED, Pins};
use crate::catalog::redefinition::{self, Change, ChangeClass, compare_definitions};
use crate::catalog::rules::{Rules, exclude};
use crate::catalog::{Kind, listing, stamp};
use crate::config::{self, DriftPolicy, DriftThreshold, Instructions};
use crate::name::{Naming, UpstreamId};

/// Most changes kept of one definition: a listing may have thousands that drift.
const CHANGES: usize = 8;

/// A definition that differs from its pin and that nobody has accepted.
#[derive(Clone, Debug)]
pub struct DriftedDefinition {
    /// The kind.
    pub kind: Kind,
    /// The name that its upstream gives it now.
    pub original: Arc<str>,
    /// The name when it was pinned, if that differs.
    pub was: Option<Arc<str>>,
    /// The changes: at least one.
    pub changes: Vec<Change>,
    /// Identifies this redefinition among all that its upstream may list under the name.
    pub digest: Digest,
    /// Whether it is left out of the catalog; else the pinned definition is in it.
    pub quarantined: bool,
    /// When this process first saw it.
    pub since: Instant,
    /// The definition, and the pinned one. There is no pinned one if there was no room to pin it,
    /// or if it is a newcomer.
    definition: Definition,
    pinned: Option<Definition>,
    /// Whether it would pass if there were room to pin it.
    is_roomless: bool,
}

/// A definition whose name alone has changed since it was pinned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RenamedDefinition {
    /// The kind.
    pub kind: Kind,
    /// The name that its upstream gives it now.
    pub original: Arc<str>,
    /// The name when it was pinned.
    pub was: Arc<str>,
}

/// The findings of the drift filter about one upstream, for operators.
#[derive(Clone, Debug, Default)]
pub struct DriftReport {
    /// Definitions that wait to be accepted.
    pub drifted: Vec<DriftedDefinition>,
    /// Pinned definitions that have another name.
    pub renamed: Vec<RenamedDefinition>,
}

/// The result of filtering a listing.
#[derive(Debug)]
pub struct FilteredListing {
    /// The definitions that callers may see.
    pub listing: Arc<Listing>,
    /// The definitions that are held back, and those that are renamed.
    pub drift: DriftReport,
    /// Whether pins changed.
    pub pinned: bool,
}

impl DriftedDefinition {
    /// Returns the highest class of its changes.
    #[must_use]
    pub fn class(&self) -> ChangeClass {
        let classes = self.changes.iter().map(|change| change.class);
        classes.max().unwrap_or(ChangeClass::Cosmetic)
    }

    /// Returns what identifies it among the definitions of its upstream.
    #[must_use]
    pub fn identity(&self) -> (Kind, &Arc<str>, Digest) {
        (self.kind, &self.original, self.digest)
    }

    /// Returns the listed definition as JSON text.
    #[must_use]
    pub fn now(&self) -> &str {
        self.definition.raw()
    }

    /// Returns the pinned definition as JSON text; `None` if there was no room to pin it, or if it
    /// is a newcomer that would take the exposed name of another definition.
    #[must_use]
    pub fn pinned(&self) -> Option<&str> {
        self.pinned.as_ref().map(Definition::raw)
    }

    /// Returns whether a definition, as JSON text, is this one but for spelling.
    #[must_use]
    pub fn is_meant_by(&self, text: &str) -> bool {
        redefinition::digest_meaning(text) == self.digest
    }

    /// Replaces the pinned definition by this one.
    pub fn accept(&self, pins: &mut Pins) {
        pins.pin(self.kind, &self.definition);
    }
}

impl DriftReport {
    /// Returns whether there are no findings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.drifted.is_empty() && self.renamed.is_empty()
    }

    /// Returns the definition with this original name that waits to be accepted.
    #[must_use]
    pub fn of(&self, kind: Kind, original: &str) -> Option<&DriftedDefinition> {
        let mut drifted = self.drifted.iter();
        drifted.find(|drifted| drifted.kind == kind && *drifted.original == *original)
    }
}

/// Filters a listing. At most `most` pins of definitions that are not listed any more are kept;
/// `before` is the report of the previous listing.
pub fn filter_listing(
    pins: &mut Pins,
    (rules, naming, drift): (&Rules<'_>, &Naming, config::Drift),
    most: usize,
    listing: &Arc<Listing>,
    (before, now): (&DriftReport, Instant),
    holder: &Holder<'_>,
) -> FilteredListing {
    let before = before.drifted.iter();
    let mut filter = DriftFilter {
        pins,
        drift,
        before: before
            .map(|one| ((one.kind, &*one.original), one))
            .collect(),
        now,
        holder,
        trusted: HashMap::default(),
        found: DriftReport::default(),
        pinned: false,
    };
    let mut replaced = Vec::new();
    for kind in PINNED {
        let definitions = listing.definitions(kind);
        if definitions.is_empty() && !listing.is_listed(kind) {
            continue; // Its list did not come, so nothing is gone.
        }
        filter.see((rules, naming), kind, definitions);
        let waiting = filter.found.drifted.len();
        let let_through: Vec<_> = definitions
            .iter()
            .filter_map(|definition| match is_exposed(rules, kind, definition) {
                true => filter.pass((rules, naming), kind, definition),
                false => Some(definition.clone()),
            })
            .collect();
        if filter.found.drifted.len() > waiting {
            replaced.push((kind, let_through));
        }
    }
    filter.pinned |= filter.pins.forget(most);
    FilteredListing {
        listing: match replaced.is_empty() {
            true => Arc::clone(listing),
            false => Arc::new(listing.replaced(replaced)),
        },
        pinned: filter.pinned,
        drift: filter.found,
    }
}

/// A definition that no caller sees is not pinned before it is first exposed.
pub(super) fn is_exposed(rules: &Rules<'_>, kind: Kind, definition: &Definition) -> bool {
    let origin = &definition.facts.origin;
    let is_dropped = |own| origin.is_dropped(own, &mut DroppedCounts::default());
    let is_served = kind != Kind::Instructions || rules.instructions == &Instructions::Served;
    let is_dropped = rules.instance.is_some_and(is_dropped);
    is_served && !is_dropped && exclude(rules, kind, definition).is_none()
}

/// A listing being filtered.
/// Returns the upstream that holds an exposed name of a kind, or has pinned it, if it is another one.
pub type Holder<'h> = dyn Fn(Kind, &str) -> Option<UpstreamId> + 'h;

struct DriftFilter<'g> {
    pins: &'g mut Pins,
    drift: config::Drift,
    before: HashMap<(Kind, &'g str), &'g DriftedDefinition>,
    now: Instant,
    holder: &'g Holder<'g>,
    /// The exposed names that pinned definitions of this kind want; empty if there is no newcomer.
    trusted: TrustedNames,
    found: DriftReport,
    pinned: bool,
}

impl DriftFilter<'_> {
    /// Records which definitions are gone, back or renamed.
    fn see(
        &mut self,
        (rules, naming): (&Rules<'_>, &Naming),
        kind: Kind,
        definitions: &[Definition],
    ) {
        let listed: HashSet<&str> = definitions.iter().map(|known| &**known.key()).collect();
        self.pinned |= self.pins.see(kind, &listed);
        let is_new = |definition: &&Definition| {
            self.pins.get(kind, definition.key()).is_none() && is_exposed(rules, kind, definition)
        };
        let newcomers: Vec<_> = definitions.iter().filter(is_new).collect();
        // Computed before any newcomer is pinned: a name that only newcomers want belongs to none
        // of them yet.
        self.trusted = match newcomers.is_empty() {
            true => HashMap::default(),
            false => trusted((rules, naming), kind, self.pins),
        };
        let may = |from: &Arc<str>, to: &Arc<str>| {
            let wanted = NameOrigin::wanted_name(rules, naming, kind, to);
            if (self.holder)(kind, &wanted).is_some() {
                return false;
            }
            let owners = self.trusted.get(&wanted);
            owners.is_none_or(|owners| {
                let is_from = |(owner, moved): &(Arc<str>, bool)| owner == from || *moved;
                owners.iter().any(|(owner, _)| owner == from) && owners.iter().all(is_from)
            })
        };
        self.pinned |= self.pins.rename(kind, &newcomers, &may);
    }

    /// Returns what callers see of a definition; `None` for nothing.
    fn pass(
        &mut self,
        names: (&Rules<'_>, &Naming),
        kind: Kind,
        definition: &Definition,
    ) -> Option<Definition> {
        let has_room = self.pins.has_room(kind, definition);
        let Some(pin) = self.pins.get(kind, definition.key()) else {
            return self.enter(names, kind, definition, has_room);
        };
        let was = pin.was().cloned();
        let moved = was.clone().map(|was| RenamedDefinition {
            kind,
            original: Arc::clone(definition.key()),
            was,
        });
        if pin.definition().raw() == definition.raw() {
            self.found.renamed.extend(moved);
            return Some(definition.clone());
        }
        let changes = match self.known(kind, definition, pin.definition()) {
            Some(known) => known.changes.clone(),
            None => most(compare_definitions(
                kind,
                pin.definition().raw(),
                definition.raw(),
            )),
        };
        let is_roomless = passes(self.drift.threshold, &changes);
        if is_roomless && has_room {
            self.pins.redefine(kind, definition);
            self.pinned = true;
            self.found.renamed.extend(moved);
            return Some(definition.clone());
        }
        let held = pin.definition().clone();
        let quarantined = self.drift.policy != DriftPolicy::Hold;
        let pinned = Some((held.clone(), was));
        self.wait(kind, definition, pinned, changes, is_roomless);
        (!quarantined).then(|| stamped(kind, held, definition))
    }

    /// Returns what callers see of a definition without a pin. It is pinned, unless a pinned
    /// definition wants its exposed name.
    fn enter(
        &mut self,
        (rules, naming): (&Rules<'_>, &Naming),
        kind: Kind,
        definition: &Definition,
        has_room: bool,
    ) -> Option<Definition> {
        let wanted = NameOrigin::wanted_name(rules, naming, kind, definition.key());
        let owners = self.trusted.get(&wanted);
        let owner = owners.and_then(|owners| owners.first());
        let change = match owner {
            Some((owner, _)) => Some(usurps(owner)),
            None => (self.holder)(kind, &wanted).map(|other| usurps_of(&wanted, &other)),
        };
        if let Some(change) = change {
            self.wait(kind, definition, None, vec![change], false);
            return None;
        }
        if !has_room {
            self.wait(kind, definition, None, Vec::new(), true);
            return None;
        }
        self.pins.pin(kind, definition);
        self.pinned = true;
        Some(definition.clone())
    }

    /// Returns the earlier findings about the same two definitions: comparing them again is most of
    /// the work.
    fn known(
        &self,
        kind: Kind,
        definition: &Definition,
        pinned: &Definition,
    ) -> Option<&DriftedDefinition> {
        let known = self.before.get(&(kind, &**definition.key()))?;
        let is_same = known.now() == definition.raw() && known.pinned() == Some(pinned.raw());
        (is_same && !known.is_roomless).then_some(*known)
    }

    fn wait(
        &mut self,
        kind: Kind,
        definition: &Definition,
        pinned: Option<(Definition, Option<Arc<str>>)>,
        mut changes: Vec<Change>,
        is_roomless: bool,
    ) {
        let before = self.before.get(&(kind, &**definition.key())).copied();
        let known = before.filter(|before| before.now() == definition.raw());
        let digest = known.map_or_else(
            || redefinition::digest_meaning(definition.raw()),
            |known| known.digest,
        );
        let since = before.filter(|before| before.digest == digest);
        if is_roomless {
            changes.push(no_room());
        }
        let (pinned, was) = pinned.unzip();
        self.found.drifted.push(DriftedDefinition {
            kind,
            original: Arc::clone(definition.key()),
            was: was.flatten(),
            changes,
            digest,
            quarantined: pinned.is_none() || self.drift.policy != DriftPolicy::Hold,
            since: since.map_or(self.now, |before| before.since),
            definition: definition.clone(),
            pinned,
            is_roomless,
        });
    }
}

/// Returns whether a redefinition is applied without review.
#[must_use]
pub fn passes(threshold: DriftThreshold, changes: &[Change]) -> bool {
    let most = match threshold {
        DriftThreshold::Cosmetic => ChangeClass::Cosmetic,
        DriftThreshold::Widened => ChangeClass::Widened,
        DriftThreshold::Narrowed => ChangeClass::Narrowed,
        DriftThreshold::NewRequired => ChangeClass::NewRequired,
        DriftThreshold::Annotation => ChangeClass::Annotation,
    };
    changes.iter().all(|change| change.class <= most)
}

/// Keeps the changes of the highest classes, in their order.
fn most(changes: Vec<Change>) -> Vec<Change> {
    let mut ranked: Vec<_> = changes.iter().map(|change| change.class).collect();
    ranked.sort_unstable_by(|one, other| other.cmp(one));
    let Some(least) = ranked.get(CHANGES).copied() else {
        return changes;
    };
    let (all, mut room) = (changes.len(), CHANGES);
    // All that rank above the first change to be dropped stay, and as many of its class as there is
    // room for.
    room -= changes.iter().filter(|change| change.class > least).count();
    let mut keep = |change: &Change| {
        let is_alike = change.class == least && room > 0;
        room -= usize::from(is_alike);
        change.class > least || is_alike
    };
    let mut kept: Vec<_> = changes.into_iter().filter(|change| keep(change)).collect();
    let what = format!("and {} more", all - kept.len());
    kept.push(Change { class: least, what });
    kept
}

fn no_room() -> Change {
    Change {
        class: ChangeClass::Narrowed,
        what: "there is no room left to pin it".to_owned(),
    }
}

/// Returns the pinned definition with the stale stamp of the listed one, since its own stamp is of
/// another day. It may run twice only if the listed one still may: callers do not see that, and the
/// upstream knows best.
fn stamped(kind: Kind, held: Definition, listed: &Definition) -> Definition {
    let text = stamp::carried(held.raw(), listed.raw());
    let stamped = text.and_then(|text| listing::check_definition(kind, &text).ok());
    let mut stamped = stamped.unwrap_or(held);
    let repetition = &mut stamped.facts.repetition;
    *repetition = listed.facts.repetition.min(*repetition);
    stamped
}
