//! AWS credentials in use: fetched once however many calls wait, replaced ahead of their end.
//!
//! Whoever uses them has them replaced, so there is no timer for that, and while the old ones are valid nobody waits. What
//! failed is tried again unasked.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::identity::Identity;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::credentials::NoCredential;
use crate::credentials::aws::With;
use crate::credentials::aws::chain::{Failure, Loaded, Source};
use crate::credentials::aws::skew::Clock;
use crate::credentials::state::{Phase, StateCell};

/// How long fetching may take in all: a role is assumed with credentials that another call has to bring.
const FETCH: Duration = Duration::from_secs(30);
/// The most that credentials are replaced ahead of their end; otherwise a quarter of their life.
const AHEAD: Duration = Duration::from_secs(300);
/// Between two fetches, when the first brought nothing new.
const SPACING: Duration = Duration::from_secs(1);
/// Between two fetches at most, when they fail.
const SLOWEST: Duration = Duration::from_secs(60);
/// For so long credentials that were refused, dropped and fetched anew are not dropped again, if they are still the same.
const STUBBORN: Duration = Duration::from_secs(30);

/// The credentials of one upstream, or of one use.
#[derive(Clone, Debug)]
pub(super) struct Login {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    source: Source,
    clock: Arc<Clock>,
    state: Arc<StateCell>,
    tasks: TaskTracker,
    stop: CancellationToken,
    kept: Mutex<Kept>,
    /// How the last fetch ended.
    landed: watch::Sender<Option<Result<Arc<Held>, Failure>>>,
}

/// The credentials in use.
#[derive(Debug)]
pub(super) struct Held {
    /// As the signer takes them.
    pub(super) identity: Identity,
    /// What else environment and profile say.
    pub(super) sdk: SdkConfig,
    /// The nth.
    pub(super) number: u32,
    key: String,
    expires: Option<SystemTime>,
    /// From when on they are replaced.
    renew: Option<SystemTime>,
    /// Of the keys of the config.
    version: u64,
    since: Instant,
    /// The same as those that were refused before.
    again: bool,
}

#[derive(Debug, Default)]
struct Kept {
    held: Option<Arc<Held>>,
    /// What was refused last, and dropped.
    refused: Option<String>,
    number: u32,
    under_way: bool,
    failures: u32,
    failed: Option<(Failure, Instant)>,
}

/// What there is.
enum Look {
    /// Good.
    Good(Arc<Held>),
    /// Good, but to be replaced.
    Ending(Arc<Held>),
    /// Nothing, so wait.
    Nothing,
    /// Nothing, and not to be had now.
    Failed(Failure),
}

impl Held {
    /// The region of the config, the environment or the profile.
    pub(super) fn region(&self) -> Option<&str> {
        self.sdk.region().map(AsRef::as_ref)
    }
}

