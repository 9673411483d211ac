//! Signed calls of AWS services that answer in JSON.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use crate::config::AwsCredentials;
use crate::credentials::aws::cache::CredentialsCache;
use crate::credentials::aws::clock::{Clock, ClockCorrection};
use crate::credentials::aws::context::AwsContext;
use crate::credentials::aws::http::{AwsHttpClient, AwsHttpError, AwsResponse, MAX_BODY, MAX_IDLE};
use crate::credentials::aws::rejection::{self, RejectionCause};
use crate::credentials::aws::sign::{self, SigningContext, SigningVersion};
use crate::credentials::aws::source::CredentialsSource;
use crate::credentials::secrets::{OpenSecret, SecretUnavailable};
use crate::credentials::status::StatusCell;

/// The longest that one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// An AWS service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    /// Its service id in the AWS SDKs. `AWS_ENDPOINT_URL_<ID>` overrides its endpoint (AWS SDKs and
    /// Tools reference guide, "Service-specific endpoints").
    id: &'static str,
    /// The first label of its host name.
    prefix: &'static str,
    /// The service in the scope of signatures.
    signing: &'static str,
    media: &'static str,
}

/// AWS Secrets Manager, which speaks JSON 1.1.
pub(super) const SECRETS_MANAGER: Service = Service {
    id: "Secrets Manager",
    prefix: "secretsmanager",
    signing: "secretsmanager",
    media: "application/x-amz-json-1.1",
};

/// AWS Lambda.
pub(super) const LAMBDA: Service = Service {
    id: "Lambda",
    prefix: "lambda",
    signing: "lambda",
    media: "application/json",
};

/// The limits of calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct ApiLimits {
    /// Most bytes of the body of a response.
    pub(super) body: usize,
    /// The longest that one request may take.
    pub(super) timeout: Duration,
    /// Connections that are kept without a request.
    pub(super) connections: usize,
}

/// The data plane of Bedrock AgentCore, which speaks REST with JSON.
pub(super) const AGENTCORE: Service = Service {
    id: "Bedrock AgentCore",
    prefix: "bedrock-agentcore",
    signing: "bedrock-agentcore",
    media: "application/json",
};

/// The control plane of Bedrock AgentCore.
pub(super) const AGENTCORE_CONTROL: Service = Service {
    id: "Bedrock AgentCore Control",
    prefix: "bedrock-agentcore-control",
    signing: "bedrock-agentcore",
    media: "application/json",
};

/// A request to a service.
#[derive(Debug)]
pub(super) struct ApiRequest<'c> {
    pub(super) method: Method,
    /// Path and query, percent-encoded.
    pub(super) target: &'c str,
    /// The header `x-amz-target` of JSON 1.1.
    pub(super) operation: Option<&'static str>,
    pub(super) body: Bytes,
}

/// The reason why a service gave no usable response. Contains no text of a peer, except error types
/// that weir knows.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("{0}")]
    Credentials(Box<str>),
    #[error(transparent)]
    Http(#[from] AwsHttpError),
    #[error("{service} answered HTTP status {}{}", status.as_u16(), suffix(*kind))]
    Rejected {
        service: &'static str,
        status: StatusCode,
        kind: Option<&'static str>,
    },
    #[error("the clocks of this machine and of {0} differ too much")]
    Clock(&'static str),
    #[error("{0} gave a response that weir cannot read")]
    Unreadable(&'static str),
}

fn suffix(kind: Option<&'static str>) -> String {
    kind.map_or(String::new(), |kind| format!(": {kind}"))
}

impl ApiError {
    /// Returns whether the same call may succeed another time without anybody doing anything.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Credentials(_) | Self::Http(_) => true,
            Self::Rejected { status, kind, .. } => {
                status.is_server_error()
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || *kind == Some("ThrottlingException")
            }
            Self::Clock(_) | Self::Unreadable(_) => false,
        }
    }
}

/// A client of one service in one region, with one set of AWS credentials.
#[derive(Debug)]
pub(super) struct Api {
    service: Service,
    cache: CredentialsCache,
    clock: Arc<Clock>,
    http: AwsHttpClient,
    region: Option<Box<str>>,
    timeout: Duration,
}

impl Api {
    pub(super) fn new(
        service: Service,
        region: Option<&str>,
        credentials: &AwsCredentials,
        context: &AwsContext,
        open: &OpenSecret<'_>,
    ) -> Result<Self, SecretUnavailable> {
        let limits = ApiLimits {
            body: MAX_BODY,
            timeout: REQUEST_TIMEOUT,
            connections: MAX_IDLE,
        };
        Self::with_limits(service, region, credentials, context, open, limits)
    }

    /// Makes a client of a service whose responses may be larger or later.
    pub(super) fn with_limits(
        service: Service,
        region: Option<&str>,
        credentials: &AwsCredentials,
        context: &AwsContext,
        open: &OpenSecret<'_>,
        limits: ApiLimits,
    ) -> Result<Self, SecretUnavailable> {
        let http = AwsHttpClient::with_limits(&context.tls, limits.body, limits.connections);
        let clock = Arc::new(Clock::default());
        let endpoint = context.endpoint.as_ref();
        let source = CredentialsSource::new(credentials, region, endpoint, http.clone(), open)?;
        let status = Arc::<StatusCell>::default();
        Ok(Self {
            service,
            cache: CredentialsCache::new(source, Arc::clone(&clock), status, context),
            clock,
            http,
            region: region.map(Into::into),
            timeout: limits.timeout,
        })
    }

