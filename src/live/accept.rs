//! Lets operators accept redefinitions that the drift filter holds back.

use tokio::sync::{mpsc, oneshot};

use crate::live::command::{AcceptResults, PublisherCommand};
use crate::live::state::{AcceptOutcome, AcceptRequest};

/// A handle to accept redefinitions. Cheap to clone; it does not keep the publisher running.
#[derive(Clone, Debug)]
pub struct AcceptHandle {
    commands: mpsc::WeakSender<PublisherCommand>,
}

impl AcceptHandle {
    /// Makes a handle to the publisher that receives these commands.
    #[must_use]
    pub fn new(commands: &mpsc::Sender<PublisherCommand>) -> Self {
        Self {
            commands: commands.downgrade(),
        }
    }

    /// Accepts redefinitions, and waits until callers see them and the pins are stored.
    ///
    /// Returns the outcome of each request in their order, and whether all changed pins could be
    /// stored: `None` where nothing had to be, or where there is no state folder. Returns `None`
    /// when weir is stopping.
    pub async fn accept(
        &self,
        requests: Vec<AcceptRequest>,
    ) -> Option<(Vec<AcceptOutcome>, Option<bool>)> {
        let (done, results) = oneshot::channel();
        let command = PublisherCommand::Accept { requests, done };
        let commands = self.commands.upgrade()?;
        commands.send(command).await.ok()?;
        drop(commands);
        let AcceptResults { outcomes, stored } = results.await.ok()?;
        let mut all_stored = None;
        for stored in stored {
            let stored = stored.await.unwrap_or(false);
            all_stored = Some(all_stored.unwrap_or(true) && stored);
        }
        Some((outcomes, all_stored))
    }
}
