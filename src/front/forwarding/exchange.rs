//! One request to another replica, on a connection of its own, and its answer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::front::drain::GivenUp;
use crate::protocol::error::{Fault, StateProblem};
use crate::protocol::headers;
use crate::protocol::message::Id;
use crate::protocol::{era::Era, sse};
use crate::relay::Payload;

/// How long a name may take to be found, and then a connection to be made.
const CONNECT: Duration = Duration::from_secs(1);
/// The most addresses of a name that are tried.
const ADDRESSES: usize = 32;
/// How often a silent connection is tested, and how long what was sent may stay unacknowledged: a machine
/// that is gone is noticed by that.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The most bytes that are read of a connection at once.
const READ_BUFFER: usize = 64 << 10;

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// The headers of an answer that go on to the caller. The others are the connection's, or made here.
const ANSWERED: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::RETRY_AFTER,
    HeaderName::from_static("x-accel-buffering"),
    headers::SESSION,
];

/// The listener of a replica, or of several that have one name.
pub struct ReplicaTarget {
    /// Its host.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// TLS, and the name that is in its certificate.
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl std::fmt::Debug for ReplicaTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReplicaTarget({}:{})", self.host, self.port)
    }
}

/// A connection of bytes.
trait ReplicaStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ReplicaStream for S {}

/// The answer of another replica. Dropped early, the connection is closed, by which the other replica
/// knows that the caller is gone.
pub(in crate::front) struct ReplicaAnswer {
    response: http::Response<Incoming>,
    /// Reads and writes.
    driver: AbortOnDropHandle<()>,
}

impl ReplicaTarget {
    /// Returns the addresses of its name.
    pub(super) async fn addresses(&self) -> Vec<SocketAddr> {
        let looked_up = timeout(CONNECT, lookup_host((&*self.host, self.port))).await;
        match looked_up {
            Ok(Ok(found)) => found.take(ADDRESSES).collect(),
            Ok(Err(error)) => {
                tracing::debug!(host = &*self.host, %error, "a replica has no address");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn ReplicaStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE);
        socket.set_tcp_keepalive(&keep_alive.with_interval(KEEP_ALIVE))?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(KEEP_ALIVE))?;
        Ok(match &self.tls {
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
            None => Box::new(stream),
        })
    }

    /// Sends a request to one of the addresses, and waits for the head of its answer until `patience` is
    /// over. Returns `None` if there is none, or it is for another replica.
    pub(super) async fn send(
        &self,
        address: SocketAddr,
        mut request: Request<Full<Bytes>>,
        patience: Duration,
        tasks: &TaskTracker,
    ) -> Option<ReplicaAnswer> {
        let failed = |error: &dyn std::fmt::Display| {
            tracing::debug!(%address, error = %error, "a replica did not answer");
        };
        // An address of IPv6 is in brackets (RFC 3986 §3.2.2).
        let host = match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        };
        request
            .headers_mut()
            .insert(header::HOST, host.parse().ok()?);
        let connected = timeout(CONNECT, self.connect(address)).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                failed(&error);
                return None;
            }
            Err(error) => {
                failed(&error);
                return None;
            }
        };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ_BUFFER);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.ok()?;
        let driver = AbortOnDropHandle::new(tasks.spawn(async {
            let _ = connection.await;
        }));
        match timeout(patience, sender.send_request(request)).await {
            Ok(Ok(response)) => {
                let is_other = response.status() == StatusCode::MISDIRECTED_REQUEST;
                (!is_other).then_some(ReplicaAnswer { response, driver })
            }
            Ok(Err(error)) => {
                failed(&error);
                None
            }
            Err(error) => {
                failed(&error);
                None
            }
        }
    }
}

/// The end of an answer that is passed on.
struct AnswerEnd {
    /// The request that it answers.
    id: Id,
    given_up: GivenUp,
    /// How long an event stream may be silent.
    silence: Duration,
}

/// The rest of an answer: frames of the other replica, then nothing.
struct PassedBody {
    incoming: Incoming,
    end: AnswerEnd,
    is_events: bool,
    is_over: bool,
    /// Held until it is over.
    _driver: AbortOnDropHandle<()>,
    _slot: OwnedSemaphorePermit,
}

impl ReplicaAnswer {
    /// Makes the response for the caller, byte for byte what the other replica answers. If that breaks
    /// off, an event stream ends with an error.
    pub(in crate::front) fn respond(
        self,
        id: &Id,
        slot: OwnedSemaphorePermit,
        given_up: &GivenUp,
        silence: Duration,
    ) -> Response {
        let (head, incoming) = self.response.into_parts();
        let body = PassedBody {
            incoming,
            end: AnswerEnd {
                id: id.clone(),
                given_up: given_up.clone(),
                silence,
            },
            is_events: head.headers.get(header::CONTENT_TYPE) == Some(&EVENTS),
            is_over: false,
            _driver: self.driver,
            _slot: slot,
        };
        let chunks = futures::stream::unfold(body, |mut body| async move {
            let chunk = body.next().await?;
            Some((chunk, body))
        });
        let mut response = Response::new(Body::from_stream(chunks));
        *response.status_mut() = head.status;
        for name in ANSWERED {
            if let Some(value) = head.headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        response
    }
}

impl PassedBody {
    /// Returns the next chunk, or the end.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if self.is_over {
                return None;
            }
            let end = &self.end;
            let fault = tokio::select! {
                biased;
                frame = self.incoming.frame() => match frame {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(chunk) => return Some(Ok(chunk)),
                        Err(_) => continue,
                    },
                    None => return None,
                    Some(Err(error)) => {
                        tracing::warn!(%error, "the replica that has a call ended during its answer");
                        Fault::RequestState(StateProblem::Over)
                    }
                },
                () = end.given_up.cancelled() => Fault::ShuttingDown,
                () = tokio::time::sleep(end.silence), if self.is_events => {
                    tracing::warn!("the replica that has a call fell silent during its answer");
                    Fault::RequestState(StateProblem::Over)
                }
            };
            self.is_over = true;
            if !self.is_events {
                return Some(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            let payload = Payload::fault(Some(&end.id), &fault, Era::Modern);
            // It may have broken off within an event.
            let last = [b"\n\n", &*sse::event(&payload.concat())].concat();
            return Some(Ok(last.into()));
        }
    }
}
