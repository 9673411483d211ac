//! The config file as it is written: the serde mirror, and the source of the JSON Schema.
//!
//! No methods, no defaults, no checks: those are in `validate`. Doc comments are the schema's descriptions.

mod admin;
mod audit;
mod auth;
mod drift;
mod endpoint;
pub(super) mod forms;
mod guard;
mod hooks;
mod listen_auth;
mod listen_tls;
mod on_publish;
mod policy;
mod rates;
mod replicas;
mod secret;
mod server;
mod telemetry;
mod tools;
mod validation;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

pub(super) use admin::{Admin, AdminPage, AdminReading, AdminRoles, OperatorKind, OperatorRule};
pub(super) use audit::{Audit, AuditFailure, AuditRotation, AuditedData};
pub(super) use auth::{
    AgentcoreIdentity, Auth, AuthorizationCode, ClientAuthMethod, ClientCredentials,
    ExchangeSubject, IdentitySubject, SigningAlgorithm, Sigv4, TokenExchange, WithoutCaller,
};
pub(super) use drift::{Drift, DriftPolicy, DriftThreshold};
pub(super) use endpoint::{Connector, Gateway, Runtime, Search, TlsSettings, TlsVersion};
use forms::{Duration, Instructions, Resync, ScalarText, Size};
pub(super) use guard::{Detector, Guard, PseudonymForm, RedactAction, RouteGuard, RouteRedact};
pub(super) use hooks::{Hook, HookFailureAction, HookMessage, HookView, LambdaFunction};
pub(super) use listen_auth::{
    ApiKeyEntry, ApiKeyFile, ApiKeySettings, CallerAuth, ClaimRule, ClientCertificates, Jwks,
    JwtIssuer, ListenAuth, PlatformIdentity, ResourceMetadata,
};
pub(super) use listen_tls::ListenTls;
pub(super) use on_publish::OnPublish;
pub(super) use policy::{
    CallerKind, Covered, Expected, Policy, PolicyMode, PolicyTest, PolicyTests, PolicyValidation,
};
pub(super) use rates::{Limits, RateAnswer, RatePer, RateRule};
pub(super) use replicas::{ReplicaSettings, ReplicaStore, WhenLost};
pub(super) use secret::{AwsSecret, SecretRef, TextOrSecret};
pub(super) use server::{Icon, ServerSettings};
pub(super) use telemetry::{CloudWatchLines, Compression, Ratio, Telemetry, TelemetryAuth};
pub(super) use tools::{Annotations, Names, Override, Tools};
pub(super) use validation::{InvisibleAction, Validate, ValidateAction};

