//! Tells an AgentCore Gateway in front of another catalog: it goes on with the tools that it has listed
//! until somebody has its target synchronized (`on_publish.synchronize`).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::catalog::Digest;
use crate::config::{Fingerprint, FrontGateway};
use crate::credentials::CredentialsContext;
use crate::credentials::aws::control_plane::{ControlPlane, SyncError};
use crate::live::Live;

/// The longest that weir waits at its start for upstreams, before it tells of what it has.
const START: Duration = Duration::from_secs(60);
/// The longest that one synchronization may take.
const LONGEST: Duration = Duration::from_secs(300);
/// A catalog that keeps changing is told of after so many times the pause.
const MOST_PAUSES: u32 = 6;
/// Most attempts for one catalog.
const ATTEMPTS: u32 = 8;
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The state of a gateway in front, for operators.
#[derive(Clone, Debug, Default)]
pub struct FrontGatewayStatus {
    /// Whether the gateway has the catalog of now.
    pub state: FrontGatewayState,
    /// The number of times that it was synchronized.
    pub done: u64,
    /// The number of attempts that failed.
    pub failed: u64,
    /// When it was synchronized last, and the generation that weir had.
    pub last: Option<(Instant, u64)>,
}

/// Whether a gateway in front has the catalog of now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FrontGatewayState {
    /// There is no gateway in the config, or nothing has changed since the start.
    #[default]
    Idle,
    /// The catalog is another, and the gateway is told soon.
    Pending,
    /// The gateway reads it now.
    Running,
    /// It has the catalog.
    Done,
    /// The last attempt failed.
    Failing {
        /// The reason.
        reason: String,
        /// When the next attempt is due; `None` if there is none before the next publication.
        next_try: Option<Instant>,
    },
}

/// Keeps a gateway in front up to date.
#[derive(Debug)]
pub struct FrontGatewaySync {
    live: Arc<Live>,
    context: CredentialsContext,
    status: Mutex<FrontGatewayStatus>,
}

/// A catalog that a gateway was told of, and the settings under which it was.
type Told = (Fingerprint, Digest);

/// Why a pause ended.
#[derive(PartialEq, Eq)]
enum PauseEnd {
    Over,
    /// There is another snapshot.
    Changed,
}

impl FrontGatewaySync {
    /// Makes it. Nothing happens before [`Self::run`].
    #[must_use]
    pub fn new(live: &Arc<Live>, context: &CredentialsContext) -> Arc<Self> {
        Arc::new(Self {
            live: Arc::clone(live),
            context: context.clone(),
            status: Mutex::default(),
        })
    }

    /// Returns the state.
    #[must_use]
    pub fn status(&self) -> FrontGatewayStatus {
        self.status.lock().clone()
    }

