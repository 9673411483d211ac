//! Has a gateway read its targets anew before it is listed (`gateway.synchronize`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::credentials::aws::control_plane::{SyncError, SyncReport};
use crate::upstream::Link;

/// The longest that all targets together may take.
const LONGEST: Duration = Duration::from_secs(300);

/// Synchronizes the targets of a gateway.
#[derive(Default)]
pub(super) struct TargetSync {
    running: Option<AbortOnDropHandle<()>>,
    /// Whether the gateway has been listed since weir started. Until then nobody waits for its
    /// targets.
    pub(super) listed: bool,
}

impl TargetSync {
    /// Begins, if that is wanted and not under way already, and waits for the end as long as a
    /// listing may take. What takes longer goes on, and is listed when it has ended.
    pub(super) async fn synchronize(&mut self, link: &Arc<Link>) {
        if link.gateway_control.is_none() {
            return;
        }
        if let Some(running) = &self.running
            && !running.is_finished()
        {
            return;
        }
        let (ended, end) = oneshot::channel();
        let task = run(Arc::clone(link), ended);
        self.running = Some(AbortOnDropHandle::new(link.tasks().spawn(task)));
        let patience = match self.listed {
            true => link.config.timeouts.list,
            false => Duration::ZERO,
        };
        let _ = tokio::time::timeout(patience, end).await;
    }
}

async fn run(link: Arc<Link>, ended: oneshot::Sender<()>) {
    let Some(control) = &link.gateway_control else {
        return;
    };
    let outcome = control.synchronize(Instant::now() + LONGEST).await;
    let warning = warning(&outcome);
    if let Some(warning) = &warning {
        tracing::warn!(upstream = %link.id(), "{warning}");
    }
    let is_news = matches!(outcome, Ok(Some(_)) | Err(_));
    if is_news {
        link.health.set_warning(warning);
    }
    let changed = matches!(outcome, Ok(Some(SyncReport { done: 1.., .. })));
    if ended.send(()).is_err() && changed {
        link.rounds.announce_change();
    }
}

/// Makes the warning for operators, if there is one.
fn warning(outcome: &Result<Option<SyncReport>, SyncError>) -> Option<String> {
    match outcome {
        Ok(Some(SyncReport { failed, .. })) if *failed > 0 => Some(format!(
            "gateway.synchronize: {failed} of the targets could not be synchronized"
        )),
        Ok(_) => None,
        Err(error) => Some(format!("gateway.synchronize: {error}")),
    }
}
