//! The running parts of the demo.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::agents::GuardedWeir;
use super::client::DemoClient;
use super::weir::DemoWeir;

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
