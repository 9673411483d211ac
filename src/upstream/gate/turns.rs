//! Queues that take turns: callers one after the other, and within a caller its sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;

use foldhash::HashMap;

use crate::caller::{ShareKey, Turn};

/// Members that take turns, each with what it has waiting. A member is there while something of it
/// waits. No step costs more than the logarithm of what waits.
#[derive(Debug)]
struct Members<K, Q> {
    /// By the number of its turn.
    order: BTreeMap<u64, K>,
    sizes: BTreeSet<(usize, K)>,
    members: HashMap<K, Member<Q>>,
    next_turn: u64,
}

#[derive(Debug)]
struct Member<Q> {
    turn: u64,
    size: usize,
    waiting: Q,
}

impl<K, Q> Default for Members<K, Q> {
    fn default() -> Self {
        Self {
            order: BTreeMap::new(),
            sizes: BTreeSet::new(),
            members: HashMap::default(),
            next_turn: 0,
        }
    }
}

impl<K: Copy + Ord + Hash, Q: Default> Members<K, Q> {
    fn size(&self, key: K) -> usize {
        self.members.get(&key).map_or(0, |member| member.size)
    }

    /// Adds something to a member. A new member comes last.
    fn add(&mut self, key: K, add: impl FnOnce(&mut Q)) {
        let next_turn = &mut self.next_turn;
        let order = &mut self.order;
        let member = self.members.entry(key).or_insert_with(|| {
            *next_turn += 1;
            order.insert(*next_turn, key);
            Member {
                turn: *next_turn,
                size: 0,
                waiting: Q::default(),
            }
        });
        self.sizes.remove(&(member.size, key));
        member.size += 1;
        self.sizes.insert((member.size, key));
        add(&mut member.waiting);
    }

    /// Takes something of a member, which leaves with its last.
    fn take<T>(&mut self, key: K, take: impl FnOnce(&mut Q) -> Option<T>) -> Option<T> {
        let member = self.members.get_mut(&key)?;
        let taken = take(&mut member.waiting)?;
        self.sizes.remove(&(member.size, key));
        member.size = member.size.saturating_sub(1);
        if member.size > 0 {
            self.sizes.insert((member.size, key));
        } else {
            self.order.remove(&member.turn);
            self.members.remove(&key);
        }
        Some(taken)
    }

    /// Puts a member behind all others.
    fn go_last(&mut self, key: K) {
        if let Some(member) = self.members.get_mut(&key) {
            self.order.remove(&member.turn);
            self.next_turn += 1;
            member.turn = self.next_turn;
            self.order.insert(member.turn, key);
        }
    }

    /// Returns the member whose turn it is, among those that may.
    fn next(&self, may: impl Fn(K) -> bool) -> Option<K> {
        self.order.values().copied().find(|key| may(*key))
    }

    /// Returns the member of which most waits, and how much.
    fn largest(&self) -> Option<(usize, K)> {
        self.sizes.last().copied()
    }
}

/// The waiting calls of one session, by the number of its ticket: the oldest first.
type Tickets<W> = BTreeMap<u64, W>;

/// Everything that waits, in fair order.
#[derive(Debug)]
pub(super) struct FairQueue<W> {
    callers: Members<ShareKey, Members<u64, Tickets<W>>>,
    next_ticket: u64,
    len: usize,
}

impl<W> Default for FairQueue<W> {
    fn default() -> Self {
        Self {
            callers: Members::default(),
            next_ticket: 0,
            len: 0,
        }
    }
}

