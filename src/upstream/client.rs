//! The HTTP client of one upstream: its own pool, nothing followed, nothing retried that was written.
//!
//! The organisation's own servers are reached with hyper's pooled client, everything on the internet
//! with reqwest, which knows proxies. On the hot path reqwest costs twice what hyper's client does (it
//! parses the URL again for redirects that are never followed), and that is a tenth of a whole call.

mod dial;

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use crate::config::{self, Connector};
use crate::credentials::CredentialsContext;
use crate::credentials::secrets::{SecretCell, SecretUnavailable};
use crate::tls::{self, KeySource, TlsConfigs, TlsError};
use dial::{BoxError, TooSlow, is_of_dial};

/// Sent as `User-Agent`.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("weir/", env!("CARGO_PKG_VERSION")));

/// Why an HTTP client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    /// The machine's certificates, or those of `tls`, cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The key of the client certificate cannot be had.
    #[error(transparent)]
    Key(#[from] SecretUnavailable),
    /// `tls.server_name` is none.
    #[error("the server's name is none")]
    ServerName,
    /// The client cannot be built.
    #[error("no HTTP client")]
    Build(#[source] reqwest::Error),
    /// The URL is one that HTTP cannot carry.
    #[error("the URL is not usable")]
    Url(#[from] http::uri::InvalidUri),
}

/// Why a request got no answer, or its answer broke off.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// No connection: refused, unknown host, TLS.
    #[error("cannot connect")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke.
    #[error("the connection broke off")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

/// An HTTP client bound to one URL.
#[derive(Debug)]
pub struct HttpClient {
    kind: Kind,
    /// The key of the client certificate, which may have to be fetched.
    key: Option<SecretCell>,
}

#[derive(Debug)]
enum Kind {
    Lean {
        client: Box<Lean>,
        uri: Uri,
    },
    Full {
        client: reqwest::Client,
        url: Box<Url>,
        connect: Duration,
    },
}

type Lean = legacy::Client<dial::PooledConnector, Full<Bytes>>;

/// TCP was there, TLS was not.
#[derive(Debug, thiserror::Error)]
#[error("the TLS handshake failed: {0}")]
struct NoTls(String);

/// The body of an answer, read piece by piece.
#[derive(Debug)]
pub enum Body {
    /// Read from hyper.
    Lean(hyper::body::Incoming),
    /// Read from reqwest.
    Full(reqwest::Body),
}

impl HttpClient {
    /// A client for one upstream. Opens nothing.
    ///
    /// # Errors
    /// No TLS certificates, or a URL that HTTP cannot carry.
    pub fn new(
        config: &config::Upstream,
        endpoint: &config::HttpEndpoint,
        around: &CredentialsContext,
    ) -> Result<Self, HttpClientError> {
        let url = endpoint.url.clone();
        // Above any concurrency weir allows towards one upstream, or connections churn.
        let idle = config.limits.in_flight.get().max(64) * 2;
        let key = endpoint.tls.identity.as_ref();
        let key = key.map(|identity| around.secrets.open(&identity.key));
        let key = key.transpose()?;
        let tls = if url.scheme() == "https" {
            let key = key.clone().map(|key| Box::new(key) as Box<dyn KeySource>);
            around.tls.for_upstream(&endpoint.tls, key)?
        } else {
            TlsConfigs::plain()?
        };
        // Reqwest goes to the host that the URL names, by that name, and nowhere else.
        let is_direct = endpoint.socket.is_some() || endpoint.tls.server_name.is_some();
        let kind = match config.connector {
            // AWS and the internet may be behind a proxy of the organisation's.
            Connector::Saas | Connector::AgentcoreGateway | Connector::AgentcoreRuntime
                if !is_direct =>
            {
                let builder = reqwest::Client::builder()
                    .tls_backend_preconfigured(with_alpn(tls))
                    .redirect(reqwest::redirect::Policy::none())
                    .tcp_nodelay(true)
                    .connect_timeout(config.timeouts.connect)
                    .pool_max_idle_per_host(idle);
                Kind::Full {
                    client: builder.build().map_err(HttpClientError::Build)?,
                    url: Box::new(url),
                    connect: config.timeouts.connect,
                }
            }
            Connector::OnPrem
            | Connector::Saas
            | Connector::AgentcoreGateway
            | Connector::AgentcoreRuntime => {
                let connector = dial::connector(endpoint, tls, config.timeouts.connect)
                    .map_err(|_| HttpClientError::ServerName)?;
                let client = legacy::Client::builder(TokioExecutor::new())
                    .pool_max_idle_per_host(idle)
                    .pool_timer(TokioTimer::new())
                    .timer(TokioTimer::new())
                    .build(connector);
                Kind::Lean {
                    client: Box::new(client),
                    uri: url.as_str().parse()?,
                }
            }
        };
        Ok(Self { kind, key })
    }

    /// Sends one request and waits for the head of its answer. `body` is empty for GET and DELETE.
    ///
    /// # Errors
    /// No connection, or one that broke.
    pub async fn send(
        &self,
        method: Method,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, TransferError> {
        headers.insert(header::USER_AGENT, AGENT);
        if let Some(key) = &self.key
            && key.current().is_none()
        {
            let fetched = key.get().await;
            fetched.map_err(|error| TransferError::Connect(Box::new(error)))?;
        }
        match &self.kind {
            Kind::Lean { client, uri } => {
                let mut request = Request::new(Full::new(body));
                *request.method_mut() = method;
                *request.uri_mut() = uri.clone();
                *request.headers_mut() = headers;
                let answered = client.request(request).await;
                let answered = answered.map_err(|error| match error.is_connect() {
                    true => not_connected(Box::new(error), uri.scheme_str()),
                    false => broken(Box::new(error)),
                })?;
                Ok(answered.map(Body::Lean))
            }
            Kind::Full {
                client,
                url,
                connect,
            } => {
                let mut request = reqwest::Request::new(method, Url::clone(url));
                *request.headers_mut() = headers;
                if !body.is_empty() {
                    *request.body_mut() = Some(body.into());
                }
                let answered = client.execute(request).await.map_err(|error| {
                    // Its own words do not say which time was too long.
                    match error.is_connect() && error.is_timeout() {
                        true => TransferError::Connect(Box::new(TooSlow(*connect))),
                        false if error.is_connect() => {
                            not_connected(Box::new(error.without_url()), Some(url.scheme()))
                        }
                        false => from_reqwest(error),
                    }
                })?;
                Ok(Response::from(answered).map(Body::Full))
            }
        }
    }
}

impl Body {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, TransferError> {
        loop {
            let frame = match self {
                Self::Lean(body) => match body.frame().await {
                    Some(frame) => frame.map_err(|error| TransferError::Broken(Box::new(error)))?,
                    None => return Ok(None),
                },
                Self::Full(body) => match body.frame().await {
                    Some(frame) => frame.map_err(from_reqwest)?,
                    None => return Ok(None),
                },
            };
            // Trailers mean nothing here.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// How many bytes there are, where the answer's head says so.
    #[must_use]
    pub fn announced(&self) -> Option<usize> {
        let exact = match self {
            Self::Lean(body) => body.size_hint().exact(),
            Self::Full(body) => body.size_hint().exact(),
        };
        exact.and_then(|bytes| usize::try_from(bytes).ok())
    }

    /// Whether everything has been read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Lean(body) => body.is_end_stream(),
            Self::Full(body) => body.is_end_stream(),
        }
    }
}

/// HTTP/2 where the server has it; hyper-rustls asks for it by itself.
fn with_alpn(mut tls: rustls::ClientConfig) -> rustls::ClientConfig {
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tls
}

/// No connection. Where TLS failed, what failed inside it (`connection reset`, say) would be taken for TCP.
fn not_connected(error: BoxError, scheme: Option<&str>) -> TransferError {
    if let Some(error) = of_tls(error.as_ref()) {
        return TransferError::Connect(Box::new(NoTls(tls::describe(error))));
    }
    let mut cause: &(dyn Error + 'static) = error.as_ref();
    let mut is_tls = scheme == Some("https");
    loop {
        let text = cause.to_string();
        is_tls &= !is_of_dial(cause) && !text.starts_with("tcp ") && !text.starts_with("dns ");
        match cause.source() {
            Some(source) => cause = source,
            None if is_tls => return TransferError::Connect(Box::new(NoTls(text))),
            None => break,
        }
    }
    TransferError::Connect(error)
}

/// The connection broke. A server that refuses a client certificate says so after the handshake: that was none.
fn broken(error: BoxError) -> TransferError {
    match of_tls(error.as_ref()) {
        Some(error) if tls::is_rejection(error) => {
            TransferError::Connect(Box::new(NoTls(tls::describe(error))))
        }
        Some(_) | None => TransferError::Broken(error),
    }
}

/// What TLS says somewhere in a chain of errors.
fn of_tls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An `io::Error` does not name what it holds as its source, but that one's source.
        let held = error.downcast_ref::<std::io::Error>();
        if let Some(held) = held.and_then(std::io::Error::get_ref) {
            return of_tls(held);
        }
        cause = error.source();
    }
    None
}

fn from_reqwest(error: reqwest::Error) -> TransferError {
    let connect = error.is_connect();
    // The URL may have a secret in it.
    let error = Box::new(error.without_url());
    if connect {
        TransferError::Connect(error)
    } else {
        broken(error)
    }
}
