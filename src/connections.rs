//! Accepts connections: limits how many are open and how long a header may take, and ends them.
//!
//! hyper has a timer for headers too, but it sets that timer again for every request, and it takes
//! an idle connection for one whose header is late. Here each connection has one timer, which is
//! compared with the connection's state when it fires: a request costs two reads of the clock.

mod activity;
mod header_block;
mod listener;
mod registry;
mod reserve;
mod streams;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::caller::{CallerConnection, ShareKey, StandingAnswer};
use crate::memory::{MemoryBudget, MemoryShare, Reservation};

use self::activity::{Activity, ConnectionPhase, RequestGuard, WatchedStream};
use self::listener::ClientStream;
use self::registry::{ConnectionPlace, Registry};
use self::reserve::ReserveService;
use self::streams::{TrackedBody, TrackedExecutor};

pub use self::listener::{Listener, SocketFile};
pub use self::reserve::ReserveFor;

/// Most bytes of a request's header. A longer one is answered with 431.
const HEADER_BYTES: usize = 64 << 10;
/// The part of `limits.memory` that a connection takes: its task, its buffers, its part of the
/// kernel's.
const CONNECTION_BYTES: usize = 16 << 10;
/// The part of it that a request takes until its answer is sent: its task, and the small messages
/// of the answer that wait to be sent. Bodies are counted besides, if they are not small.
const REQUEST_BYTES: usize = 16 << 10;
/// How long weir waits before it accepts again after the system had no descriptors or no memory.
const PAUSE: Duration = Duration::from_millis(200);
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

/// State that all connections of one listener share.
struct ListenerContext {
    http: auto::Builder<TrackedExecutor>,
    /// The connections of the listener, and those of its reserve.
    registry: Arc<Registry>,
    reserve: Arc<Registry>,
    shutdown: CancellationToken,
}

