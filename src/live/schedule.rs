//! When each upstream is listed again. The only file that knows tokio-cron-scheduler.

use std::sync::Arc;
use std::time::Duration;

use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::config::Resync;
use crate::upstream::Link;

/// A tick is put off by up to this share of the interval, so that upstreams are not listed in step.
const JITTER: u32 = 20;

/// The running schedule; stops when [`Schedule::stop`] is called.
pub struct Schedule {
    scheduler: JobScheduler,
}

/// Why there is no schedule.
#[derive(Debug, thiserror::Error)]
#[error("the resync schedule cannot be set up")]
pub struct ScheduleError(#[from] JobSchedulerError);

impl Schedule {
    /// Ticks every link by its config: a tick asks for a resync, which coalesces with others.
    ///
    /// # Errors
    /// The scheduler refuses an expression or cannot start.
    pub async fn start(links: &[Arc<Link>]) -> Result<Self, ScheduleError> {
        let scheduler = JobScheduler::new().await?;
        for (slot, link) in links.iter().enumerate() {
            scheduler.add(job(slot, link)?).await?;
        }
        scheduler.start().await?;
        Ok(Self { scheduler })
    }

    /// No more ticks.
    pub async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::debug!(%error, "the resync schedule did not stop cleanly");
        }
    }
}

fn job(slot: usize, link: &Arc<Link>) -> Result<Job, JobSchedulerError> {
    let weak = Arc::downgrade(link);
    match &link.config.resync {
        Resync::Every(every) => {
            // The scheduler counts in whole seconds.
            let every = (*every).max(Duration::from_secs(1));
            let late = spread(slot, every / JITTER);
            Job::new_repeated_async(every, move |_, _| {
                let link = weak.upgrade();
                Box::pin(async move {
                    if let Some(link) = link {
                        tokio::time::sleep(late).await;
                        link.resync.notify_one();
                    }
                })
            })
        }
        Resync::Cron(expression) => Job::new_async(expression.as_str(), move |_, _| {
            let link = weak.upgrade();
            Box::pin(async move {
                if let Some(link) = link {
                    link.resync.notify_one();
                }
            })
        }),
    }
}

/// A fixed share of `most` per upstream: spreads the load and needs no random source.
fn spread(slot: usize, most: Duration) -> Duration {
    let share = u32::try_from(slot.wrapping_mul(37) % 100).unwrap_or(0);
    most * share / 100
}