/// The config of weir, an MCP proxy that joins many upstream MCP servers into one tool catalog.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The version of the config format. Default: 1, the only version there is.
    #[schemars(extend("const" = 1))]
    pub(super) version: Option<u64>,
    /// The listener for MCP clients.
    pub(super) listen: Option<Listen>,
    /// The listener for operators: status, catalog, metrics, reload. Without this key there is
    /// none.
    pub(super) admin: Option<Admin>,
    /// Where weir stores what must survive a restart: the sealing key (and so client sessions), the
    /// instance name, listings, pins, and tokens of `weir login`. Without this key everything is in
    /// memory only.
    pub(super) state: Option<StateSettings>,
    /// The key that encrypts session ids: at least 32 bytes of text, the same on every replica.
    /// Default: generated once and stored in the state folder, or generated at every start if there
    /// is none. It is read when weir starts: with another one, no session of before could be read, so
    /// that a reload is refused until `sealing_keys` has both and weir is started again.
    pub(super) sealing_key: Option<SecretRef>,
    /// In place of `sealing_key`, several: the first one encrypts, and what the others have encrypted
    /// is still read. To replace a key, write the new one first, and leave the old one out after 7
    /// days.
    pub(super) sealing_keys: Option<Vec<SecretRef>>,
    /// The name of this weir and its replicas, used to detect loops in chains of weirs: 1 to 64 of
    /// the characters A-Z a-z 0-9 _ . -. Default: generated once and stored in the state folder, or
    /// generated at every start if there is none.
    pub(super) instance: Option<String>,
    /// Limits of weir as a whole. Those of an upstream are `limits` there and in `defaults`.
    pub(super) limits: Option<Limits>,
    /// Rules of what callers may do, in the language Cedar. Without this key, they may do everything.
    pub(super) policy: Option<Policy>,
    /// The data that may pass: what happens to personal data and secrets in messages, and what the
    /// arguments and results of tools may be.
    pub(super) guard: Option<Guard>,
    /// The record file: a line for each request. Without this key there is none.
    pub(super) audit: Option<Audit>,
    /// Spans of requests, log records and metrics, for OpenTelemetry. Without this key and without variables
    /// `OTEL_EXPORTER_OTLP_*`, nothing is sent.
    pub(super) telemetry: Option<Telemetry>,
    /// Code of somebody else that sees requests and answers, by name, in the order of the file.
    pub(super) hooks: Option<IndexMap<String, Hook>>,
    /// Actions that follow when weir has published another catalog.
    pub(super) on_publish: Option<OnPublish>,
    /// The state that replicas of this weir share. Without this key each of them is on its own.
    pub(super) replicas: Option<ReplicaSettings>,
    /// How exposed names are built: namespace, separator, original name.
    pub(super) naming: Option<Naming>,
    /// The introduction of weir itself at the handshake.
    pub(super) server: Option<ServerSettings>,
    /// Settings of all upstreams. An upstream overrides them key by key.
    pub(super) defaults: Option<Defaults>,
    /// The upstreams, by name. If two of them want the same exposed name, the earlier one gets it.
    pub(super) upstreams: Option<IndexMap<String, Upstream>>,
    /// The same as `upstreams`, under the key that `mcp.json` files use.
    #[serde(rename = "mcpServers")]
    pub(super) mcp_servers: Option<IndexMap<String, Upstream>>,
}

/// A file of the folder `upstreams.d` beside the config: more upstreams, and nothing else.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fragment {
    pub(super) upstreams: Option<IndexMap<String, Upstream>>,
    #[serde(rename = "mcpServers")]
    pub(super) mcp_servers: Option<IndexMap<String, Upstream>>,
}

/// The listener for MCP clients.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    /// The address to listen on, as `IP:PORT`. Default: 127.0.0.1:8000.
    pub(super) address: Option<String>,
    /// The URL path of the MCP endpoint. Default: /mcp.
    pub(super) path: Option<String>,
    /// Additional `Host` header values to accept, such as `weir.example.com`. Loopback names are
    /// always accepted on a loopback address. Without a port, any port matches.
    pub(super) allowed_hosts: Option<Vec<String>>,
    /// Additional `Origin` header values to accept, such as `https://app.example.com`. Loopback
    /// origins are always accepted on a loopback address.
    pub(super) allowed_origins: Option<Vec<String>>,
    /// Maximum number of items in one page of a list response. Default: 1000.
    #[schemars(range(min = 1))]
    pub(super) page_size: Option<u64>,
    /// Maximum size of a request body. Default: 4MiB.
    pub(super) request_bytes: Option<Size>,
    /// Maximum time to receive the header of a request. Default: 10s.
    pub(super) header_timeout: Option<Duration>,
    /// Maximum time to receive the body of a request. Default: 60s.
    pub(super) body_timeout: Option<Duration>,
    /// Maximum number of open connections. For one more, an idle connection or stream is closed. If
    /// all are busy, probes are answered, and all else gets 503. Default: 10000.
    #[schemars(range(min = 1))]
    pub(super) connections: Option<u64>,
    /// After how long a silent event stream gets a comment, which keeps the connection open. An
    /// answer that takes longer becomes an event stream, if the caller accepts one. Default: 15s.
    pub(super) keep_alive: Option<Duration>,
    /// How long weir waits for running calls when it is told to stop. Default: 10s.
    pub(super) drain: Option<Duration>,
    /// The ids that sessions of legacy callers have. Default: `own`.
    pub(super) sessions: Option<SessionIds>,
    /// The form of the schemas in lists of tools. Default: `original`.
    pub(super) schemas: Option<SchemaForm>,
    /// How callers are authenticated. Required if the address is not loopback.
    pub(super) auth: Option<ListenAuth>,
    /// TLS of the listener. Without this key it speaks plain HTTP.
    pub(super) tls: Option<ListenTls>,
}

