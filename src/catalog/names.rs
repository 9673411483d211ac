//! The exposed names of one kind: who holds each, and who else asked for it.
//!
//! An item asks for the name it wants, and where that is refused for one other after the other. A name goes
//! to the first in the config of those who ask for it, whenever they come. This has one outcome only (a
//! stable matching, in which all names prefer alike), the one of asking in the order of the config; so an
//! item that comes or goes moves those whose names it asked for, and nobody else is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::HashMap;
use foldhash::fast::RandomState;

use crate::name::UpstreamIndex;

/// An item by its upstream and its place in that upstream's part.
pub(super) type ItemId = (UpstreamIndex, u32);

/// The names stand in so many maps; a catalog shares those with the one before in which nothing changed.
const SHARDS: usize = 512;

type Shard = HashMap<Arc<str>, ItemId>;

/// The exposed names of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct ExposedNames {
    /// Who holds each name. Empty as long as there is none.
    shards: Box<[Arc<Shard>]>,
    /// Says in which shard a name is.
    hasher: RandomState,
    len: usize,
    /// Those who ask for a name, where there are more than one, in the order of the config: the first holds it.
    contested: Arc<BTreeMap<Arc<str>, Vec<ItemId>>>,
    /// What those asked for who did not get what they wanted: from what they wanted to what they hold.
    asked: Arc<BTreeMap<ItemId, Vec<Arc<str>>>>,
}

impl ExposedNames {
    /// Who holds a name, and the name as it is kept.
    pub(super) fn get(&self, name: &str) -> Option<(&Arc<str>, ItemId)> {
        let shard = self.shards.get(self.shard(name))?;
        shard
            .get_key_value(name)
            .map(|(name, place)| (name, *place))
    }

    /// How many names there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The name an item holds that is not the one it wanted.
    pub(super) fn renamed(&self, place: ItemId) -> Option<&Arc<str>> {
        self.asked.get(&place)?.last()
    }

    /// The items of an upstream that do not hold what they wanted, in order, and what they hold.
    pub(super) fn renamed_of(
        &self,
        index: UpstreamIndex,
    ) -> impl Iterator<Item = (u32, &Arc<str>)> {
        let of_upstream = self.asked.range((index, 0)..=(index, u32::MAX));
        of_upstream.filter_map(|((_, item), asked)| Some((*item, asked.last()?)))
    }

    /// An item comes that wants a name. `other` gives the name that an item asks for after so many others.
    /// Upstreams in which an item has another name than before are added to `moved`.
    pub(super) fn come(
        &mut self,
        place: ItemId,
        wanted: &Arc<str>,
        other: &dyn Fn(ItemId, u32) -> Arc<str>,
        moved: &mut BTreeSet<UpstreamIndex>,
    ) {
        let (mut place, mut name) = (place, Arc::clone(wanted));
        loop {
            let Some((_, holder)) = self.get(&name) else {
                self.put(name, place);
                return;
            };
            let refused = place.max(holder);
            if refused == holder {
                self.put(Arc::clone(&name), place);
            }
            self.contest(&name, [holder, place]);
            let asked = Arc::make_mut(&mut self.asked).entry(refused);
            let asked = asked.or_insert_with(|| vec![Arc::clone(&name)]);
            let before = u32::try_from(asked.len() - 1).unwrap_or(u32::MAX);
            name = other(refused, before);
            asked.push(Arc::clone(&name));
            moved.insert(refused.0);
            place = refused;
        }
    }

    /// An item goes that wanted a name.
    pub(super) fn go(
        &mut self,
        place: ItemId,
        wanted: &Arc<str>,
        moved: &mut BTreeSet<UpstreamIndex>,
    ) {
        let (mut place, mut given_up) = (place, vec![Arc::clone(wanted)]);
        if self.asked.contains_key(&place)
            && let Some(asked) = Arc::make_mut(&mut self.asked).remove(&place)
        {
            given_up = asked;
        }
        loop {
            // Only the last one, which was held, goes to somebody else.
            let mut heir = None;
            for name in given_up {
                heir = self.withdraw(place, &name).map(|next| (next, name));
            }
            let Some((next, name)) = heir else {
                return;
            };
            // Who gets a name needs none of those it asked for later.
            let all = Arc::make_mut(&mut self.asked);
            let Some(asked) = all.get_mut(&next) else {
                return;
            };
            let at = asked.iter().position(|asked| *asked == name).unwrap_or(0);
            given_up = asked.split_off(at + 1);
            given_up.retain(|later| *later != name);
            if at == 0 {
                all.remove(&next);
            }
            moved.insert(next.0);
            place = next;
        }
    }

    /// Somebody asks no longer for a name: who gets it, if it was theirs.
    fn withdraw(&mut self, place: ItemId, name: &Arc<str>) -> Option<ItemId> {
        let Some(asking) = self.contested.get(name) else {
            if self.get(name).is_some_and(|(_, holder)| holder == place) {
                self.take(name);
            }
            return None;
        };
        let held = asking.first() == Some(&place);
        let contested = Arc::make_mut(&mut self.contested);
        let asking = contested.get_mut(name)?;
        asking.retain(|other| *other != place);
        let first = asking.first().copied();
        if asking.len() < 2 {
            contested.remove(name);
        }
        let next = first.filter(|_| held)?;
        self.put(Arc::clone(name), next);
        Some(next)
    }

    fn contest(&mut self, name: &Arc<str>, who: [ItemId; 2]) {
        let contested = Arc::make_mut(&mut self.contested);
        let asking = contested.entry(Arc::clone(name)).or_default();
        for place in who {
            if let Err(at) = asking.binary_search(&place) {
                asking.insert(at, place);
            }
        }
    }

    fn put(&mut self, name: Arc<str>, place: ItemId) {
        if self.shards.is_empty() {
            self.shards = vec![Arc::default(); SHARDS].into();
        }
        let at = self.shard(&name);
        if let Some(shard) = self.shards.get_mut(at) {
            let before = Arc::make_mut(shard).insert(name, place);
            self.len += usize::from(before.is_none());
        }
    }

    fn take(&mut self, name: &str) {
        let at = self.shard(name);
        if let Some(shard) = self.shards.get_mut(at) {
            let before = Arc::make_mut(shard).remove(name);
            self.len -= usize::from(before.is_some());
        }
    }

    fn shard(&self, name: &str) -> usize {
        // Not the bits that the maps themselves go by.
        (self.hasher.hash_one(name) >> 24) as usize % SHARDS
    }
}
