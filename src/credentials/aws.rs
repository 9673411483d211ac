//! Logging in to AWS: Signature Version 4.

mod api;
mod chain;
pub mod control;
pub mod identity;
mod login;
pub mod refusal;
pub mod secrets_manager;
pub mod sign;
pub mod skew;
pub mod wire;

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::config::{SecretRef, Sigv4};
use crate::credentials::secrets::{SecretCell, SecretError};
use crate::credentials::state::{Phase, StateCell};
use crate::credentials::{Around, NoCredential, Refused, SetupError, Stamp, Verdict};
use crate::tls::Tls;
pub use control::Control;
pub use identity::Identity;

use chain::Source;
use login::Login;
use refusal::Cause;
use skew::{Clock, Corrected};
use wire::Http;

/// What calls of AWS services need.
#[derive(Clone, Debug)]
pub struct With {
    /// What `https` is made with.
    pub tls: Arc<Tls>,
    /// Owner of everything spawned.
    pub tasks: TaskTracker,
    /// When weir stops: nothing is fetched any more.
    pub stop: CancellationToken,
    /// Where all AWS services are, if not where the environment, the profile or AWS says; for tests.
    pub endpoint: Option<Url>,
}

impl From<&Around> for With {
    fn from(around: &Around) -> Self {
        Self {
            tls: Arc::clone(&around.tls),
            tasks: around.tasks.clone(),
            stop: around.stop.clone(),
            endpoint: None,
        }
    }
}

/// What an upstream lets its callers do by, in IAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Gateway,
    Runtime,
    Other,
}

/// Signs requests to one upstream.
#[derive(Debug)]
pub struct Signer {
    login: Login,
    clock: Arc<Clock>,
    state: Arc<StateCell>,
    service: String,
    /// Of the last request; an upstream has one URL.
    action: OnceLock<Action>,
}

impl Signer {
    /// A signer as the config wants it. Opens nothing.
    ///
    /// # Errors
    /// What shows in the config.
    pub fn new(config: &Sigv4, around: &Around, state: Arc<StateCell>) -> Result<Self, SetupError> {
        let open = |secret: &SecretRef| around.secrets.open(secret);
        Ok(Self::with(config, &around.into(), &open, state)?)
    }

    /// The same, where AWS services may be elsewhere.
    ///
    /// # Errors
    /// A key of the config that cannot be opened.
    pub fn with(
        config: &Sigv4,
        with: &With,
        open: &dyn Fn(&SecretRef) -> Result<SecretCell, SecretError>,
        state: Arc<StateCell>,
    ) -> Result<Self, SecretError> {
        let clock = Arc::new(Clock::default());
        let region = config.region.as_deref();
        let (endpoint, http) = (with.endpoint.as_ref(), Http::new(&with.tls));
        let source = Source::new(&config.credentials, region, endpoint, http, open)?;
        Ok(Self {
            login: Login::new(source, Arc::clone(&clock), Arc::clone(&state), with),
            clock,
            state,
            service: config.service.clone(),
            action: OnceLock::new(),
        })
    }

    /// Signs; nothing may change afterwards. `url` has to be what is sent, to the byte.
    ///
    /// # Errors
    /// No credentials until `deadline`.
    pub async fn sign(
        &self,
        method: &Method,
        url: &Url,
        headers: &mut HeaderMap,
        body: &[u8],
        deadline: Instant,
    ) -> Result<Stamp, NoCredential> {
        self.action.get_or_init(|| Action::of(url));
        let held = self.login.get(deadline).await?;
        let Some(region) = held.region() else {
            let why = "no AWS region: write `region` below `auth`, or set AWS_REGION";
            self.state.enter(Phase::Failing, Some(why), None);
            return Err(NoCredential(why.into()));
        };
        let (time, corrected) = self.clock.now();
        let scope = sign::Scope {
            identity: &held.identity,
            region,
            service: &self.service,
            time,
        };
        let signed = sign::sign(&scope, method, url, headers, body);
        signed.map_err(|error| NoCredential(error.to_string().into()))?;
        Ok(Mark::new(held.number, corrected).into())
    }

