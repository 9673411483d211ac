//! The HTTP client for AWS's own services. It follows no redirects and limits every body.
//!
//! `aws-config` sends with it too, so that everything goes through one TLS stack and the
//! organisation's proxy.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use url::Url;

use crate::tls::{TlsConfigs, TlsError};

/// The longest body of a response of most services.
pub(super) const MAX_BODY: usize = 1024 * 1024;
/// The longest that connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that a request of `aws-config` may take, unless its settings allow less.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
/// The most idle connections per host.
pub(super) const MAX_IDLE: usize = 2;

/// The reason why a request to an AWS service has no response. Contains no text of a peer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AwsHttpError {
    /// The certificates that this machine trusts cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP client cannot be built.
    #[error("no HTTP client")]
    Client,
    /// HTTP cannot carry the request.
    #[error("the request cannot be sent")]
    Request,
    /// There is no connection to this host.
    #[error("cannot connect to {0}")]
    Connect(Box<str>),
    /// This host did not answer in time.
    #[error("{0} did not answer in time")]
    Timeout(Box<str>),
    /// The connection to this host broke off.
    #[error("the connection to {0} broke off")]
    Broken(Box<str>),
    /// The response of this host is longer than weir takes.
    #[error("the response of {0} is too long")]
    TooLong(Box<str>),
}

/// A response, read to its end.
#[derive(Debug)]
pub struct AwsResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, of bounded length.
    pub body: Bytes,
}

/// The HTTP client. What it consists of is built when the first request needs it.
#[derive(Clone)]
pub struct AwsHttpClient {
    inner: Arc<LazyClients>,
}

struct LazyClients {
    tls: Arc<TlsConfigs>,
    secure: OnceLock<Result<reqwest::Client, AwsHttpError>>,
    /// For `http`: credential endpoints of a container or of the machine. Reads no certificates and
    /// uses no proxy.
    plain: OnceLock<Result<reqwest::Client, AwsHttpError>>,
    max_body: usize,
    max_idle: usize,
}

impl fmt::Debug for AwsHttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl AwsHttpClient {
    /// Creates a client. Opens no connection.
    #[must_use]
    pub fn new(tls: &Arc<TlsConfigs>) -> Self {
        Self::with_limits(tls, MAX_BODY, MAX_IDLE)
    }

    /// Creates a client for bodies of at most so many bytes, which keeps so many connections per host.
    pub(super) fn with_limits(tls: &Arc<TlsConfigs>, max_body: usize, max_idle: usize) -> Self {
        let inner = LazyClients {
            tls: Arc::clone(tls),
            secure: OnceLock::new(),
            plain: OnceLock::new(),
            max_body,
            max_idle,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns the client in the form that `aws-config` takes.
    pub(super) fn to_sdk_client(&self) -> SharedHttpClient {
        let http = self.clone();
        http_client_fn(move |settings, _| {
            SharedHttpConnector::new(SdkConnector {
                http: http.clone(),
                timeout: sdk_timeout(settings),
            })
        })
    }

    /// Sends a request and reads the response, whatever its status.
    ///
    /// # Errors
    /// There is no response within `timeout`.
    pub async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<AwsResponse, AwsHttpError> {
        let client = self.client(url.scheme() == "https")?;
        let host: Box<str> = url.host_str().unwrap_or_default().into();
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = headers;
        *request.timeout_mut() = Some(timeout);
        if !body.is_empty() {
            *request.body_mut() = Some(body.into());
        }
        let failed = |error: reqwest::Error| match error {
            error if error.is_timeout() => AwsHttpError::Timeout(host.clone()),
            error if error.is_connect() => AwsHttpError::Connect(host.clone()),
            error if error.is_builder() => AwsHttpError::Request,
            _ => AwsHttpError::Broken(host.clone()),
        };
        let mut response = client.execute(request).await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > self.inner.max_body {
                return Err(AwsHttpError::TooLong(host.clone()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(AwsResponse {
            status,
            headers,
            body: body.freeze(),
        })
    }

    fn client(&self, is_https: bool) -> Result<reqwest::Client, AwsHttpError> {
        let made = match is_https {
            true => self.inner.secure.get_or_init(|| {
                let tls = self.inner.tls.system_trust()?;
                let builder = reqwest::Client::builder().tls_backend_preconfigured(tls);
                build(builder, self.inner.max_idle)
            }),
            false => self.inner.plain.get_or_init(|| {
                let builder =
                    reqwest::Client::builder().tls_backend_preconfigured(TlsConfigs::plain()?);
                build(builder.no_proxy(), self.inner.max_idle)
            }),
        };
        made.clone()
    }
}

fn build(
    builder: reqwest::ClientBuilder,
    max_idle: usize,
) -> Result<reqwest::Client, AwsHttpError> {
    let builder = builder
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(max_idle)
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
    builder.build().map_err(|_| AwsHttpError::Client)
}

/// Returns how long `aws-config` lets a request take: one second for instance metadata, for
/// example.
fn sdk_timeout(settings: &HttpConnectorSettings) -> Duration {
    let parts = [settings.connect_timeout(), settings.read_timeout()];
    match parts {
        [_, None] => DEFAULT_TIMEOUT,
        [connect, Some(read)] => (connect.unwrap_or_default() + read).min(DEFAULT_TIMEOUT),
    }
}

#[derive(Debug)]
struct SdkConnector {
    http: AwsHttpClient,
    timeout: Duration,
}

impl HttpConnector for SdkConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (http, timeout) = (self.http.clone(), self.timeout);
        HttpConnectorFuture::new(async move {
            let sent = async {
                let (method, url, headers, body) = parts(&request).ok_or(AwsHttpError::Request)?;
                http.send(method, url, headers, body, timeout).await
            };
            let answer = sent.await.map_err(|error| match error {
                AwsHttpError::Timeout(_) => ConnectorError::timeout(error.into()),
                AwsHttpError::Connect(_) | AwsHttpError::Broken(_) => {
                    ConnectorError::io(error.into())
                }
                AwsHttpError::Tls(_)
                | AwsHttpError::Client
                | AwsHttpError::Request
                | AwsHttpError::TooLong(_) => ConnectorError::user(error.into()),
            })?;
            response(&answer).ok_or_else(|| ConnectorError::user(AwsHttpError::Request.into()))
        })
    }
}

fn parts(request: &HttpRequest) -> Option<(Method, Url, HeaderMap, Bytes)> {
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers() {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_str(value).ok()?);
    }
    let body = Bytes::copy_from_slice(request.body().bytes()?);
    let method = request.method().parse().ok()?;
    Some((method, request.uri().parse().ok()?, headers, body))
}

fn response(answer: &AwsResponse) -> Option<HttpResponse> {
    let status = answer.status.as_u16().try_into().ok()?;
    let mut response = HttpResponse::new(status, answer.body.to_vec().into());
    for (name, value) in &answer.headers {
        // The SDK reads text only.
        if let Ok(value) = value.to_str() {
            let headers = response.headers_mut();
            headers
                .try_append(name.as_str().to_owned(), value.to_owned())
                .ok()?;
        }
    }
    Some(response)
}
