//! The sessions that calls have to themselves, while no call has them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::caller::ShareKey;
use crate::session::exclusive::{ExclusiveSession, SessionOpening, SessionSort};
use crate::upstream::caller_login::CallerLogin;
use crate::upstream::sessions::SessionOwner;
use crate::upstream::{Link, LinkError, Wire};

/// How long a session is kept that no call has.
const IDLE: Duration = Duration::from_secs(5 * 60);
/// How often those that were kept for too long are ended.
const SWEEP_PERIOD: Duration = Duration::from_secs(30);
/// The most sessions that are kept.
const MOST_IDLE: usize = 1_000;

/// The sessions that no call has now.
#[derive(Debug)]
pub(super) struct ExclusivePool {
    idle: Mutex<IdleSessions>,
    next: AtomicU64,
    /// Cancelled when weir stops.
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct IdleSessions {
    /// The one that was used last is at the end.
    sessions: VecDeque<(Instant, ExclusiveSession)>,
    is_swept: bool,
}

/// Ends a session that is idle, where another needs its place.
struct PooledOwner {
    pool: Weak<ExclusivePool>,
    number: u64,
}

impl SessionOwner for PooledOwner {
    fn leave_upstream(&self, _: u64) {
        if let Some(pool) = self.pool.upgrade() {
            let left = pool.remove(|session| session.number == self.number);
            drop(left);
        }
    }
}

impl ExclusivePool {
    pub(super) fn new(stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            idle: Mutex::default(),
            next: AtomicU64::default(),
            stop,
        })
    }

    /// Returns a session of this sort for one call: one that is idle, or a new one. An attempt to open
    /// one goes on when the call has run out of time, because a process may need longer to start than
    /// any call waits; then the next call finds it.
    ///
    /// # Errors
    /// None can be opened until `deadline`.
    pub(super) async fn take(
        self: &Arc<Self>,
        link: &Arc<Link>,
        sort: SessionSort,
        (share, login): (ShareKey, Option<Arc<CallerLogin>>),
        deadline: Instant,
    ) -> Result<ExclusiveSession, LinkError> {
        while let Some(mut session) = self.remove(|session| session.sort == sort) {
            if session.is_reusable() {
                session.usage.set_idle(false);
                return Ok(session);
            }
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let owner = Arc::new(PooledOwner {
            pool: Arc::downgrade(self),
            number,
        });
        let opening = SessionOpening {
            link: Arc::clone(link),
            sort,
            share,
            login,
            owner,
            number,
        };
        let (sender, opened) = oneshot::channel();
        let (pool, stop) = (Arc::clone(self), self.stop.clone());
        link.tasks().spawn(async move {
            let opened = tokio::select! {
                opened = Box::pin(opening.open()) => opened,
                () = stop.cancelled() => return,
            };
            if let Err(Ok(session)) = sender.send(opened) {
                pool.give_back(session);
            }
        });
        match timeout_at(deadline, opened).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(_)) => Err(LinkError::SessionLost),
            Err(_) => Err(match &link.wire {
                Wire::Http(_) => LinkError::Timeout,
                Wire::Child(_) => LinkError::StillStarting,
            }),
        }
    }

    /// Keeps a session for the next call, unless something may still come of the last one.
    pub(super) fn give_back(self: &Arc<Self>, mut session: ExclusiveSession) {
        if self.stop.is_cancelled() || !session.is_reusable() {
            return;
        }
        session.usage.set_idle(true);
        let tasks = session.link.tasks().clone();
        let (oldest, is_first) = {
            let mut idle = self.idle.lock();
            idle.sessions.push_back((Instant::now(), session));
            let is_over = idle.sessions.len() > MOST_IDLE;
            let oldest = is_over.then(|| idle.sessions.pop_front());
            (oldest, !std::mem::replace(&mut idle.is_swept, true))
        };
        drop(oldest);
        if is_first {
            tasks.spawn(Arc::clone(self).sweep());
        }
    }

    /// Forgets the sessions over a link: its upstream has forgotten one of them, and so probably all.
    pub(super) fn forget(&self, link_id: u64) {
        while let Some(mut session) = self.remove(|session| session.sort.link_id == link_id) {
            session.note_lost();
        }
    }

    /// Takes out the session that was used last among those that this holds for.
    fn remove(&self, is_wanted: impl Fn(&ExclusiveSession) -> bool) -> Option<ExclusiveSession> {
        let mut idle = self.idle.lock();
        let mut all = idle.sessions.iter();
        let at = all.rposition(|(_, session)| is_wanted(session))?;
        idle.sessions.remove(at).map(|(_, session)| session)
    }

    /// Ends sessions that were idle for too long, until there are none.
    async fn sweep(self: Arc<Self>) {
        loop {
            let is_over = tokio::select! {
                () = self.stop.cancelled() => true,
                () = tokio::time::sleep(SWEEP_PERIOD) => false,
            };
            if self.expire(is_over) {
                return;
            }
        }
    }

    /// Ends sessions that were idle for too long, or all. Returns whether none is left.
    fn expire(&self, all: bool) -> bool {
        let is_over = |(since, session): &(Instant, ExclusiveSession)| {
            all || since.elapsed() >= IDLE || session.link.is_retired()
        };
        let mut idle = self.idle.lock();
        let sessions = std::mem::take(&mut idle.sessions);
        let (over, left): (VecDeque<_>, VecDeque<_>) = sessions.into_iter().partition(is_over);
        idle.is_swept = !left.is_empty();
        idle.sessions = left;
        let is_empty = idle.sessions.is_empty();
        drop(idle);
        drop(over);
        is_empty
    }
}
