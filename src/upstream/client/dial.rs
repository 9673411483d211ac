//! Connects to a server: TCP or a Unix socket, then TLS, within one time limit.

use std::error::Error;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::net::{TcpStream, UnixStream};
use tower::Service;

use crate::config::HttpEndpoint;
use crate::files::io_reason;

/// How long bytes may stay unacknowledged by the machine at the other end (`TCP_USER_TIMEOUT`), and
/// how long a ping of HTTP/2 may stay unanswered. A connection that leads nowhere fails after this
/// time; without it, after `timeouts.call`.
pub(super) const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// How often a silent connection is tested: by TCP, and by HTTP/2 while a request is on it.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a connection without a request stays open. Less than the 5 s after which common servers
/// (Node.js, uvicorn) close it, so that they do not do so at the moment at which weir sends on it,
/// and less than the time after which a balancer or NAT forgets it, which nobody would notice: what
/// is sent then gets no answer. A connection costs little beside a pause of seconds.
pub(super) const IDLE: Duration = Duration::from_secs(4);

/// The most bytes that are read of a connection at once, and the longest head of an answer. Hyper
/// would take 400 KiB, which no budget counts.
pub(super) const READ_BUFFER: usize = 128 << 10;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;
type ConnectFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// The connector of a pool of connections.
pub(super) type PooledConnector = TimeLimited<HttpsConnector<Dialer>>;

/// Builds what connects to one upstream without TLS.
pub(super) fn build_dialer(endpoint: &HttpEndpoint, budget: Duration) -> TimeLimited<Dialer> {
    let connector = match &endpoint.socket {
        Some(path) => Dialer::Unix(path.as_path().into()),
        None => {
            let mut tcp = HttpConnector::new();
            tcp.set_nodelay(true);
            // Hyper divides this among the addresses of a name. `TimeLimited` limits the whole.
            tcp.set_connect_timeout(Some(budget));
            tcp.enforce_http(false);
            tcp.set_keepalive(Some(KEEP_ALIVE));
            tcp.set_keepalive_interval(Some(KEEP_ALIVE));
            tcp.set_keepalive_retries(Some(3));
            #[cfg(target_os = "linux")]
            tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
            Dialer::Tcp(tcp)
        }
    };
    TimeLimited { connector, budget }
}

/// Builds the connector of one upstream.
pub(super) fn build_connector(
    endpoint: &HttpEndpoint,
    tls: rustls::ClientConfig,
    budget: Duration,
) -> Result<PooledConnector, InvalidDnsNameError> {
    let TimeLimited { connector, .. } = build_dialer(endpoint, budget);
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    let builder = match &endpoint.tls.server_name {
        Some(name) => {
            let name = ServerName::try_from(name.clone())?;
            builder.with_server_name_resolver(FixedServerNameResolver::new(name))
        }
        None => builder,
    };
    Ok(TimeLimited {
        connector: builder.enable_all_versions().wrap_connector(connector),
        budget,
    })
}

/// `timeouts.connect` is used up.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
pub(super) struct ConnectTimeout(pub(super) Duration);

/// A connector with one time limit for all of it: name, TCP, TLS.
#[derive(Clone, Debug)]
pub(super) struct TimeLimited<C> {
    connector: C,
    budget: Duration,
}

impl<C> Service<Uri> for TimeLimited<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = ConnectFuture<C::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (budget, connecting) = (self.budget, self.connector.call(uri));
        Box::pin(async move {
            match tokio::time::timeout(budget, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(ConnectTimeout(budget).into()),
            }
        })
    }
}

/// There is no connection to a Unix socket.
#[derive(Debug, thiserror::Error)]
#[error("the socket `{}` cannot be used: {}", path.display(), io_reason(.error))]
struct SocketError {
    path: Arc<Path>,
    error: std::io::Error,
}

/// Returns whether an error comes from before TLS.
pub(super) fn is_dial_error(error: &(dyn Error + 'static)) -> bool {
    error.is::<ConnectTimeout>() || error.is::<SocketError>()
}

/// How to reach the server.
#[derive(Clone, Debug)]
pub(super) enum Dialer {
    /// By TCP, at the URL's host and port.
    Tcp(HttpConnector),
    /// By a socket of this machine, whatever the URL says.
    Unix(Arc<Path>),
}

impl Service<Uri> for Dialer {
    type Response = PlainStream;
    type Error = BoxError;
    type Future = ConnectFuture<PlainStream>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_ready(context).map_err(Into::into),
            Self::Unix(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match self {
            Self::Tcp(tcp) => {
                let connecting = tcp.call(uri);
                Box::pin(async move { Ok(PlainStream::Tcp(connecting.await?)) })
            }
            Self::Unix(path) => {
                let path = Arc::clone(path);
                Box::pin(async move {
                    let stream = UnixStream::connect(&path).await;
                    let stream = stream.map_err(|error| SocketError { path, error })?;
                    Ok(PlainStream::Unix(TokioIo::new(stream)))
                })
            }
        }
    }
}

/// A connection without TLS.
#[derive(Debug)]
pub(super) enum PlainStream {
    Tcp(TokioIo<TcpStream>),
    Unix(TokioIo<UnixStream>),
}

impl Connection for PlainStream {
    fn connected(&self) -> Connected {
        match self {
            Self::Tcp(stream) => stream.connected(),
            Self::Unix(_) => Connected::new(),
        }
    }
}

impl Read for PlainStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl Write for PlainStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
