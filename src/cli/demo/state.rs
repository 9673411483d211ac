//! The running parts of the demo, and its errors.

use std::time::Duration;

use reqwest::StatusCode;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::agents::GuardedWeir;
use super::client::{self, DemoClient, DemoClientError};
use super::weir::{DemoStartError, DemoWeir};

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

/// Everything that runs while the demo does.
#[derive(Default)]
pub(super) struct DemoState {
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) front: Option<DemoWeir>,
    pub(super) client: Option<DemoClient>,
    /// The weir that asks its callers for keys, and its clients.
    pub(super) guarded: Option<GuardedWeir>,
    pub(super) agents: Vec<DemoClient>,
    pub(super) finished: bool,
}

impl DemoState {
    /// Stops everything, the client first, so that no part sees another one fail.
    pub(super) async fn stop_all(&mut self) {
        if let Some(client) = self.client.take() {
            client.close().await;
        }
        for agent in self.agents.drain(..) {
            agent.close().await;
        }
        if let Some(guarded) = self.guarded.take() {
            guarded.stop().await;
        }
        if let Some(front) = self.front.take() {
            front.stop().await;
        }
        self.stop.cancel();
        self.tasks.close();
        // The process is about to end: tasks that hang are not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.tasks.wait()).await;
    }
}