/// The ids of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SessionIds {
    /// Weir gives them, and knows no others.
    Own,
    /// A platform in front of weir gives them, as Amazon Bedrock AgentCore Runtime does. Any id is
    /// good, and requests need neither an id nor `initialize`. A `ping` needs no credential.
    Platform,
}

/// The form of schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SchemaForm {
    /// As upstreams write them.
    Original,
    /// Without `$ref` and `$defs`, for gateways and models that do not follow references. What refers
    /// to itself or leads out of the schema, and what would become too large, is widened.
    Inline,
}

/// Where weir stores what must survive a restart.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "State")]
pub(super) struct StateSettings {
    /// The folder. It is created if it does not exist.
    pub(super) dir: String,
}

/// How exposed names are built: namespace, separator, original name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Naming {
    /// The characters of exposed names. Default: `strict`.
    pub(super) charset: Option<NameCharset>,
    /// The text between namespace and name. Default: `__`.
    pub(super) separator: Option<String>,
    /// Maximum number of characters of an exposed name. Longer names are cut and end in a hash.
    /// Default: 64.
    #[schemars(range(min = 24, max = 128))]
    pub(super) max_length: Option<u64>,
}

/// `strict` or `mcp`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum NameCharset {
    /// `[a-zA-Z0-9_-]`, which the APIs of models accept. A name with other characters gets `_` in
    /// their place and ends in a hash.
    Strict,
    /// `[a-zA-Z0-9_.-]`, which MCP allows.
    Mcp,
}

/// Settings of all upstreams. An upstream overrides them key by key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Defaults {
    /// How often an upstream is listed again. Default: 60s.
    pub(super) resync: Option<Resync>,
    /// How the last good listing of an upstream that fails is treated.
    pub(super) stale: Option<Stale>,
    /// The treatment of tool and prompt definitions that differ from when they were first seen.
    /// Default: `accept`.
    pub(super) drift: Option<Drift>,
    /// Time limits.
    pub(super) timeouts: Option<Timeouts>,
    /// Size limits.
    pub(super) limits: Option<UpstreamLimits>,
    /// Which failed calls are retried.
    pub(super) retry: Option<Retry>,
    /// Variables of weir's environment that children get in addition to the usual ones: names, in
    /// which `*` stands for any characters. `!NAME` leaves variables out. The last entry that
    /// matches decides. What looks like a secret has to be named without `*`.
    pub(super) inherit_env: Option<Vec<String>>,
    /// Whether the instructions of upstreams reach clients. Default: `true`.
    pub(super) instructions: Option<Instructions>,
}

/// How the last good listing of an upstream that fails is treated.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Stale {
    /// Whether its tools stay in the catalog. Default: `serve`.
    pub(super) policy: Option<StalePolicy>,
    /// Older listings are removed from the catalog, whatever the policy. Default: 24h.
    pub(super) max_age: Option<Duration>,
    /// Definitions of listings older than this carry `_meta["weir/stale"]`, the time when they were
    /// last confirmed. Default: 10m.
    pub(super) mark_after: Option<Duration>,
}

/// `serve` or `hide`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum StalePolicy {
    /// Its tools stay in the catalog.
    Serve,
    /// Its tools are removed while it fails.
    Hide,
}

