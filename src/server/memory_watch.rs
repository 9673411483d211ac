//! The watch over all the memory that the process has, of which `limits.memory` counts only what is
//! kept for others.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::memory::MemoryBudget;
use crate::metrics::ProcessMemory;
use crate::session::SessionTable;

/// The time between two looks, while it has much.
const PERIOD: Duration = Duration::from_millis(10);

/// The same otherwise: what grows in small steps tells nobody.
const CALM_PERIOD: Duration = Duration::from_secs(2);

/// The time between two times that the allocator has to give back what was freed.
const RELEASE: Duration = Duration::from_millis(20);

/// The time between two looks for idle sessions.
const RELIEF: Duration = Duration::from_millis(300);

/// The same while the process has more than `limits.memory`.
const URGENT_RELIEF: Duration = Duration::from_millis(100);

/// The time between two lines in the log about that.
const TOLD: Duration = Duration::from_secs(60);

/// Tells the budget what the process has, until weir stops. While that is much, drops the states of idle
/// sessions, and has the allocator give back what was freed (`release_memory`). Ends at once where the
/// system does not say how much it is.
pub(super) async fn watch_memory(
    budget: Arc<MemoryBudget>,
    sessions: Arc<SessionTable>,
    release_memory: Option<fn()>,
    shutdown: CancellationToken,
) {
    let mut released = Instant::now();
    let mut relief = Relief {
        sessions,
        last: None,
        told: None,
        dropped: 0,
    };
    let mut resident = 0;
    loop {
        let is_much = budget.used().max(resident) > budget.limit() / 2;
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PERIOD), if is_much => {}
            () = tokio::time::sleep(CALM_PERIOD), if !is_much => {}
            () = budget.wait_growth(), if !is_much => {
                // Not for each large message.
                tokio::time::sleep(PERIOD).await;
            }
        }
        let Some(mut memory) = ProcessMemory::read() else {
            return;
        };
        resident = bytes(memory.resident);
        // Before less may be kept: what is on its way needs the rest.
        if resident > budget.limit() / 4 * 3 {
            relief.drop_idle(match resident > budget.limit() {
                true => URGENT_RELIEF,
                false => RELIEF,
            });
            if let Some(release) = release_memory.filter(|_| released.elapsed() >= RELEASE) {
                // It may take some milliseconds. It fails only while the runtime ends.
                let _ = tokio::task::spawn_blocking(release).await;
                released = Instant::now();
                memory = ProcessMemory::read().unwrap_or(memory);
                resident = bytes(memory.resident);
            }
        }
        budget.heed_process(bytes(memory.anonymous));
    }
}

fn bytes(of: u64) -> usize {
    usize::try_from(of).unwrap_or(usize::MAX)
}

/// The dropping of idle sessions.
struct Relief {
    sessions: Arc<SessionTable>,
    /// When it was done last.
    last: Option<Instant>,
    /// When the log had a line about it.
    told: Option<Instant>,
    /// How many were dropped since.
    dropped: usize,
}

impl Relief {
    /// Drops some, unless that was done within `pause`.
    fn drop_idle(&mut self, pause: Duration) {
        if self.last.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        self.last = Some(Instant::now());
        self.dropped += self.sessions.relieve();
        if self.dropped > 0 && self.told.is_none_or(|told| told.elapsed() >= TOLD) {
            self.told = self.last;
            let dropped = std::mem::take(&mut self.dropped);
            tracing::info!(
                dropped,
                "idle sessions made room for others, see `limits.memory`: they go on when they are used"
            );
        }
    }
}
