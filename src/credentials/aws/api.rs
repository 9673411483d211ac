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

use crate::config::{AwsCredentials, SecretRef};
use crate::credentials::aws::With;
use crate::credentials::aws::chain::Source;
use crate::credentials::aws::login::Login;
use crate::credentials::aws::refusal::{self, Cause};
use crate::credentials::aws::sign::{self, Scope};
use crate::credentials::aws::skew::{Clock, Corrected};
use crate::credentials::aws::wire::{Answer, Http, HttpError};
use crate::credentials::secrets::{SecretCell, SecretError};
use crate::credentials::state::StateCell;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);

/// An AWS service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    /// Its id in the SDKs: `AWS_ENDPOINT_URL_<ID>` says where it is, if not at AWS.
    id: &'static str,
    /// The first label of its host.
    prefix: &'static str,
    /// In the scope of signatures.
    signing: &'static str,
    media: &'static str,
}

/// AWS Secrets Manager: JSON 1.1.
pub(super) const SECRETS_MANAGER: Service = Service {
    id: "Secrets Manager",
    prefix: "secretsmanager",
    signing: "secretsmanager",
    media: "application/x-amz-json-1.1",
};

/// Bedrock AgentCore's data plane: REST and JSON.
pub(super) const AGENTCORE: Service = Service {
    id: "Bedrock AgentCore",
    prefix: "bedrock-agentcore",
    signing: "bedrock-agentcore",
    media: "application/json",
};

/// Bedrock AgentCore's control plane.
pub(super) const AGENTCORE_CONTROL: Service = Service {
    id: "Bedrock AgentCore Control",
    prefix: "bedrock-agentcore-control",
    signing: "bedrock-agentcore",
    media: "application/json",
};

/// A call.
#[derive(Debug)]
pub(super) struct Call<'c> {
    pub(super) method: Method,
    /// Path and query, encoded.
    pub(super) target: &'c str,
    /// `x-amz-target` of JSON 1.1.
    pub(super) operation: Option<&'static str>,
    pub(super) body: Bytes,
}

/// Why a call of an AWS service brought nothing. Never a peer's text, but for error types that weir knows.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("{0}")]
    Credentials(Box<str>),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{service} answered HTTP status {}{}", status.as_u16(), said(*kind))]
    Refused {
        service: &'static str,
        status: StatusCode,
        kind: Option<&'static str>,
    },
    #[error("this machine's clock is too far from that of {0}")]
    Clock(&'static str),
    #[error("{0} answered something else than it should")]
    Nonsense(&'static str),
}

fn said(kind: Option<&'static str>) -> String {
    kind.map_or(String::new(), |kind| format!(": {kind}"))
}

impl ApiError {
    /// Whether the same call may succeed another time, with nobody doing anything about it.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Credentials(_) | Self::Http(_) => true,
            Self::Refused { status, kind, .. } => {
                status.is_server_error()
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || *kind == Some("ThrottlingException")
            }
            Self::Clock(_) | Self::Nonsense(_) => false,
        }
    }
}

/// One service, in one region, as one caller.
#[derive(Debug)]
pub(super) struct Api {
    service: Service,
    login: Login,
    clock: Arc<Clock>,
    http: Http,
    region: Option<Box<str>>,
}

impl Api {
    pub(super) fn new(
        service: Service,
        region: Option<&str>,
        credentials: &AwsCredentials,
        with: &With,
        open: &dyn Fn(&SecretRef) -> Result<SecretCell, SecretError>,
    ) -> Result<Self, SecretError> {
        let (http, clock) = (Http::new(&with.tls), Arc::new(Clock::default()));
        let endpoint = with.endpoint.as_ref();
        let source = Source::new(credentials, region, endpoint, http.clone(), open)?;
        let state = Arc::<StateCell>::default();
        Ok(Self {
            service,
            login: Login::new(source, Arc::clone(&clock), state, with),
            clock,
            http,
            region: region.map(Into::into),
        })
    }

    /// Another number whenever keys of the config change.
    pub(super) fn version(&self) -> u64 {
        self.login.version()
    }

    /// Makes the call, and reads JSON of what comes back with 2xx. A refusal that another signature may mend gets one.
    pub(super) async fn call(&self, call: &Call<'_>, deadline: Instant) -> Result<Value, ApiError> {
        let mut again = true;
        let name = self.service.id;
        loop {
            let (answer, number, corrected) = self.attempt(call, deadline).await?;
            let (status, headers) = (answer.status, &answer.headers);
            if status.is_success() {
                let read = serde_json::from_slice(&answer.body);
                return read.map_err(|_| ApiError::Nonsense(name));
            }
            let mended = status.is_client_error()
                && match refusal::cause(headers, &answer.body) {
                    Cause::Clock => match self.clock.correct(corrected, headers) {
                        Corrected::Yes => true,
                        Corrected::NoDate | Corrected::Agrees | Corrected::TooFar(_) => {
                            return Err(ApiError::Clock(name));
                        }
                    },
                    Cause::Expired | Cause::UnknownKey => self.login.refused(number),
                    Cause::Mismatch => self.login.is_replaced(number),
                    Cause::OtherMethod | Cause::WantsBearer | Cause::Denied | Cause::Unknown => {
                        false
                    }
                };
            if !(mended && std::mem::replace(&mut again, false)) {
                return Err(ApiError::Refused {
                    service: name,
                    status,
                    kind: refusal::error_type(headers, &answer.body),
                });
            }
        }
    }

    async fn attempt(
        &self,
        call: &Call<'_>,
        deadline: Instant,
    ) -> Result<(Answer, u32, u32), ApiError> {
        let held = self.login.get(deadline).await;
        let held = held.map_err(|missing| ApiError::Credentials(missing.0))?;
        let region = self.region.as_deref().or(held.region()).ok_or_else(|| {
            ApiError::Credentials("no AWS region: write `region`, or set AWS_REGION".into())
        })?;
        let unusable = |_| ApiError::Http(HttpError::Request);
        let base = self.base(&held.sdk, region);
        let url = Url::parse(&format!("{base}{}", call.target)).map_err(unusable)?;
        let mut headers = HeaderMap::new();
        if !call.body.is_empty() {
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static(self.service.media),
            );
        }
        if let Some(operation) = call.operation {
            let name = HeaderName::from_static("x-amz-target");
            headers.insert(name, HeaderValue::from_static(operation));
        }
        let (time, corrected) = self.clock.now();
        let scope = Scope {
            identity: &held.identity,
            region,
            service: self.service.signing,
            time,
        };
        sign::sign(&scope, &call.method, &url, &mut headers, &call.body)
            .map_err(|_| HttpError::Request)?;
        let within = deadline.saturating_duration_since(Instant::now()).min(CALL);
        let (method, body) = (call.method.clone(), call.body.clone());
        let answer = self.http.send(method, url, headers, body, within).await?;
        Ok((answer, held.number, corrected))
    }

    /// Where the service is, without a slash at the end: what the environment or the profile says, else AWS.
    fn base(&self, sdk: &SdkConfig, region: &str) -> String {
        let key = ServiceConfigKey::builder()
            .service_id(self.service.id)
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build();
        let own = key
            .ok()
            .and_then(|key| sdk.service_config()?.load_config(key));
        let own = own.or_else(|| sdk.endpoint_url().map(str::to_owned));
        if let Some(url) = own {
            return url.trim_end_matches('/').to_owned();
        }
        let suffix = match region {
            china if china.starts_with("cn-") => "amazonaws.com.cn",
            _ => "amazonaws.com",
        };
        format!("https://{}.{region}.{suffix}", self.service.prefix)
    }
}
