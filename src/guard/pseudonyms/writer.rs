//! Writes the values of a store, as they come.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::PseudonymStore;

/// How long after a value its bytes are safe from a loss of power, too.
const SYNC: Duration = Duration::from_secs(1);

/// Writes values until `shutdown`, and once more then. Values that come together are written
/// together; one that cannot be written refuses the requests that wait for it, and all of the file
/// is tried again every second.
pub async fn store_changes(store: Arc<PseudonymStore>, shutdown: CancellationToken) {
    let (mut is_failing, mut is_synced) = (false, true);
    loop {
        let waits = is_failing || !is_synced;
        let changed = async {
            tokio::select! {
                () = store.changed() => false,
                () = tokio::time::sleep(SYNC), if waits => true,
            }
        };
        let changed = shutdown.run_until_cancelled(changed).await;
        let (is_last, is_due) = (changed.is_none(), changed != Some(false));
        if is_failing && !is_due {
            // Not all of the file is tried again for each request.
            store.refuse();
            continue;
        }
        let behind = Arc::clone(&store);
        let written = tokio::task::spawn_blocking(move || behind.write(is_due)).await;
        match written {
            Ok(Ok(())) => (is_failing, is_synced) = (false, is_due),
            Ok(Err(error)) => {
                if !is_failing {
                    tracing::error!(
                        %error,
                        "pseudonyms cannot be stored: requests that need a new one are refused"
                    );
                }
                is_failing = true;
            }
            Err(_) => is_failing = true,
        }
        if is_last {
            return;
        }
    }
}
