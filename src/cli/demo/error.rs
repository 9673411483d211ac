//! The errors of the demo.

use reqwest::StatusCode;

use super::client::{self, DemoClientError};
use super::weir::DemoStartError;

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Http(#[source] reqwest::Error),
    /// There are no random numbers.
    #[error("the system gives no random numbers for keys")]
    Random,
    /// An upstream cannot listen.
    #[error("the upstream {name} cannot listen on loopback")]
    Listen {
        /// Its name.
        name: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A door cannot be tried.
    #[error("the upstream {name} does not answer")]
    NoAnswer {
        /// Its name.
        name: &'static str,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// A door is open.
    #[error("the upstream {name} answered {status} to a request without credentials")]
    Open {
        /// Its name.
        name: &'static str,
        /// The status of its answer.
        status: StatusCode,
    },
    /// Weir does not start.
    #[error("weir does not start")]
    Start(#[source] DemoStartError),
    /// The client failed.
    #[error(transparent)]
    DemoClient(#[from] DemoClientError),
    /// An upstream is not in the catalog.
    #[error("not in the catalog after {} s: {}", client::PATIENCE.as_secs(), names.join(", "))]
    Missing {
        /// The upstreams.
        names: Vec<&'static str>,
    },
    /// Weir has not subscribed to changes of the warehouse.
    #[error("weir has not subscribed to changes of the upstream warehouse")]
    NotFollowed,
    /// The files of the agents' keys and policies cannot be written.
    #[error("cannot write the files of keys and policies")]
    Folder(#[source] std::io::Error),
    /// An agent sees other tools than its policy permits.
    #[error("the agent {agent} sees tools of {seen}, and may use those of {expected}")]
    OtherTools {
        /// The agent.
        agent: &'static str,
        /// Upstreams.
        seen: String,
        /// Upstreams.
        expected: String,
    },
    /// An address reached the upstream, or did not come back.
    #[error("the address in a call of `{tool}` was not replaced, or not restored")]
    Unredacted {
        /// The tool.
        tool: String,
    },
    /// A question of an upstream did not reach the client.
    #[error("{tool} did not ask the client one question")]
    NotAsked {
        /// The exposed name.
        tool: String,
    },
    /// An agent could call a tool that no policy permits.
    #[error("{tool} answered an agent that may not use it")]
    Allowed {
        /// The exposed name.
        tool: String,
    },
    /// The change was announced, but the list is the same.
    #[error("the list changed, but {tool} is not in it")]
    NotListed {
        /// The exposed name.
        tool: String,
    },
}