/// Serves until `shutdown`, then waits until the last connection has ended: requests in progress
/// are answered, idle connections are closed at once.
pub async fn serve<M, S>(
    listener: Listener,
    make_service: M,
    memory: Arc<MemoryBudget>,
    shutdown: CancellationToken,
    limits: ConnectionLimits,
) where
    M: Fn(CallerConnection) -> S,
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>,
    S: Clone + Send + Sync + 'static,
{
    let tasks = TaskTracker::new();
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
        http,
        registry: Registry::new(limits.connections),
        reserve: Registry::new(reserve::CONNECTIONS),
        shutdown,
    });
    let mut counts = CrowdCounts::default();
    while let Some((stream, address)) = next(&listener, &context.shutdown).await {
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
        let service = make_service(CallerConnection {
            address,
            memory: place.memory.clone(),
        });
        let (context, number) = (Arc::clone(&context), place.place.number());
        let registry = if place.is_reserve {
            Arc::clone(&context.reserve)
        } else {
            Arc::clone(&context.registry)
        };
        let task = if place.is_reserve {
            counts.reserved.count(limits.connections);
            let service = ReserveService {
                service,
                reserve: limits.reserve,
            };
            tasks.spawn(connection(stream, service, context, place))
        } else {
            tasks.spawn(connection(stream, service, context, place))
        };
        registry.attach(number, task.abort_handle());
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Returns the next connection, or `None` when weir stops.
async fn next(
    listener: &Listener,
    shutdown: &CancellationToken,
) -> Option<(ClientStream, Option<IpAddr>)> {
    loop {
        let accepted = shutdown.run_until_cancelled(listener.accept()).await?;
        let error = match accepted {
            Ok(connection) => return Some(connection),
            Err(error) => error,
        };
        // The client gave up before the connection was accepted.
        let gone = [
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::Interrupted,
        ];
        if !gone.contains(&error.kind()) {
            tracing::warn!(%error, "no connection can be accepted");
            shutdown
                .run_until_cancelled(tokio::time::sleep(PAUSE))
                .await?;
        }
    }
}

/// The place of a connection, with what it does there.
struct Admitted {
    place: ConnectionPlace,
    activity: Arc<Activity>,
    header: Duration,
    is_reserve: bool,
    /// The share that pays for all that is kept for it. The reserve is not in the budget: it is for
    /// probes, and few.
    memory: MemoryShare,
    kept: Option<Reservation>,
}

impl ListenerContext {
    /// Gives a connection a place, in the reserve if there is no other, or no memory.
    fn admit(
        &self,
        share: ShareKey,
        header: Duration,
        budget: &Arc<MemoryBudget>,
    ) -> Option<Admitted> {
        let memory = budget.share();
        if let Ok(kept) = memory.reserve(CONNECTION_BYTES) {
            let activity = Arc::new(Activity::new(header));
            if let Some(place) = self.registry.admit(share, &activity) {
                return Some(Admitted {
                    place,
                    activity,
                    header,
                    is_reserve: false,
                    memory,
                    kept: Some(kept),
                });
            }
        }
        let header = header.min(reserve::HEADER);
        let activity = Arc::new(Activity::new(header));
        Some(Admitted {
            place: self.reserve.admit(share, &activity)?,
            activity,
            header,
            is_reserve: true,
            memory: MemoryShare::unlimited(),
            kept: None,
        })
    }
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

/// Returns the answer to a request that nothing can be kept for.
fn refuse_for_memory() -> Response {
    let mut refused = Response::new(Body::empty());
    *refused.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = refused.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    refused
}

/// Prepares a response for the connection: its body holds the guard of the request.
fn track(
    mut response: Response,
    mut under_way: RequestGuard,
    closes: bool,
) -> http::Response<TrackedBody> {
    let standing = response.extensions_mut().remove::<StandingAnswer>();
    if standing.is_some() {
        under_way.mark_standing();
    }
    if closes {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response.map(|body| TrackedBody::new(body, under_way))
}

/// Returns ready when the connection has taken too long for what it is doing.
fn poll_patience(
    mut timer: Pin<&mut Sleep>,
    activity: &Activity,
    is_crowded: bool,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        let Some((due, period)) = activity.due(is_crowded) else {
            return Poll::Pending;
        };
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let now = Instant::now();
        if due <= now {
            tracing::debug!(phase = ?activity.phase(), "a connection was closed: it took too long");
            return Poll::Ready(());
        }
        timer.as_mut().reset(due.min(now + period));
    }
}

/// Serves one connection until it ends.
async fn connection<S>(
    stream: ClientStream,
    service: S,
    context: Arc<ListenerContext>,
    admitted: Admitted,
) where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>,
    S: Clone + Send + 'static,
{
    let Admitted {
        place: _place,
        activity,
        header: patience,
        is_reserve,
        memory,
        kept: _kept,
    } = admitted;
    let io = TokioIo::new(WatchedStream::new(stream, Arc::clone(&activity)));
    let own = Arc::clone(&activity);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let version = request.version();
        let request = request.map(Body::new);
        let kept = memory.reserve(REQUEST_BYTES);
        let answer = kept.is_ok().then(|| service.clone().call(request));
        let closes = is_reserve && version < Version::HTTP_2;
        let under_way = own.begin(version, kept.ok());
        async move {
            let response = match answer {
                Some(answer) => answer.await?,
                None => refuse_for_memory(),
            };
            Ok::<_, Infallible>(track(response, under_way, closes))
        }
    });
    // Boxed: it would have room twice in the future, before it is pinned and after.
    let mut http = Box::pin(context.http.serve_connection(io, service));
    // Polling a token takes its lock: with a child of its own, connections do not contend for one.
    let shutdown = context.shutdown.child_token();
    let mut shutdown = pin!(shutdown.cancelled());
    let mut timer = pin!(tokio::time::sleep(patience));
    let mut ending = false;
    poll_fn(|cx| {
        // In the reserve, a connection has one request.
        let is_served = is_reserve && activity.has_begun();
        if !ending && (is_served || shutdown.as_mut().poll(cx).is_ready()) {
            ending = true;
            http.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(ended) = http.as_mut().poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended");
            }
            return Poll::Ready(());
        }
        if is_reserve && !ending && activity.has_begun() {
            cx.waker().wake_by_ref();
        }
        if ending && activity.phase() == ConnectionPhase::Header {
            // No request has arrived completely: weir does not wait for the rest of its header.
            return Poll::Ready(());
        }
        poll_patience(timer.as_mut(), &activity, context.registry.is_full(), cx)
    })
    .await;
}
