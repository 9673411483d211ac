//! `limits:` and its rates.

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::Size;

/// Limits of weir as a whole.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Limits {
    /// Maximum size of everything that weir keeps for callers and upstreams: requests and answers
    /// on their way, and the state of connections and sessions. Each connection, session and
    /// upstream may hold at most as much as is free. What exceeds it is refused (503). At least
    /// 16MiB. Default: 512MiB.
    pub(in crate::config) memory: Option<Size>,
    /// How much of what callers may ask for. A request has to be within all rules that are about it.
    pub(in crate::config) rates: Option<Vec<RateRule>>,
}

/// A rule of how much may be asked for. It has one of `requests`, `in_flight` and `bytes`, or
/// several.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RateRule {
    /// The name of the rule in errors and metrics. Default: `rate-1` for the first rule, and so on.
    pub(in crate::config) name: Option<String>,
    /// Which requests count together.
    pub(in crate::config) per: RatePer,
    /// The tools that the rule is about: exposed names, in which `*` stands for any characters.
    /// Default: all.
    pub(in crate::config) tools: Option<Vec<String>>,
    /// The upstreams that the rule is about. Default: all.
    pub(in crate::config) upstreams: Option<Vec<String>>,
    /// The methods that the rule is about. Default: `[tools/call]`.
    pub(in crate::config) methods: Option<Vec<String>>,
    /// Maximum number of requests in a time, such as `100/1m`.
    pub(in crate::config) requests: Option<String>,
    /// Maximum number of requests at once, of those that `requests` allows. Default: as many as
    /// `requests`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) burst: Option<u64>,
    /// Maximum number of requests at the same time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) in_flight: Option<u64>,
    /// Maximum size of requests and answers together in a time, such as `10MiB/1m`. An answer counts
    /// when it is there: it is never cut, and the next requests wait for it.
    pub(in crate::config) bytes: Option<String>,
    /// The answer to a request that is too much. Default: `error`.
    pub(in crate::config) answer: Option<RateAnswer>,
}

/// Which requests count together.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum RatePer {
    /// Those of one caller: of a principal, or of an address where callers prove no identity.
    Caller,
    /// Those for one tool.
    Tool,
    /// Those for one upstream.
    Upstream,
    /// Those of one class of callers, between whom no policy can tell a difference.
    Class,
    /// All.
    All,
}

/// `error` or `tool_error`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum RateAnswer {
    /// A JSON-RPC error with the code 429.
    Error,
    /// The result of a tool with `isError`, which models read. Other methods get the error.
    ToolError,
}
