//! Puts a listing together, definition by definition.

use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashSet};

use crate::catalog::listing::{
    Definition, InvalidDefinition, InvalidReason, Listing, check_line, one_line, replaced,
};
use crate::catalog::{Kind, PerKind};
use crate::protocol::era::Era;

/// A [`Listing`] that definitions are still added to.
#[derive(Debug)]
pub struct ListingBuilder {
    era: Era,
    ttl: Option<Duration>,
    definitions: PerKind<Vec<Definition>>,
    keys: PerKind<HashSet<Arc<str>>>,
    unlisted: PerKind<bool>,
    quarantined: Vec<InvalidDefinition>,
    earlier: Option<Arc<Listing>>,
    /// Those of the earlier listing that have not come again yet, by their text.
    checked: PerKind<HashMap<Arc<str>, Definition>>,
}

impl Listing {
    /// Begins a listing of an upstream that speaks this era.
    #[must_use]
    pub fn of(era: Era) -> ListingBuilder {
        ListingBuilder::new(era)
    }
}

impl ListingBuilder {
    fn new(era: Era) -> Self {
        Self {
            era,
            ttl: None,
            definitions: PerKind::default(),
            keys: PerKind::default(),
            unlisted: PerKind::default(),
            quarantined: Vec::new(),
            earlier: None,
            checked: PerKind::default(),
        }
    }

    /// Has what comes again letter by letter taken over from an earlier listing, which has checked
    /// it, and share its memory. The result is the one there would be without.
    #[must_use]
    pub fn after(mut self, earlier: Arc<Listing>) -> Self {
        self.checked = PerKind::from_fn(|kind| {
            let definitions = earlier.definitions(kind).iter();
            let checked = definitions.map(|known| (Arc::clone(&known.raw), known.clone()));
            checked.collect()
        });
        self.earlier = Some(earlier);
        self
    }

    /// Checks one definition and takes it in, or sets it aside.
    pub fn add(&mut self, kind: Kind, raw: &str) {
        let raw = one_line(raw);
        let known = self.checked.get_mut(kind).remove(&*raw);
        match known.map_or_else(|| check_line(kind, &raw), Ok) {
            Ok(definition) => {
                if self.keys.get_mut(kind).insert(definition.key.clone()) {
                    self.definitions.get_mut(kind).push(definition);
                } else {
                    self.quarantined.push(InvalidDefinition {
                        kind,
                        name: Some(definition.key.chars().take(64).collect()),
                        reason: InvalidReason::Repeated,
                    });
                }
            }
            Err(defect) => self.quarantined.push(defect),
        }
    }

    /// Notes that the list of a kind did not come. That says nothing about its definitions.
    pub const fn miss(&mut self, kind: Kind) {
        *self.unlisted.get_mut(kind) = true;
    }

    /// Notes how long a page is fresh; the least counts.
    pub fn fresh_for(&mut self, ttl: Duration) {
        self.ttl = Some(self.ttl.map_or(ttl, |least| least.min(ttl)));
    }

    /// How many definitions of a kind came so far, good and bad.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        let bad = self.quarantined.iter().filter(|bad| bad.kind == kind);
        self.definitions.get(kind).len() + bad.count()
    }

    /// The listing, complete.
    #[must_use]
    pub fn finish(mut self) -> Listing {
        let earlier = self.earlier.as_deref();
        let mut definitions = PerKind::<Arc<[Definition]>>::default();
        let digests = PerKind::from_fn(|kind| {
            let found = std::mem::take(self.definitions.get_mut(kind));
            match earlier.filter(|earlier| are_same(earlier.definitions(kind), &found)) {
                Some(earlier) => {
                    *definitions.get_mut(kind) = Arc::clone(earlier.definitions.get(kind));
                    earlier.digest_of(kind)
                }
                None => {
                    let digest = replaced::digest_of(kind, &found);
                    *definitions.get_mut(kind) = found.into();
                    digest
                }
            }
        });
        Listing {
            era: self.era,
            ttl: self.ttl,
            definitions,
            unlisted: self.unlisted,
            quarantined: self.quarantined,
            digest: replaced::digest(self.era, &digests),
            digests,
        }
    }
}

