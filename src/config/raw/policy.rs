//! `policy:`, and the files of its tests.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::Json;

/// Rules of what callers may do, in the language Cedar.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Policy {
    /// The files of policies: paths, in which `*` stands for any characters but `/`, and `**` for
    /// any folders. They are watched.
    pub(in crate::config) files: Vec<String>,
    /// Whether decisions are put in force. Default: `enforce`.
    pub(in crate::config) mode: Option<PolicyMode>,
    /// The id of the resource `AgentCore::Gateway` in policies. Where weir replaces an AgentCore
    /// Gateway, its ARN. Without this key it is the value of `instance`.
    pub(in crate::config) gateway: Option<String>,
    /// The kinds of requests that need a permit; all else passes. Default: `[tools]`, as in AgentCore.
    pub(in crate::config) covers: Option<Vec<Covered>>,
    /// Whether policies have to fit the names and types of what is there. Default: `strict`.
    pub(in crate::config) validation: Option<PolicyValidation>,
    /// Files with tests of the policies, which `weir check` runs.
    pub(in crate::config) tests: Option<Vec<String>>,
}

/// `enforce` or `log_only`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum PolicyMode {
    /// A denied request is refused.
    Enforce,
    /// Everything passes, and what would be denied is recorded.
    LogOnly,
}

/// A kind of what needs a permit.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Covered {
    /// Calls of tools.
    Tools,
    /// Prompts: the action `Weir::Action::"get_prompt"`.
    Prompts,
    /// Resources and resource templates: the action `Weir::Action::"read_resource"`.
    Resources,
}

/// `strict` or `off`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum PolicyValidation {
    /// A policy that names what does not exist, or compares what cannot be compared, is an error.
    Strict,
    /// Policies only have to be Cedar.
    Off,
}

/// A file of tests of policies.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct PolicyTests {
    /// The tests.
    pub(in crate::config) tests: Vec<PolicyTest>,
}

/// One test: who calls what, and what comes of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct PolicyTest {
    /// The caller; an anonymous one if it is left out.
    pub(in crate::config) caller: Option<TestCaller>,
    /// The tool, as policies name it: `UPSTREAM___ORIGINAL`.
    pub(in crate::config) tool: String,
    /// The arguments.
    pub(in crate::config) args: Option<IndexMap<String, Json>>,
    /// The outcome.
    pub(in crate::config) expect: Expected,
    /// The names of the policies that decide.
    pub(in crate::config) by: Option<Vec<String>>,
}

/// The caller of a test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TestCaller {
    /// How it proved who it is. Default: `oauth_user`.
    pub(in crate::config) kind: Option<CallerKind>,
    /// Its subject.
    pub(in crate::config) subject: Option<String>,
    /// Its claims.
    pub(in crate::config) claims: Option<IndexMap<String, Json>>,
}

/// The kind of a caller.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum CallerKind {
    /// One without an identity.
    Anonymous,
    /// The client on stdio.
    Local,
    /// A JSON Web Token.
    OauthUser,
    /// An AWS role or user.
    IamEntity,
    /// An API key.
    ApiKey,
    /// A client certificate.
    Workload,
}

/// `allow` or `deny`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Expected {
    /// The call passes.
    Allow,
    /// It is refused.
    Deny,
}
