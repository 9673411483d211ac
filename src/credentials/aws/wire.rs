//! HTTP towards AWS's own services: the same TLS as everything else, nothing followed, every body bounded.
//!
//! It is also what `aws-config` sends with, so that there is one HTTP stack, which knows the organisation's proxy.

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

use crate::tls::{Tls, TlsError};

/// Most bytes of an answer: none of the calls that weir makes has a longer one.
const ANSWER: usize = 1024 * 1024;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a whole call may take, unless it says otherwise.
const CALL: Duration = Duration::from_secs(15);
/// Idle connections that are kept per host.
const IDLE: usize = 2;

/// Why a call of an AWS service has no answer. Never a peer's text.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HttpError {
    /// The machine's certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No HTTP client on this machine.
    #[error("no HTTP client")]
    Client,
    /// The request is not one that HTTP can carry.
    #[error("the request cannot be sent")]
    Request,
    /// No connection.
    #[error("cannot connect to {0}")]
    Connect(Box<str>),
    /// Not in time.
    #[error("{0} did not answer in time")]
    Timeout(Box<str>),
    /// The connection broke.
    #[error("the connection to {0} broke off")]
    Broken(Box<str>),
    /// Longer than any answer should be.
    #[error("the answer of {0} is longer than 1 MiB")]
    TooLong(Box<str>),
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, 1 MiB at most.
    pub body: Bytes,
}

/// The clients; made when the first request needs them.
#[derive(Clone)]
pub struct Http {
    inner: Arc<Inner>,
}

struct Inner {
    tls: Arc<Tls>,
    secure: OnceLock<Result<reqwest::Client, HttpError>>,
    /// For `http`: what a container or the machine itself offers. No certificates are read, and no proxy is asked.
    plain: OnceLock<Result<reqwest::Client, HttpError>>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(tls: &Arc<Tls>) -> Self {
        let inner = Inner {
            tls: Arc::clone(tls),
            secure: OnceLock::new(),
            plain: OnceLock::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The client as `aws-config` takes it.
    pub(super) fn shared(&self) -> SharedHttpClient {
        let http = self.clone();
        http_client_fn(move |settings, _| {
            SharedHttpConnector::new(Connector {
                http: http.clone(),
                within: within(settings),
            })
        })
    }

    /// Sends a request and reads its answer, whatever status that has.
    ///
    /// # Errors
    /// There is none.
    pub async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
        within: Duration,
    ) -> Result<Answer, HttpError> {
        let client = self.client(url.scheme() == "https")?;
        let host: Box<str> = url.host_str().unwrap_or_default().into();
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = headers;
        *request.timeout_mut() = Some(within);
        if !body.is_empty() {
            *request.body_mut() = Some(body.into());
        }
        let failed = |error: reqwest::Error| match error {
            error if error.is_timeout() => HttpError::Timeout(host.clone()),
            error if error.is_connect() => HttpError::Connect(host.clone()),
            error if error.is_builder() => HttpError::Request,
            _ => HttpError::Broken(host.clone()),
        };
        let mut response = client.execute(request).await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > ANSWER {
                return Err(HttpError::TooLong(host.clone()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            headers,
            body: body.freeze(),
        })
    }

    fn client(&self, is_https: bool) -> Result<reqwest::Client, HttpError> {
        let made = match is_https {
            true => self.inner.secure.get_or_init(|| {
                let tls = self.inner.tls.trusting()?;
                build(reqwest::Client::builder().tls_backend_preconfigured(tls))
            }),
            false => self.inner.plain.get_or_init(|| {
                let builder = reqwest::Client::builder().tls_backend_preconfigured(Tls::none()?);
                build(builder.no_proxy())
            }),
        };
        made.clone()
    }
}

fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, HttpError> {
    let builder = builder
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .pool_max_idle_per_host(IDLE)
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
    builder.build().map_err(|_| HttpError::Client)
}

/// What `aws-config` allows a request; instance metadata, say, has one second.
fn within(settings: &HttpConnectorSettings) -> Duration {
    let parts = [settings.connect_timeout(), settings.read_timeout()];
    match parts {
        [_, None] => CALL,
        [connect, Some(read)] => (connect.unwrap_or_default() + read).min(CALL),
    }
}

#[derive(Debug)]
struct Connector {
    http: Http,
    within: Duration,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (http, within) = (self.http.clone(), self.within);
        HttpConnectorFuture::new(async move {
            let sent = async {
                let (method, url, headers, body) = parts(&request).ok_or(HttpError::Request)?;
                http.send(method, url, headers, body, within).await
            };
            let answer = sent.await.map_err(|error| match error {
                HttpError::Timeout(_) => ConnectorError::timeout(error.into()),
                HttpError::Connect(_) | HttpError::Broken(_) => ConnectorError::io(error.into()),
                HttpError::Tls(_)
                | HttpError::Client
                | HttpError::Request
                | HttpError::TooLong(_) => ConnectorError::user(error.into()),
            })?;
            response(&answer).ok_or_else(|| ConnectorError::user(HttpError::Request.into()))
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

fn response(answer: &Answer) -> Option<HttpResponse> {
    let status = answer.status.as_u16().try_into().ok()?;
    let mut response = HttpResponse::new(status, answer.body.to_vec().into());
    for (name, value) in &answer.headers {
        // What is not text means nothing to an SDK.
        if let Ok(value) = value.to_str() {
            let headers = response.headers_mut();
            headers
                .try_append(name.as_str().to_owned(), value.to_owned())
                .ok()?;
        }
    }
    Some(response)
}