/// Whether definitions are those taken over from an earlier listing, all of them and in its order.
fn are_same(earlier: &[Definition], found: &[Definition]) -> bool {
    let mut pairs = earlier.iter().zip(found);
    earlier.len() == found.len() && pairs.all(|(one, other)| Arc::ptr_eq(&one.raw, &other.raw))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_bad_definition_is_set_aside_alone() {
        let mut listing = Listing::of(Era::Legacy);
        for raw in [
            r#"{"name":"a"}"#,
            "7",
            r#"{"name":"b"}"#,
            r#"{"name":"\u0061","x":1}"#,
        ] {
            listing.add(Kind::Prompts, raw);
        }
        listing.fresh_for(Duration::from_secs(9));
        listing.fresh_for(Duration::from_secs(5));
        assert_eq!(listing.count(Kind::Prompts), 4);
        let listing = listing.finish();
        let names: Vec<_> = listing
            .definitions(Kind::Prompts)
            .iter()
            .map(|d| &**d.key())
            .collect();
        assert_eq!(names, ["a", "b"]);
        let words: Vec<_> = listing.invalid().iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "a prompt without a name: it is not an object",
                "prompt `a`: it is listed twice"
            ]
        );
        assert_eq!(listing.ttl(), Some(Duration::from_secs(5)));
    }

    fn listing(earlier: Option<&Arc<Listing>>, items: &[(Kind, String)]) -> Arc<Listing> {
        let mut builder = Listing::of(Era::Modern);
        if let Some(earlier) = earlier {
            builder = builder.after(Arc::clone(earlier));
        }
        items.iter().for_each(|(kind, raw)| builder.add(*kind, raw));
        Arc::new(builder.finish())
    }

    #[test]
    fn what_comes_again_shares_the_memory_of_what_was_there() {
        let prompt = |name, more| (Kind::Prompts, format!("{{\"name\":\"{name}\"{more}}}"));
        let before = [
            prompt("a", ""),
            prompt("b", ",\n\"x\":1"),
            prompt("c", ""),
            (Kind::Resources, r#"{"uri":"a:"}"#.to_owned()),
        ];
        let earlier = listing(None, &before);
        let same = listing(Some(&earlier), &before);
        for kind in Kind::ALL {
            assert!(Arc::ptr_eq(
                earlier.definitions.get(kind),
                same.definitions.get(kind)
            ));
        }
        let [a, b, _, resource] = before.clone();
        let moved = listing(Some(&earlier), &[b, prompt("c", ",\"x\":2"), a, resource]);
        let shared = moved.definitions(Kind::Prompts).iter().map(|definition| {
            let mut earlier = earlier.definitions(Kind::Prompts).iter();
            earlier.position(|one| Arc::ptr_eq(&one.raw, &definition.raw))
        });
        assert_eq!(shared.collect::<Vec<_>>(), [Some(1), None, Some(0)]);
        assert!(Arc::ptr_eq(
            earlier.definitions.get(Kind::Resources),
            moved.definitions.get(Kind::Resources)
        ));
    }

    fn items() -> impl Strategy<Value = Vec<(Kind, String)>> {
        let kind = prop::sample::select(Kind::ALL.to_vec());
        let text = (0..4_u8, 0..3_u8, prop::sample::select(vec!["", " ", "\n"]));
        let item = (kind, text).prop_map(|(kind, (key, more, space))| {
            let raw = match more {
                // Not good in any kind.
                2 => format!("{{{space}\"x\":{key}}}"),
                _ => format!(
                    r#"{{"{}":{space}"{key}","inputSchema":{{"title":"{more}"}}}}"#,
                    kind.key()
                ),
            };
            (kind, raw)
        });
        prop::collection::vec(item, 0..12)
    }

    proptest! {
        /// A listing is what it would be alone, whatever was listed before.
        #[test]
        fn an_earlier_listing_changes_nothing(before in items(), now in items()) {
            let alone = listing(None, &now);
            let earlier = listing(None, &before);
            let after = listing(Some(&earlier), &now);
            prop_assert_eq!(format!("{alone:?}"), format!("{after:?}"));
        }
    }
}
