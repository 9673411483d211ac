//! The exposed names of one kind: the item that holds each, and the items that want it too.
//!
//! This is a stable matching in which all names prefer the same items. An item asks for the name it
//! wants and, where that is refused, for one alternative after the other. A name goes to the first
//! item in the order of the config that asks for it, however late it asks. Such a matching has
//! exactly one outcome, the one of letting the items ask in the order of the config. So an item
//! that comes or goes can only move the items whose names it asked for: nothing else has to be
//! looked at, and the outcome never depends on the order of events.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::HashMap;
use foldhash::fast::RandomState;

use crate::name::UpstreamIndex;

/// An item: its upstream, and its position among the items of its kind that the upstream brings.
pub(super) type ItemId = (UpstreamIndex, u32);

/// The names are spread over this many maps. A catalog shares those with the catalog before in
/// which nothing changed, so that one changed name does not copy them all.
const SHARDS: usize = 512;

type Shard = HashMap<Arc<str>, ItemId>;

/// The exposed names of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct ExposedNames {
    /// The item that holds each name. Empty until there is one.
    shards: Box<[Arc<Shard>]>,
    /// Decides in which shard a name is.
    hasher: RandomState,
    len: usize,
    /// Names that more than one item asks for, with these items in the order of the config: the
    /// first one holds the name.
    contested: Arc<BTreeMap<Arc<str>, Vec<ItemId>>>,
    /// For each item that was refused, the names it asked for: from the one it wanted to the one it
    /// holds.
    asked: Arc<BTreeMap<ItemId, Vec<Arc<str>>>>,
    /// The names that an item was refused because they are reserved.
    barred: Arc<BTreeSet<Arc<str>>>,
}

/// The surroundings of the items of a kind.
pub(super) struct Rivals<'r> {
    /// Makes the name that an item asks for next, after so many alternatives before.
    pub(super) other: &'r dyn Fn(ItemId, u32) -> Arc<str>,
    /// Returns whether a name is reserved for another upstream than this one.
    pub(super) is_barred: &'r dyn Fn(&str, UpstreamIndex) -> bool,
}

impl ExposedNames {
    /// Returns the item that holds a name, and the name as it is stored.
    pub(super) fn get(&self, name: &str) -> Option<(&Arc<str>, ItemId)> {
        let shard = self.shards.get(self.shard(name))?;
        shard
            .get_key_value(name)
            .map(|(name, place)| (name, *place))
    }

    /// Returns the number of names.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Returns the name that an item holds, if it is not the one it wanted.
    pub(super) fn renamed(&self, place: ItemId) -> Option<&Arc<str>> {
        self.asked.get(&place)?.last()
    }

    /// Iterates over the items of an upstream that do not hold the name they wanted, in order, with
    /// the name they hold.
    pub(super) fn renamed_of(
        &self,
        index: UpstreamIndex,
    ) -> impl Iterator<Item = (u32, &Arc<str>)> {
        let of_upstream = self.asked.range((index, 0)..=(index, u32::MAX));
        of_upstream.filter_map(|((_, item), asked)| Some((*item, asked.last()?)))
    }

    /// Makes room for so many names before the first one comes: maps that grow hash every name again
    /// each time. The maps do not get equally many, so there is room for an eighth more.
    pub(super) fn make_room(&mut self, count: usize) {
        let each = count / SHARDS;
        if self.shards.is_empty() && each > 0 {
            let shard = || HashMap::with_capacity_and_hasher(each + each / 8, Default::default());
            self.shards = (0..SHARDS).map(|_| Arc::new(shard())).collect();
        }
    }

    /// Returns whether an item was refused a name because it was reserved.
    pub(super) fn was_barred(&self, name: &str) -> bool {
        self.barred.contains(name)
    }

    /// Returns whether more than one item asks for a name.
    pub(super) fn is_contested(&self, name: &str) -> bool {
        self.contested.contains_key(name)
    }

    /// Adds an item that wants a name. Adds upstreams in which an item changed its name to `moved`.
    pub(super) fn come(
        &mut self,
        place: ItemId,
        wanted: &Arc<str>,
        rivals: &Rivals<'_>,
        moved: &mut BTreeSet<UpstreamIndex>,
    ) {
        let (mut place, mut name) = (place, Arc::clone(wanted));
        loop {
            let refused = if (rivals.is_barred)(&name, place.0) {
                Arc::make_mut(&mut self.barred).insert(Arc::clone(&name));
                place
            } else {
                let Some((_, holder)) = self.get(&name) else {
                    self.put(name, place);
                    return;
                };
                let refused = place.max(holder);
                if refused == holder {
                    self.put(Arc::clone(&name), place);
                }
                self.contest(&name, [holder, place]);
                refused
            };
            let asked = Arc::make_mut(&mut self.asked).entry(refused);
            let asked = asked.or_insert_with(|| vec![Arc::clone(&name)]);
            let before = u32::try_from(asked.len() - 1).unwrap_or(u32::MAX);
            name = (rivals.other)(refused, before);
            asked.push(Arc::clone(&name));
            moved.insert(refused.0);
            place = refused;
        }
    }

    /// Removes an item that wanted a name.
    ///
    /// The name it held goes to the next item that asked for it. That one gives up the name it held
    /// so far, which goes to the next one in turn, and so on.
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
            // An item holds only the last name that it asked for: only that one can go to another
            // item.
            let mut heir = None;
            for name in given_up {
                heir = self.withdraw(place, &name).map(|next| (next, name));
            }
            let Some((next, name)) = heir else {
                return;
            };
            // The item has a name that it asked for earlier, so it withdraws from all that it asked
            // for later.
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

    /// Withdraws the request of an item for a name. Returns the item that gets the name, if it was
    /// held.
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
        // Other bits than the maps use: otherwise each map would see equal ones.
        (self.hasher.hash_one(name) >> 24) as usize % SHARDS
    }
}
