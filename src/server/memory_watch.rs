//! The watch over all the memory that the process has, of which `limits.memory` counts only what is
//! kept for others.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::memory::MemoryBudget;
use crate::metrics;

/// The time between two looks, while it has much or may keep less than it could.
const PERIOD: Duration = Duration::from_millis(10);

/// Tells the budget what the process has, until weir stops. Ends at once where the system does not
/// say it.
pub(super) async fn watch_memory(budget: Arc<MemoryBudget>, shutdown: CancellationToken) {
    let mut resident = 0;
    loop {
        let is_much = budget.used().max(resident) > budget.limit() / 2 || budget.is_reduced();
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PERIOD), if is_much => {}
            () = budget.wait_growth(), if !is_much => {
                // Not for each large message.
                tokio::time::sleep(PERIOD).await;
            }
        }
        let Some(found) = metrics::resident_bytes() else {
            return;
        };
        resident = usize::try_from(found).unwrap_or(usize::MAX);
        budget.heed_resident(resident);
    }
}
