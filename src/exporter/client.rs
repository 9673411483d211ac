//! One request to a receiver: compressed, authenticated and sent, and what its answer means.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;
use url::Url;

use crate::config::{Auth, OtlpEndpoint, Reach, Telemetry};
use crate::credentials::aws::Signer;
use crate::credentials::secret_headers::SecretHeaders;
use crate::credentials::secrets::SecretCell;
use crate::credentials::{
    CredentialVersion, CredentialsContext, Rejection, RejectionOutcome, SetupError,
};
use crate::protocol::headers::retry_after;
use crate::telemetry::PartialSuccess;
use crate::tls::{KeySource, TlsConfigs};

/// The longest that connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The most of an answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// A client for one URL of a receiver.
#[derive(Debug)]
pub(super) struct OtlpClient {
    http: reqwest::Client,
    url: Url,
    headers: SecretHeaders,
    signer: Option<Signer>,
    /// The key of the client certificate, which may have to be fetched.
    key: Option<SecretCell>,
    timeout: Duration,
    gzip: bool,
}

/// Why a receiver did not take a batch, in weir's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExportError {
    /// It may take the batch later: after this time, if it named one.
    #[error("{reason}")]
    Later {
        /// Why not now.
        reason: Box<str>,
        /// How long it wants to be left alone.
        after: Option<Duration>,
    },
    /// It will not take this batch.
    #[error("{0}")]
    Never(Box<str>),
}

impl ExportError {
    fn later(reason: impl Into<Box<str>>) -> Self {
        Self::Later {
            reason: reason.into(),
            after: None,
        }
    }
}

impl OtlpClient {
    /// Makes a client. Opens no connection.
    ///
    /// # Errors
    /// A file or a secret that cannot be used.
    pub(super) fn new(
        settings: &Telemetry,
        endpoint: &OtlpEndpoint,
        context: &CredentialsContext,
    ) -> Result<Self, SetupError> {
        let identity = settings.tls.identity.as_ref();
        let key = identity.map(|identity| context.secrets.open(&identity.key));
        let key = key.transpose()?;
        let tls = if endpoint.url.scheme() == "https" {
            let key = key.clone().map(|key| Box::new(key) as Box<dyn KeySource>);
            context.tls.for_upstream(&settings.tls, key)?
        } else {
            TlsConfigs::plain()?
        };
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            // CloudWatch takes HTTP/1.1 only.
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
        // The organisation's own servers are not behind its proxy.
        let builder = match Reach::of_url(&endpoint.url) {
            Reach::Public => builder,
            Reach::Loopback | Reach::Private | Reach::LinkLocal => builder.no_proxy(),
        };
        let signer = endpoint
            .sigv4
            .as_ref()
            .map(|sigv4| Signer::new(sigv4, context, std::sync::Arc::default()));
        Ok(Self {
            http: builder.build().map_err(SetupError::Client)?,
            url: endpoint.url.clone(),
            headers: SecretHeaders::new(&Auth::None, &settings.headers, &context.secrets)?,
            signer: signer.transpose()?,
            key,
            timeout: settings.timeout,
            gzip: settings.gzip,
        })
    }

    /// Returns the host of the URL, for messages.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Returns the body of a request: compressed, if the config says so.
    pub(super) async fn encode(&self, message: Vec<u8>) -> Bytes {
        if !self.gzip {
            return message.into();
        }
        // It takes milliseconds, and calls should not wait for it.
        let compressed = tokio::task::spawn_blocking(move || compress(&message));
        compressed.await.unwrap_or_default().into()
    }

    /// Sends a request once, or twice if its credential was rejected and there is another one.
    ///
    /// # Errors
    /// The receiver did not take it.
    pub(super) async fn send(&self, body: &Bytes) -> Result<Option<PartialSuccess>, ExportError> {
        match self.attempt(body).await? {
            Attempt::Taken(partial) => Ok(partial),
            Attempt::Rejected(reason) => Err(ExportError::Never(reason)),
            Attempt::Renewed => match self.attempt(body).await? {
                Attempt::Taken(partial) => Ok(partial),
                Attempt::Rejected(reason) => Err(ExportError::Never(reason)),
                Attempt::Renewed => Err(ExportError::Never("its credential is rejected".into())),
            },
        }
    }

