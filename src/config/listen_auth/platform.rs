//! `listen.auth.platform`

use http::HeaderName;
use ipnet::IpNet;

/// An identity that a platform in front of weir asserts in headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformIdentity {
    /// The header with the subject; `None` if no identity is asserted.
    pub subject_header: Option<HeaderName>,
    /// The issuer of the subjects, unless they are ARNs.
    pub issuer: Option<Box<str>>,
    /// The header with the scopes, separated by blanks.
    pub scopes_header: Option<HeaderName>,
    /// More headers, by the claim that each becomes.
    pub claims: Vec<(Box<str>, HeaderName)>,
    /// Whether a workload access token of AgentCore Runtime is taken.
    pub workload_token: bool,
    /// The networks of the platform.
    pub from: Vec<IpNet>,
}