impl<W> FairQueue<W> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds one at the end of its session, and returns its ticket.
    /// Everything that waits, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &W> {
        let callers = self.callers.members.values();
        let sessions = callers.flat_map(|caller| caller.waiting.members.values());
        sessions.flat_map(|session| session.waiting.values())
    }

    pub(super) fn push(&mut self, turn: Turn, waiting: W) -> u64 {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.len += 1;
        self.callers.add(turn.share, |sessions| {
            sessions.add(turn.session, |tickets| {
                tickets.insert(ticket, waiting);
            });
        });
        ticket
    }

    /// Takes the one with this ticket, if it still waits.
    pub(super) fn remove(&mut self, turn: Turn, ticket: u64) -> Option<W> {
        let removed = self.callers.take(turn.share, |sessions| {
            sessions.take(turn.session, |tickets| tickets.remove(&ticket))
        });
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// Takes the next one of the callers that may.
    pub(super) fn pop(&mut self, may: impl Fn(ShareKey) -> bool) -> Option<(ShareKey, W)> {
        let share = self.callers.next(may)?;
        self.callers.go_last(share);
        let next = self.callers.take(share, |sessions| {
            let session = sessions.next(|_| true)?;
            sessions.go_last(session);
            let first = |tickets: &mut Tickets<W>| tickets.pop_first();
            sessions.take(session, first).map(|(_, waiting)| waiting)
        })?;
        self.len -= 1;
        Some((share, next))
    }

    /// Makes room for one more: takes the newest one of the caller of which most waits, or of the
    /// session, if that is the same caller. Nobody makes room for one of which as much waits.
    pub(super) fn oust_for(&mut self, turn: Turn) -> Option<W> {
        let (size, share) = self.callers.largest()?;
        let is_same = share == turn.share;
        if !is_same && size <= self.callers.size(turn.share) + 1 {
            return None;
        }
        let ousted = self.callers.take(share, |sessions| {
            let (size, session) = sessions.largest()?;
            if is_same && size <= sessions.size(turn.session) + 1 {
                return None;
            }
            let newest = |tickets: &mut Tickets<W>| tickets.pop_last();
            sessions.take(session, newest).map(|(_, waiting)| waiting)
        })?;
        self.len -= 1;
        Some(ousted)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn turn(caller: u8, session: u64) -> Turn {
        let address = Ipv4Addr::new(10, 0, 0, caller);
        let share = ShareKey::of(Some(address.into()));
        Turn { share, session }
    }

    fn queue(turns: &[(u8, u64)]) -> FairQueue<String> {
        let mut queue = FairQueue::default();
        for (number, (caller, session)) in turns.iter().enumerate() {
            queue.push(
                turn(*caller, *session),
                format!("{caller}.{session}#{number}"),
            );
        }
        queue
    }

    fn drain(queue: &mut FairQueue<String>) -> Vec<String> {
        let all = std::iter::from_fn(|| queue.pop(|_| true)).map(|(_, one)| one);
        all.collect()
    }

    #[test]
    fn callers_take_turns_then_their_sessions_and_the_oldest_is_first() {
        let mut queue = queue(&[(1, 1), (1, 1), (1, 1), (1, 2), (2, 0), (2, 0), (3, 9)]);
        let expected = [
            "1.1#0", "2.0#4", "3.9#6", "1.2#3", "2.0#5", "1.1#1", "1.1#2",
        ];
        assert_eq!(queue.len(), 7);
        assert_eq!(drain(&mut queue), expected);
        assert_eq!(queue.len(), 0);
        assert!(queue.callers.order.is_empty() && queue.callers.sizes.is_empty());
    }

    #[test]
    fn one_that_may_not_is_passed_over_and_one_that_left_is_gone() {
        let mut queue = queue(&[(1, 0), (2, 0)]);
        let ticket = queue.push(turn(2, 5), "left".to_owned());
        assert_eq!(queue.remove(turn(2, 5), ticket).as_deref(), Some("left"));
        assert_eq!(queue.remove(turn(2, 5), ticket), None);
        let not_one = |share| share != turn(1, 0).share;
        assert_eq!(queue.pop(not_one).map(|(_, one)| one).unwrap(), "2.0#1");
        assert_eq!(queue.pop(not_one), None);
        assert_eq!(drain(&mut queue), ["1.0#0"]);
    }

    #[test]
    fn room_is_made_by_the_newest_of_what_has_most() {
        let mut queue = queue(&[(1, 1), (1, 2), (1, 2), (1, 2), (2, 0), (2, 0)]);
        assert_eq!(queue.oust_for(turn(3, 0)).unwrap(), "1.2#3");
        assert_eq!(queue.oust_for(turn(2, 0)), None, "it has as much itself");
        assert_eq!(queue.oust_for(turn(1, 2)), None);
        assert_eq!(queue.oust_for(turn(1, 3)).unwrap(), "1.2#2");
        assert_eq!(queue.len(), 4);
    }
}
