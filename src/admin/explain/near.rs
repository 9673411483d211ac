//! Exposed names that are close to an unknown one.

use crate::admin::explain::answer::NearMatch;
use crate::admin::explain::index::ExplainIndex;
use crate::catalog::{Kind, NameOrigin, NameStep, Route, Rules};

/// Most names that are suggested.
const MOST: usize = 5;
/// Most pairs of characters that are compared for one query: the names of upstreams may be long and
/// many.
const PAIRS: usize = 5_000_000;

impl ExplainIndex<'_> {
    /// Returns the nearest names, nearest first.
    pub(super) fn near(&self, name: &str) -> Vec<NearMatch> {
        let mut found = Vec::new();
        let mut query = Query::new(name);
        for kind in Kind::ALL {
            for route in self.catalog.routes(kind) {
                if let Some((distance, because)) = self.distance(kind, &route, &mut query) {
                    found.push((distance, kind, route, because));
                }
            }
        }
        found.sort_by_key(|(distance, ..)| *distance);
        found.truncate(MOST);
        let found = found.into_iter();
        found
            .map(|(_, kind, route, because)| NearMatch {
                kind,
                name: route.exposed.to_string(),
                upstream: route.upstream.as_str().to_owned(),
                because,
            })
            .collect()
    }

    /// Returns how far the query is from a route's name, and how they differ; `None` if it is too far.
    fn distance(
        &self,
        kind: Kind,
        route: &Route,
        query: &mut Query<'_>,
    ) -> Option<(usize, String)> {
        let name = query.name;
        if **route.original() == *name {
            let because = format!("that is its name at {}", route.upstream);
            return Some((0, because));
        }
        let upstream = self.upstreams.get(&route.upstream)?;
        let rules = Rules::from(upstream.as_ref());
        let named = NameOrigin::of(&rules, self.naming, kind, route.original(), None);
        let cut = named.steps.iter().find(|step| match step {
            NameStep::Long { wanted, .. } | NameStep::Illegal { wanted } => wanted == name,
            NameStep::Stripped { to } | NameStep::Given { name: to } => to == name,
            NameStep::Taken { .. } => false,
        });
        if let Some(step) = cut {
            return Some((0, step.to_string()));
        }
        if query.folded == folded(&route.exposed) {
            return Some((1, "only case or separators differ".to_owned()));
        }
        if let Some(distance) = query.distance(&route.exposed) {
            let differ = match distance {
                1 => "one character differs".to_owned(),
                _ => format!("{distance} characters differ"),
            };
            return Some((1 + distance, differ));
        }
        let bare = query.distance(route.original())?;
        let because = format!("{} calls it `{}`", route.upstream, route.original());
        Some((2 + bare, because))
    }
}

/// The name that was asked for, and the comparisons left for it.
struct Query<'n> {
    name: &'n str,
    folded: String,
    chars: usize,
    /// Pairs of characters that may still be compared.
    pairs: usize,
}

impl<'n> Query<'n> {
    fn new(name: &'n str) -> Self {
        Self {
            name,
            folded: folded(name),
            chars: name.chars().count(),
            pairs: PAIRS,
        }
    }

    /// Returns how many characters differ, if that is at most a third of them.
    fn distance(&mut self, other: &str) -> Option<usize> {
        let far = self.chars / 3;
        // Names whose lengths differ by more have a larger distance: no need to compare.
        let chars = other.chars().take(self.chars + far + 1).count();
        if chars.abs_diff(self.chars) > far {
            return None;
        }
        self.pairs = self.pairs.checked_sub(self.chars * chars)?;
        let distance = strsim::damerau_levenshtein(self.name, other);
        (distance <= far).then_some(distance)
    }
}

/// Removes what people get wrong: case and separators.
fn folded(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_has_a_length_that_can_be_near_and_is_not_without_end() {
        let name = "n".repeat(150);
        let mut query = Query::new(&name);
        assert_eq!(query.distance(&"n".repeat(8_000)), None);
        assert_eq!(query.distance("n"), None);
        assert_eq!(query.pairs, PAIRS, "nothing was compared");
        assert_eq!(query.distance(&"n".repeat(200)), Some(50));
        assert_eq!(query.distance(&"o".repeat(150)), None);
        let comparisons = (0..10_000).filter(|_| query.distance(&name).is_some());
        assert!(comparisons.count() < PAIRS / (150 * 150));
        assert!(Query::new("").distance("a").is_none());
    }
}
