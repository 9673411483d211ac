//! Connections of HTTP/1.1 without TLS. Each is driven by the task that uses it: it is polled while its
//! answer is waited for and while the body is read. With a task of its own, as hyper's pooled client has
//! it, each call would wake that task to send, and be woken by it for the answer.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header, uri};
use http_body::{Body as _, Frame};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tower::Service as _;

use super::dial::{BoxError, Dialer, IDLE, PlainStream, READ_BUFFER, TimeLimited};

/// A client for one server.
#[derive(Debug)]
pub(super) struct PlainClient {
    dialer: TimeLimited<Dialer>,
    uri: Uri,
    host: HeaderValue,
    idle: Arc<IdleConnections>,
}

/// Why a request got no answer.
#[derive(Debug)]
pub(super) enum PlainError {
    /// There is no connection.
    Connect(BoxError),
    /// The connection ended before an answer began.
    Unanswered(hyper::Error),
}

impl PlainClient {
    /// Makes a client for the server of this URL, which keeps up to `most` idle connections. Opens
    /// nothing. `None` if the URL has no host that a header can carry.
    pub(super) fn new(dialer: TimeLimited<Dialer>, uri: Uri, most: usize) -> Option<Self> {
        let host = uri.authority()?.as_str();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let host = host.strip_suffix(":80").unwrap_or(host);
        Some(Self {
            dialer,
            host: HeaderValue::from_str(host).ok()?,
            uri,
            idle: Arc::new(IdleConnections {
                most,
                kept: Mutex::default(),
            }),
        })
    }

    /// Returns the URL of the server.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Sends a request and waits for the head of its answer. What could not be written to an idle
    /// connection, because the server has closed it, is sent on another.
    ///
    /// # Errors
    /// There is no connection, or it ended before an answer began.
    pub(super) async fn send(
        &self,
        uri: &Uri,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<PlainBody>, PlainError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = origin_form(uri);
        *request.headers_mut() = headers;
        let headers = request.headers_mut();
        headers
            .entry(header::HOST)
            .or_insert_with(|| self.host.clone());
        loop {
            let (mut connection, is_new) = match self.idle.take() {
                Some(connection) => (connection, false),
                None => (self.connect().await.map_err(PlainError::Connect)?, true),
            };
            let mut failed = match connection.send(request).await {
                Ok(response) => {
                    let (head, incoming) = response.into_parts();
                    let body = PlainBody::new(incoming, connection, &self.idle);
                    return Ok(Response::from_parts(head, body));
                }
                Err(failed) => failed,
            };
            match failed.take_message().filter(|_| !is_new) {
                Some(unsent) => request = unsent,
                None => return Err(PlainError::Unanswered(failed.into_error())),
            }
        }
    }

    async fn connect(&self) -> Result<PlainConnection, BoxError> {
        let mut dialer = self.dialer.clone();
        poll_fn(|context| dialer.poll_ready(context)).await?;
        let stream = dialer.call(self.uri.clone()).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ_BUFFER);
        let (sender, driver) = builder.handshake(stream).await?;
        Ok(PlainConnection {
            sender,
            driver: Some(Box::new(driver)),
        })
    }
}

/// Returns the target of a request to the server itself (RFC 9112 §3.2.1).
fn origin_form(uri: &Uri) -> Uri {
    let mut parts = uri::Parts::default();
    parts.path_and_query = uri.path_and_query().cloned();
    Uri::from_parts(parts).unwrap_or_default()
}

/// A connection. Nothing happens on it unless it is polled.
#[derive(Debug)]
struct PlainConnection {
    sender: SendRequest<Full<Bytes>>,
    /// Reads and writes; `None` when the connection has ended.
    driver: Option<Box<Connection<PlainStream, Full<Bytes>>>>,
}

