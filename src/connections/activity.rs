//! Tracks what each connection is doing and since when, from which its deadline follows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use http::Version;
use tokio::time::Instant;

use crate::caller::Rest;
use crate::memory::Reservation;

/// How long an idle connection stays open. Clients' pools drop theirs after 4 s to 2 min.
const IDLE: Duration = Duration::from_secs(300);
/// The same, while the number of connections is at its limit.
const CROWDED: Duration = Duration::from_secs(30);
/// How long the client may leave what is sent to it unread.
pub(super) const STALL: Duration = Duration::from_secs(60);

/// Phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionPhase {
    /// A request is being answered. Its body has a deadline of its own, its answer another.
    Busy,
    /// A request's header is arriving.
    Header,
    /// There is no request.
    Idle,
    /// The client does not read its answer.
    Stalled,
}

/// The end of the listener that a connection came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenerEnd {
    pub(super) begun: Instant,
    /// How long a connection without a request stays open from then on.
    pub(super) last_requests: Duration,
}

impl ListenerEnd {
    /// Notes that the listener of a connection stops.
    pub(super) fn now(activity: &Activity, last_requests: Duration) -> Self {
        activity.is_ending.store(true, Relaxed);
        Self {
            begun: Instant::now(),
            last_requests,
        }
    }
}

/// State of one connection. Times are milliseconds since its start, plus one; zero means never.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    header: Duration,
    under_way: AtomicUsize,
    /// How many of them are streams of changes, which are idle most of their time.
    standing: AtomicUsize,
    /// When the last request began.
    begun: AtomicU64,
    /// HTTP/2: bytes between requests do not mean a header, and hyper limits the headers' time.
    multiplexed: AtomicBool,
    header_since: AtomicU64,
    /// HTTP/2: when a header block began that has not ended.
    block_since: AtomicU64,
    idle_since: AtomicU64,
    stalled_since: AtomicU64,
    /// Whether the listener stops, so that answers say that the connection closes.
    is_ending: AtomicBool,
}

impl Activity {
    /// Begins with a new connection, which waits for its first header.
    pub(super) fn new(header: Duration) -> Self {
        Self {
            began: Instant::now(),
            header,
            under_way: AtomicUsize::new(0),
            standing: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            multiplexed: AtomicBool::new(false),
            header_since: AtomicU64::new(1),
            block_since: AtomicU64::new(0),
            idle_since: AtomicU64::new(1),
            stalled_since: AtomicU64::new(0),
            is_ending: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }

    fn at(&self, time: u64) -> Instant {
        self.began + Duration::from_millis(time.saturating_sub(1))
    }

    /// Returns what the connection is doing.
    pub(super) fn phase(&self) -> ConnectionPhase {
        if self.stalled_since.load(Relaxed) > 0 {
            ConnectionPhase::Stalled
        } else if self.under_way.load(Relaxed) > 0 {
            ConnectionPhase::Busy
        } else if self.header_since.load(Relaxed) > 0 && !self.multiplexed.load(Relaxed) {
            ConnectionPhase::Header
        } else {
            ConnectionPhase::Idle
        }
    }

    /// Returns when the connection is to be closed if nothing happens until then, and after what
    /// time to ask again at the latest. Returns `None` while there is no deadline. Once the listener
    /// stops, a connection of HTTP/1.1 without a request stays open for a moment only.
    pub(super) fn due(
        &self,
        crowded: bool,
        end: Option<ListenerEnd>,
    ) -> Option<(Instant, Duration)> {
        let block = self.block_since.load(Relaxed);
        if block > 0 {
            // No other frame may come before its end, so that requests under way are held up too.
            return Some((self.at(block) + self.header, CROWDED));
        }
        let (since, patience) = match self.phase() {
            ConnectionPhase::Busy => return None,
            ConnectionPhase::Stalled => (&self.stalled_since, STALL),
            ConnectionPhase::Header => (&self.header_since, self.header),
            ConnectionPhase::Idle if crowded => (&self.idle_since, CROWDED),
            ConnectionPhase::Idle => (&self.idle_since, IDLE),
        };
        let since = self.at(since.load(Relaxed));
        let due = since + patience;
        let end = end.filter(|_| self.has_no_request() && !self.is_multiplexed());
        let ended = end.map(|end| since.max(end.begun) + end.last_requests);
        Some((ended.map_or(due, |ended| due.min(ended)), CROWDED))
    }

    /// Returns whether the connection has no request.
    fn has_no_request(&self) -> bool {
        matches!(
            self.phase(),
            ConnectionPhase::Header | ConnectionPhase::Idle
        )
    }

    /// Returns whether it is known to be one of HTTP/2.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Relaxed)
    }