    /// Tells the gateway of each catalog that stays for a while, until weir stops.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        stop.run_until_cancelled(self.follow()).await;
    }

    async fn follow(&self) {
        let mut generations = self.live.watch();
        let _ = timeout(START, self.live.settled()).await;
        let mut told = self.known_at_start();
        loop {
            generations.borrow_and_update();
            match self.wanted().filter(|(_, wanted)| told != Some(*wanted)) {
                Some((settings, _)) => {
                    self.enter(FrontGatewayState::Pending);
                    settle(&mut generations, settings.debounce).await;
                    told = self.tell(&mut generations).await;
                }
                None if generations.changed().await.is_err() => return,
                None => {}
            }
        }
    }

    /// Returns what the gateway is taken to know when weir starts. A platform starts weirs because the
    /// gateway calls, so a start is no reason to have it call again.
    fn known_at_start(&self) -> Option<Told> {
        let is_on_platform = self.live.load().config.listen.platform_sessions;
        let wanted = self.wanted().filter(|_| is_on_platform);
        wanted.map(|(_, told)| told)
    }

    /// Returns the settings, and what the gateway should know.
    fn wanted(&self) -> Option<(Arc<FrontGateway>, Told)> {
        let snapshot = self.live.load();
        let settings = snapshot.config.front_gateway.as_ref()?;
        let told = (settings.fingerprint(), snapshot.catalog.digest());
        Some((Arc::clone(settings), told))
    }

    fn enter(&self, state: FrontGatewayState) {
        self.status.lock().state = state;
    }

    /// Has the gateway read the catalog, again after failures. Returns what it was told, or what it is
    /// not told any more.
    async fn tell(&self, generations: &mut watch::Receiver<u64>) -> Option<Told> {
        for attempt in 1..=ATTEMPTS {
            generations.borrow_and_update();
            let (settings, told) = self.wanted()?;
            let generation = self.live.load().generation;
            self.enter(FrontGatewayState::Running);
            let Err(error) = self.synchronize(&settings).await else {
                tracing::info!(
                    gateway = settings.gateway,
                    generation,
                    "gateway in front synchronized"
                );
                let mut status = self.status.lock();
                status.state = FrontGatewayState::Done;
                status.done += 1;
                status.last = Some((Instant::now(), generation));
                return Some(told);
            };
            let pause = settings.debounce.saturating_mul(1 << attempt.min(16)) / 2;
            let pause = pause.min(LONGEST_PAUSE);
            let next_try = (attempt < ATTEMPTS).then(|| Instant::now() + pause);
            self.fail(&settings, &error, attempt, next_try);
            if next_try.is_none() {
                return Some(told);
            }
            // Another catalog is told of then too; other settings at once.
            let fingerprint = settings.fingerprint();
            let until = Instant::now() + pause;
            while pause_until(generations, until).await == PauseEnd::Changed {
                let is_other = |(_, (now, _))| now != fingerprint;
                if self.wanted().is_none_or(is_other) {
                    return None;
                }
            }
        }
        None
    }

    fn fail(
        &self,
        settings: &FrontGateway,
        error: &SyncError,
        attempt: u32,
        next_try: Option<Instant>,
    ) {
        let (gateway, target) = (&*settings.gateway, &*settings.target);
        match next_try {
            Some(_) if attempt == 1 => tracing::warn!(
                gateway,
                target,
                %error,
                "on_publish.synchronize: the gateway in front still has the catalog from before; weir tries again"
            ),
            Some(_) => {
                tracing::debug!(gateway, target, attempt, %error, "gateway in front not synchronized")
            }
            None => tracing::warn!(
                gateway,
                target,
                %error,
                "on_publish.synchronize: given up until the next publication"
            ),
        }
        let mut status = self.status.lock();
        status.failed += 1;
        status.state = FrontGatewayState::Failing {
            reason: error.to_string(),
            next_try,
        };
    }

    async fn synchronize(&self, settings: &FrontGateway) -> Result<(), SyncError> {
        let (region, credentials) = (settings.region.as_deref(), &settings.credentials);
        let control = ControlPlane::new(&settings.gateway, region, credentials, &self.context);
        let control = control.map_err(|error| SyncError(error.to_string().into()))?;
        let deadline = Instant::now() + LONGEST;
        control.synchronize_one(&settings.target, deadline).await
    }
}

/// Waits until there was no other snapshot for a pause, but not for ever.
async fn settle(generations: &mut watch::Receiver<u64>, pause: Duration) {
    let latest = Instant::now() + pause.saturating_mul(MOST_PAUSES);
    while pause_until(generations, latest.min(Instant::now() + pause)).await == PauseEnd::Changed {}
}

async fn pause_until(generations: &mut watch::Receiver<u64>, until: Instant) -> PauseEnd {
    tokio::select! {
        () = tokio::time::sleep_until(until) => PauseEnd::Over,
        changed = generations.changed() => match changed {
            Ok(()) => PauseEnd::Changed,
            // Weir ends.
            Err(_) => std::future::pending().await,
        },
    }
}