impl PlainConnection {
    /// Writes and reads what can be written and read now.
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && Pin::new(driver).poll(context).is_ready()
        {
            // A request that waits for its answer, or was not sent, gets an error now.
            self.driver = None;
        }
    }

    /// Sends a request and waits for the head of its answer.
    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        poll_fn(|context| {
            if let Some(running) = driver
                && Pin::new(running).poll(context).is_ready()
            {
                *driver = None;
            }
            answer.as_mut().poll(context)
        })
        .await
    }

    /// Returns whether the connection is open, and has nothing to do.
    fn is_idle(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }
}

/// A connection in use. When this is dropped, it is kept for other requests if nothing is left on it.
#[derive(Debug)]
struct UsedConnection {
    /// `None` once it was dropped.
    connection: Option<PlainConnection>,
    idle: Arc<IdleConnections>,
}

impl Drop for UsedConnection {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && connection.is_idle()
        {
            self.idle.put(connection);
        }
    }
}

/// The body of an answer, and the connection that it comes on.
#[derive(Debug)]
pub(super) struct PlainBody {
    // Dropped before the connection: that tells the connection that the rest is not wanted.
    incoming: Incoming,
    /// `None` once everything was read.
    used: Option<UsedConnection>,
}

impl PlainBody {
    fn new(incoming: Incoming, connection: PlainConnection, idle: &Arc<IdleConnections>) -> Self {
        let used = UsedConnection {
            connection: Some(connection),
            idle: Arc::clone(idle),
        };
        let used = Some(used).filter(|_| !incoming.is_end_stream());
        Self { incoming, used }
    }

    /// Returns the next frame, `None` at the end.
    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let mut polled = Pin::new(&mut self.incoming).poll_frame(context);
        if polled.is_pending() {
            let used = self.used.as_mut();
            if let Some(connection) = used.and_then(|used| used.connection.as_mut()) {
                connection.drive(context);
            }
            polled = Pin::new(&mut self.incoming).poll_frame(context);
        }
        if self.incoming.is_end_stream() {
            self.used = None;
        }
        polled
    }

    /// Returns the body as hyper knows it.
    pub(super) fn incoming(&self) -> &Incoming {
        &self.incoming
    }
}

/// The connections that are open and unused, the last one used at the end.
#[derive(Debug)]
struct IdleConnections {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    connections: Vec<(PlainConnection, Instant)>,
    /// The task that closes those that are idle for long, while there are any.
    closing: Option<AbortOnDropHandle<()>>,
}

impl IdleConnections {
    /// Takes an open connection, if there is one.
    fn take(&self) -> Option<PlainConnection> {
        loop {
            let (mut connection, since) = self.kept.lock().connections.pop()?;
            if since.elapsed() < IDLE && connection.is_idle() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request. It is closed if there are many, or the runtime is gone.
    fn put(self: &Arc<Self>, connection: PlainConnection) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut kept = self.kept.lock();
        if kept.connections.len() >= self.most {
            return;
        }
        kept.connections.push((connection, Instant::now()));
        if kept.closing.is_none() {
            let closing = runtime.spawn(close_idle(Arc::downgrade(self)));
            kept.closing = Some(AbortOnDropHandle::new(closing));
        }
    }

    /// Closes what has been idle for long, and returns when the next is; `None` if none is left.
    fn close_old(&self) -> Option<Instant> {
        let mut kept = self.kept.lock();
        let is_old = |(_, since): &(PlainConnection, Instant)| since.elapsed() >= IDLE;
        let old = kept.connections.partition_point(is_old);
        kept.connections.drain(..old);
        let next = kept.connections.first().map(|(_, since)| *since + IDLE);
        if next.is_none() {
            // The task that this is called by ends.
            kept.closing = None;
        }
        next
    }
}

/// Closes connections that have been idle for long, until there is none.
async fn close_idle(idle: Weak<IdleConnections>) {
    let mut next = Instant::now() + IDLE;
    loop {
        tokio::time::sleep_until(next).await;
        let Some(later) = idle.upgrade().and_then(|idle| idle.close_old()) else {
            return;
        };
        next = later;
    }
}