/// Time limits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    /// Maximum time to open a connection. Default: 3s.
    pub(super) connect: Option<Duration>,
    /// Maximum time from the start of a child process to its first answer. The first run of `npx`,
    /// `uvx` or `docker run` downloads the server in this time. Default: 3m.
    pub(super) start: Option<Duration>,
    /// Maximum time for a whole listing, all pages. Default: 8s; 30s for `runtime`.
    pub(super) list: Option<Duration>,
    /// Maximum time from sending an HTTP request to the head of its response, connecting included.
    /// Default: no limit besides `call`. Set it only for upstreams that answer with event streams:
    /// a JSON response starts when the tool is done.
    pub(super) first_byte: Option<Duration>,
    /// Maximum time for a whole call, to the last byte. Default: 120s.
    pub(super) call: Option<Duration>,
    /// Maximum time between two pieces of one message: a JSON body or an event that has begun and
    /// stops coming. Before a message and between two of them an upstream may be silent for as long
    /// as `call` or `list` allow, and on a stream of changes for ever. Default: 60s.
    pub(super) idle: Option<Duration>,
    /// Maximum time for a caller's answer to what a server of the other era asks of it during a call
    /// (elicitation, sampling, roots). The time of the call itself (`call`) stands still meanwhile.
    /// Default: 10m.
    pub(super) ask: Option<Duration>,
}

/// Which calls are retried, once, after a failure of the connection.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Retry a call that broke off, exceeded `first_byte`, or was answered with 502, 503 or 504, if
    /// the annotations of its tool have `idempotentHint` or `readOnlyHint`. What only reads
    /// (`readOnlyHint`, resources, prompts, completions) is retried anyway if its connection was
    /// closed before an answer began. Default: `false`.
    pub(super) idempotent: Option<bool>,
}

/// Size limits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamLimits {
    /// Maximum number of calls at the same time. Others wait, and callers take turns. Default: 64.
    #[schemars(range(min = 1))]
    pub(super) in_flight: Option<u64>,
    /// Maximum size of one response or one event. Default: 32MiB.
    pub(super) response_bytes: Option<Size>,
    /// Maximum number of items of one kind (tools, prompts, …) in a listing. Default: 5000.
    #[schemars(range(min = 1))]
    pub(super) tools: Option<u64>,
    /// Maximum number of calls that wait for a caller to answer what a legacy upstream asks of it, in
    /// the modern era. They do not count in `in_flight`. Default: 256.
    #[schemars(range(min = 1))]
    pub(super) parked: Option<u64>,
}