    /// Returns whether the listener stops.
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Relaxed)
    }

    /// Notes that a request's header has been read. `kept` is given back when its answer is sent.
    pub(super) fn begin(
        self: &Arc<Self>,
        version: Version,
        kept: Option<Reservation>,
    ) -> RequestUnderWay {
        let header_since = self.header_since.swap(0, Relaxed);
        if header_since > 0 {
            self.begun.store(header_since, Relaxed);
        }
        self.under_way.fetch_add(1, Relaxed);
        if version == Version::HTTP_2 {
            self.multiplexed.store(true, Relaxed);
        }
        RequestUnderWay {
            activity: Arc::clone(self),
            _kept: kept,
            is_standing: false,
        }
    }

    /// Notes that TLS is agreed on: from now on the header of the first request has its time.
    pub(super) fn note_handshake(&self) {
        self.header_since.store(self.now(), Relaxed);
    }

    /// Returns whether a request has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Relaxed) > 0
    }

    /// Returns what would be lost with the connection, and since when.
    pub(super) fn rest(&self) -> Rest {
        let at = |time: &AtomicU64| self.at(time.load(Relaxed));
        let under_way = self.under_way.load(Relaxed);
        match self.phase() {
            ConnectionPhase::Idle => Rest::Idle(at(&self.idle_since)),
            ConnectionPhase::Header => Rest::Idle(at(&self.header_since)),
            ConnectionPhase::Stalled => Rest::Standing(at(&self.stalled_since)),
            ConnectionPhase::Busy if self.standing.load(Relaxed) >= under_way => {
                Rest::Standing(at(&self.begun))
            }
            ConnectionPhase::Busy => Rest::Busy(at(&self.begun)),
        }
    }

    pub(super) fn note_bytes(&self) {
        if self.under_way.load(Relaxed) == 0 && self.header_since.load(Relaxed) == 0 {
            self.header_since.store(self.now(), Relaxed);
        }
    }

    pub(super) fn note_block(&self, is_open: bool) {
        let since = self.block_since.load(Relaxed);
        if is_open && since == 0 {
            self.block_since.store(self.now(), Relaxed);
        } else if !is_open && since > 0 {
            self.block_since.store(0, Relaxed);
        }
    }

    pub(super) fn note_write<T>(&self, polled: Poll<T>) -> Poll<T> {
        let stalled = self.stalled_since.load(Relaxed) > 0;
        if polled.is_pending() && !stalled {
            self.stalled_since.store(self.now(), Relaxed);
        } else if polled.is_ready() && stalled {
            self.stalled_since.store(0, Relaxed);
        }
        polled
    }
}

/// Guard of a request that is being answered, until the last byte of the answer is sent.
#[derive(Debug)]
pub(super) struct RequestUnderWay {
    activity: Arc<Activity>,
    /// The part of `limits.memory` that the request takes.
    _kept: Option<Reservation>,
    is_standing: bool,
}

impl RequestUnderWay {
    /// Notes that the answer is a stream of changes.
    pub(super) fn mark_standing(&mut self) {
        self.is_standing = true;
        self.activity.standing.fetch_add(1, Relaxed);
    }
}

