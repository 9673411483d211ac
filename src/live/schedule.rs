//! When each upstream is listed again. The only file that knows tokio-cron-scheduler, which knows
//! expressions: its intervals end for good when a tick is late by more than one of them.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::config::Resync;
use crate::upstream::Link;

/// A tick is put off by up to this share of the interval, so that upstreams are not listed in step.
const JITTER: u32 = 20;
/// The shortest interval.
const SHORTEST: Duration = Duration::from_secs(1);

/// The running schedule; stops when [`Schedule::stop`] is called, or when it is dropped.
pub struct Schedule {
    scheduler: JobScheduler,
    /// By the number of the link.
    ticking: BTreeMap<u64, ResyncTimer>,
    /// By expression. All links of an expression share one job: the scheduler's channels lose what
    /// is too much at once.
    crons: BTreeMap<String, CronJob>,
}

/// The timer of a link.
enum ResyncTimer {
    Every {
        _ticks: AbortOnDropHandle<()>,
    },
    /// The job of this expression.
    Cron(String),
}

/// A scheduled job, and the links it resyncs.
struct CronJob {
    job: Uuid,
    links: LinksByNumber,
}

/// The links of a job, by their numbers.
type LinksByNumber = Arc<Mutex<BTreeMap<u64, Weak<Link>>>>;

/// Why there is no schedule.
#[derive(Debug, thiserror::Error)]
#[error("the resync schedule cannot be set up")]
pub struct ScheduleError(#[from] JobSchedulerError);

impl Schedule {
    /// Starts a schedule without links.
    ///
    /// # Errors
    /// The scheduler cannot start.
    pub async fn start() -> Result<Self, ScheduleError> {
        let scheduler = JobScheduler::new().await?;
        scheduler.start().await?;
        Ok(Self {
            scheduler,
            ticking: BTreeMap::new(),
            crons: BTreeMap::new(),
        })
    }

    /// Adds a link: each tick of its schedule asks for a resync. Requests that come together become
    /// one.
    ///
    /// # Errors
    /// The scheduler refuses an expression.
    pub async fn add(&mut self, link: &Arc<Link>) -> Result<(), ScheduleError> {
        let ticking = match &link.config.resync {
            Resync::Every(every) => ResyncTimer::Every {
                _ticks: every_so_often(link, *every),
            },
            Resync::Cron(expression) => {
                let expression = expression.as_str().to_owned();
                if !self.crons.contains_key(&expression) {
                    let links = LinksByNumber::default();
                    let job = cron(&expression, Arc::clone(&links))?;
                    let job = self.scheduler.add(job).await?;
                    self.crons
                        .insert(expression.clone(), CronJob { job, links });
                }
                if let Some(cron) = self.crons.get(&expression) {
                    lock(&cron.links).insert(link.link_id, Arc::downgrade(link));
                }
                ResyncTimer::Cron(expression)
            }
        };
        self.ticking.insert(link.link_id, ticking);
        Ok(())
    }

    /// Removes the link of this number.
    pub async fn remove(&mut self, link: u64) {
        let Some(ResyncTimer::Cron(expression)) = self.ticking.remove(&link) else {
            return;
        };
        let Some(cron) = self.crons.get(&expression) else {
            return;
        };
        let job = cron.job;
        let is_last = {
            let mut links = lock(&cron.links);
            links.remove(&link);
            links.is_empty()
        };
        if is_last {
            self.crons.remove(&expression);
            if let Err(error) = self.scheduler.remove(&job).await {
                tracing::debug!(%error, "a resync that is of no more use stays scheduled");
            }
        }
    }

    /// Stops all timers.
    pub async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::debug!(%error, "the resync schedule did not stop cleanly");
        }
    }
}

/// Uses the monotonic clock: a tick that is late because the machine slept comes once.
fn every_so_often(link: &Arc<Link>, every: Duration) -> AbortOnDropHandle<()> {
    let every = every.max(SHORTEST);
    let first = Instant::now() + every + spread(link.link_id, every / JITTER);
    let weak = Arc::downgrade(link);
    AbortOnDropHandle::new(link.tasks().spawn(async move {
        let mut ticks = interval_at(first, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(link) = weak.upgrade() else {
                return;
            };
            link.rounds.request_resync();
        }
    }))
}

fn cron(expression: &str, links: LinksByNumber) -> Result<Job, JobSchedulerError> {
    Job::new_async(expression, move |_, _| {
        let links: Vec<_> = lock(&links).values().filter_map(Weak::upgrade).collect();
        Box::pin(async move {
            for link in links {
                link.rounds.request_resync();
            }
        })
    })
}

fn lock(links: &LinksByNumber) -> MutexGuard<'_, BTreeMap<u64, Weak<Link>>> {
    links.lock()
}

/// A fixed share of `most` per upstream: spreads the load and needs no random source.
fn spread(link: u64, most: Duration) -> Duration {
    let share = u32::try_from(link.wrapping_mul(37) % 100).unwrap_or(0);
    most * share / 100
}
