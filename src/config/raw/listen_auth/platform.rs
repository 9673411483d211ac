//! `listen.auth.platform`

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

/// An identity that a platform in front of weir asserts in headers. The platform has to remove these
/// headers from what its own callers send.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct PlatformIdentity {
    /// The header with the subject: a name of a user, or the ARN of an AWS role or user. Required
    /// unless `workload_token` is `true`; without it, the platform asserts no identity.
    pub(in crate::config) subject_header: Option<String>,
    /// The issuer of the subjects: the same as `issuer` under `jwt` makes them the same users.
    /// ARNs have none.
    pub(in crate::config) issuer: Option<String>,
    /// The header with the scopes, separated by blanks.
    pub(in crate::config) scopes_header: Option<String>,
    /// More headers, by the claim that each becomes: `{ department: X-Department }`.
    pub(in crate::config) claims: Option<IndexMap<String, String>>,
    /// Take the workload access token that Amazon Bedrock AgentCore Runtime sends with the requests of
    /// its callers, for upstreams with `subject: workload_token`. Needs `listen.sessions: platform`.
    /// Default: `false`.
    pub(in crate::config) workload_token: Option<bool>,
    /// The networks of the platform, such as `10.0.0.0/8`. From elsewhere the headers mean nothing.
    pub(in crate::config) from: Vec<String>,
}
