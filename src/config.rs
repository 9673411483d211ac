//! The validated config: what weir runs on. Files become this through [`load()`] and in no other way.
//!
//! Raw (serde mirror of the file) → validated, with every error at once → [`Config`]. Nothing here is
//! an `Option` that means "checked elsewhere".

mod admin;
mod audit;
mod auth;
mod budgets;
mod changes;
mod drift;
mod endpoint;
mod environment;
mod error;
mod fingerprint;
mod guard;
mod hooks;
mod listen_auth;
mod listen_tls;
mod load;
mod namespaces;
mod on_publish;
mod outline;
mod policy;
mod rates;
mod raw;
mod reach;
mod replicas;
mod resync;
mod rule_origins;
mod rules;
mod schema;
mod secrets;
mod server;
mod source;
mod stream;
mod telemetry;
mod tool_rules;
mod units;
mod validate;
mod validation;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use regex::Regex;

pub use admin::{Admin, AdminAddress, AdminPage, AdminReading, AdminRoles, OperatorRule};
pub use audit::{AuditFailure, AuditRotation, AuditSettings, AuditedData, FlushPolicy};
pub use auth::{
    AgentcoreIdentity, AssumeRole, Auth, AuthorizationCode, AwsCredentials, AwsSecret, AwsSource,
    ClientAuthentication, ClientCredentials, ExchangeSubject, IdentityKind, IdentitySubject,
    OAuthClient, OnBehalf, Registration, SecretRef, Sigv4, TokenExchange, TokenParameters,
    TokenServer, WithoutCaller,
};
pub use budgets::{Limits, Retry, Timeouts};
pub use drift::{Drift, DriftPolicy, DriftThreshold};
pub use endpoint::{
    ChildUser, ClientIdentity, Connector, Endpoint, Gateway, HttpEndpoint, MAX_CERTIFICATES,
    MAX_REVOCATIONS, Search, TlsSettings, TlsVersion,
};
pub use environment::{EnvDecision, InheritEnv};
pub use error::{ConfigErrors, Problem, ProblemKind};
pub use fingerprint::Fingerprint;
pub use guard::{
    ClassActions, CustomDetector, FieldPath, FieldPathError, FieldRule, FieldStep, GuardRules,
    GuardSettings, PseudonymForm, PseudonymSettings, RedactAction, RedactRules, UpstreamGuard,
};
pub use hooks::{Hook, HookTarget, PassedHeader};
pub use listen_auth::{
    AddressError, ApiKeyEntry, ApiKeySettings, AudienceRule, CallerAuth, ClaimRule,
    ClientCertificates, JwksOrigin, JwtIssuer, ListenAuth, PlatformIdentity, ResourceMetadata,
};
pub use listen_tls::ListenTls;
pub use load::{
    ConfigFiles, TextDigest, api_keys_file, is_standard_variable, load, parse, paths, process_env,
};
pub use namespaces::AmbiguousNamespaces;
pub use on_publish::FrontGateway;
pub use outline::parse_outline;
pub(crate) use policy::{ExpressionReads, InputReads, TagReads, names as policy_names};
pub use policy::{
    PolicyCoverage, PolicyFileError, PolicyMode, PolicySettings, PolicyTest, PolicyValidation,
    SentPolicies, WrittenPolicy,
};
pub use rates::{Rate, RateAnswer, RatePer, RateRule, limitable_methods};
pub use reach::Reach;
pub use replicas::{ReplicaRule, ReplicaSettings, ReplicaStore, ReplicaUrl, WhenLost};
pub use rule_origins::{RuleOrigins, RuleText};
pub use rules::{HeaderSettingError, Rule, UrlError};
pub use schema::{schema, schema_text};
pub use secrets::{ExpandError, MAX_SECRET, SecretRefError};
pub use server::{Instructions, ServerIdentity};
pub use stream::is_stream;
pub use telemetry::{OtlpEndpoint, Telemetry, TelemetryRule};
pub use tool_rules::{CallTimeout, ToolOverride, ToolRules};
pub use units::UnitError;
pub(crate) use units::duration as parse_duration;
pub use validate::parse_api_keys;
pub(crate) use validate::{is_plain, is_refused_header};
pub use validation::{ArgumentLimits, InvisibleAction, ValidateAction, ValidateSettings};

use crate::name::{Instance, Namespace, Naming, UpstreamId};
use crate::secret::Secret;

