//! `guard:` of weir, of an upstream and of a tool.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Validate;
use super::forms::Duration;
use super::secret::SecretRef;

/// The data that may pass, in both directions.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Guard {
    /// The treatment of personal data and secrets in messages. Default: they pass.
    pub(in crate::config) redact: Option<Redact>,
    /// Checks of arguments and results of tools.
    pub(in crate::config) validate: Option<Validate>,
}

/// The data that may pass to and from one upstream or tool. What it leaves out is as in `guard` of
/// the upstream, then of weir.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RouteGuard {
    /// The treatment of personal data and secrets in messages.
    pub(in crate::config) redact: Option<RouteRedact>,
    /// Checks of arguments and results of tools.
    pub(in crate::config) validate: Option<Validate>,
}

/// The treatment of personal data and secrets, by class. `*` stands for every class that is not
/// named beside it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Redact {
    /// The treatment of values of a class on their way to upstreams.
    pub(in crate::config) towards_upstream: Option<IndexMap<String, RedactAction>>,
    /// The treatment of values of a class on their way to callers.
    pub(in crate::config) towards_caller: Option<IndexMap<String, RedactAction>>,
    /// Classes of your own, by name: capital letters, digits and `_`.
    pub(in crate::config) detectors: Option<IndexMap<String, Detector>>,
    /// Classes of whole fields, by their path in arguments, in structured content and in JSON within
    /// text: `$.customer.ssn`, `$.items[*].email`, `$..password`.
    pub(in crate::config) fields: Option<IndexMap<String, String>>,
    /// The key of pseudonyms: at least 32 bytes of text. The same key makes the same pseudonyms, on
    /// replicas and along a chain. Default: made once and stored in the state folder, or made at
    /// every start if there is none.
    pub(in crate::config) key: Option<SecretRef>,
    /// In place of `key`, several: the first one makes pseudonyms, and those of the others are still
    /// read.
    pub(in crate::config) keys: Option<Vec<SecretRef>>,
    /// The form of pseudonyms. Default: `stored`.
    pub(in crate::config) form: Option<PseudonymForm>,
    /// The time for which the value behind a `stored` pseudonym is kept after it was last made.
    /// Default: 30d.
    pub(in crate::config) keep: Option<Duration>,
    /// The claim of callers that names their tenant. Pseudonyms of one tenant mean nothing to
    /// another one, and callers without the claim get their values masked and none restored. Default: all
    /// callers are one tenant.
    pub(in crate::config) tenant: Option<String>,
}

/// The treatment of personal data and secrets of one upstream or tool, by class.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RouteRedact {
    /// The treatment of values of a class on their way to the upstream.
    pub(in crate::config) towards_upstream: Option<IndexMap<String, RedactAction>>,
    /// The treatment of values of a class on their way from the upstream to callers.
    pub(in crate::config) towards_caller: Option<IndexMap<String, RedactAction>>,
    /// Classes of whole fields, by their path, in addition to those of weir.
    pub(in crate::config) fields: Option<IndexMap<String, String>>,
}

/// The treatment of a value of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum RedactAction {
    /// A pseudonym takes its place, which can be turned back.
    Tokenise,
    /// The name of its class takes its place.
    Mask,
    /// The message is refused.
    Block,
    /// It passes and is counted.
    Report,
    /// It passes.
    Pass,
    /// It passes, and pseudonyms become the values that they stand for.
    Restore,
}

/// The form of pseudonyms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum PseudonymForm {
    /// A short id. The value is kept in the state folder, encrypted.
    Stored,
    /// The encrypted value itself: longer, but every weir with the key can turn it back.
    Sealed,
}

/// A class of your own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Detector {
    /// A regular expression that its values match, without look-around and back-references.
    pub(in crate::config) pattern: String,
}
