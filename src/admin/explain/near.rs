//! What may have been meant.

use serde::{Deserialize, Serialize};

use crate::admin::explain::World;
use crate::catalog::{Kind, Named, Route, Rules, Step};

/// Most names that are offered.
const MOST: usize = 5;

/// Something exposed under another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Near {
    /// What it is.
    pub kind: Kind,
    /// Its exposed name.
    pub name: String,
    /// Whose it is.
    pub upstream: String,
    /// Why the name that was asked for is another one.
    pub because: String,
}

impl World<'_> {
    /// The nearest names, nearest first.
    pub(super) fn near(&self, name: &str) -> Vec<Near> {
        let mut found = Vec::new();
        for kind in Kind::ALL {
            for route in self.catalog.routes(kind) {
                if let Some((distance, because)) = self.distance(kind, &route, name) {
                    found.push((distance, kind, route, because));
                }
            }
        }
        found.sort_by_key(|(distance, ..)| *distance);
        found.truncate(MOST);
        let found = found.into_iter();
        found
            .map(|(_, kind, route, because)| Near {
                kind,
                name: route.exposed.to_string(),
                upstream: route.upstream.as_str().to_owned(),
                because,
            })
            .collect()
    }

    /// How far a name is from a route's, and why it is not that one; `None` where it is too far.
    fn distance(&self, kind: Kind, route: &Route, name: &str) -> Option<(usize, String)> {
        if **route.original() == *name {
            let because = format!("that is what {} calls it", route.upstream);
            return Some((0, because));
        }
        let upstream = self.upstreams.get(&route.upstream)?;
        let rules = Rules::from(upstream.as_ref());
        let named = Named::of(&rules, self.naming, kind, route.original(), None);
        let cut = named.steps.iter().find(|step| match step {
            Step::Long { wanted, .. } | Step::Illegal { wanted } => wanted == name,
            Step::Stripped { to } | Step::Given { name: to } => to == name,
            Step::Taken { .. } => false,
        });
        if let Some(step) = cut {
            return Some((0, step.to_string()));
        }
        if folded(name) == folded(&route.exposed) {
            return Some((1, "that is written otherwise".to_owned()));
        }
        let far = name.chars().count() / 3;
        let distance = strsim::damerau_levenshtein(name, &route.exposed);
        if distance <= far {
            let differ = match distance {
                1 => "one character differs".to_owned(),
                _ => format!("{distance} characters differ"),
            };
            return Some((1 + distance, differ));
        }
        let bare = strsim::damerau_levenshtein(name, route.original());
        (bare <= far).then(|| {
            let because = format!("{} calls it `{}`", route.upstream, route.original());
            (2 + bare, because)
        })
    }
}

/// A name without what people get wrong: capitals and separators.
fn folded(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}