/// An MCP server behind weir. One of `url`, `command`, `gateway` and `runtime` says how to reach
/// it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    /// The kind of upstream. Default: that of `gateway` or `runtime`; `on_prem` for a `command` or
    /// a private `url`; otherwise `saas`.
    pub(super) connector: Option<Connector>,
    /// The URL of the MCP endpoint (Streamable HTTP). `${VAR}` and `${VAR:-default}` are replaced.
    pub(super) url: Option<String>,
    /// An Amazon Bedrock AgentCore Gateway.
    pub(super) gateway: Option<Gateway>,
    /// An MCP server on Amazon Bedrock AgentCore Runtime.
    pub(super) runtime: Option<Runtime>,
    /// A Unix socket to connect to instead of TCP. `url` then gives the path and the `Host` header.
    pub(super) socket: Option<String>,
    /// TLS settings, for an `https` URL.
    pub(super) tls: Option<TlsSettings>,
    /// A program that speaks MCP on stdin and stdout: a path, or a name to look up in PATH.
    /// `${VAR}` is replaced.
    pub(super) command: Option<String>,
    /// Arguments of the `command`. `${VAR}` is replaced.
    pub(super) args: Option<Vec<ScalarText>>,
    /// Additional environment variables of the `command`: text, in which `${VAR}` is replaced, or a
    /// secret reference.
    pub(super) env: Option<IndexMap<String, TextOrSecret>>,
    /// Variables of weir's environment that the `command` gets in addition to the usual ones and to
    /// those of `defaults`: names, in which `*` stands for any characters. `!NAME` leaves variables
    /// out. The last entry that matches decides. What looks like a secret has to be named without
    /// `*`.
    pub(super) inherit_env: Option<Vec<String>>,
    /// The working folder of the `command`. Default: that of weir.
    pub(super) cwd: Option<String>,
    /// Whether the process is kept from reading weir's state folder and the secret files of weir and
    /// of other upstreams, where the kernel has Landlock. It can then not read files either that
    /// were made after its start directly in a folder above one of those. Default: `true`.
    pub(super) hide_secrets: Option<bool>,
    /// The user that the process runs as: `NAME` or `UID:GID`. Weir has to run as root. Default: that
    /// of weir.
    pub(super) user: Option<ScalarText>,
    /// The transport, as in `mcp.json` files. Optional: `url` or `command` already says it.
    #[serde(rename = "type")]
    pub(super) transport: Option<Transport>,
    /// How weir authenticates to the upstream. Default: `sigv4` for the AWS connectors, otherwise
    /// `none`.
    pub(super) auth: Option<Auth>,
    /// How weir itself authenticates to the upstream, to list it, where `auth` is for its callers
    /// (`subject`).
    pub(super) listing_auth: Option<Auth>,
    /// Additional headers of every request: text, in which `${VAR}` is replaced, or a secret
    /// reference.
    pub(super) headers: Option<IndexMap<String, TextOrSecret>>,
    /// Allow `http://` to other machines, for token endpoints too. Everything sent, credentials
    /// included, can then be read on the way. Default: `false`.
    pub(super) allow_plain_http: Option<bool>,
    /// The first part of its exposed names. An empty text means no prefix. Default: made of the
    /// upstream's name.
    #[schemars(regex(pattern = r"^[a-z0-9-]{0,31}$"))]
    pub(super) namespace: Option<String>,
    /// Changes to all names of the upstream.
    pub(super) names: Option<Names>,
    /// Which tools are exposed, and how they are changed.
    pub(super) tools: Option<Tools>,
    /// The data that may pass to and from the upstream. Default: as `guard` of weir.
    pub(super) guard: Option<RouteGuard>,
    /// If true, only tools are exposed of which the annotations have `readOnlyHint: true`: weir takes
    /// the upstream's word for it, unless `tools.override` has other annotations. Default: `false`.
    pub(super) read_only: Option<bool>,
    /// How often the upstream is listed again. Default: that of `defaults`.
    pub(super) resync: Option<Resync>,
    /// How its last good listing is treated while it fails. Default: that of `defaults`.
    pub(super) stale: Option<Stale>,
    /// The treatment of tool and prompt definitions that differ from when they were first seen.
    /// Default: that of `defaults`.
    pub(super) drift: Option<Drift>,
    /// Time limits.
    pub(super) timeouts: Option<Timeouts>,
    /// Size limits.
    pub(super) limits: Option<UpstreamLimits>,
    /// Whether callers share one process, for an upstream with a `command`. Default: `shared`.
    pub(super) sessions: Option<ProcessSharing>,
    /// Whether all of a request's `_meta` goes to this upstream: what callers put there, `baggage`, and
    /// the path and deadline that weirs tell each other. Otherwise it gets the keys of the
    /// specification only. Default: `false` for the connector `saas`, else `true`.
    pub(super) forward_meta: Option<bool>,
    /// Which failed calls are retried.
    pub(super) retry: Option<Retry>,
    /// The instructions that models get about this upstream: `true` for its own, `false` for none,
    /// or a text in their place. Default: that of `defaults`.
    pub(super) instructions: Option<Instructions>,
    /// If true, weir ignores the upstream and does not check its settings. Default: `false`.
    pub(super) disabled: Option<bool>,
}

/// `shared` or `per_caller`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Sessions")]
pub(super) enum ProcessSharing {
    /// All callers share one process. It cannot send requests to them: no sampling, elicitation or
    /// roots.
    Shared,
    /// Each legacy session has its own process, which may send requests to its caller.
    PerCaller,
}

/// The transport, as in `mcp.json` files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Transport {
    /// Streamable HTTP.
    #[serde(alias = "streamableHttp", alias = "streamable_http")]
    StreamableHttp,
    /// Streamable HTTP.
    Http,
    /// A child process.
    Stdio,
    /// The old HTTP+SSE transport, which weir does not support.
    #[schemars(skip)]
    Sse,
}
