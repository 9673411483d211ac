//! What a config file says, word for word: the serde mirror, and the source of the JSON Schema.
//!
//! No methods, no defaults, no checks: those are in `validate`. Doc comments are the schema's descriptions.

mod auth;
mod drift;
mod endpoint;
pub(super) mod forms;
mod secret;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

pub(super) use auth::{
    AgentcoreIdentity, Auth, AuthorizationCode, ClientAuthMethod, ClientCredentials,
    SigningAlgorithm, Sigv4, TokenExchange,
};
pub(super) use drift::{Drift, DriftPolicy, DriftThreshold};
pub(super) use endpoint::{Connector, Gateway, Runtime, Search, TlsSettings, TlsVersion};
use forms::{Duration, Json, Resync, ScalarText, Size};
pub(super) use secret::{AwsSecret, SecretRef, TextOrSecret};

/// The config of weir, an MCP proxy that joins many upstream MCP servers into one tool catalog.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The version of this format: 1, which is also what a file means that does not say.
    #[schemars(extend("const" = 1))]
    pub(super) version: Option<u64>,
    /// The listener that agents connect to.
    pub(super) listen: Option<Listen>,
    /// The listener that operators connect to. Left out, there is none.
    pub(super) admin: Option<Admin>,
    /// Where weir keeps what must survive a restart: the sealing key, and with it the sessions of clients, and the instance. Left out, it keeps it in memory only.
    pub(super) state: Option<StateSettings>,
    /// What seals session ids: 32 bytes of text or more, the same on every replica. Left out, it is made once and kept in the state folder, or made at every start where there is none.
    pub(super) sealing_key: Option<SecretRef>,
    /// The name of this weir and its replicas in chains of weirs: by it a weir finds that a request or a definition came back to it. Left out, it is made once and kept in the state folder, or made at every start where there is none.
    pub(super) instance: Option<String>,
    /// How exposed names are made.
    pub(super) naming: Option<Naming>,
    /// What every upstream gets that does not say otherwise.
    pub(super) defaults: Option<Defaults>,
    /// The upstreams by name. Their order settles name conflicts: the earlier one keeps the name.
    pub(super) upstreams: Option<IndexMap<String, Upstream>>,
    /// The same as `upstreams`, under the name that `mcp.json` uses.
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

/// The listener that agents connect to.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    /// `IP:PORT`, by default 127.0.0.1:8000.
    pub(super) address: Option<String>,
    /// The path of the MCP endpoint, by default /mcp.
    pub(super) path: Option<String>,
    /// `Host` values that pass besides those of loopback, such as `weir.example.com`. Without a port, any port passes.
    pub(super) allowed_hosts: Option<Vec<String>>,
    /// `Origin` values that pass besides those of loopback, such as `https://app.example.com`.
    pub(super) allowed_origins: Option<Vec<String>>,
    /// Most items in one page of a list answer, by default 1000.
    #[schemars(range(min = 1))]
    pub(super) page_size: Option<u64>,
    /// The largest request body, by default 4MiB.
    pub(super) request_bytes: Option<Size>,
    /// How long the header of a request may take to arrive, by default 10s.
    pub(super) header_timeout: Option<Duration>,
    /// How long the body of a request may take to arrive, by default 60s.
    pub(super) body_timeout: Option<Duration>,
    /// Most connections open at once, by default 10000. One more is closed as soon as it is there.
    #[schemars(range(min = 1))]
    pub(super) connections: Option<u64>,
    /// How long a weir that was told to stop waits for calls under way, by default 10s.
    pub(super) drain: Option<Duration>,
    /// Who checks callers. It must be written if the address is not loopback.
    pub(super) auth: Option<ListenAuth>,
}

/// Who checks callers.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ListenAuth {
    /// Nobody here: a platform in front authenticates.
    None,
}

