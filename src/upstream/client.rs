//! The HTTP client of one upstream: its own pool. Follows no redirects, and retries nothing that
//! was written: who sends decides that.
//!
//! The organisation's own servers are reached with hyper: with its pooled client over TLS, and with
//! connections that the calls themselves drive without (`plain`). Everything on the internet is reached
//! with reqwest, which knows proxies. On the hot path reqwest costs twice as much as hyper's client (it
//! parses the URL again for redirects that are never followed), and that is a tenth of a whole call.

mod body;
mod dial;
mod gunzip;
mod plain;
mod transfer;

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use crate::config::{self, Connector};
use crate::credentials::CredentialsContext;
use crate::credentials::secrets::{SecretCell, SecretUnavailable};
use crate::tls::{self, KeySource, TlsConfigs, TlsError};
use body::BodySource;
use dial::{
    BoxError, ConnectTimeout, IDLE, KEEP_ALIVE, READ_BUFFER, UNACKNOWLEDGED, is_dial_error,
};
use plain::{PlainClient, PlainError};

pub use body::Body;
pub use transfer::TransferError;

/// Why an HTTP client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    /// The machine's certificates, or those of `tls`, cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The key of the client certificate cannot be read.
    #[error(transparent)]
    Key(#[from] SecretUnavailable),
    /// `tls.server_name` is not a server name.
    #[error("the server's name is none")]
    ServerName,
    /// The client cannot be built.
    #[error("no HTTP client")]
    Build(#[source] reqwest::Error),
    /// HTTP cannot carry the URL.
    #[error("the URL is not usable")]
    Url(#[from] http::uri::InvalidUri),
    /// HTTP cannot carry the host of the URL.
    #[error("the URL has no usable host")]
    Host,
}

/// An HTTP client bound to one URL.
#[derive(Debug)]
pub struct HttpClient {
    backend: Backend,
    /// The key of the client certificate, which may have to be fetched.
    key: Option<SecretCell>,
}

#[derive(Debug)]
enum Backend {
    Plain(Box<PlainClient>),
    Hyper {
        client: Box<HyperClient>,
        uri: Uri,
    },
    Reqwest {
        client: reqwest::Client,
        url: Box<Url>,
        connect: Duration,
    },
}

impl Backend {
    /// Chooses how an upstream is reached.
    fn new(
        config: &config::Upstream,
        endpoint: &config::HttpEndpoint,
        tls: rustls::ClientConfig,
    ) -> Result<Self, HttpClientError> {
        let url = endpoint.url.clone();
        // More than the calls that may be in flight: a smaller pool would close connections and
        // open new ones all the time.
        let idle = config.limits.in_flight.get().max(64) * 2;
        // Reqwest connects only to the host that the URL names, and only by that name.
        let is_direct = endpoint.socket.is_some() || endpoint.tls.server_name.is_some();
        Ok(match config.connector {
            // AWS and the internet may be reachable only through a proxy of the organisation.
            Connector::Saas | Connector::AgentcoreGateway | Connector::AgentcoreRuntime
                if !is_direct =>
            {
                let builder = reqwest::Client::builder()
                    .tls_backend_preconfigured(with_alpn(tls))
                    .redirect(reqwest::redirect::Policy::none())
                    .tcp_nodelay(true)
                    .connect_timeout(config.timeouts.connect)
                    .pool_max_idle_per_host(idle)
                    .pool_idle_timeout(IDLE)
                    .tcp_keepalive(KEEP_ALIVE)
                    .http2_keep_alive_interval(KEEP_ALIVE)
                    .http2_keep_alive_timeout(UNACKNOWLEDGED);
                #[cfg(target_os = "linux")]
                let builder = builder.tcp_user_timeout(UNACKNOWLEDGED);
                Self::Reqwest {
                    client: builder.build().map_err(HttpClientError::Build)?,
                    url: Box::new(url),
                    connect: config.timeouts.connect,
                }
            }
            Connector::OnPrem
            | Connector::Saas
            | Connector::AgentcoreGateway
            | Connector::AgentcoreRuntime => {
                let uri: Uri = url.as_str().parse()?;
                if url.scheme() == "http" {
                    let dialer = dial::build_dialer(endpoint, config.timeouts.connect);
                    let client = PlainClient::new(dialer, uri, idle);
                    let client = client.ok_or(HttpClientError::Host)?;
                    return Ok(Self::Plain(Box::new(client)));
                }
                let connector = dial::build_connector(endpoint, tls, config.timeouts.connect)
                    .map_err(|_| HttpClientError::ServerName)?;
                let client = legacy::Client::builder(TokioExecutor::new())
                    .pool_max_idle_per_host(idle)
                    .pool_idle_timeout(IDLE)
                    .http2_keep_alive_interval(KEEP_ALIVE)
                    .http2_keep_alive_timeout(UNACKNOWLEDGED)
                    .pool_timer(TokioTimer::new())
                    .http1_max_buf_size(READ_BUFFER)
                    .timer(TokioTimer::new())
                    .build(connector);
                Self::Hyper {
                    client: Box::new(client),
                    uri,
                }
            }
        })
    }
}

type HyperClient = legacy::Client<dial::PooledConnector, Full<Bytes>>;

/// TCP connected, and the TLS handshake failed.
#[derive(Debug, thiserror::Error)]
#[error("the TLS handshake failed: {0}")]
struct TlsHandshakeError(String);

impl HttpClient {
    /// Builds a client for one upstream. Opens nothing.
    ///
    /// # Errors
    /// The TLS certificates cannot be read, or HTTP cannot carry the URL.
    pub fn new(
        config: &config::Upstream,
        endpoint: &config::HttpEndpoint,
        around: &CredentialsContext,
    ) -> Result<Self, HttpClientError> {
        let key = endpoint.tls.identity.as_ref();
        let key = key.map(|identity| around.secrets.open(&identity.key));
        let key = key.transpose()?;
        let tls = if endpoint.url.scheme() == "https" {
            let key = key.clone().map(|key| Box::new(key) as Box<dyn KeySource>);
            around.tls.for_upstream(&endpoint.tls, key)?
        } else {
            TlsConfigs::plain()?
        };
        let backend = Backend::new(config, endpoint, tls)?;
        Ok(Self { backend, key })
    }

    /// Sends one request and waits for the head of the answer. `body` is empty for GET and DELETE.
    /// `other` is the URL of a request that goes to another path of the same server.
    ///
    /// # Errors
    /// There is no connection, it broke, or the answer is in a content coding that weir does not
    /// read.
    pub async fn send(
        &self,
        other: Option<&Url>,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, TransferError> {
        if let Some(key) = &self.key
            && key.current().is_none()
        {
            let fetched = key.get().await;
            fetched.map_err(|error| TransferError::Connect(Box::new(error)))?;
        }
        match &self.backend {
            Backend::Plain(client) => {
                let other = other.and_then(|other| other.as_str().parse().ok());
                let uri = other.as_ref().unwrap_or(client.uri());
                let response = client.send(uri, method, headers, body).await;
                let response = response.map_err(|error| match error {
                    PlainError::Connect(error) => connect_error(error, Some("http")),
                    PlainError::Unanswered(error) => unanswered_error(Box::new(error)),
                })?;
                Body::of(response.map(BodySource::Plain))
            }
            Backend::Hyper { client, uri } => {
                let mut request = Request::new(Full::new(body));
                *request.method_mut() = method;
                *request.uri_mut() = match other {
                    Some(other) => other.as_str().parse().unwrap_or_else(|_| uri.clone()),
                    None => uri.clone(),
                };
                *request.headers_mut() = headers;
                let response = client.request(request).await;
                let response = response.map_err(|error| match error.is_connect() {
                    true => connect_error(Box::new(error), uri.scheme_str()),
                    false => unanswered_error(Box::new(error)),
                })?;
                Body::of(response.map(BodySource::Hyper))
            }
            Backend::Reqwest {
                client,
                url,
                connect,
            } => {
                let mut request = reqwest::Request::new(method, other.unwrap_or(url).clone());
                *request.headers_mut() = headers;
                if !body.is_empty() {
                    *request.body_mut() = Some(body.into());
                }
                let response = client.execute(request).await.map_err(|error| {
                    // The text of reqwest does not say which limit was passed.
                    match error.is_connect() && error.is_timeout() {
                        true => TransferError::Connect(Box::new(ConnectTimeout(*connect))),
                        false if error.is_connect() => {
                            connect_error(Box::new(error.without_url()), Some(url.scheme()))
                        }
                        // The URL may contain a secret.
                        false => unanswered_error(Box::new(error.without_url())),
                    }
                })?;
                Body::of(Response::from(response).map(BodySource::Reqwest))
            }
        }
    }
}

/// Offers HTTP/2 and HTTP/1.1. Only reqwest needs this: hyper-rustls offers them by itself.
fn with_alpn(mut tls: rustls::ClientConfig) -> rustls::ClientConfig {
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tls
}

/// Returns the error for a connection that was not made. If TLS failed, it says so: the innermost
/// cause alone (`connection reset`, for example) reads as if TCP had failed.
fn connect_error(error: BoxError, scheme: Option<&str>) -> TransferError {
    if let Some(error) = find_tls_error(error.as_ref()) {
        return TransferError::Connect(Box::new(TlsHandshakeError(tls::describe(error))));
    }
    let mut cause: &(dyn Error + 'static) = error.as_ref();
    let mut is_tls = scheme == Some("https");
    loop {
        let text = cause.to_string();
        is_tls &= !is_dial_error(cause) && !text.starts_with("tcp ") && !text.starts_with("dns ");
        match cause.source() {
            Some(source) => cause = source,
            None if is_tls => return TransferError::Connect(Box::new(TlsHandshakeError(text))),
            None => break,
        }
    }
    TransferError::Connect(error)
}

/// Returns the error for a connection that ended before the head of an answer. A server may refuse
/// a client certificate after the handshake, which means that there was no connection.
fn unanswered_error(error: BoxError) -> TransferError {
    match find_tls_error(error.as_ref()) {
        Some(error) if tls::is_rejection(error) => {
            TransferError::Connect(Box::new(TlsHandshakeError(tls::describe(error))))
        }
        // Something came, and it was no HTTP.
        Some(_) | None if is_parse_error(error.as_ref()) => TransferError::Broken(error),
        Some(_) | None => TransferError::Unanswered(error),
    }
}

/// Returns whether the answer was not HTTP.
fn is_parse_error(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let found = error.downcast_ref::<hyper::Error>();
        if found.is_some_and(hyper::Error::is_parse) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Finds the error of TLS in a chain of errors.
fn find_tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // `source()` of an `io::Error` skips the error inside it, and returns the source of that
        // one.
        let inner = error.downcast_ref::<std::io::Error>();
        if let Some(inner) = inner.and_then(std::io::Error::get_ref) {
            return find_tls_error(inner);
        }
        cause = error.source();
    }
    None
}
