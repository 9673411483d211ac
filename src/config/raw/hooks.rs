//! `hooks:`

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{Duration, ScalarText};
use super::{Auth, TextOrSecret, TlsSettings};

/// Somebody else's code that sees requests before they go to an upstream, and their answers, over the
/// interceptor payload of AgentCore Gateway, version 1.0. One of `lambda`, `url`, `socket` and
/// `command` says how to reach it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Hook {
    /// The messages that it sees. Default: both.
    pub(in crate::config) on: Option<Vec<HookMessage>>,
    /// The methods that it sees. Default: `[tools/call]`.
    pub(in crate::config) methods: Option<Vec<String>>,
    /// Globs of exposed names: the tools and prompts that it sees. Default: all.
    pub(in crate::config) tools: Option<Vec<String>>,
    /// Globs of the names of upstreams that it sees. Default: all.
    pub(in crate::config) upstreams: Option<Vec<String>>,
    /// Globs of the subjects of callers that it sees; a caller without a subject has an empty one.
    /// Default: all.
    pub(in crate::config) callers: Option<Vec<String>>,
    /// Names of headers of the caller's request that it sees, in the payload's `headers`. Headers with
    /// credentials cannot be passed. Default: none.
    pub(in crate::config) pass_request_headers: Option<Vec<String>>,
    /// An AWS Lambda function.
    pub(in crate::config) lambda: Option<LambdaFunction>,
    /// A URL that takes the payload in a POST. `${VAR}` is replaced.
    pub(in crate::config) url: Option<String>,
    /// A Unix socket that takes JSON-RPC requests `intercept`, one a line. With `url`, HTTP is spoken
    /// over it.
    pub(in crate::config) socket: Option<String>,
    /// A program that takes JSON-RPC requests `intercept` on stdin, one a line, and answers on stdout.
    pub(in crate::config) command: Option<String>,
    /// Arguments of the `command`. `${VAR}` is replaced.
    pub(in crate::config) args: Option<Vec<ScalarText>>,
    /// Additional environment variables of the `command`.
    pub(in crate::config) env: Option<IndexMap<String, TextOrSecret>>,
    /// The working folder of the `command`. Default: that of weir.
    pub(in crate::config) cwd: Option<String>,
    /// TLS settings, for an `https` URL.
    pub(in crate::config) tls: Option<TlsSettings>,
    /// How weir authenticates at the `url`.
    pub(in crate::config) auth: Option<Auth>,
    /// Additional headers of every request to the `url`.
    pub(in crate::config) headers: Option<IndexMap<String, TextOrSecret>>,
    /// Allow `http://` to other machines. Default: `false`.
    pub(in crate::config) allow_plain_http: Option<bool>,
    /// Maximum time for one answer, waiting for a place included. Default: 2s.
    pub(in crate::config) timeout: Option<Duration>,
    /// The treatment of a message for which the hook gives no usable answer. Default: `deny`.
    pub(in crate::config) on_failure: Option<HookFailureAction>,
    /// The data that it sees, where `guard.redact` has rules. Default: `raw`.
    pub(in crate::config) sees: Option<HookView>,
    /// Maximum number of messages at the same time. Others wait. Default: 64.
    #[schemars(range(min = 1))]
    pub(in crate::config) concurrency: Option<u64>,
}

/// `request` or `response`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum HookMessage {
    /// Requests, before they are sent.
    Request,
    /// Results and errors, before the caller gets them.
    Response,
}

/// `raw` or `redacted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum HookView {
    /// The messages as callers and upstreams sent them.
    Raw,
    /// The messages as they may go to the upstream: values are replaced as `guard.redact.towards_upstream` says, also
    /// in answers.
    Redacted,
}

/// `deny` or `pass`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum HookFailureAction {
    /// The caller gets an error.
    Deny,
    /// It goes on as if there was no such hook, is logged and counted.
    Pass,
}

/// An AWS Lambda function.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct LambdaFunction {
    /// Its ARN, with a version or alias if it has one. `${VAR}` is replaced.
    pub(in crate::config) arn: String,
    /// The AWS credentials: `type: sigv4`. Default: those of the default chain.
    pub(in crate::config) auth: Option<Auth>,
}
