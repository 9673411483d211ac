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
    /// The organisation's own server, or a child process.
    OnPrem,
}

/// An AgentCore Gateway: `id` and `region`, or an upstream's `url` beside this. In all text, `${VAR}` is replaced.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Gateway {
    /// Its id, such as `tools-ab12cdef34`.
    pub(in crate::config) id: Option<String>,
    /// Its region, such as `eu-west-1`.
    pub(in crate::config) region: Option<String>,
    /// Where it is instead of where AWS puts it, such as a VPC endpoint: a URL without `/mcp`.
    pub(in crate::config) endpoint: Option<String>,
    /// How its search tool is exposed, by default `namespaced`.
    pub(in crate::config) search: Option<Search>,
    /// Whether weir has it read its targets' tools anew before each resync, by default `false`.
    pub(in crate::config) synchronize: Option<bool>,
}

/// How the tool `x_amz_bedrock_agentcore_search` is exposed.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Search {
    /// Like any other tool, with the namespace before its name.
    Namespaced,
    /// Under its own name.
    Keep,
    /// Not at all.
    Hide,
}

/// An MCP server on AgentCore Runtime: `arn`, or `agent_id`, `account_id` and `region`. In all text, `${VAR}` is replaced.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Runtime {
    /// The runtime's ARN, such as `arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/billing-x1`.
    pub(in crate::config) arn: Option<String>,
    /// The runtime's id.
    pub(in crate::config) agent_id: Option<String>,
    /// The account it is in: 12 digits.
    pub(in crate::config) account_id: Option<String>,
    /// Its region, such as `eu-west-1`.
    pub(in crate::config) region: Option<String>,
    /// The runtime's endpoint name, by default `DEFAULT`.
    pub(in crate::config) qualifier: Option<String>,
    /// Where it is instead of where AWS puts it, such as a VPC endpoint: a URL without `/runtimes/…`.
    pub(in crate::config) endpoint: Option<String>,
}

/// How TLS towards an upstream is made.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tls")]
pub(in crate::config) struct TlsSettings {
    /// A PEM file of certificates that are trusted in place of the machine's. Watched.
    pub(in crate::config) ca: Option<String>,
    /// A PEM file with the certificate that weir shows, then those between it and its CA. Needs `key`. Watched.
    pub(in crate::config) cert: Option<String>,
    /// Its private key in PEM: PKCS#8, PKCS#1 or SEC1.
    pub(in crate::config) key: Option<SecretRef>,
    /// The name that the server's certificate must have, by default the URL's host.
    pub(in crate::config) server_name: Option<String>,
    /// The least TLS version, by default 1.2.
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
