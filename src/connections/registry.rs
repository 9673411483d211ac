//! The open connections of a listener. When there are as many as there may be, an idle one makes
//! room for the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::caller::{Occupant, Rest, Room, ShareKey};

use super::activity::Activity;

/// Most connections that were told to make room and are not gone yet.
const LEAVING: usize = 64;
/// How long the next newcomer waits for them.
const PAUSE: Duration = Duration::from_millis(1);

/// The open connections.
#[derive(Debug)]
pub(super) struct Registry {
    /// Whether there are as many as there may be.
    is_full: AtomicBool,
    next: AtomicU64,
    room: Mutex<Room<u64, OpenConnection>>,
    /// How many make room and are not gone yet. They have no place any more.
    leaving: AtomicUsize,
}

/// A connection that has a place.
#[derive(Debug)]
struct OpenConnection {
    activity: Arc<Activity>,
    /// Ends it. Not there in the moment before it begins.
    abort: Option<AbortHandle>,
}

impl Occupant for OpenConnection {
    fn rest(&self) -> Rest {
        self.activity.rest()
    }
}

/// The place of a connection, until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPlace {
    registry: Arc<Registry>,
    number: u64,
    /// Whether another one had to make room for it.
    pub(super) has_ousted: bool,
}

impl Registry {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            is_full: AtomicBool::default(),
            next: AtomicU64::default(),
            room: Mutex::new(Room::new(limit)),
            leaving: AtomicUsize::default(),
        })
    }

    /// Returns whether there are as many connections as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Relaxed)
    }

    /// Gives a connection a place, for which another one may have to leave. Returns `None` if none
    /// can.
    pub(super) fn admit(
        self: &Arc<Self>,
        share: ShareKey,
        activity: &Arc<Activity>,
    ) -> Option<ConnectionPlace> {
        let number = self.next.fetch_add(1, Relaxed);
        let connection = OpenConnection {
            activity: Arc::clone(activity),
            abort: None,
        };
        let mut room = self.room.lock();
        let ousted = room.make_room(share, Instant::now()).ok()?;
        room.insert(number, share, connection);
        self.is_full.store(room.is_full(), Relaxed);
        drop(room);
        let has_ousted = ousted.is_some();
        if let Some(abort) = ousted.and_then(|connection| connection.abort) {
            self.leaving.fetch_add(1, Relaxed);
            abort.abort();
        }
        Some(ConnectionPlace {
            registry: Arc::clone(self),
            number,
            has_ousted,
        })
    }

    /// Keeps what ends a connection, if it has not ended yet.
    pub(super) fn attach(&self, number: u64, abort: AbortHandle) {
        if let Some(connection) = self.room.lock().get_mut(&number) {
            connection.abort = Some(abort);
        }
    }

    /// Waits until few connections are left that have made room: a flood of newcomers must not be
    /// ahead of them.
    pub(super) async fn wait_for_leavers(&self) {
        while self.leaving.load(Relaxed) >= LEAVING {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl ConnectionPlace {
    /// Returns the number of the connection.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut room = self.registry.room.lock();
        if room.remove(&self.number).is_none() {
            self.registry.leaving.fetch_sub(1, Relaxed);
        }
        self.registry.is_full.store(room.is_full(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::Version;
    use tokio_util::task::TaskTracker;

    use super::*;

    /// A connection that stays open until it has to make room.
    fn connect(registry: &Arc<Registry>) -> Option<Arc<Activity>> {
        let activity = Arc::new(Activity::new(Duration::from_secs(9)));
        let share = ShareKey::of(Some(Ipv4Addr::LOCALHOST.into()));
        let place = registry.admit(share, &activity)?;
        let number = place.number();
        let task = TaskTracker::new().spawn(async move {
            let _place = place;
            std::future::pending::<()>().await;
        });
        registry.attach(number, task.abort_handle());
        Some(activity)
    }

    #[tokio::test]
    async fn an_idle_connection_makes_room_and_one_with_an_answer_does_not() {
        let registry = Registry::new(2);
        let open = [connect(&registry).unwrap(), connect(&registry).unwrap()];
        assert!(registry.is_full());
        let calls = open.each_ref().map(|one| one.begin(Version::HTTP_11, None));
        assert!(connect(&registry).is_none());
        drop(calls);
        // Nothing was found a moment ago, so it is not looked for at once.
        tokio::time::sleep(Duration::from_millis(60)).await;
        let mut stream = connect(&registry).unwrap().begin(Version::HTTP_11, None);
        stream.mark_standing();
        assert!(connect(&registry).is_some());
        let last = connect(&registry).unwrap();
        assert!(connect(&registry).is_some());
        registry.wait_for_leavers().await;
        tokio::task::yield_now().await;
        assert_eq!(registry.room.lock().count(), 2);
        assert_eq!(registry.leaving.load(Relaxed), 0);
        drop(last);
    }
}