/// The most bytes of instructions for models: of one upstream, and of weir itself.
pub const INSTRUCTIONS_BYTES: usize = 8 * 1024;

/// The most bytes of a JWK Set.
pub const MAX_JWKS: u64 = 512 * 1024;

/// A whole config, valid.
#[derive(Debug)]
pub struct Config {
    /// The listener for MCP clients.
    pub listen: Listen,
    /// The listener for operators; `None` switches it off.
    pub admin: Option<Admin>,
    /// The folder for what must survive a restart; `None` keeps everything in memory.
    pub state_dir: Option<PathBuf>,
    /// The keys that encrypt session ids, of which the first seals; empty if one is to be generated.
    pub sealing_keys: Vec<Secret>,
    /// The name of this weir and its replicas in chains. What serves has one from its start on
    /// ([`crate::server::with_instance`]); a client's command may have none, and is then no hop.
    pub instance: Option<Instance>,
    /// `limits.memory`: the most bytes that are kept for callers and upstreams.
    pub memory: usize,
    /// `limits.rates`: how much of what callers may ask for.
    pub rates: Box<[RateRule]>,
    /// The rules of what callers may do; `None` permits everything.
    pub policy: Option<Arc<PolicySettings>>,
    /// The data that may pass. Upstreams have rules of their own.
    pub guard: Arc<GuardSettings>,
    /// The record file; `None` if there is none.
    pub audit: Option<AuditSettings>,
    /// Where spans and log records go; `None` if nowhere.
    pub telemetry: Option<Arc<Telemetry>>,
    /// Somebody else's code in the way of requests and answers, in the order in which it is asked.
    pub hooks: Vec<Arc<Hook>>,
    /// `on_publish.synchronize`: a gateway in front that is told of each catalog.
    pub front_gateway: Option<Arc<FrontGateway>>,
    /// The state that replicas share; `None` if each is on its own.
    pub replicas: Option<Arc<ReplicaSettings>>,
    /// How exposed names are built.
    pub naming: Naming,
    /// The title, texts and icons of weir itself, for clients.
    pub server: ServerIdentity,
    /// The upstreams, in the order that settles name conflicts.
    pub upstreams: IndexMap<UpstreamId, Arc<Upstream>>,
    /// The files that it was read from, the main one first.
    pub sources: Vec<UpstreamSource>,
    /// Files that hold secrets of weir itself.
    pub secret_files: Vec<PathBuf>,
    /// The secrets in AWS Secrets Manager that it refers to.
    pub aws_secrets: Vec<Arc<AwsSecret>>,
}

/// A file of the config, and what it says of upstreams.
#[derive(Clone, Debug)]
pub struct UpstreamSource {
    /// Its path.
    pub file: PathBuf,
    /// The enabled upstreams in it.
    pub upstreams: Vec<UpstreamId>,
    /// Whether it has the key `upstreams` or `mcpServers` with a value, if only `{}`.
    pub is_written: bool,
}

/// `listen:`
#[derive(Debug)]
pub struct Listen {
    /// Where to bind.
    pub address: SocketAddr,
    /// The path of the MCP endpoint, beginning with `/`.
    pub path: String,
    /// `Host` values to accept besides those of loopback.
    pub allowed_hosts: Vec<String>,
    /// `Origin` values to accept besides those of loopback.
    pub allowed_origins: Vec<String>,
    /// Maximum number of items in one page of a list.
    pub page_size: NonZeroUsize,
    /// Maximum size of a request body, in bytes.
    pub request_bytes: usize,
    /// Maximum time to receive the header of a request.
    pub header_timeout: Duration,
    /// Maximum time to receive the body of a request.
    pub body_timeout: Duration,
    /// Maximum number of open connections.
    pub connections: NonZeroUsize,
    /// After how long a silent event stream gets a comment, and an answer that takes longer becomes
    /// an event stream.
    pub keep_alive: Duration,
    /// How long weir waits for running calls when it is told to stop.
    pub drain: Duration,
    /// Whether a platform in front gives the ids of sessions.
    pub platform_sessions: bool,
    /// Whether lists have schemas without references.
    pub inline_schemas: bool,
    /// How callers are authenticated; `None` if it is not written, which is allowed on loopback
    /// only.
    pub auth: Option<ListenAuth>,
    /// The listener's certificate; `None` is plain HTTP.
    pub tls: Option<ListenTls>,
}

