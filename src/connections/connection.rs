//! One connection, from its handshake to its end.

use std::convert::Infallible;
use std::future::poll_fn;
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
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tower::Service;

use super::activity::{Activity, ConnectionPhase, RequestUnderWay};
use super::admission::{Admitted, ListenerContext};
use super::listener::ClientStream;
use super::reserve::ReserveService;
use super::streams::TrackedBody;
use super::watched_stream::WatchedStream;
use super::write_watch::WriteWatch;
use crate::caller::{CallerConnection, PeerCertificate, StandingAnswer};
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
    let shaken = context.shutdown.run_until_cancelled(handshake).await?;
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
