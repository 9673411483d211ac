//! The watch over all the memory that the process has, of which `limits.memory` counts only what is
//! kept for others.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::memory::MemoryBudget;
use crate::metrics;

/// The time between two looks: much kept, and little.
const PERIODS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Tells the budget what the process has, until weir stops. Ends at once where the system does not
/// say it.
pub(super) async fn watch_memory(budget: Arc<MemoryBudget>, shutdown: CancellationToken) {
    loop {
        let is_much = budget.used() > budget.limit() / 4;
        let period = if is_much { PERIODS.0 } else { PERIODS.1 };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        let Some(resident) = metrics::resident_bytes() else {
            return;
        };
        budget.heed_resident(usize::try_from(resident).unwrap_or(usize::MAX));
    }
}