impl Login {
    pub(super) fn new(
        source: Source,
        clock: Arc<Clock>,
        state: Arc<StateCell>,
        with: &With,
    ) -> Self {
        let inner = Inner {
            source,
            clock,
            state,
            tasks: with.tasks.clone(),
            stop: with.stop.clone(),
            kept: Mutex::default(),
            landed: watch::Sender::new(None),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The credentials as they are now. Waits only where there are none.
    pub(super) async fn get(&self, deadline: Instant) -> Result<Arc<Held>, NoCredential> {
        let mut landed = self.inner.landed.subscribe();
        match self.inner.look() {
            Look::Good(held) => return Ok(held),
            Look::Ending(held) => {
                self.inner.fetch();
                return Ok(held);
            }
            Look::Failed(failure) => return Err(NoCredential(failure.why)),
            Look::Nothing => self.inner.fetch(),
        }
        let changed = tokio::time::timeout_at(deadline, landed.changed()).await;
        if !matches!(changed, Ok(Ok(()))) {
            return Err(NoCredential("AWS credentials did not come in time".into()));
        }
        // However this machine's clock sees them: they have just come.
        match landed.borrow_and_update().clone() {
            Some(Ok(held)) => Ok(held),
            Some(Err(failure)) => Err(NoCredential(failure.why)),
            None => Err(NoCredential("there are no AWS credentials".into())),
        }
    }

    /// Lets go of credentials that were refused. Says whether the next may be others.
    pub(super) fn refused(&self, number: u32) -> bool {
        let mut kept = self.inner.kept();
        let Some(held) = kept.held.clone() else {
            return true;
        };
        if held.number != number || held.version != self.inner.source.version() {
            return true;
        }
        if held.again && held.since.elapsed() < STUBBORN {
            return false;
        }
        kept.refused = Some(held.key.clone());
        kept.held = None;
        drop(kept);
        self.inner.source.refused(held.version);
        true
    }

    /// Grows whenever keys of the config change.
    pub(super) fn version(&self) -> u64 {
        self.inner.source.version()
    }

    /// Whether there are others now than the nth.
    pub(super) fn is_replaced(&self, number: u32) -> bool {
        let kept = self.inner.kept();
        kept.held
            .as_ref()
            .is_none_or(|held| held.number != number || held.version != self.inner.source.version())
    }

    /// When the credentials in use end, if that is known; `None` while they are being replaced, or should have been.
    pub(super) fn settled(&self) -> Option<Option<SystemTime>> {
        let kept = self.inner.kept();
        let held = kept.held.as_ref()?;
        (!kept.under_way && kept.failed.is_none()).then_some(held.expires)
    }
}

impl Inner {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock()
    }

    fn look(&self) -> Look {
        let kept = self.kept();
        let (now, _) = self.clock.now();
        let is_past = |at: Option<SystemTime>| at.is_some_and(|at| at <= now);
        let waits = kept
            .failed
            .as_ref()
            .filter(|(_, next)| Instant::now() < *next);
        let held = kept.held.as_ref();
        let valid = held.filter(|held| {
            // Those that have just come are used, however this machine's clock sees them.
            (!is_past(held.expires) || held.since.elapsed() < SPACING)
                && held.version == self.source.version()
        });
        match (valid, waits) {
            (Some(held), None) if is_past(held.renew) && held.since.elapsed() >= SPACING => {
                Look::Ending(Arc::clone(held))
            }
            (Some(held), _) => Look::Good(Arc::clone(held)),
            (None, Some((failure, _))) => Look::Failed(failure.clone()),
            (None, None) => Look::Nothing,
        }
    }

    /// Begins a fetch, unless there is one.
    fn fetch(self: &Arc<Self>) {
        let mut kept = self.kept();
        if std::mem::replace(&mut kept.under_way, true) {
            return;
        }
        drop(kept);
        self.state.enter(Phase::Refreshing, None, None);
        let this = Arc::clone(self);
        // Callers come and go; a fetch that one of them began is for all.
        self.spawn(async move {
            let landing = Landing(&this);
            let loaded = tokio::time::timeout(FETCH, this.source.load()).await;
            let slow = || Failure::passing("AWS credentials did not come within 30 s");
            let landed = loaded.unwrap_or_else(|_| Err(slow()));
            let landed = this.land(landed);
            drop(landing);
            this.landed.send_replace(Some(landed));
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.stop.clone().run_until_cancelled_owned(task);
        self.tasks.spawn(async move {
            task.await;
        });
    }

    /// Asks again then, whether or not anybody calls: how things are should not depend on that.
    fn retry(self: &Arc<Self>, at: Instant) {
        let this = Arc::downgrade(self);
        self.spawn(async move {
            tokio::time::sleep_until(at).await;
            if let Some(this) = this.upgrade()
                && this.kept().failed.is_some()
            {
                this.fetch();
            }
        });
    }

    fn land(self: &Arc<Self>, loaded: Result<Loaded, Failure>) -> Result<Arc<Held>, Failure> {
        self.state.requested(loaded.is_ok());
        let mut kept = self.kept();
        match loaded {
            Ok(loaded) => {
                kept.number = kept.number.wrapping_add(1);
                let held = Arc::new(self.held(&kept, loaded));
                kept.held = Some(Arc::clone(&held));
                (kept.failures, kept.failed) = (0, None);
                drop(kept);
                self.state.ok(held.expires);
                Ok(held)
            }
            Err(failure) => {
                kept.failures = kept.failures.saturating_add(1);
                let pause = SPACING * 2_u32.saturating_pow(kept.failures.min(7) - 1);
                let next = Instant::now() + pause.min(SLOWEST);
                kept.failed = Some((failure.clone(), next));
                let (now, _) = self.clock.now();
                let held = kept.held.as_ref();
                let valid = held.is_some_and(|held| held.expires.is_none_or(|end| now < end));
                drop(kept);
                let phase = match (valid, failure.reauth) {
                    (true, _) => Phase::Expiring,
                    (false, true) => Phase::ReauthNeeded,
                    (false, false) => Phase::Failing,
                };
                self.state.enter(phase, Some(&failure.why), Some(next));
                self.retry(next);
                Err(failure)
            }
        }
    }

    fn held(&self, kept: &Kept, loaded: Loaded) -> Held {
        let credentials = loaded.credentials;
        let (now, _) = self.clock.now();
        let expires = credentials.expiry();
        let renew = expires.map(|end| {
            let life = end.duration_since(now).unwrap_or_default();
            end - ahead(life)
        });
        let token = credentials.session_token().unwrap_or_default();
        // Only a token tells temporary credentials apart; it is kept hashed.
        let key = format!("{} {token}", credentials.access_key_id());
        let key = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
        let key = format!("{key:?}");
        Held {
            again: kept.refused.as_ref() == Some(&key),
            key,
            expires,
            renew,
            identity: credentials.into(),
            sdk: loaded.sdk,
            number: kept.number,
            version: loaded.version,
            since: Instant::now(),
        }
    }
}

/// A fetch that ends in whatever way makes place for the next.
struct Landing<'i>(&'i Inner);

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.0.kept().under_way = false;
    }
}

/// How long before their end credentials are replaced: not all replicas at the same time.
fn ahead(life: Duration) -> Duration {
    let ahead = (life / 4).min(AHEAD);
    let random = crate::seal::random::<1>().map_or(0, |[byte]| u32::from(byte));
    ahead - ahead / 10 * random / 255
}
