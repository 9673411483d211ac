//! The endpoint of an upstream.

use std::path::PathBuf;

use http::HeaderName;
use url::Url;

use super::auth::SecretRef;
use super::environment::InheritEnv;

/// The kind of an upstream: how it is reached, and what its protocol allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connector {
    /// An Amazon Bedrock AgentCore Gateway.
    AgentcoreGateway,
    /// An MCP server hosted on Amazon Bedrock AgentCore Runtime.
    AgentcoreRuntime,
    /// A third party's server on the internet.
    Saas,
    /// A server of one's own organisation, or a child process.
    OnPrem,
}

impl Connector {
    /// Returns the word in the config.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentcoreGateway => "agentcore_gateway",
            Self::AgentcoreRuntime => "agentcore_runtime",
            Self::Saas => "saas",
            Self::OnPrem => "on_prem",
        }
    }

    /// Returns whether it connects to a service of AWS.
    #[must_use]
    pub const fn is_aws(self) -> bool {
        matches!(self, Self::AgentcoreGateway | Self::AgentcoreRuntime)
    }
}

/// The endpoint of an upstream.
#[derive(Debug)]
pub enum Endpoint {
    /// Streamable HTTP.
    Http(Box<HttpEndpoint>),
    /// A child process that speaks MCP on stdin and stdout.
    Child {
        /// The program: a path, or a name looked up in `PATH`.
        program: PathBuf,
        /// Its arguments.
        args: Vec<String>,
        /// Added to its environment; read anew at each start.
        env: Vec<(String, SecretRef)>,
        /// Its working folder, if not weir's.
        cwd: Option<PathBuf>,
        /// The variables that it gets of weir's own environment.
        inherit_env: InheritEnv,
        /// Whether it is kept from reading the secrets of weir and of other upstreams.
        hides_secrets: bool,
        /// The user that it runs as, if not weir's.
        user: Option<ChildUser>,
    },
}

/// `user:` — the user that a child process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildUser {
    /// A name, or a number without a group, to be looked up in `/etc/passwd`.
    Name(String),
    /// `UID:GID`
    Ids {
        /// The number of the user.
        user: u32,
        /// The number of the group.
        group: u32,
    },
}

impl ChildUser {
    /// Parses `NAME`, `UID` or `UID:GID`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some((user, group)) = text.split_once(':') {
            let (user, group) = (user.parse().ok()?, group.parse().ok()?);
            return Some(Self::Ids { user, group });
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let is_name = !text.is_empty() && text.bytes().all(legal);
        is_name.then(|| Self::Name(text.to_owned()))
    }
}

/// Streamable HTTP to one URL.
#[derive(Debug)]
pub struct HttpEndpoint {
    /// The MCP endpoint, encoded as it goes over the wire.
    pub url: Url,
    /// A Unix socket in place of TCP; the URL then says path and `Host`.
    pub socket: Option<PathBuf>,
    /// How TLS is made, where the URL is `https`.
    pub tls: TlsSettings,
    /// Sent with every request besides what logs in.
    pub headers: Vec<(HeaderName, SecretRef)>,
    /// Of a `connector: agentcore_gateway`.
    pub gateway: Option<Gateway>,
    /// Whether plain `http` is allowed beyond loopback.
    pub allow_plain_http: bool,
}

/// The largest file of certificates, in bytes: enough for all of a machine's.
pub const MAX_CERTIFICATES: u64 = 2 << 20;
/// The largest file of revoked certificates, in bytes.
pub const MAX_REVOCATIONS: u64 = 16 << 20;

/// `tls:` — how TLS towards an upstream is made.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// PEM certificates that are trusted in place of the machine's; watched.
    pub ca: Option<PathBuf>,
    /// The client certificate and its key; watched.
    pub identity: Option<ClientIdentity>,
    /// The name that the server's certificate must have, if not the URL's host.
    pub server_name: Option<String>,
    /// The minimum TLS version.
    pub min_version: TlsVersion,
}

/// A client certificate and its key.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// PEM: the certificate, then those in between it and the CA.
    pub cert: PathBuf,
    /// PEM: the private key (PKCS#8, PKCS#1 or SEC1).
    pub key: SecretRef,
}

/// `tls.min_version`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2
    #[default]
    V1_2,
    /// 1.3
    V1_3,
}

/// `gateway:` — what is particular to an AgentCore Gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Its id, if known: from the config, or from its URL.
    pub id: Option<String>,
    /// Its region, if known: from the config, or from its URL.
    pub region: Option<String>,
    /// How its search tool is exposed.
    pub search: Search,
    /// Whether its targets are synchronized before each resync.
    pub synchronize: bool,
}

/// `gateway.search`: the tool `x_amz_bedrock_agentcore_search`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Search {
    /// Like any other tool, with the namespace before its name.
    #[default]
    Namespaced,
    /// Under its own name.
    Keep,
    /// Not at all.
    Hide,
}
