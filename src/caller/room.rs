//! Rooms with a bounded number of places: when one is full, what has been idle for longest of the
//! caller that has most makes room for a newcomer.

use std::collections::VecDeque;
use std::hash::Hash;
use std::time::Duration;

use foldhash::HashMap;
use tokio::time::Instant;

use crate::caller::share::{Contention, Holdings, ShareKey};

/// How many occupants that could make room are looked up at once. A look at all of them would cost
/// too much for each newcomer.
const CANDIDATES: usize = 256;

/// The least time between two looks if the first one found nothing.
const PAUSE: Duration = Duration::from_millis(50);

/// The loss if an occupant left, and since when that is so. What loses least is first, and
/// among those the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rest {
    /// Nothing that its caller waits for.
    Idle(Instant),
    /// Streams of changes, which clients open again; or an answer that nobody reads.
    Standing(Instant),
    /// An answer.
    Busy(Instant),
}

/// Something that has a place in a room.
pub trait Occupant {
    /// Returns what would be lost if it left.
    fn rest(&self) -> Rest;
}

/// Occupants by key, each of a caller.
#[derive(Debug)]
pub struct Room<K, T> {
    limit: usize,
    occupants: HashMap<K, (ShareKey, T)>,
    holdings: Holdings,
    contention: Contention,
    candidates: Candidates<K>,
}

/// The room is full, and nothing makes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomIsFull;

/// Occupants of one caller that may make room, the first one first.
#[derive(Debug)]
struct Candidates<K> {
    of: Option<ShareKey>,
    /// When it was looked for some, if there were none.
    found_none: Option<Instant>,
    rests: VecDeque<(Rest, K)>,
}