/// The listener that operators connect to: upstreams, catalog.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    /// `IP:PORT`, by default 127.0.0.1:8001.
    pub(super) address: Option<String>,
    /// What callers must send as `Authorization: Bearer`. It must be written if the address is not loopback.
    pub(super) token: Option<SecretRef>,
}

/// Where weir keeps what must survive a restart: the sealing key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "State")]
pub(super) struct StateSettings {
    /// A folder, made if it is not there.
    pub(super) dir: String,
}

/// How exposed names are made: namespace, separator, original name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Naming {
    /// What stands between namespace and name, by default `__`.
    pub(super) separator: Option<String>,
    /// The most characters of an exposed name, by default 64.
    #[schemars(range(min = 24, max = 128))]
    pub(super) max_length: Option<u64>,
}

/// What every upstream gets that does not say otherwise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Defaults {
    /// When an upstream is listed again, by default every 60s.
    pub(super) resync: Option<Resync>,
    /// What becomes of the last good listing of an upstream that fails.
    pub(super) stale: Option<Stale>,
    /// What becomes of definitions that say otherwise than when they were first seen, by default `accept`.
    pub(super) drift: Option<Drift>,
    /// Time budgets.
    pub(super) timeouts: Option<Timeouts>,
    /// Size budgets.
    pub(super) limits: Option<Limits>,
    /// What is tried again.
    pub(super) retry: Option<Retry>,
}

/// What becomes of the last good listing of an upstream that fails.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Stale {
    /// Keep its tools in the catalog, or take them out; by default `serve`.
    pub(super) policy: Option<StalePolicy>,
    /// Taken out at this age whatever the policy, by default 24h.
    pub(super) max_age: Option<Duration>,
    /// From this age on definitions say in `_meta["weir/stale"]` when they were last found to hold, by default 10m. From
    /// `max_age` on there is none to say it.
    pub(super) mark_after: Option<Duration>,
}

/// `serve` or `hide`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum StalePolicy {
    /// Keep its tools in the catalog.
    Serve,
    /// Take them out while it fails.
    Hide,
}

/// Time budgets.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    /// To open a connection or start a child, by default 3s.
    pub(super) connect: Option<Duration>,
    /// For a whole listing, all pages, by default 8s.
    pub(super) list: Option<Duration>,
    /// Between sending a request over HTTP and the head of its answer; opening a connection counts in. By default there is no limit but that of the call. An answer in JSON has its first byte when the tool is done, so this is for upstreams that answer with event streams.
    pub(super) first_byte: Option<Duration>,
    /// For a whole call, to the last byte, by default 120s.
    pub(super) call: Option<Duration>,
    /// Between two signs of life on a stream, by default 60s.
    pub(super) idle: Option<Duration>,
}

/// What is tried again, once, when it failed on its way.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Try calls once more that broke off, had no first byte in time, or were answered with 502, 503 or 504, if the tool's annotations say `idempotentHint` or `readOnlyHint`. By default `false`.
    pub(super) idempotent: Option<bool>,
}

/// Size budgets.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Calls under way at once, by default 64.
    #[schemars(range(min = 1))]
    pub(super) in_flight: Option<u64>,
    /// Bytes of one answer or one event, by default 32MiB.
    pub(super) response_bytes: Option<Size>,
    /// Items of one kind in a listing, by default 5000.
    #[schemars(range(min = 1))]
    pub(super) tools: Option<u64>,
}

