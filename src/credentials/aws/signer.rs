//! Signs the requests to one upstream with AWS Signature Version 4, and reads why a signature was
//! rejected.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method};
use tokio::time::Instant;
use url::Url;

use crate::config::Sigv4;
use crate::credentials::aws::cache::CredentialsCache;
use crate::credentials::aws::clock::{Clock, ClockCorrection};
use crate::credentials::aws::context::AwsContext;
use crate::credentials::aws::http::AwsHttpClient;
use crate::credentials::aws::rejection::{self, RejectionCause};
use crate::credentials::aws::sign::{self, SigningContext, SigningVersion};
use crate::credentials::aws::source::CredentialsSource;
use crate::credentials::context::CredentialsContext;
use crate::credentials::error::{NoCredential, SetupError};
use crate::credentials::rejection::{CredentialVersion, Rejection, RejectionOutcome};
use crate::credentials::secrets::{OpenSecret, SecretUnavailable};
use crate::credentials::status::{CredentialState, StatusCell};

/// The IAM action that a caller of the upstream needs; named when access is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IamAction {
    Gateway,
    Runtime,
    Other,
}

/// Signs the requests to one upstream.
#[derive(Debug)]
pub struct Signer {
    cache: CredentialsCache,
    clock: Arc<Clock>,
    status: Arc<StatusCell>,
    service: String,
    /// Read from the first request: an upstream has one URL.
    action: OnceLock<IamAction>,
}

impl Signer {
    /// Creates the signer that the config describes. Opens no connection.
    ///
    /// # Errors
    /// A mistake in the config.
    pub fn new(
        config: &Sigv4,
        context: &CredentialsContext,
        status: Arc<StatusCell>,
    ) -> Result<Self, SetupError> {
        let open = context.secrets.opener();
        Ok(Self::with_context(config, &context.into(), &open, status)?)
    }

    /// Creates a signer that may find AWS services at another endpoint, see
    /// [`AwsContext::endpoint`].
    ///
    /// # Errors
    /// A key of the config that cannot be opened.
    pub fn with_context(
        config: &Sigv4,
        context: &AwsContext,
        open: &OpenSecret<'_>,
        status: Arc<StatusCell>,
    ) -> Result<Self, SecretUnavailable> {
        let clock = Arc::new(Clock::default());
        let region = config.region.as_deref();
        let (endpoint, http) = (context.endpoint.as_ref(), AwsHttpClient::new(&context.tls));
        let source = CredentialsSource::new(&config.credentials, region, endpoint, http, open)?;
        let (for_cache, cell) = (Arc::clone(&clock), Arc::clone(&status));
        Ok(Self {
            cache: CredentialsCache::new(source, for_cache, cell, context),
            clock,
            status,
            service: config.service.clone(),
            action: OnceLock::new(),
        })
    }

    /// Signs a request by adding headers. Nothing but unsigned headers may change afterwards, and
    /// `url` has to be the URL that is sent, byte for byte.
    ///
    /// # Errors
    /// No AWS credentials arrived before `deadline`, the region is not known, or the request cannot
    /// be signed.
    pub async fn sign(
        &self,
        method: &Method,
        url: &Url,
        headers: &mut HeaderMap,
        body: &[u8],
        deadline: Instant,
    ) -> Result<CredentialVersion, NoCredential> {
        self.action.get_or_init(|| IamAction::of(url));
        let current = self.cache.get(deadline).await?;
        let Some(region) = current.region() else {
            let reason = "no AWS region: write `region` below `auth`, or set AWS_REGION";
            self.status
                .enter(CredentialState::Failing, Some(reason), None);
            return Err(NoCredential(reason.into()));
        };
        let (time, correction) = self.clock.now();
        let signing = SigningContext {
            identity: &current.identity,
            region,
            service: &self.service,
            time,
        };
        let signed = sign::sign(&signing, method, url, headers, body);
        signed.map_err(|error| NoCredential(error.to_string().into()))?;
        let version = SigningVersion {
            credentials: current.number,
            correction,
        };
        Ok(version.into())
    }