impl<K: Copy + Ord + Hash, T: Occupant> Room<K, T> {
    /// Makes an empty room with this many places.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            occupants: HashMap::default(),
            holdings: Holdings::default(),
            contention: Contention::default(),
            candidates: Candidates {
                of: None,
                found_none: None,
                rests: VecDeque::new(),
            },
        }
    }

    /// Returns the number of occupants.
    #[must_use]
    pub fn count(&self) -> usize {
        self.occupants.len()
    }

    /// Returns whether there are as many occupants as there may be.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count() >= self.limit
    }

    /// Returns the occupant with this key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&T> {
        self.occupants.get(key).map(|(_, occupant)| occupant)
    }

    /// Returns the occupant with this key.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut T> {
        self.occupants.get_mut(key).map(|(_, occupant)| occupant)
    }

    /// Returns all occupants.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.occupants.values().map(|(_, occupant)| occupant)
    }

    /// Makes sure that there is a place for one more of this caller. Returns the one that had to
    /// leave, if one had to.
    ///
    /// It is of the caller that has most; or of the same caller, if others were there lately and it
    /// has the part of the room that one may have. The idle ones leave first, those that were idle
    /// for longest before others, then those that only stand. One with an answer under way leaves
    /// only if its caller has next to everything, and for a caller that has nothing.
    ///
    /// # Errors
    /// None of those can leave.
    pub fn make_room(&mut self, share: ShareKey, now: Instant) -> Result<Option<T>, RoomIsFull> {
        self.contention.note(share, now);
        let (own, limit) = (self.holdings.of(share), self.limit);
        let is_over_its_share = own >= self.contention.most(share, limit, now);
        if !self.is_full() && !is_over_its_share {
            return Ok(None);
        }
        let (largest, has) = self.holdings.largest().ok_or(RoomIsFull)?;
        let of = if is_over_its_share { share } else { largest };
        let is_starved = of != share && own == 0 && has >= limit - limit / 8;
        let key = self.next_candidate(of, is_starved, now);
        let ousted = self.remove(&key.ok_or(RoomIsFull)?);
        Ok(ousted)
    }

    /// Takes out occupants that have been idle since `before`, at most `most` of them: each time the
    /// one that was idle for longest of the caller that has most.
    pub fn relieve(&mut self, most: usize, before: Instant, now: Instant) -> Vec<T> {
        let mut ousted = Vec::new();
        while ousted.len() < most
            && let Some((largest, _)) = self.holdings.largest()
            && let Some(key) = self.next_candidate(largest, false, now)
            && let Some(occupant) = self.get(&key)
            && matches!(occupant.rest(), Rest::Idle(since) if since <= before)
        {
            ousted.extend(self.remove(&key));
        }
        // The one that stays was taken from the candidates.
        self.candidates.of = None;
        ousted
    }

    /// Adds an occupant, for which [`Self::make_room`] made room.
    pub fn insert(&mut self, key: K, share: ShareKey, occupant: T) {
        self.holdings.add(share);
        if let Some((earlier, _)) = self.occupants.insert(key, (share, occupant)) {
            self.holdings.remove(earlier);
        }
    }

    /// Takes an occupant out.
    pub fn remove(&mut self, key: &K) -> Option<T> {
        let (share, occupant) = self.occupants.remove(key)?;
        self.holdings.remove(share);
        Some(occupant)
    }

    /// Takes all occupants out that `goes` is true for.
    pub fn extract(&mut self, goes: impl Fn(&T) -> bool) -> Vec<T> {
        let all = self.occupants.extract_if(|_, (_, one)| goes(one));
        let gone: Vec<(ShareKey, T)> = all.map(|(_, gone)| gone).collect();
        let left = gone.into_iter().map(|(share, occupant)| {
            self.holdings.remove(share);
            occupant
        });
        left.collect()
    }

    /// Returns the occupant of a caller that leaves first.
    fn next_candidate(&mut self, of: ShareKey, may_be_busy: bool, now: Instant) -> Option<K> {
        if let Some(key) = self.known_candidate(of, may_be_busy) {
            return Some(key);
        }
        let is_early = |at: Instant| now.saturating_duration_since(at) < PAUSE;
        if self.candidates.of == Some(of) && self.candidates.found_none.is_some_and(is_early) {
            return None;
        }
        self.look(of);
        let found = self.known_candidate(of, may_be_busy);
        self.candidates.found_none = found.is_none().then_some(now);
        found
    }

    /// Takes the first known candidate that is as it was when it was looked up.
    fn known_candidate(&mut self, of: ShareKey, may_be_busy: bool) -> Option<K> {
        let candidates = &mut self.candidates;
        if candidates.of != Some(of) {
            return None;
        }
        while let Some((rest, key)) = candidates.rests.front().copied() {
            if matches!(rest, Rest::Busy(_)) && !may_be_busy {
                return None;
            }
            candidates.rests.pop_front();
            let occupant = self.occupants.get(&key);
            if occupant.is_some_and(|(_, occupant)| occupant.rest() == rest) {
                return Some(key);
            }
        }
        None
    }

    /// Looks for the occupants of a caller that leave first.
    fn look(&mut self, of: ShareKey) {
        let own = self.occupants.iter();
        let own = own.filter(|(_, (share, _))| *share == of);
        let mut rests: Vec<_> = own.map(|(key, (_, one))| (one.rest(), *key)).collect();
        if rests.len() > CANDIDATES {
            rests.select_nth_unstable(CANDIDATES - 1);
            rests.truncate(CANDIDATES);
        }
        rests.sort_unstable();
        self.candidates.of = Some(of);
        self.candidates.rests = rests.into();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::Ipv4Addr;
    use std::rc::Rc;

    use super::*;

    impl Occupant for Rc<Cell<Rest>> {
        fn rest(&self) -> Rest {
            self.get()
        }
    }

    fn of(caller: u8) -> ShareKey {
        ShareKey::of(Some(Ipv4Addr::new(10, 0, 0, caller).into()))
    }

    /// A room, the time, and a number for the next occupant.
    struct Test {
        room: Room<u64, Rc<Cell<Rest>>>,
        now: Instant,
        next: u64,
    }

    impl Test {
        fn new(limit: usize) -> Self {
            Self {
                room: Room::new(limit),
                now: Instant::now(),
                next: 0,
            }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.now + Duration::from_secs(seconds)
        }

        /// One more of a caller, a second later than the one before. Returns whether it got in.
        fn enters(&mut self, caller: u8, rest: fn(Instant) -> Rest) -> bool {
            self.next += 1;
            let at = self.at(self.next);
            if self.room.make_room(of(caller), at).is_err() {
                return false;
            }
            let occupant = Rc::new(Cell::new(rest(at)));
            self.room.insert(self.next, of(caller), occupant);
            true
        }

        fn keys(&self) -> Vec<u64> {
            let mut keys: Vec<u64> = self.room.occupants.keys().copied().collect();
            keys.sort_unstable();
            keys
        }
    }

    #[test]
    fn the_longest_idle_one_of_the_caller_that_has_most_makes_room() {
        let mut test = Test::new(4);
        for caller in [1, 2, 2, 2] {
            assert!(test.enters(caller, Rest::Idle));
        }
        test.room.get(&2).unwrap().set(Rest::Idle(test.at(9)));
        assert!(test.enters(3, Rest::Idle));
        assert_eq!(test.keys(), [1, 2, 4, 5]);
        // One that was used since it was looked up is passed over.
        test.room.get(&4).unwrap().set(Rest::Idle(test.at(10)));
        assert!(test.enters(3, Rest::Idle));
        assert_eq!(test.keys(), [1, 4, 5, 6]);
    }

    #[test]
    fn what_only_stands_leaves_after_what_is_idle_and_an_answer_only_for_a_caller_without_any() {
        let mut test = Test::new(3);
        for rest in [Rest::Busy, Rest::Standing, Rest::Idle] {
            assert!(test.enters(1, rest));
        }
        assert!(test.enters(1, Rest::Busy));
        assert_eq!(test.keys(), [1, 2, 4]);
        assert!(test.enters(1, Rest::Busy));
        assert_eq!(test.keys(), [1, 4, 5]);
        assert!(!test.enters(1, Rest::Busy));
        assert!(test.enters(2, Rest::Busy));
        assert_eq!(test.keys(), [4, 5, 7]);
        assert!(!test.enters(2, Rest::Busy), "it has one");
    }

    #[test]
    fn a_caller_with_its_part_of_the_room_makes_room_itself_while_there_are_others() {
        let mut test = Test::new(16);
        assert!(test.enters(2, Rest::Idle));
        for _ in 0..30 {
            assert!(test.enters(1, Rest::Idle));
        }
        assert_eq!(test.room.count(), 15);
        assert_eq!(test.room.holdings.of(of(1)), 14);
    }

    #[test]
    fn those_of_the_largest_caller_leave_first_and_only_idle_ones() {
        let mut test = Test::new(100);
        for caller in [1, 2, 2, 2, 2, 3] {
            assert!(test.enters(caller, Rest::Idle));
        }
        test.room.get(&3).unwrap().set(Rest::Busy(test.at(3)));
        test.room.get(&5).unwrap().set(Rest::Standing(test.at(5)));
        let now = test.at(10);
        assert_eq!(test.room.relieve(1, now, now).len(), 1);
        assert_eq!(test.keys(), [1, 3, 4, 5, 6]);
        let young = test.at(3);
        assert_eq!(test.room.relieve(9, young, now).len(), 0, "used since");
        assert_eq!(
            test.room.relieve(9, now, now).len(),
            1,
            "the rest is in use"
        );
        assert_eq!(test.keys(), [1, 3, 5, 6]);
    }

    #[test]
    fn a_look_serves_many_newcomers() {
        let mut test = Test::new(10_000);
        for _ in 0..30_000 {
            assert!(test.enters(1, Rest::Idle));
        }
        assert_eq!(test.room.count(), 10_000);
        assert_eq!(test.keys().first(), Some(&20_001));
    }
}
