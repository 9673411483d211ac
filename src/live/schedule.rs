//! When each upstream is listed again. The only file that knows tokio-cron-scheduler.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use uuid::Uuid;

use crate::config::Resync;
use crate::upstream::Link;

/// A tick is put off by up to this share of the interval, so that upstreams are not listed in step.
const JITTER: u32 = 20;

/// The running schedule; stops when [`Schedule::stop`] is called.
pub struct Schedule {
    scheduler: JobScheduler,
    /// By the number of the link.
    jobs: BTreeMap<u64, Uuid>,
}

/// Why there is no schedule.
#[derive(Debug, thiserror::Error)]
#[error("the resync schedule cannot be set up")]
pub struct ScheduleError(#[from] JobSchedulerError);

impl Schedule {
    /// A schedule that runs, with nobody on it.
    ///
    /// # Errors
    /// The scheduler cannot start.
    pub async fn start() -> Result<Self, ScheduleError> {
        let scheduler = JobScheduler::new().await?;
        scheduler.start().await?;
        Ok(Self {
            scheduler,
            jobs: BTreeMap::new(),
        })
    }

    /// Ticks a link by its config: a tick asks for a resync, which coalesces with others.
    ///
    /// # Errors
    /// The scheduler refuses an expression.
    pub async fn add(&mut self, link: &Arc<Link>) -> Result<(), ScheduleError> {
        let job = self.scheduler.add(job(link)?).await?;
        self.jobs.insert(link.number, job);
        Ok(())
    }

    /// Ticks the link of this number no more.
    pub async fn remove(&mut self, link: u64) {
        if let Some(job) = self.jobs.remove(&link)
            && let Err(error) = self.scheduler.remove(&job).await
        {
            tracing::debug!(%error, "a resync that is of no more use stays scheduled");
        }
    }

    /// No more ticks.
    pub async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::debug!(%error, "the resync schedule did not stop cleanly");
        }
    }
}

fn job(link: &Arc<Link>) -> Result<Job, JobSchedulerError> {
    let weak = Arc::downgrade(link);
    match &link.config.resync {
        Resync::Every(every) => {
            // The scheduler counts in whole seconds.
            let every = (*every).max(Duration::from_secs(1));
            let late = spread(link.number, every / JITTER);
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
fn spread(link: u64, most: Duration) -> Duration {
    let share = u32::try_from(link.wrapping_mul(37) % 100).unwrap_or(0);
    most * share / 100
}
