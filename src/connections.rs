//! Accepts connections: limits how many are open and how long a header may take, and ends them.
//!
//! hyper has a timer for headers too, but it sets that timer again for every request, and it takes
//! an idle connection for one whose header is late. Here each connection has one timer, which is
//! compared with the connection's state when it fires: a request costs two reads of the clock.

mod activity;
mod listener;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::caller::CallerConnection;
use crate::memory::{MemoryBudget, MemoryShare};

use self::activity::{Activity, ConnectionPhase, TrackedBody, WatchedStream};
use self::listener::ClientStream;

pub use self::listener::{Listener, SocketFile};

/// Most bytes of a request's header. A longer one is answered with 431.
const HEADER_BYTES: usize = 64 << 10;
/// What a connection takes of `limits.memory`: its task, its buffers, its part of the kernel's.
const CONNECTION_BYTES: usize = 16 << 10;
/// What a request takes of it until its answer is sent: its task, and the small messages of the
/// answer that wait to be sent. Bodies are counted besides, if they are not small.
const REQUEST_BYTES: usize = 16 << 10;
/// How long weir waits before it accepts again after the system had no descriptors or no memory.
const PAUSE: Duration = Duration::from_millis(200);
/// The least time between two warnings about rejected connections.
const WARN_EVERY: Duration = Duration::from_secs(1);
/// HTTP/2: the time between keep-alive pings, and how long the answer to one may take.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Limits of a listener's connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Most connections open at once. One more is accepted and closed: its client learns at once
    /// that it has to go elsewhere, which it would not if it waited in the backlog.
    pub connections: usize,
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
    slots: Arc<Semaphore>,
    header: Duration,
    shutdown: CancellationToken,
}

/// Executor that puts hyper's tasks (HTTP/2 streams) under a tracker.
#[derive(Clone)]
struct TrackedExecutor(TaskTracker);

impl<F> hyper::rt::Executor<F> for TrackedExecutor
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
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
        .max_header_list_size(u32::try_from(HEADER_BYTES).unwrap_or(u32::MAX));
    let context = Arc::new(ListenerContext {
        http,
        slots: Arc::new(Semaphore::new(limits.connections)),
        header: limits.header,
        shutdown,
    });
    let mut rejections = Rejections::default();
    while let Some((stream, address)) = next(&listener, &context.shutdown).await {
        match Arc::clone(&context.slots).try_acquire_owned() {
            Ok(slot) => {
                let share = memory.share();
                let Ok(kept) = share.reserve(CONNECTION_BYTES) else {
                    rejections.count(limits.connections);
                    continue;
                };
                let service = make_service(CallerConnection {
                    address,
                    memory: share.clone(),
                });
                let served = connection(stream, service, Arc::clone(&context), share);
                tasks.spawn(async move {
                    let _held = (slot, kept);
                    served.await;
                });
            }
            Err(_) => rejections.count(limits.connections),
        }
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

/// Counts rejected connections and logs the number from time to time.
#[derive(Default)]
struct Rejections {
    count: u64,
    said: Option<Instant>,
}

impl Rejections {
    fn count(&mut self, limit: usize) {
        self.count += 1;
        if self.said.is_none_or(|said| said.elapsed() >= WARN_EVERY) {
            let connections = self.count;
            tracing::warn!(
                connections,
                limit,
                "connections turned away: too many are open"
            );
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

/// Serves one connection until it ends.
async fn connection<S>(
    stream: ClientStream,
    service: S,
    context: Arc<ListenerContext>,
    memory: MemoryShare,
) where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>,
    S: Clone + Send + 'static,
{
    let activity = Arc::new(Activity::new(context.header));
    let io = TokioIo::new(WatchedStream::new(stream, Arc::clone(&activity)));
    let own = Arc::clone(&activity);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let version = request.version();
        let request = request.map(Body::new);
        let kept = memory.reserve(REQUEST_BYTES);
        let answer = kept.is_ok().then(|| service.clone().call(request));
        let under_way = own.begin(version, kept.ok());
        async move {
            let response = match answer {
                Some(answer) => answer.await?,
                None => refuse_for_memory(),
            };
            Ok::<_, Infallible>(response.map(|body| TrackedBody::new(body, under_way)))
        }
    });
    let mut http = pin!(context.http.serve_connection(io, service));
    // Polling a token takes its lock: with a child of its own, connections do not contend for one.
    let shutdown = context.shutdown.child_token();
    let mut shutdown = pin!(shutdown.cancelled());
    let mut timer = pin!(tokio::time::sleep(context.header));
    let mut ending = false;
    poll_fn(|cx| {
        if !ending && shutdown.as_mut().poll(cx).is_ready() {
            ending = true;
            http.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(ended) = http.as_mut().poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended");
            }
            return Poll::Ready(());
        }
        if ending && activity.phase() == ConnectionPhase::Header {
            // No request has arrived completely: weir does not wait for the rest of its header.
            return Poll::Ready(());
        }
        loop {
            let crowded = context.slots.available_permits() == 0;
            let Some((due, period)) = activity.due(crowded) else {
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
    })
    .await;
}
