//! The places of one upstream: the calls in flight, and those that wait for a slot.

use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::caller::{Contention, Holdings, Presence, ShareKey, Turn};
use crate::upstream::gate::turns::FairQueue;

/// How long a call whose caller is gone keeps its slot when others wait for it. Its caller may come
/// back for the answer.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// How often a call that waits has the slots looked through for those.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// How soon they are looked through again when a caller has left. Each look costs a little for each
/// slot.
pub(super) const SOON: Duration = Duration::from_millis(1);

/// The most calls that may wait for a slot, as a multiple of the slots.
pub(super) const QUEUE: usize = 4;

/// The claim of a call to a slot.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The queue that it waits in.
    pub turn: Turn,
    /// Whether its caller is there; `None` where the call ends with its caller.
    pub presence: Option<&'a Presence>,
}

/// The outcome of a claim.
#[derive(Debug)]
pub(super) enum Claimed {
    /// It has a slot: the number to give it back with.
    Slot(u64),
    /// It waits: its ticket, and how it hears of its slot. An error means that it made room for
    /// others.
    Ticket(u64, oneshot::Receiver<u64>),
    /// The queue is full.
    Full,
}

/// A call that waits.
#[derive(Debug)]
struct WaitingCall {
    presence: Option<Presence>,
    granted: oneshot::Sender<u64>,
}

/// All places. A slot that comes free goes to the next in turn.
#[derive(Debug)]
pub(super) struct Places {
    slots: usize,
    in_flight: usize,
    holdings: Holdings,
    contention: Contention,
    queue: FairQueue<WaitingCall>,
    /// The callers of those calls in flight that go on without them, by the number of the slot.
    presences: HashMap<u64, Presence>,
    /// The numbers of slots whose calls were given up, and still have to end.
    ending: HashSet<u64>,
    next_number: u64,
    looked: Option<Instant>,
    /// Notified when the caller of a call in flight leaves.
    left: Arc<Notify>,
}

impl Places {
    pub(super) fn new(slots: usize, left: Arc<Notify>) -> Self {
        Self {
            slots,
            in_flight: 0,
            holdings: Holdings::default(),
            contention: Contention::default(),
            queue: FairQueue::default(),
            presences: HashMap::default(),
            ending: HashSet::default(),
            next_number: 0,
            looked: None,
            left,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Gives a call a slot, or a place in the queue.
    pub(super) fn claim(&mut self, claim: Claim<'_>, now: Instant) -> Claimed {
        let Claim { turn, presence } = claim;
        self.contention.note(turn.share, now);
        if self.may_begin(turn.share, now) {
            return Claimed::Slot(self.begin(turn.share, presence.cloned()));
        }
        if self.queue.len() >= self.slots.saturating_mul(QUEUE)
            && self.queue.oust_for(turn).is_none()
        {
            return Claimed::Full;
        }
        let (granted, hears) = oneshot::channel();
        let waiting = WaitingCall {
            presence: presence.cloned(),
            granted,
        };
        Claimed::Ticket(self.queue.push(turn, waiting), hears)
    }

    fn may_begin(&self, share: ShareKey, now: Instant) -> bool {
        let most = self.contention.most(share, self.slots, now);
        self.in_flight < self.slots && self.holdings.of(share) < most
    }

    fn begin(&mut self, share: ShareKey, presence: Option<Presence>) -> u64 {
        self.next_number += 1;
        self.in_flight += 1;
        self.holdings.add(share);
        if let Some(presence) = presence {
            presence.hold(&self.left);
            self.presences.insert(self.next_number, presence);
        }
        self.next_number
    }

    /// Takes a slot back, and gives it to the next in turn.
    pub(super) fn release(&mut self, share: ShareKey, number: u64) {
        self.end(share, number);
        if self.queue.len() > 0 {
            self.serve(Instant::now());
        }
    }

    fn end(&mut self, share: ShareKey, number: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.holdings.remove(share);
        self.presences.remove(&number);
        self.ending.remove(&number);
    }

    /// Gives free slots to those that wait.
    fn serve(&mut self, now: Instant) {
        while self.in_flight < self.slots {
            let (holdings, contention) = (&self.holdings, &self.contention);
            let may = |share| holdings.of(share) < contention.most(share, self.slots, now);
            let Some((share, next)) = self.queue.pop(may) else {
                return;
            };
            let number = self.begin(share, next.presence);
            if next.granted.send(number).is_err() {
                self.end(share, number);
            }
        }
    }

    /// Takes a call out of the queue, if it still waits.
    pub(super) fn leave(&mut self, turn: Turn, ticket: u64) -> bool {
        self.queue.remove(turn, ticket).is_some()
    }

    /// Returns the callers whose calls have to be given up for those that wait: gone for good or for
    /// longer than the grace, the longest first, one for each that waits and has its
    /// caller, less those that were given up before and still hold their slots.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Presence> {
        let is_early = |looked: Instant| now.saturating_duration_since(looked) < SOON;
        if self.queue.len() == 0 || self.looked.is_some_and(is_early) {
            return Vec::new();
        }
        let gone = self.presences.iter().filter_map(|(number, presence)| {
            let gone_for = presence.overdue_for(GRACE)?;
            Some((gone_for, *number))
        });
        let mut gone: Vec<(Duration, u64)> = gone.collect();
        gone.sort_unstable_by(|one, other| other.cmp(one));
        // A call that waits may have lost its caller as well: of a batch all have the same one.
        let is_awaited = |waiting: &&WaitingCall| {
            let presence = waiting.presence.as_ref();
            presence.is_none_or(|presence| presence.gone_for().is_none())
        };
        let awaited = self.queue.iter().filter(is_awaited).count();
        gone.truncate(awaited.saturating_sub(self.ending.len()));
        if gone.is_empty() {
            // A look that finds something is worth its cost.
            self.looked = Some(now);
        }
        let numbers = gone.into_iter().map(|(_, number)| number);
        numbers
            .filter_map(|number| {
                self.ending.insert(number);
                self.presences.remove(&number)
            })
            .collect()
    }
}
