//! `hooks:` — somebody else's code in the way of requests and answers.

use std::sync::Arc;
use std::time::Duration;

use globset::GlobSet;
use http::HeaderName;

use super::fingerprint::Fingerprint;
use super::{AwsCredentials, Upstream};
use crate::name::UpstreamId;

/// One of `hooks:`
#[derive(Debug)]
pub struct Hook {
    /// Its key in the config.
    pub name: UpstreamId,
    /// Whether it sees requests.
    pub on_request: bool,
    /// Whether it sees results and errors.
    pub on_response: bool,
    /// The methods that it sees.
    pub methods: Vec<String>,
    /// The exposed names that it sees; `None` is all.
    pub tools: Option<GlobSet>,
    /// The upstreams that it sees; `None` is all.
    pub upstreams: Option<GlobSet>,
    /// The subjects of callers that it sees; `None` is all.
    pub callers: Option<GlobSet>,
    /// The headers of the caller's request that it sees.
    pub request_headers: Vec<PassedHeader>,
    /// How it is reached.
    pub target: HookTarget,
    /// For one answer, the wait for a place included.
    pub timeout: Duration,
    /// Whether what it gives no answer for passes.
    pub passes_on_failure: bool,
    /// Whether it sees data by the rules for what goes to the upstream.
    pub sees_redacted: bool,
    /// Messages at the same time.
    pub concurrency: usize,
    /// Equal for two configs of a hook that mean the same.
    pub fingerprint: Fingerprint,
    /// Its position in the config, for messages: `file:line`.
    pub origin: String,
}

/// A header of the caller's request that a hook sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedHeader {
    /// The name by which it is found.
    pub name: HeaderName,
    /// The name that the hook sees: as the operator writes it.
    pub written: Box<str>,
}

/// How a hook is reached.
#[derive(Debug)]
pub enum HookTarget {
    /// A Lambda function.
    Lambda {
        /// Its ARN.
        arn: String,
        /// The region in the ARN.
        region: String,
        /// The AWS credentials.
        credentials: AwsCredentials,
    },
    /// An endpoint over HTTP, or a child process: what an upstream of this kind has.
    Endpoint(Arc<Upstream>),
    /// A Unix socket with a JSON-RPC message a line.
    Socket(std::path::PathBuf),
}

impl HookTarget {
    /// Returns the word in the config.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Lambda { .. } => "lambda",
            Self::Endpoint(upstream) => match upstream.endpoint {
                super::Endpoint::Http(_) => "url",
                super::Endpoint::Child { .. } => "command",
            },
            Self::Socket(_) => "socket",
        }
    }
}