impl Drop for RequestUnderWay {
    fn drop(&mut self) {
        let activity = &self.activity;
        activity.idle_since.store(activity.now(), Relaxed);
        if self.is_standing {
            activity.standing.fetch_sub(1, Relaxed);
        }
        activity.under_way.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(10);
    /// A time in the past of every test.
    const EARLY: u64 = 1;

    fn after(activity: &Arc<Activity>) -> Option<Duration> {
        activity
            .due(false, None)
            .map(|(due, _)| due - activity.began)
    }

    #[tokio::test]
    async fn a_connection_has_a_deadline_for_each_header_and_none_while_it_is_answered() {
        let activity = Arc::new(Activity::new(HEADER));
        assert_eq!(
            (activity.phase(), after(&activity)),
            (ConnectionPhase::Header, Some(HEADER))
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
        activity.note_bytes();
        assert_eq!(after(&activity), Some(HEADER), "more bytes buy no time");
        let request = activity.begin(Version::HTTP_11, None);
        activity.note_bytes();
        assert_eq!(
            (activity.phase(), after(&activity)),
            (ConnectionPhase::Busy, None)
        );
        drop(request);
        assert_eq!(activity.phase(), ConnectionPhase::Idle);
        assert!(after(&activity).unwrap() >= IDLE + Duration::from_millis(5));
        let (crowded, _) = activity.due(true, None).unwrap();
        let (calm, _) = activity.due(false, None).unwrap();
        assert_eq!(crowded + IDLE, calm + CROWDED);
        activity.note_bytes();
        assert_eq!(activity.phase(), ConnectionPhase::Header);
        assert!(after(&activity).unwrap() >= HEADER + Duration::from_millis(5));
    }

    #[tokio::test]
    async fn a_connection_of_a_listener_that_stops_waits_a_moment_for_a_last_request() {
        let activity = Arc::new(Activity::new(HEADER));
        let due = |activity: &Activity, end| activity.due(false, Some(end)).map(|(due, _)| due);
        let end = |begun| ListenerEnd {
            begun,
            last_requests: Duration::from_secs(1),
        };
        let began = activity.began;
        let early = end(began);
        assert_eq!(due(&activity, early), Some(began + early.last_requests));
        tokio::time::sleep(Duration::from_millis(5)).await;
        let request = activity.begin(Version::HTTP_11, None);
        assert_eq!(due(&activity, early), None, "it is answered");
        drop(request);
        let idle = due(&activity, early).unwrap();
        assert!(idle >= began + early.last_requests + Duration::from_millis(5));
        let later = end(began + Duration::from_secs(60));
        assert_eq!(
            due(&activity, later),
            Some(later.begun + later.last_requests)
        );
        // HTTP/2 has a message for it, and waits for the client's answer.
        drop(activity.begin(Version::HTTP_2, None));
        assert!(due(&activity, later).unwrap() >= began + IDLE);
    }

    #[tokio::test]
    async fn bytes_between_the_requests_of_http2_are_no_header() {
        let activity = Arc::new(Activity::new(HEADER));
        let (one, two) = (
            activity.begin(Version::HTTP_2, None),
            activity.begin(Version::HTTP_2, None),
        );
        drop(one);
        assert_eq!(activity.phase(), ConnectionPhase::Busy);
        drop(two);
        activity.note_bytes();
        assert_eq!(activity.phase(), ConnectionPhase::Idle);
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_has_a_deadline_until_it_does() {
        let activity = Arc::new(Activity::new(HEADER));
        let request = activity.begin(Version::HTTP_11, None);
        assert!(activity.note_write(Poll::<()>::Pending).is_pending());
        assert_eq!(activity.phase(), ConnectionPhase::Stalled);
        activity.stalled_since.store(EARLY, Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(activity.note_write(Poll::<()>::Pending).is_pending());
        assert_eq!(after(&activity), Some(STALL), "since the first refusal");
        assert!(activity.note_write(Poll::Ready(())).is_ready());
        assert_eq!(
            (activity.phase(), after(&activity)),
            (ConnectionPhase::Busy, None)
        );
        drop(request);
    }
}