    async fn attempt(&self, body: &Bytes) -> Result<Attempt, ExportError> {
        let deadline = Instant::now() + self.timeout;
        if let Some(key) = &self.key
            && key.current().is_none()
        {
            key.get()
                .await
                .map_err(|error| ExportError::later(error.0))?;
        }
        let mut headers = HeaderMap::new();
        let version = self.authorize(&mut headers, body, deadline).await?;
        let mut request = reqwest::Request::new(Method::POST, self.url.clone());
        *request.headers_mut() = headers;
        *request.timeout_mut() = Some(self.timeout);
        *request.body_mut() = Some(body.clone().into());
        let mut response = self.http.execute(request).await.map_err(describe)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut answer = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(describe)? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                break;
            }
            answer.extend_from_slice(&chunk);
        }
        let answer = answer.freeze();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let rejection = Rejection {
                    status,
                    headers: &headers,
                    body: &answer,
                };
                Ok(self.handle_rejection(version, &rejection, deadline).await)
            }
            // RFC 9110 and "OTLP/HTTP Response": these four may pass by themselves.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(ExportError::Later {
                reason: status_text(status),
                after: retry_after(&headers, SystemTime::now()),
            }),
            status if status.is_success() => {
                if let Some(signer) = &self.signer {
                    signer.handle_accepted();
                }
                Ok(Attempt::Taken(PartialSuccess::read(&answer)))
            }
            status => Ok(Attempt::Rejected(status_text(status))),
        }
    }

    /// Writes the headers of a request, the credential last: what is signed may not change.
    async fn authorize(
        &self,
        headers: &mut HeaderMap,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<CredentialVersion, ExportError> {
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        headers.insert(header::CONTENT_TYPE, protobuf);
        if self.gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let added = self.headers.apply(headers, deadline).await;
        let version = added.map_err(|error| ExportError::later(error.0))?;
        let Some(signer) = &self.signer else {
            return Ok(version);
        };
        let signed = signer.sign(&Method::POST, &self.url, headers, body, deadline);
        signed.await.map_err(|error| ExportError::later(error.0))
    }

    async fn handle_rejection(
        &self,
        version: CredentialVersion,
        rejection: &Rejection<'_>,
        deadline: Instant,
    ) -> Attempt {
        let outcome = match &self.signer {
            Some(signer) => signer.handle_rejection(version, rejection),
            None => {
                let status = Default::default();
                let headers = &self.headers;
                headers
                    .handle_rejection(version, rejection, &status, deadline)
                    .await
            }
        };
        match outcome {
            RejectionOutcome::Retry => Attempt::Renewed,
            RejectionOutcome::Final(reason) => {
                Attempt::Rejected(reason.unwrap_or_else(|| status_text(rejection.status)))
            }
        }
    }
}

/// The outcome of one request.
enum Attempt {
    /// The receiver took it, or all but some of it.
    Taken(Option<PartialSuccess>),
    /// It rejects it.
    Rejected(Box<str>),
    /// It rejected the credential, and there is a new one.
    Renewed,
}

fn status_text(status: StatusCode) -> Box<str> {
    format!("it answers with HTTP status {}", status.as_u16()).into()
}

fn describe(error: reqwest::Error) -> ExportError {
    ExportError::later(match error {
        error if error.is_timeout() => "it does not answer in time",
        error if error.is_connect() => "no connection",
        _ => "the connection broke off",
    })
}

fn compress(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(message.len() / 2), Compression::fast());
    // Writing to a `Vec` cannot fail.
    let _ = encoder.write_all(message);
    encoder.finish().unwrap_or_default()
}
