//! Keeps the ends and renewals of this replica and of the others the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::replicas::{NewsTopic, SharedStore, StoreLost};
use crate::session::shared_lives::SharedLives;
use crate::session::table::SessionTable;

/// The time between the news that there is more in the store and the look at it.
const SETTLE: Duration = Duration::from_millis(200);

impl SessionTable {
    /// Shares ends and renewals with the other replicas, until `stop`. To be called once.
    pub async fn share(self: Arc<Self>, store: Arc<SharedStore>, stop: CancellationToken) {
        let mut news = store.subscribe();
        let shared = self.share_with(store);
        // The first connection may have been made before this subscribed.
        let mut is_due = true;
        loop {
            if is_due {
                let exchanged = self.exchange(&shared);
                // The next connection repeats an exchange that fails.
                match stop.run_until_cancelled(exchanged).await {
                    Some(Ok(()) | Err(StoreLost)) => {}
                    None => return,
                }
            }
            let news = stop.run_until_cancelled(news.recv());
            is_due = match news.await {
                None | Some(Err(broadcast::error::RecvError::Closed)) => return,
                Some(Err(broadcast::error::RecvError::Lagged(_))) => true,
                Some(Ok(news))
                    if news.topic == NewsTopic::Sessions && SharedLives::is_more(&news.text) =>
                {
                    // Several replicas come back at once, and each may have something.
                    let pause = tokio::time::sleep(SETTLE);
                    if stop.run_until_cancelled(pause).await.is_none() {
                        return;
                    }
                    true
                }
                Some(Ok(news)) if news.topic == NewsTopic::Sessions => {
                    if let Some(change) = shared.read(&news.text) {
                        self.apply(&change);
                    }
                    false
                }
                Some(Ok(news)) => news.topic == NewsTopic::Reached,
            };
        }
    }

    /// Brings what this replica knows into the store, and takes over what the others know.
    async fn exchange(&self, shared: &SharedLives) -> Result<(), StoreLost> {
        shared.write_all(&self.life_changes()).await?;
        for change in shared.read_all().await? {
            self.apply(&change);
        }
        Ok(())
    }
}
