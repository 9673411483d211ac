//! The difference that policies make to callers: what each of them gains and loses.

use std::collections::BTreeMap;

use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use crate::caller::{Caller, Principal};
use crate::catalog::{Catalog, Kind};
use crate::policy::classes::ClassKey;
use crate::policy::policies::Policies;
use crate::policy::views::Visible;
use crate::protocol::era::Era;

/// Most callers that are compared, and that are named together.
const MOST_CALLERS: usize = 1_000;
/// Most names that are given of what some callers gain or lose.
const MOST_NAMES: usize = 1_000;

/// Policies and the catalog that they apply to; without policies everything is seen.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The policies.
    pub policies: Option<&'a Policies>,
    /// The catalog.
    pub catalog: &'a Catalog,
}

/// A caller that is known without a request of it: its subject, and what policies read of it.
#[derive(Clone, Debug)]
pub struct KnownCaller {
    /// The caller.
    pub caller: Caller,
    /// Its era.
    pub era: Era,
}

impl From<Caller> for KnownCaller {
    fn from(caller: Caller) -> Self {
        let era = Era::Modern;
        Self { caller, era }
    }
}

/// The callers that gain or lose the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessChange {
    /// The callers: one of each class of those in use, and those of API keys and of tests.
    pub callers: Vec<CallerName>,
    /// The names that they see and did not see.
    pub gained: Vec<AccessItem>,
    /// The names that they saw and see no more.
    pub lost: Vec<AccessItem>,
    /// How many more there are of both, beyond those that are named.
    pub more: usize,
}

/// The name of a caller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallerName {
    /// The kind of its identity, such as `oauth_user`.
    pub kind: String,
    /// The subject.
    pub subject: String,
}

impl CallerName {
    /// Returns the name of a caller.
    #[must_use]
    pub fn of(caller: &Caller) -> Self {
        Self {
            kind: caller.principal().as_str().to_owned(),
            subject: caller.identity().subject.to_string(),
        }
    }
}

impl std::fmt::Display for CallerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.subject.as_str() {
            "" => f.write_str(&self.kind),
            subject if self.kind == Principal::OAuthUser.as_str() => f.write_str(subject),
            subject => write!(f, "{subject} ({})", self.kind),
        }
    }
}

/// A tool, prompt, resource or template by its exposed name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AccessItem {
    /// The kind.
    pub kind: Kind,
    /// Its exposed name, URI or template.
    pub name: String,
}

impl std::fmt::Display for AccessItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        if self.kind != Kind::Tools {
            write!(f, " ({})", self.kind.as_str())?;
        }
        Ok(())
    }
}

/// The items that one class of callers gains and loses, by its places among [`Common`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Difference {
    gained: Vec<usize>,
    lost: Vec<usize>,
}

/// An item that both catalogs have, and its places in them.
struct CommonItem {
    kind: Kind,
    name: String,
    before: usize,
    after: usize,
}

/// Compares what callers see under two policies, of what both catalogs have. What a call is decided
/// by besides the caller (its arguments, the time) is not compared.
#[must_use]
pub fn compare_access(
    before: Access<'_>,
    after: Access<'_>,
    callers: &[KnownCaller],
) -> Vec<AccessChange> {
    let common = common_items(before.catalog, after.catalog);
    let class = |access: Access<'_>, caller| {
        let policies = access.policies;
        policies.and_then(|policies| policies.class_of(caller))
    };
    type Classes = (Option<ClassKey>, Option<ClassKey>, Era);
    let mut compared: HashMap<Classes, Difference> = HashMap::default();
    let mut changed: BTreeMap<Difference, Vec<CallerName>> = BTreeMap::new();
    for KnownCaller { caller, era } in callers.iter().take(MOST_CALLERS) {
        let classes = (class(before, caller), class(after, caller), *era);
        let difference = compared
            .entry(classes)
            .or_insert_with(|| differ(before, after, caller, *era, &common));
        if !(difference.gained.is_empty() && difference.lost.is_empty()) {
            let named = changed.entry(difference.clone()).or_default();
            named.push(CallerName::of(caller));
        }
    }
    let changes = changed.into_iter().map(|(difference, mut callers)| {
        callers.sort_unstable();
        callers.dedup();
        let all = difference.gained.len() + difference.lost.len();
        let gained = name_items(&difference.gained, &common);
        let lost = name_items(&difference.lost, &common);
        AccessChange {
            callers,
            more: all - gained.len() - lost.len(),
            gained,
            lost,
        }
    });
    changes.collect()
}

fn name_items(places: &[usize], common: &[CommonItem]) -> Vec<AccessItem> {
    let items = places.iter().filter_map(|place| common.get(*place));
    let items = items.take(MOST_NAMES).map(|item| AccessItem {
        kind: item.kind,
        name: item.name.clone(),
    });
    items.collect()
}

/// Returns what both catalogs have, by kind and name.
fn common_items(before: &Catalog, after: &Catalog) -> Vec<CommonItem> {
    let mut common = Vec::new();
    for kind in Kind::ALL {
        let earlier: HashMap<_, _> = before
            .routes(kind)
            .enumerate()
            .map(|(place, route)| (route.exposed, place))
            .collect();
        for (place, route) in after.routes(kind).enumerate() {
            if let Some(earlier) = earlier.get(&route.exposed) {
                common.push(CommonItem {
                    kind,
                    name: route.exposed.to_string(),
                    before: *earlier,
                    after: place,
                });
            }
        }
    }
    common.sort_unstable_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
    common
}

fn differ(
    before: Access<'_>,
    after: Access<'_>,
    caller: &Caller,
    era: Era,
    common: &[CommonItem],
) -> Difference {
    let (mut gained, mut lost) = (Vec::new(), Vec::new());
    for kind in Kind::ALL {
        let visible = |access: Access<'_>| match access.policies {
            Some(policies) => policies.visible(caller, kind, era),
            None => Visible::All,
        };
        let (saw, sees) = (visible(before), visible(after));
        let of_kind = common.iter().enumerate();
        for (place, item) in of_kind.filter(|(_, item)| item.kind == kind) {
            match (saw.contains(item.before), sees.contains(item.after)) {
                (false, true) => gained.push(place),
                (true, false) => lost.push(place),
                _ => {}
            }
        }
    }
    Difference { gained, lost }
}