    /// The signature was accepted.
    pub fn accepted(&self) {
        if let Some(expires) = self.login.settled() {
            match self.clock.offset().words() {
                None => self.state.ok(expires),
                Some(words) => self.state.enter(Phase::ClockSkew, Some(&words), None),
            }
        }
    }

    /// The signature was refused.
    pub fn refused(&self, stamp: &Stamp, refusal: &Refused<'_>) -> Verdict {
        let mark = Mark::of(stamp);
        let cause = refusal::cause(refusal.headers, refusal.body);
        let why = match cause {
            Cause::Clock => match self.clock.correct(mark.corrected, refusal.headers) {
                Corrected::Yes => {
                    let words = self.clock.offset().words();
                    let words = words.unwrap_or_else(|| "this machine's clock was put right".into());
                    tracing::warn!("{words}: signatures are made with AWS's time");
                    self.state.enter(Phase::ClockSkew, Some(&words), None);
                    return Verdict::Again;
                }
                Corrected::NoDate => {
                    "AWS does not take this machine's time, and does not say its own".to_owned()
                }
                Corrected::Agrees => {
                    "AWS does not take the time of the signature, which is that of its own clock"
                        .to_owned()
                }
                Corrected::TooFar(offset) => offset.words().unwrap_or_default(),
            },
            Cause::Expired | Cause::UnknownKey if self.login.refused(mark.number) => {
                return Verdict::Again;
            }
            Cause::Expired => "the AWS credentials have expired, and no others are to be had".into(),
            Cause::UnknownKey => "AWS does not know the access key, or not with this session token".into(),
            Cause::Mismatch if self.login.is_replaced(mark.number) => return Verdict::Again,
            Cause::Mismatch => "AWS calculates another signature: the secret access key is wrong, or something on \
                 the way changes requests"
                .into(),
            Cause::OtherMethod | Cause::WantsBearer => "the upstream takes tokens (JWT), not signatures (SigV4): write another `auth.type`, such as \
                 `oauth2_client_credentials`"
                .into(),
            Cause::Denied => self.denied(),
            Cause::Unknown => format!("the signature was refused with HTTP status {}", refusal.status.as_u16()),
        };
        self.state.enter(Phase::Failing, Some(&why), None);
        Verdict::Final(Some(why.into()))
    }

    fn denied(&self) -> String {
        let action = match self.action.get() {
            Some(Action::Gateway) => "the IAM action bedrock-agentcore:InvokeGateway",
            Some(Action::Runtime) => "the IAM action bedrock-agentcore:InvokeAgentRuntime",
            Some(Action::Other) | None => "an IAM action",
        };
        format!("no permission: the AWS credentials need {action} on the upstream")
    }
}

impl Action {
    fn of(url: &Url) -> Self {
        match url.host_str().unwrap_or_default() {
            host if host.contains(".gateway.bedrock-agentcore.") => Self::Gateway,
            _ if url.path().starts_with("/runtimes/") => Self::Runtime,
            _ => Self::Other,
        }
    }
}

/// What a request was signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// The nth credentials.
    number: u32,
    /// After the nth correction of the clock.
    corrected: u32,
}

impl Mark {
    const fn new(number: u32, corrected: u32) -> Self {
        Self { number, corrected }
    }

    fn of(stamp: &Stamp) -> Self {
        let packed = match stamp {
            Stamp::Fixed => 0,
            Stamp::Numbered(packed) => *packed,
        };
        let [a, b, c, d, e, f, g, h] = packed.to_be_bytes();
        Self::new(
            u32::from_be_bytes([a, b, c, d]),
            u32::from_be_bytes([e, f, g, h]),
        )
    }
}

impl From<Mark> for Stamp {
    fn from(mark: Mark) -> Self {
        Self::Numbered(u64::from(mark.number) << 32 | u64::from(mark.corrected))
    }
}