/// An MCP server behind weir: `url`, `command`, `gateway` or `runtime`, and how to use it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    /// The kind. Left out: `gateway` and `runtime` say it; `on_prem` for a `command` or a private `url`, else `saas`.
    pub(super) connector: Option<Connector>,
    /// The MCP endpoint (Streamable HTTP). `${VAR}` and `${VAR:-default}` are replaced.
    pub(super) url: Option<String>,
    /// An AgentCore Gateway.
    pub(super) gateway: Option<Gateway>,
    /// An MCP server on AgentCore Runtime.
    pub(super) runtime: Option<Runtime>,
    /// A Unix socket in place of TCP; `url` then says the path and `Host`.
    pub(super) socket: Option<String>,
    /// How TLS is made, for an `https` URL.
    pub(super) tls: Option<TlsSettings>,
    /// A program that speaks MCP on stdin and stdout: a path, or a name looked up in PATH. `${VAR}` is replaced.
    pub(super) command: Option<String>,
    /// Its arguments. `${VAR}` is replaced.
    pub(super) args: Option<Vec<ScalarText>>,
    /// Added to its environment: text, in which `${VAR}` is replaced, or a secret reference.
    pub(super) env: Option<IndexMap<String, TextOrSecret>>,
    /// Its working folder, by default weir's.
    pub(super) cwd: Option<String>,
    /// The transport, as `mcp.json` writes it. It need not be written.
    #[serde(rename = "type")]
    pub(super) transport: Option<Transport>,
    /// How weir logs in. Left out: `sigv4` for the AWS connectors, else not at all.
    pub(super) auth: Option<Auth>,
    /// Headers of every request: text, in which `${VAR}` is replaced, or a secret reference.
    pub(super) headers: Option<IndexMap<String, TextOrSecret>>,
    /// Allow `http://` to another machine: what is sent, credentials included, can be read on the way. Holds for token endpoints too.
    pub(super) allow_plain_http: Option<bool>,
    /// What its exposed names begin with, by default its key. "" is no prefix.
    #[schemars(regex(pattern = r"^[a-z0-9-]{0,31}$"))]
    pub(super) namespace: Option<String>,
    /// Changes to all its names.
    pub(super) names: Option<Names>,
    /// Which of its tools are exposed, and how they are changed.
    pub(super) tools: Option<Tools>,
    /// When it is listed again.
    pub(super) resync: Option<Resync>,
    /// What becomes of its last good listing while it fails.
    pub(super) stale: Option<Stale>,
    /// What becomes of definitions that say otherwise than when they were first seen.
    pub(super) drift: Option<Drift>,
    /// Time budgets.
    pub(super) timeouts: Option<Timeouts>,
    /// Size budgets.
    pub(super) limits: Option<Limits>,
    /// Who shares a process, for an upstream with a `command`; by default all callers share one.
    pub(super) sessions: Option<ProcessSharing>,
    /// What is tried again.
    pub(super) retry: Option<Retry>,
    /// `true`: weir leaves it alone and does not check it.
    pub(super) disabled: Option<bool>,
}

/// `shared` or `per_caller`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Sessions")]
pub(super) enum ProcessSharing {
    /// All callers share one process. It cannot ask them for anything: no sampling, elicitation or roots.
    Shared,
    /// Each legacy session has a process of its own, which may ask its caller for whatever that can do.
    PerCaller,
}

/// The transport, as `mcp.json` writes it.
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
    /// The old HTTP+SSE transport, which weir does not speak.
    #[schemars(skip)]
    Sse,
}

/// Changes to all names of an upstream.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Names {
    /// A regular expression: what it matches at the beginning of a name is cut off before the namespace goes there.
    pub(super) strip: Option<String>,
}

/// Which tools are exposed, and how they are changed. Globs match original names.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tools {
    /// Only these, as globs. Left out: all; an empty list: none.
    pub(super) allow: Option<Vec<String>>,
    /// Not these, even if allowed.
    pub(super) deny: Option<Vec<String>>,
    /// Changes to single tools, by original name.
    #[serde(rename = "override")]
    pub(super) overrides: Option<IndexMap<String, Override>>,
}

/// A change to one tool.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Override {
    /// The name to expose in place of the original; the namespace still goes before it.
    pub(super) name: Option<String>,
    /// The description to show.
    pub(super) description: Option<String>,
    /// Arguments that leave the schema and that callers may not send.
    pub(super) hide_args: Option<Vec<String>>,
    /// Arguments weir sends itself; they leave the schema, and callers may not send them.
    pub(super) set_args: Option<IndexMap<String, Json>>,
}
