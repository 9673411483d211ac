//! One connection, from its handshake to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::service::{Service as HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tower::Service;

use super::activity::{Activity, ConnectionPhase, ListenerEnd, RequestUnderWay};
use super::admission::{Admitted, ListenerContext};
use super::listener::ClientStream;
use super::reserve::ReserveService;
use super::streams::TrackedBody;
use super::watched_stream::WatchedStream;
use super::write_watch::WriteWatch;
use crate::caller::{CallerConnection, PeerCertificate, StandingAnswer};
use crate::memory::MemoryShare;
use crate::tls::ListenerTls;

/// The part of it that a request takes until its answer is sent: its task, and the small messages
/// of the answer that wait to be sent. Bodies are counted besides, if they are not small.
const REQUEST_BYTES: usize = 16 << 10;
/// How long the handshake of TLS may take, if a header may take longer.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A connection that was given a place.
pub(super) struct OpenedConnection {
    pub(super) context: Arc<ListenerContext>,
    pub(super) admitted: Admitted,
    pub(super) caller: CallerConnection,
}

impl OpenedConnection {
    /// Shakes hands where the listener has TLS, and serves the connection until it ends.
    pub(super) async fn run<M, S>(self, stream: ClientStream, make_service: Arc<M>)
    where
        M: Fn(CallerConnection) -> S + Send + Sync + 'static,
        S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>,
        S: Clone + Send + Sync + 'static,
    {
        let Self {
            context,
            admitted,
            mut caller,
        } = self;
        let stream = match (stream, &context.tls) {
            (ClientStream::Tcp(stream), Some(tls)) => {
                // On the heap: connections without TLS have no room for it.
                let secured = Box::pin(secure(stream, tls, &context, &admitted, &mut caller));
                match secured.await {
                    Some(stream) => stream,
                    None => return,
                }
            }
            (stream, _) => stream,
        };
        let service = make_service(caller);
        if admitted.is_reserve {
            let reserve = context.reserve_for;
            let service = ReserveService { service, reserve };
            serve_requests(stream, service, context, admitted).await;
        } else {
            serve_requests(stream, service, context, admitted).await;
        }
    }
}

/// Shakes hands, within the time of a header. Returns `None` if there is no connection then.
async fn secure(
    stream: TcpStream,
    tls: &ListenerTls,
    context: &ListenerContext,
    admitted: &Admitted,
    caller: &mut CallerConnection,
) -> Option<ClientStream> {
    // Before the handshake: if the trust changes meanwhile, the certificate is verified again.
    let version = tls.trust_version();
    let watched = WriteWatch::new(stream, Arc::clone(&admitted.activity));
    let patience = admitted.header.min(HANDSHAKE);
    let handshake = tokio::time::timeout(patience, tls.accept(watched));
    let shaken = tokio::select! {
        biased;
        shaken = handshake => shaken,
        () = wait_for_end(context) => return None,
    };
    let Ok(accepted) = shaken else {
        tls.count_failure();
        tracing::debug!("a connection was closed: its TLS handshake took too long");
        return None;
    };
    let stream = accepted.ok()?;
    let (_, connection) = stream.get_ref();
    if let Some(chain) = connection.peer_certificates() {
        match PeerCertificate::parse(chain, version) {
            Ok(certificate) => caller.certificate = Some(Arc::new(certificate)),
            Err(error) => {
                tracing::info!(%error, "a connection was closed: the certificate of its caller");
                return None;
            }
        }
    }
    admitted.activity.note_handshake();
    Some(ClientStream::Tls(Box::new(stream)))
}

/// Waits until the listener stops, and then for as long as it takes last requests.
async fn wait_for_end(context: &ListenerContext) {
    context.shutdown.cancelled().await;
    tokio::time::sleep(context.last_requests).await;
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
    mut under_way: RequestUnderWay,
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
    end: Option<ListenerEnd>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        let Some((due, period)) = activity.due(is_crowded, end) else {
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
            tracing::debug!(phase = ?activity.phase(), "a connection is closed: its time is over");
            return Poll::Ready(());
        }
        timer.as_mut().reset(due.min(now + period));
    }
}

/// Returns the service with a guard for each request, which lasts until its answer is sent.
fn guarded<S>(
    service: S,
    activity: Arc<Activity>,
    memory: MemoryShare,
    is_reserve: bool,
) -> impl HttpService<
    http::Request<Incoming>,
    Response = http::Response<TrackedBody>,
    Error = Infallible,
    Future: Send + 'static,
>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>,
    S: Clone + Send + 'static,
{
    service_fn(move |request: http::Request<Incoming>| {
        let version = request.version();
        let request = request.map(Body::new);
        let kept = memory.reserve(REQUEST_BYTES);
        let answer = kept.is_ok().then(|| service.clone().call(request));
        let under_way = activity.begin(version, kept.ok());
        let activity = Arc::clone(&activity);
        async move {
            let response = match answer {
                Some(answer) => answer.await?,
                None => refuse_for_memory(),
            };
            let is_last = is_reserve || activity.is_ending();
            let closes = is_last && version < Version::HTTP_2;
            Ok::<_, Infallible>(track(response, under_way, closes))
        }
    })
}

/// Serves one connection until it ends. Once the listener stops, a connection of HTTP/1.1 takes one
/// more request, whose answer says that it is the last: a proxy that keeps connections may send one
/// at any moment, and repeats it nowhere else once it is sent. HTTP/2 has a message for that.
async fn serve_requests<S>(
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
    let stream = TokioIo::new(WatchedStream::new(stream, Arc::clone(&activity)));
    let service = guarded(service, Arc::clone(&activity), memory, is_reserve);
    let (mut unread, mut http) = (Some((stream, service)), None);
    // Polling a token takes its lock: with a child of its own, connections do not contend for one.
    let shutdown = context.shutdown.child_token();
    let mut shutdown = pin!(shutdown.cancelled());
    let mut timer = pin!(tokio::time::sleep(patience));
    let (mut end, mut is_closing) = (None, false);
    poll_fn(|cx| {
        if end.is_none() && shutdown.as_mut().poll(cx).is_ready() {
            end = Some(ListenerEnd::now(&activity, context.last_requests));
        }
        loop {
            if let Some((stream, _)) = &unread
                && let Poll::Ready(protocol) = stream.inner().poll_protocol(cx)
                && let Some((stream, service)) = unread.take()
            {
                let builder = context.protocols.of(protocol);
                http = Some(Box::pin(builder.serve_connection(stream, service)));
            }
            if let Some(http) = &mut http
                && let Poll::Ready(ended) = http.as_mut().poll(cx)
            {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                }
                return Poll::Ready(());
            }
            // In the reserve, a connection has one request.
            let is_served = is_reserve && activity.has_begun();
            let is_told = end.is_some() && activity.is_multiplexed();
            if is_closing || !(is_served || is_told) {
                let is_crowded = context.registry.is_full();
                ready!(poll_patience(
                    timer.as_mut(),
                    &activity,
                    is_crowded,
                    end,
                    cx
                ));
                if is_closing || end.is_none() || activity.phase() != ConnectionPhase::Idle {
                    return Poll::Ready(());
                }
            }
            is_closing = true;
            match &mut http {
                Some(http) => http.as_mut().graceful_shutdown(),
                None => return Poll::Ready(()),
            }
        }
    })
    .await;
}
