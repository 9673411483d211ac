//! How an upstream is reached.

use schemars::JsonSchema;
use serde::Deserialize;

use super::secret::SecretRef;

/// The kind of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Connector {
    /// An Amazon Bedrock AgentCore Gateway.
    AgentcoreGateway,
    /// An MCP server hosted on Amazon Bedrock AgentCore Runtime.
    AgentcoreRuntime,
    /// A third party's server on the internet.
    Saas,
    /// A server of one's own organisation, or a child process.
    OnPrem,
}

/// An AgentCore Gateway: give `id` and `region` here, or the `url` of the upstream. In all text,
/// `${VAR}` is replaced.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Gateway {
    /// The id of the gateway, such as `tools-ab12cdef34`.
    pub(in crate::config) id: Option<String>,
    /// The AWS region, such as `eu-west-1`.
    pub(in crate::config) region: Option<String>,
    /// Another base URL than that of AWS, such as a VPC endpoint, without `/mcp`.
    pub(in crate::config) endpoint: Option<String>,
    /// How the search tool of the gateway is exposed. Default: `namespaced`.
    pub(in crate::config) search: Option<Search>,
    /// Make the gateway read the tools of its targets again before each resync. Default: `false`.
    pub(in crate::config) synchronize: Option<bool>,
}

/// How the tool `x_amz_bedrock_agentcore_search` is exposed.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Search {
    /// Like any other tool, with the namespace before its name.
    Namespaced,
    /// Under its own name, without the namespace.
    Keep,
    /// Not at all.
    Hide,
}

/// An MCP server on AgentCore Runtime: give `arn`, or `agent_id`, `account_id` and `region`. In all
/// text, `${VAR}` is replaced.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Runtime {
    /// The ARN of the runtime, such as
    /// `arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/billing-x1`.
    pub(in crate::config) arn: Option<String>,
    /// The id of the runtime.
    pub(in crate::config) agent_id: Option<String>,
    /// The AWS account: 12 digits.
    pub(in crate::config) account_id: Option<String>,
    /// The AWS region, such as `eu-west-1`.
    pub(in crate::config) region: Option<String>,
    /// The endpoint name of the runtime. Default: `DEFAULT`.
    pub(in crate::config) qualifier: Option<String>,
    /// Another base URL than that of AWS, such as a VPC endpoint, without `/runtimes/…`.
    pub(in crate::config) endpoint: Option<String>,
}

/// TLS settings towards an upstream.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tls")]
pub(in crate::config) struct TlsSettings {
    /// A PEM file of CA certificates to trust instead of those of the machine. It is watched.
    pub(in crate::config) ca: Option<String>,
    /// A PEM file with the client certificate of weir, followed by its intermediate certificates.
    /// Requires `key`. It is watched.
    pub(in crate::config) cert: Option<String>,
    /// The private key of the client certificate, in PEM: PKCS#8, PKCS#1 or SEC1.
    pub(in crate::config) key: Option<SecretRef>,
    /// The name that the certificate of the server must have. Default: the host of the URL.
    pub(in crate::config) server_name: Option<String>,
    /// The minimum TLS version. Default: 1.2.
    pub(in crate::config) min_version: Option<TlsVersion>,
}

/// A TLS version, in quotes.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(in crate::config) enum TlsVersion {
    /// TLS 1.2
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3
    #[serde(rename = "1.3")]
    V1_3,
}
