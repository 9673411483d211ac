//! Which legacy callers have sessions of their own at an upstream, and how many.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::caller::{Occupant, Rest, Room, ShareKey};
use crate::config;
use crate::protocol::era::Era;
use crate::upstream::error::LinkError;
use crate::upstream::peer::{Connection, Peer};

/// The most sessions that callers may have of their own at one upstream over HTTP.
const MOST_SESSIONS: usize = 10_000;

/// The same over stdio, where each session is a process.
const MOST_PROCESSES: usize = 64;

/// The time for which it is remembered that an upstream takes one session only.
const SINGLE: Duration = Duration::from_secs(60);

/// How long a new session waits until one that makes room for it has ended at the upstream. It is
/// longer than a process has to end by itself.
const ROOM_IS_MADE: Duration = Duration::from_secs(15);

/// The sessions that callers have of their own at one upstream.
#[derive(Debug)]
pub struct UpstreamSessions {
    per_caller: bool,
    /// Whether the upstream is modern and refuses legacy sessions, as far as is known.
    modern_only: AtomicBool,
    /// When it refused a second session.
    refused: Mutex<Option<Instant>>,
    most: usize,
    next: AtomicU64,
    room: Arc<Mutex<Room<u64, OwnedSession>>>,
    /// A permit for each session that is not over at the upstream: also for those that make room.
    free: Arc<Semaphore>,
}

/// The caller's session that an upstream session belongs to.
pub trait SessionOwner: Send + Sync {
    /// Ends its session at the upstream with this link. It opens another one when it has to.
    fn leave_upstream(&self, link_id: u64);
}

/// A session at the upstream, open or being opened.
struct OwnedSession {
    owner: Weak<dyn SessionOwner>,
    /// The use of its owner. The owner itself is not asked: it could end while its places are locked.
    usage: Arc<dyn Occupant + Send + Sync>,
}

impl std::fmt::Debug for OwnedSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnedSession").finish_non_exhaustive()
    }
}

impl Occupant for OwnedSession {
    fn rest(&self) -> Rest {
        self.usage.rest()
    }
}

/// The place of a session at an upstream. It is free again when the session is over there.
#[derive(Debug)]
pub struct SessionPlace {
    room: Arc<Mutex<Room<u64, OwnedSession>>>,
    number: u64,
    permit: Option<OwnedSemaphorePermit>,
}

impl SessionPlace {
    /// Gives the place up, and returns what keeps it until the upstream has been told.
    pub fn leave(&mut self) -> Option<OwnedSemaphorePermit> {
        self.room.lock().remove(&self.number);
        self.permit.take()
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

impl UpstreamSessions {
    /// Returns the sessions of a link, none of them open.
    #[must_use]
    pub fn new(config: &config::Upstream) -> Self {
        let most = match config.endpoint {
            config::Endpoint::Http(_) => MOST_SESSIONS,
            config::Endpoint::Child { .. } => MOST_PROCESSES,
        };
        Self::with_most(config.sessions == config::ProcessSharing::PerCaller, most)
    }

    fn with_most(per_caller: bool, most: usize) -> Self {
        Self {
            per_caller,
            modern_only: AtomicBool::new(false),
            refused: Mutex::default(),
            most,
            next: AtomicU64::default(),
            room: Arc::new(Mutex::new(Room::new(most))),
            free: Arc::new(Semaphore::new(most)),
        }
    }

    /// Returns whether a legacy caller gets a legacy session of its own: where the upstream keeps
    /// something for each session, and where it is modern but may speak legacy too. Over stdio a
    /// session is a process, so callers get one only if the config asks for it (`sessions:
    /// per_caller`).
    #[must_use]
    pub fn wants_own_session(&self, shared: &Peer) -> bool {
        match (&shared.connection, shared.era()) {
            (Connection::Child(_), _) => self.per_caller,
            (Connection::Http(_), Era::Legacy) => shared.is_stateful(),
            (Connection::Http(_), Era::Modern) => !self.modern_only.load(Ordering::Relaxed),
        }
    }

    /// Remembers that this modern upstream refuses legacy sessions.
    pub fn set_modern_only(&self) {
        self.modern_only.store(true, Ordering::Relaxed);
    }

    /// Remembers that this upstream refuses a session beside the shared one.
    pub fn set_single(&self) {
        *self.refused.lock() = Some(Instant::now());
    }

    /// Returns whether the upstream refused a session beside the shared one a short while ago.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.refused
            .lock()
            .is_some_and(|since| since.elapsed() < SINGLE)
    }

    /// Forgets what was learnt: after a reconnect the upstream may be another.
    pub fn reset(&self) {
        self.modern_only.store(false, Ordering::Relaxed);
        *self.refused.lock() = None;
    }

    /// Returns a place for one more session, over the link with this id. Where there are as many as
    /// may be, a session that nobody uses ends for it.
    ///
    /// # Errors
    /// All sessions are in use, or the one that ends for it does not end.
    pub async fn acquire(
        &self,
        link_id: u64,
        share: ShareKey,
        owner: Weak<dyn SessionOwner>,
        usage: Arc<dyn Occupant + Send + Sync>,
    ) -> Result<SessionPlace, LinkError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let session = OwnedSession { owner, usage };
        let ousted = {
            let mut room = self.room.lock();
            let ousted = room.make_room(share, Instant::now());
            let ousted = ousted.map_err(|_| LinkError::Busy)?;
            room.insert(number, share, session);
            ousted
        };
        let mut place = SessionPlace {
            room: Arc::clone(&self.room),
            number,
            permit: None,
        };
        if let Some(owner) = ousted.and_then(|ousted| ousted.owner.upgrade()) {
            owner.leave_upstream(link_id);
        }
        let permit = timeout(ROOM_IS_MADE, Arc::clone(&self.free).acquire_owned()).await;
        place.permit = Some(permit.ok().and_then(Result::ok).ok_or(LinkError::Busy)?);
        Ok(place)
    }