    /// Returns a number that changes whenever the AWS keys of the config have changed.
    pub(super) fn version(&self) -> u64 {
        self.cache.version()
    }

    /// Sends a request and returns the JSON of a 2xx response. If a rejection may be due to the
    /// signature, the request is signed and sent once more.
    pub(super) async fn call(
        &self,
        request: &ApiRequest<'_>,
        deadline: Instant,
    ) -> Result<Value, ApiError> {
        let response = self.call_for_response(request, deadline).await?;
        let json = serde_json::from_slice(&response.body);
        json.map_err(|_| ApiError::Unreadable(self.service.id))
    }

    /// Sends a request and returns a 2xx response as it is, see [`Self::call`].
    pub(super) async fn call_for_response(
        &self,
        request: &ApiRequest<'_>,
        deadline: Instant,
    ) -> Result<AwsResponse, ApiError> {
        let mut may_retry = true;
        let name = self.service.id;
        loop {
            let (response, version) = self.send(request, deadline).await?;
            let (status, headers) = (response.status, &response.headers);
            if status.is_success() {
                return Ok(response);
            }
            let is_worth_retrying = status.is_client_error() && self.recover(&response, version)?;
            if !(is_worth_retrying && std::mem::replace(&mut may_retry, false)) {
                return Err(ApiError::Rejected {
                    service: name,
                    status,
                    kind: rejection::read_error_type(headers, &response.body),
                });
            }
        }
    }

    /// Corrects what a rejection complains about, if that is possible, and returns whether another
    /// signature may be accepted.
    fn recover(&self, response: &AwsResponse, version: SigningVersion) -> Result<bool, ApiError> {
        match rejection::classify(&response.headers, &response.body) {
            RejectionCause::Clock => {
                match self.clock.correct(version.correction, &response.headers) {
                    ClockCorrection::Yes => Ok(true),
                    ClockCorrection::NoDate
                    | ClockCorrection::Agrees
                    | ClockCorrection::TooFar(_) => Err(ApiError::Clock(self.service.id)),
                }
            }
            RejectionCause::Expired | RejectionCause::UnknownKey => {
                Ok(self.cache.drop_rejected(version.credentials))
            }
            RejectionCause::Mismatch => Ok(self.cache.is_replaced(version.credentials)),
            RejectionCause::OtherMethod
            | RejectionCause::WantsBearer
            | RejectionCause::Denied
            | RejectionCause::Unknown => Ok(false),
        }
    }

    async fn send(
        &self,
        request: &ApiRequest<'_>,
        deadline: Instant,
    ) -> Result<(AwsResponse, SigningVersion), ApiError> {
        let current = self.cache.get(deadline).await;
        let current = current.map_err(|missing| ApiError::Credentials(missing.0))?;
        let region = self.region.as_deref().or(current.region()).ok_or_else(|| {
            ApiError::Credentials("no AWS region: write `region`, or set AWS_REGION".into())
        })?;
        let unusable = |_| ApiError::Http(AwsHttpError::Request);
        let base = self.base_url(&current.sdk, region);
        let url = Url::parse(&format!("{base}{}", request.target)).map_err(unusable)?;
        let mut headers = HeaderMap::new();
        if !request.body.is_empty() {
            let media = HeaderValue::from_static(self.service.media);
            headers.insert(header::CONTENT_TYPE, media);
        }
        if let Some(operation) = request.operation {
            let name = HeaderName::from_static("x-amz-target");
            headers.insert(name, HeaderValue::from_static(operation));
        }
        let (time, correction) = self.clock.now();
        let signing = SigningContext {
            identity: &current.identity,
            region,
            service: self.service.signing,
            time,
        };
        sign::sign(&signing, &request.method, &url, &mut headers, &request.body)
            .map_err(|_| AwsHttpError::Request)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = left.min(self.timeout);
        let (method, body) = (request.method.clone(), request.body.clone());
        let response = self.http.send(method, url, headers, body, timeout).await?;
        let version = SigningVersion {
            credentials: current.number,
            correction,
        };
        Ok((response, version))
    }

    /// Returns the service's endpoint without a slash at the end: the one that the environment or
    /// the profile sets, otherwise AWS's own.
    fn base_url(&self, sdk: &SdkConfig, region: &str) -> String {
        let key = ServiceConfigKey::builder()
            .service_id(self.service.id)
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build();
        let set = key
            .ok()
            .and_then(|key| sdk.service_config()?.load_config(key));
        let set = set.or_else(|| sdk.endpoint_url().map(str::to_owned));
        if let Some(url) = set {
            return url.trim_end_matches('/').to_owned();
        }
        let suffix = match region {
            china if china.starts_with("cn-") => "amazonaws.com.cn",
            _ => "amazonaws.com",
        };
        format!("https://{}.{region}.{suffix}", self.service.prefix)
    }
}