    /// Notes that the upstream accepted a signature.
    pub fn handle_accepted(&self) {
        if let Some(expires) = self.cache.settled_expiry() {
            match self.clock.offset().describe() {
                None => self.status.set_ok(expires),
                Some(text) => self
                    .status
                    .enter(CredentialState::ClockSkew, Some(&text), None),
            }
        }
    }

    /// Reads why a signature was rejected, corrects what can be corrected, and returns whether a
    /// new signature may be accepted.
    pub fn handle_rejection(
        &self,
        version: CredentialVersion,
        rejection: &Rejection<'_>,
    ) -> RejectionOutcome {
        let version = SigningVersion::from(version);
        let cause = rejection::classify(rejection.headers, rejection.body);
        let is_worth_retrying = match cause {
            RejectionCause::Clock => {
                let corrected = self.clock.correct(version.correction, rejection.headers);
                if corrected == ClockCorrection::Yes {
                    return self.retry_with_corrected_clock();
                }
                return self.fail(explain_clock(corrected));
            }
            RejectionCause::Expired | RejectionCause::UnknownKey => {
                self.cache.drop_rejected(version.credentials)
            }
            RejectionCause::Mismatch => self.cache.is_replaced(version.credentials),
            RejectionCause::OtherMethod
            | RejectionCause::WantsBearer
            | RejectionCause::Denied
            | RejectionCause::Unknown => false,
        };
        match is_worth_retrying {
            true => RejectionOutcome::Retry,
            false => self.fail(self.explain(cause, rejection)),
        }
    }

    fn retry_with_corrected_clock(&self) -> RejectionOutcome {
        let text = self.clock.offset().describe();
        let text = text.unwrap_or_else(|| "this machine's clock is right again".into());
        tracing::warn!("{text}: signatures use AWS's time");
        self.status
            .enter(CredentialState::ClockSkew, Some(&text), None);
        RejectionOutcome::Retry
    }

    fn fail(&self, reason: String) -> RejectionOutcome {
        self.status
            .enter(CredentialState::Failing, Some(&reason), None);
        RejectionOutcome::Final(Some(reason.into()))
    }

    fn explain(&self, cause: RejectionCause, rejection: &Rejection<'_>) -> String {
        match cause {
            RejectionCause::Expired => {
                "the AWS credentials have expired, and no newer ones were found".into()
            }
            RejectionCause::UnknownKey => {
                "AWS does not know the access key, or not with this session token".into()
            }
            RejectionCause::Mismatch => "AWS calculates a different signature: the secret access key is wrong, or \
                 something between weir and AWS changes requests"
                .into(),
            RejectionCause::OtherMethod | RejectionCause::WantsBearer => {
                "the upstream takes tokens (JWT), not signatures (SigV4): write another `auth.type`, such as \
                 `oauth2_client_credentials`"
                    .into()
            }
            RejectionCause::Denied => {
                let action = match self.action.get() {
                    Some(IamAction::Gateway) => "the IAM action bedrock-agentcore:InvokeGateway",
                    Some(IamAction::Runtime) => "the IAM action bedrock-agentcore:InvokeAgentRuntime",
                    Some(IamAction::Other) | None => "an IAM action",
                };
                format!("no permission: the AWS credentials need {action} on the upstream")
            }
            RejectionCause::Clock | RejectionCause::Unknown => {
                let status = rejection.status.as_u16();
                format!("the signature was rejected with HTTP status {status}")
            }
        }
    }
}

fn explain_clock(correction: ClockCorrection) -> String {
    match correction {
        ClockCorrection::NoDate => {
            "AWS rejects this machine's time, and its answer has no `Date` header to correct it by"
                .into()
        }
        ClockCorrection::Agrees => {
            "AWS rejects the time of the signature, although its own clock shows the same time"
                .into()
        }
        ClockCorrection::TooFar(offset) => offset.describe().unwrap_or_default(),
        ClockCorrection::Yes => {
            debug_assert!(false, "a corrected clock is worth another signature");
            String::new()
        }
    }
}

impl IamAction {
    fn of(url: &Url) -> Self {
        match url.host_str().unwrap_or_default() {
            host if host.contains(".gateway.bedrock-agentcore.") => Self::Gateway,
            _ if url.path().starts_with("/runtimes/") => Self::Runtime,
            _ => Self::Other,
        }
    }
}