    /// Returns the number of sessions.
    #[must_use]
    pub fn count(&self) -> usize {
        self.most.saturating_sub(self.free.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// An owner with one session, which is idle since then.
    struct Owner {
        place: Mutex<Option<SessionPlace>>,
        /// How long the session takes to end.
        ends_after: Duration,
    }

    struct IdleSince(Instant);

    impl Occupant for IdleSince {
        fn rest(&self) -> Rest {
            Rest::Idle(self.0)
        }
    }

    impl SessionOwner for Owner {
        fn leave_upstream(&self, _: u64) {
            let place = self.place.lock().take();
            let kept = place.and_then(|mut place| place.leave());
            let ends_after = self.ends_after;
            tokio_util::task::TaskTracker::new().spawn(async move {
                tokio::time::sleep(ends_after).await;
                drop(kept);
            });
        }
    }

    async fn open(
        sessions: &UpstreamSessions,
        caller: u8,
        ends_after: u64,
    ) -> Result<Arc<Owner>, LinkError> {
        let owner = Arc::new(Owner {
            place: Mutex::default(),
            ends_after: Duration::from_secs(ends_after),
        });
        let weak: Weak<Owner> = Arc::downgrade(&owner);
        let share = ShareKey::of(Some(Ipv4Addr::new(10, 0, 0, caller).into()));
        let usage = Arc::new(IdleSince(Instant::now()));
        tokio::time::advance(Duration::from_millis(1)).await;
        let place = sessions.acquire(1, share, weak, usage).await?;
        *owner.place.lock() = Some(place);
        Ok(owner)
    }

    fn is_open(owner: &Owner) -> bool {
        owner.place.lock().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn ten_times_as_many_sessions_as_may_be_lock_nobody_out() {
        let sessions = UpstreamSessions::with_most(true, 100);
        let mut greedy = Vec::new();
        for _ in 0..1_000 {
            greedy.push(open(&sessions, 1, 1).await.unwrap());
        }
        assert_eq!(sessions.count(), 100);
        let other = open(&sessions, 2, 1).await.unwrap();
        let open_ones = greedy.iter().filter(|one| is_open(one)).count();
        assert_eq!((open_ones, is_open(&other)), (99, true));
        assert!(is_open(&greedy[999]) && !is_open(&greedy[0]));
        drop(greedy);
        assert_eq!(sessions.room.lock().count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_waits_until_the_one_that_makes_room_has_ended() {
        let sessions = UpstreamSessions::with_most(true, 1);
        let first = open(&sessions, 1, 10).await.unwrap();
        let begun = Instant::now();
        let second = open(&sessions, 1, 60).await.unwrap();
        assert!(!is_open(&first) && is_open(&second));
        assert!(begun.elapsed() >= Duration::from_secs(10));
        let refused = open(&sessions, 1, 0).await;
        assert!(matches!(refused, Err(LinkError::Busy)), "it does not end");
        assert_eq!(sessions.room.lock().count(), 0);
    }
}
