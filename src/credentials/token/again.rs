//! How flights land, and trying again after a failure.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{GrantError, Token, TokenSource};

/// How often it is looked whether somebody has logged in, or a secret has changed.
const LOOK: Duration = Duration::from_secs(1);

impl TokenSource {
    /// A task of weir's that ends with it.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let task = self.stop.clone().run_until_cancelled_owned(task);
        self.tasks.spawn(task.map(|_| ())).abort_handle()
    }

    /// Asks again then, or when the grant has changed, whether or not anybody calls: how things are should not
    /// depend on that. `version` is that of the grant when it failed.
    pub(super) fn retry(self: &Arc<Self>, at: Instant, version: u64) {
        let source = Arc::downgrade(self);
        let task = self.spawn(async move {
            while Instant::now() < at {
                tokio::time::sleep_until(at.min(Instant::now() + LOOK)).await;
                match source.upgrade() {
                    Some(source) if source.grant.version() == version => {}
                    Some(_) => break,
                    None => return,
                }
            }
            if let Some(source) = source.upgrade() {
                source.ask(source.number(), false);
            }
        });
        if let Some(earlier) = self.flight().retry.replace(task) {
            earlier.abort();
        }
    }
}

/// Lands a flight, however it ended.
pub(super) struct Landing {
    pub(super) source: Weak<TokenSource>,
    pub(super) version: u64,
    pub(super) result: Result<Token, GrantError>,
}

impl Landing {
    /// With this.
    pub(super) fn with(mut self, result: Result<Token, GrantError>) {
        self.result = result;
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let given_up = Err(GrantError::Passing(Box::default()));
        let result = std::mem::replace(&mut self.result, given_up);
        if let Some(source) = self.source.upgrade() {
            source.land(result, self.version);
        }
    }
}
