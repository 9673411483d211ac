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

/// The time between two looks for idle sessions.
const RELIEF: Duration = Duration::from_millis(300);

/// The same while the process has more than `limits.memory`.
const URGENT_RELIEF: Duration = Duration::from_millis(100);

/// How long memory is given back at once after the process had too much: much of it comes and goes in
/// bursts, and what is freed in one of them would be there in the next one.
const AT_ONCE: Duration = Duration::from_secs(60);

/// The time between two lines in the log about that.
const TOLD: Duration = Duration::from_secs(60);

/// Tells the budget what the process has, until weir stops. While that is much, drops the states of idle
/// sessions, and has the allocator give memory back when it is freed (`give_back_at_once`). Ends at once
/// where the system does not say how much it is.
pub(super) async fn watch_memory(
    budget: Arc<MemoryBudget>,
    sessions: Arc<SessionTable>,
    give_back_at_once: Option<fn(bool)>,
    shutdown: CancellationToken,
) {
    let mut relief = Relief {
        sessions,
        last: None,
        told: None,
        dropped: 0,
    };
    let mut resident = 0;
    // When the process had too much, while memory is given back at once.
    let mut too_much: Option<Instant> = None;
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
            if too_much.replace(Instant::now()).is_none() {
                give_back(give_back_at_once, true).await;
                memory = ProcessMemory::read().unwrap_or(memory);
                resident = bytes(memory.resident);
            }
        } else if too_much.is_some_and(|at| at.elapsed() >= AT_ONCE) {
            too_much = None;
            give_back(give_back_at_once, false).await;
        }
        budget.heed_process(bytes(memory.anonymous));
    }
}

/// Has memory given back at once, or as usual.
async fn give_back(set: Option<fn(bool)>, at_once: bool) {
    if let Some(set) = set {
        // It may take some milliseconds. It fails only while the runtime ends.
        let _ = tokio::task::spawn_blocking(move || set(at_once)).await;
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::seal::KeyRing;

    static TOLD: Mutex<Vec<bool>> = Mutex::new(Vec::new());

    #[tokio::test(start_paused = true)]
    async fn freed_memory_is_wanted_back_at_once_until_the_process_has_had_enough_for_long() {
        let budget = MemoryBudget::new(1 << 20);
        let keys = KeyRing::from_texts(["k"]).unwrap();
        let sessions = Arc::new(SessionTable::new(&keys, Arc::clone(&budget)).unwrap());
        let shutdown = CancellationToken::new();
        let tell: fn(bool) = |at_once| TOLD.lock().unwrap().push(at_once);
        let watch = watch_memory(Arc::clone(&budget), sessions, Some(tell), shutdown.clone());
        let told = || TOLD.lock().unwrap().clone();
        let look = async {
            tokio::time::sleep(2 * CALM_PERIOD).await;
            assert_eq!(told(), [true], "it has more than a MiB");
            budget.set_limit(1 << 40);
            tokio::time::sleep(AT_ONCE - 3 * CALM_PERIOD).await;
            assert_eq!(told(), [true]);
            tokio::time::sleep(5 * CALM_PERIOD).await;
            assert_eq!(told(), [true, false]);
            shutdown.cancel();
        };
        tokio::join!(watch, look);
    }
}
