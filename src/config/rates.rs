//! `limits.rates`: how much of what callers may ask for.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use globset::GlobSet;

use super::fingerprint::Fingerprint;

/// Most rules.
pub(super) const MAX_RATES: usize = 64;
/// Most patterns and upstreams of one rule.
pub(super) const MAX_RATE_NAMES: usize = 1_000;

/// The call of a tool, which rules are about if they do not say otherwise.
pub(super) const TOOLS_CALL: &str = "tools/call";

/// The methods of requests that go to one upstream, so that a rule can ask for it.
pub(super) const TARGETED: [&str; 8] = [
    TOOLS_CALL,
    "prompts/get",
    "resources/read",
    "completion/complete",
    "tasks/get",
    "tasks/result",
    "tasks/update",
    "tasks/cancel",
];

/// The other methods that rules can be about.
pub(super) const UNTARGETED: [&str; 8] = [
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "logging/setLevel",
    "tasks/list",
];

/// Returns the methods that rules can be about.
pub fn limitable_methods() -> impl Iterator<Item = &'static str> {
    TARGETED.into_iter().chain(UNTARGETED)
}

/// One rule of `limits.rates`.
#[derive(Debug)]
pub struct RateRule {
    /// Its name in errors and metrics, unlike that of any other rule.
    pub name: Box<str>,
    /// Which requests count together.
    pub per: RatePer,
    /// The exposed names of the tools that it is about; `None` is all.
    pub tools: Option<GlobSet>,
    /// The patterns that `tools` is made of, for messages.
    pub tool_patterns: Box<[Box<str>]>,
    /// The names of the upstreams that it is about; `None` is all.
    pub upstreams: Option<Box<[Box<str>]>>,
    /// The methods that it is about.
    pub methods: Box<[&'static str]>,
    /// How many requests.
    pub requests: Option<Rate>,
    /// How many bytes of requests and answers.
    pub bytes: Option<Rate>,
    /// How many requests at the same time.
    pub in_flight: Option<NonZeroU32>,
    /// The form of a refusal.
    pub answer: RateAnswer,
    /// Equal for two rules that mean the same, but for their names.
    pub fingerprint: Fingerprint,
}

/// So much in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How much: requests or bytes.
    pub amount: NonZeroU64,
    /// In which time it comes back.
    pub period: Duration,
    /// How much at once, in requests; for bytes it is `amount`.
    pub burst: NonZeroU32,
}

/// `per:` — which requests count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RatePer {
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

/// `answer:` — the form of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateAnswer {
    /// A JSON-RPC error.
    Error,
    /// The result of a tool with `isError`, which models read; an error for other methods.
    ToolError,
}

/// Returns what tells the rates of one config from those of another, in their order.
pub(super) fn written(rates: &[RateRule]) -> impl Iterator<Item = (&str, Fingerprint)> {
    rates.iter().map(|rule| (&*rule.name, rule.fingerprint))
}