impl Listen {
    /// Returns why weir does not listen at this address without more settings of `auth`, if the address
    /// came from elsewhere than the file.
    #[must_use]
    pub fn refused_address(&self) -> Option<AddressError> {
        let address = self.address;
        match &self.auth {
            _ if address.ip().is_loopback() => None,
            None => Some(AddressError::Open(address)),
            Some(ListenAuth::Callers(auth)) if auth.lacks_public_url() => {
                Some(AddressError::NoPublicUrl(address))
            }
            Some(ListenAuth::None | ListenAuth::Callers(_)) => None,
        }
    }

    /// Returns a digest of `auth`.
    #[must_use]
    pub fn auth_fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.auth)
    }

    /// Returns a digest of all settings. A new field does not compile until it is in it: a secret
    /// has to be exposed first.
    fn fingerprint(&self) -> Fingerprint {
        let Self {
            address,
            path,
            allowed_hosts,
            allowed_origins,
            page_size,
            request_bytes,
            header_timeout,
            body_timeout,
            connections,
            keep_alive,
            drain,
            platform_sessions,
            inline_schemas,
            auth,
            tls,
        } = self;
        let names = (address, path, allowed_hosts, allowed_origins);
        let sizes = (page_size, request_bytes, connections);
        let times = (header_timeout, body_timeout, keep_alive, drain);
        let tls = tls.as_ref().map(ListenTls::written);
        // The rest of `auth` can change: see `Config::is_same`. Handshakes ask for certificates, and
        // they are the listener's.
        let certificates = match auth {
            Some(ListenAuth::Callers(callers)) => callers.client_certificates.as_ref(),
            Some(ListenAuth::None) | None => None,
        };
        let forms = (platform_sessions, inline_schemas);
        Fingerprint::of(&(names, sizes, times, forms, certificates, tls))
    }
}

/// One upstream.
#[derive(Debug)]
pub struct Upstream {
    /// Its key in the config.
    pub id: UpstreamId,
    /// The kind.
    pub connector: Connector,
    /// How to reach it.
    pub endpoint: Endpoint,
    /// How weir itself logs in: for everything, or for listings only if `on_behalf` is set.
    pub auth: Auth,
    /// How weir logs in for each of its callers.
    pub on_behalf: Option<Box<OnBehalf>>,
    /// The first part of its exposed names.
    pub namespace: Namespace,
    /// A pattern that is removed from the front of its names before the namespace is added.
    pub strip: Option<Regex>,
    /// Which tools are exposed, and how they are changed.
    pub tools: ToolRules,
    /// The data that may pass to and from it.
    pub guard: UpstreamGuard,
    /// The checks of calls, where a tool has no settings of its own.
    pub validate: ValidateSettings,
    /// When it is listed again.
    pub resync: Resync,
    /// How its last good listing is treated while it fails.
    pub stale: Stale,
    /// How definitions are treated that differ from when they were first seen.
    pub drift: Drift,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Size limits.
    pub limits: Limits,
    /// Whether callers share a child process.
    pub sessions: ProcessSharing,
    /// Whether it gets all of a request's `_meta`, or the keys of the specification only.
    pub forward_meta: bool,
    /// Which failed calls are retried.
    pub retry: Retry,
    /// Which instructions callers see of it.
    pub instructions: Instructions,
    /// Its position in the config, for messages: `file:line`.
    pub origin: String,
    /// The positions of its rules, for messages.
    pub rule_origins: RuleOrigins,
    /// Files that hold secrets of this upstream.
    pub secret_files: Vec<PathBuf>,
    /// Equal for two configs of an upstream that mean the same.
    pub fingerprint: Fingerprint,
}

/// `sessions:` — whether callers share a child process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcessSharing {
    /// All callers share one process.
    #[default]
    Shared,
    /// Each legacy session has its own process.
    PerCaller,
}

/// `resync:` — when an upstream is listed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resync {
    /// This long after the last listing.
    Every(Duration),
    /// A cron expression with seconds.
    Cron(String),
}

/// `stale:` — the last good listing of an upstream that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Serve or hide.
    pub policy: StalePolicy,
    /// Older listings are hidden, whatever the policy.
    pub max_age: Duration,
    /// Definitions of older listings are marked as stale.
    pub mark_after: Duration,
}

/// `stale.policy`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StalePolicy {
    /// Keep its tools in the catalog.
    Serve,
    /// Take them out while it fails.
    Hide,
}
