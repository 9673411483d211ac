//! Accepts connections: limits how many are open and how long a header may take, and ends them.
//!
//! hyper has a timer for headers too, but it sets that timer again for every request, and it takes
//! an idle connection for one whose header is late. Here each connection has one timer, which is
//! compared with the connection's state when it fires: a request costs two reads of the clock.

mod accepting;
mod activity;
mod admission;
mod connection;
mod header_block;
mod listener;
mod protocol;
mod registry;
mod reserve;
mod streams;
mod watched_stream;
mod write_watch;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::caller::{CallerConnection, ShareKey};
use crate::memory::MemoryBudget;

use self::accepting::Accepting;
use self::admission::ListenerContext;
use self::connection::OpenedConnection;
use self::protocol::Protocols;
use self::registry::Registry;
use self::streams::TrackedExecutor;

pub use self::listener::{Listener, SocketFile};
pub use self::reserve::ReserveFor;

/// Most bytes of a request's header. A longer one is answered with 431.
const HEADER_BYTES: usize = 64 << 10;
/// The least time between two warnings about rejected connections.
const WARN_EVERY: Duration = Duration::from_secs(1);
/// HTTP/2: the time between keep-alive pings, and how long the answer to one may take.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// HTTP/2: most streams of a connection at once. A client that wants more of weir at once waits a
/// little, or opens another connection. Each may hold a body that arrives and an answer.
const STREAMS: u32 = 64;
/// HTTP/2: most bytes of an answer that wait to be written, for each stream.
const SEND_BUFFER: usize = 64 << 10;

/// Limits of a listener's connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Most connections open at once. For one more, an idle one makes room; or it is of the reserve,
    /// where it learns at once that it has to come back, which it would not if it waited in the
    /// backlog.
    pub connections: usize,
    /// The requests that connections beyond these may still make.
    pub reserve: ReserveFor,
    /// How long a request's header may take, from its first byte or from the connection's start.
    pub header: Duration,
    /// How long a connection without a request stays open once the listener stops. A fifth of it is for
    /// connections whose handshake has begun.
    pub last_requests: Duration,
}

impl ConnectionLimits {
    /// Raises the process's limit of open files to what the connections need. Where the system
    /// allows fewer, lowers `connections` to three quarters of them: upstreams need some too.
    #[must_use]
    pub fn with_room(mut self) -> Self {
        let Some(descriptors) = descriptors(self.connections) else {
            return self;
        };
        let most = (descriptors / 4 * 3).max(1);
        if most < self.connections {
            tracing::warn!(
                descriptors,
                connections = most,
                "fewer connections than configured: the limit of open files is too low"
            );
            self.connections = most;
        }
        self
    }
}

/// Returns how many files may be open, after asking the system for enough for these connections.
#[cfg(unix)]
fn descriptors(connections: usize) -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = u64::try_from(connections).ok()?.saturating_mul(2);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let mut most = current?;
    if most < wanted {
        let more = maximum.map_or(wanted, |maximum| maximum.min(wanted));
        let asked = Rlimit {
            current: Some(more),
            maximum,
        };
        if more > most && setrlimit(Resource::Nofile, asked).is_ok() {
            most = more;
        }
    }
    usize::try_from(most).ok()
}

#[cfg(not(unix))]
fn descriptors(_: usize) -> Option<usize> {
    None
}

/// Serves until `shutdown`, then waits until the last connection has ended: requests in progress
/// are answered, connections that were about to be accepted too, and each connection that is kept
/// takes a last request if it comes soon.
pub async fn serve<M, S>(
    listener: Listener,
    make_service: M,
    memory: Arc<MemoryBudget>,
    shutdown: CancellationToken,
    limits: ConnectionLimits,
) where
    M: Fn(CallerConnection) -> S + Send + Sync + 'static,
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>,
    S: Clone + Send + Sync + 'static,
{
    let (tasks, make_service) = (TaskTracker::new(), Arc::new(make_service));
    let mut http = auto::Builder::new(TrackedExecutor(tasks.clone()));
    http.http1().max_buf_size(HEADER_BYTES);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(HEADER_BYTES).unwrap_or(u32::MAX));
    let context = Arc::new(ListenerContext {
        protocols: Protocols::new(http),
        registry: Registry::new(limits.connections),
        reserve: Registry::new(reserve::CONNECTIONS),
        reserve_for: limits.reserve,
        tls: listener.tls().map(Arc::clone),
        shutdown,
        last_requests: limits.last_requests,
    });
    let mut counts = CrowdCounts::default();
    let mut accepting = Accepting::new(listener, &context.shutdown, limits.last_requests / 5);
    while let Some((stream, address)) = accepting.next().await {
        let share = ShareKey::of(address);
        context.registry.wait_for_leavers().await;
        context.reserve.wait_for_leavers().await;
        let Some(place) = context.admit(share, limits.header, &memory) else {
            counts.closed.count(limits.connections);
            continue;
        };
        if place.place.has_ousted && !place.is_reserve {
            counts.ousted.count(limits.connections);
        }
        let caller = CallerConnection {
            address,
            memory: place.memory.clone(),
            certificate: None,
        };
        let (make, number) = (Arc::clone(&make_service), place.place.number());
        let registry = if place.is_reserve {
            counts.reserved.count(limits.connections);
            Arc::clone(&context.reserve)
        } else {
            Arc::clone(&context.registry)
        };
        let opened = OpenedConnection {
            context: Arc::clone(&context),
            admitted: place,
            caller,
        };
        let task = tasks.spawn(opened.run(stream, make));
        registry.attach(number, task.abort_handle());
    }
    drop(accepting);
    tasks.close();
    tasks.wait().await;
}

/// Counts what happens to connections while too many are open.
struct CrowdCounts {
    ousted: CrowdCount,
    reserved: CrowdCount,
    closed: CrowdCount,
}

impl Default for CrowdCounts {
    fn default() -> Self {
        Self {
            ousted: CrowdCount::of("idle connections closed to make room: too many are open"),
            reserved: CrowdCount::of("connections turned away: too many are open and busy"),
            closed: CrowdCount::of("connections closed at once: too many are open and busy"),
        }
    }
}

/// Counts connections and logs the number from time to time.
struct CrowdCount {
    what: &'static str,
    count: u64,
    said: Option<Instant>,
}

impl CrowdCount {
    fn of(what: &'static str) -> Self {
        Self {
            what,
            count: 0,
            said: None,
        }
    }

    fn count(&mut self, limit: usize) {
        self.count += 1;
        if self.said.is_none_or(|said| said.elapsed() >= WARN_EVERY) {
            let connections = self.count;
            tracing::warn!(connections, limit, "{}", self.what);
            self.said = Some(Instant::now());
            self.count = 0;
        }
    }
}
