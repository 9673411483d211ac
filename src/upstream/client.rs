//! The HTTP client of one upstream: its own pool, nothing followed, nothing retried that was written.
//!
//! The organisation's own servers are reached with hyper's pooled client, everything on the internet
//! with reqwest, which knows proxies. On the hot path reqwest costs twice what hyper's client does (it
//! parses the URL again for redirects that are never followed), and that is a tenth of a whole call.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;
use url::Url;

use crate::config::{self, Connector};
use crate::tls::{Tls, TlsError};

/// Sent as `User-Agent`.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("weir/", env!("CARGO_PKG_VERSION")));

/// Why an HTTP client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The machine's certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
pub struct Client {
    kind: Kind,
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

type Lean = legacy::Client<InTime<HttpsConnector<HttpConnector>>, Full<Bytes>>;

/// TCP was there, TLS was not.
#[derive(Debug, thiserror::Error)]
#[error("the TLS handshake failed: {0}")]
struct NoTls(String);

type BoxError = Box<dyn Error + Send + Sync>;

/// `timeouts.connect` is used up.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
struct TooSlow(Duration);

/// A connector with one budget for the whole way: name, TCP, TLS.
#[derive(Clone, Debug)]
struct InTime<C> {
    connector: C,
    budget: Duration,
}

impl<C> Service<Uri> for InTime<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (budget, connecting) = (self.budget, self.connector.call(uri));
        Box::pin(async move {
            match tokio::time::timeout(budget, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(TooSlow(budget).into()),
            }
        })
    }
}

/// The body of an answer, read piece by piece.
#[derive(Debug)]
pub enum Body {
    /// Read from hyper.
    Lean(hyper::body::Incoming),
    /// Read from reqwest.
    Full(reqwest::Body),
}

impl Client {
    /// A client for one upstream. Opens nothing.
    ///
    /// # Errors
    /// No TLS certificates, or a URL that HTTP cannot carry.
    pub fn new(
        config: &config::Upstream,
        endpoint: &config::HttpEndpoint,
        tls: &Tls,
    ) -> Result<Self, ClientError> {
        let url = endpoint.url.clone();
        // Above any concurrency weir allows towards one upstream, or connections churn.
        let idle = config.limits.in_flight.get().max(64) * 2;
        let tls = if url.scheme() == "https" {
            tls.trusting()?
        } else {
            Tls::none()?
        };
        let kind = match config.connector {
            Connector::OnPrem => {
                let mut tcp = HttpConnector::new();
                tcp.set_nodelay(true);
                // Shared out among the addresses of a name; what follows has the rest.
                tcp.set_connect_timeout(Some(config.timeouts.connect));
                tcp.enforce_http(false);
                let builder = HttpsConnectorBuilder::new()
                    .with_tls_config(tls)
                    .https_or_http();
                let connector = InTime {
                    connector: builder.enable_all_versions().wrap_connector(tcp),
                    budget: config.timeouts.connect,
                };
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
            // AWS and the internet may be behind a proxy of the organisation's.
            Connector::Saas | Connector::AgentcoreGateway | Connector::AgentcoreRuntime => {
                let builder = reqwest::Client::builder()
                    .tls_backend_preconfigured(with_alpn(tls))
                    .redirect(reqwest::redirect::Policy::none())
                    .tcp_nodelay(true)
                    .connect_timeout(config.timeouts.connect)
                    .pool_max_idle_per_host(idle);
                Kind::Full {
                    client: builder.build().map_err(ClientError::Build)?,
                    url: Box::new(url),
                    connect: config.timeouts.connect,
                }
            }
        };
        Ok(Self { kind })
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
        match &self.kind {
            Kind::Lean { client, uri } => {
                let mut request = Request::new(Full::new(body));
                *request.method_mut() = method;
                *request.uri_mut() = uri.clone();
                *request.headers_mut() = headers;
                let answered = client.request(request).await;
                let answered = answered.map_err(|error| match error.is_connect() {
                    true => not_connected(Box::new(error), uri.scheme_str()),
                    false => TransferError::Broken(Box::new(error)),
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
    let mut cause: &(dyn Error + 'static) = error.as_ref();
    let mut is_tls = scheme == Some("https");
    loop {
        let text = cause.to_string();
        is_tls &= !cause.is::<TooSlow>() && !text.starts_with("tcp ") && !text.starts_with("dns ");
        match cause.source() {
            Some(source) => cause = source,
            None if is_tls => return TransferError::Connect(Box::new(NoTls(text))),
            None => break,
        }
    }
    TransferError::Connect(error)
}

fn from_reqwest(error: reqwest::Error) -> TransferError {
    let connect = error.is_connect();
    // The URL may have a secret in it.
    let error = Box::new(error.without_url());
    if connect {
        TransferError::Connect(error)
    } else {
        TransferError::Broken(error)
    }
}
