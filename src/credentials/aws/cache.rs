//! The AWS credentials in use: loaded once however many calls wait, and replaced before they
//! expire.
//!
//! The calls that use credentials have them replaced, so no timer is needed for that, and no call
//! waits while the old ones are valid. A load that failed is tried again by itself.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::identity::Identity;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::credentials::aws::clock::Clock;
use crate::credentials::aws::context::AwsContext;
use crate::credentials::aws::source::{CredentialsSource, LoadFailure, LoadedCredentials};
use crate::credentials::error::NoCredential;
use crate::credentials::status::{CredentialState, StatusCell};

/// The longest that a load may take: to assume a role, credentials have to be loaded by another
/// call first.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long before their expiry credentials are replaced, unless a quarter of their lifetime is
/// shorter.
const MAX_RENEWAL_LEAD: Duration = Duration::from_secs(300);
/// The shortest pause between two loads.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two loads while they fail.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// If credentials that were rejected and dropped come again from a load, they are used for this
/// long before another rejection drops them.
const KEEP_REJECTED: Duration = Duration::from_secs(30);

/// The credentials of one upstream, or of one client of an AWS service.
#[derive(Clone, Debug)]
pub(super) struct CredentialsCache {
    shared: Arc<SharedCache>,
}

#[derive(Debug)]
struct SharedCache {
    source: CredentialsSource,
    clock: Arc<Clock>,
    status: Arc<StatusCell>,
    tasks: TaskTracker,
    stop: CancellationToken,
    state: Mutex<CacheState>,
    /// How the last load ended.
    completed: watch::Sender<Option<Result<Arc<CurrentCredentials>, LoadFailure>>>,
}

/// The credentials in use.
#[derive(Debug)]
pub(super) struct CurrentCredentials {
    /// In the form that the signer takes.
    pub(super) identity: Identity,
    /// The other settings of the environment and the profile.
    pub(super) sdk: SdkConfig,
    /// Counts the credentials of the cache.
    pub(super) number: u32,
    /// A digest that tells whether other credentials are the same.
    digest: String,
    expires: Option<SystemTime>,
    /// From this time on they are replaced.
    renew_at: Option<SystemTime>,
    /// The version of the static keys that they were loaded from.
    version: u64,
    since: Instant,
    /// Whether they are the same as those that were rejected last.
    is_rejected_again: bool,
}

#[derive(Debug, Default)]
struct CacheState {
    current: Option<Arc<CurrentCredentials>>,
    /// The digest of the credentials that were last dropped because AWS rejected them.
    rejected: Option<String>,
    number: u32,
    in_progress: bool,
    failures: u32,
    failed: Option<FailedLoad>,
}

#[derive(Clone, Debug)]
struct FailedLoad {
    failure: LoadFailure,
    next_try: Instant,
}

/// The content of the cache, as a call needs it.
enum Lookup {
    /// Valid credentials.
    Valid(Arc<CurrentCredentials>),
    /// Valid credentials that are to be replaced.
    Expiring(Arc<CurrentCredentials>),
    /// None: load them.
    Missing,
    /// None, and the next load is not due.
    Failed(LoadFailure),
}

impl CurrentCredentials {
    /// Returns the region that the config, the environment or the profile names.
    pub(super) fn region(&self) -> Option<&str> {
        self.sdk.region().map(AsRef::as_ref)
    }
}

impl CredentialsCache {
    pub(super) fn new(
        source: CredentialsSource,
        clock: Arc<Clock>,
        status: Arc<StatusCell>,
        context: &AwsContext,
    ) -> Self {
        let shared = SharedCache {
            source,
            clock,
            status,
            tasks: context.tasks.clone(),
            stop: context.stop.clone(),
            state: Mutex::default(),
            completed: watch::Sender::new(None),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Returns the credentials. Waits only if there are none.
    pub(super) async fn get(
        &self,
        deadline: Instant,
    ) -> Result<Arc<CurrentCredentials>, NoCredential> {
        let mut completed = self.shared.completed.subscribe();
        match self.shared.look_up() {
            Lookup::Valid(current) => return Ok(current),
            Lookup::Expiring(current) => {
                self.shared.start_load();
                return Ok(current);
            }
            Lookup::Failed(failure) => return Err(NoCredential(failure.reason)),
            Lookup::Missing => self.shared.start_load(),
        }
        let changed = tokio::time::timeout_at(deadline, completed.changed()).await;
        if !matches!(changed, Ok(Ok(()))) {
            return Err(NoCredential("AWS credentials did not come in time".into()));
        }
        // They have just come, so they are used even if this machine's clock takes them for
        // expired.
        match completed.borrow_and_update().clone() {
            Some(Ok(current)) => Ok(current),
            Some(Err(failure)) => Err(NoCredential(failure.reason)),
            None => {
                debug_assert!(false, "a load has ended, so it has a result");
                Err(NoCredential("there are no AWS credentials".into()))
            }
        }
    }

    /// Drops the credentials of this number because AWS rejected them. Returns whether the next
    /// ones may differ.
    pub(super) fn drop_rejected(&self, number: u32) -> bool {
        let mut state = self.shared.state();
        let Some(current) = state.current.clone() else {
            return true;
        };
        if current.number != number || current.version != self.shared.source.version() {
            return true;
        }
        if current.is_rejected_again && current.since.elapsed() < KEEP_REJECTED {
            return false;
        }
        state.rejected = Some(current.digest.clone());
        state.current = None;
        drop(state);
        self.shared.source.renew_keys(current.version);
        true
    }

    /// Returns a number that grows whenever static keys of the config change.
    pub(super) fn version(&self) -> u64 {
        self.shared.source.version()
    }

    /// Returns whether the credentials of this number have been replaced, or are about to be.
    pub(super) fn is_replaced(&self, number: u32) -> bool {
        let state = self.shared.state();
        let version = self.shared.source.version();
        let current = state.current.as_ref();
        current.is_none_or(|current| current.number != number || current.version != version)
    }

    /// Returns the expiry of the credentials in use (`Some(None)`: not known), or `None` while they
    /// are being replaced or could not be replaced.
    pub(super) fn settled_expiry(&self) -> Option<Option<SystemTime>> {
        let state = self.shared.state();
        let current = state.current.as_ref()?;
        (!state.in_progress && state.failed.is_none()).then_some(current.expires)
    }
}

impl SharedCache {
    fn state(&self) -> MutexGuard<'_, CacheState> {
        self.state.lock()
    }

    fn look_up(&self) -> Lookup {
        let state = self.state();
        let (now, _) = self.clock.now();
        let is_past = |at: Option<SystemTime>| at.is_some_and(|at| at <= now);
        let failed = state.failed.as_ref();
        let waiting = failed.filter(|failed| Instant::now() < failed.next_try);
        let valid = state.current.as_ref().filter(|current| {
            // Those that have just come are used even if this machine's clock takes them for
            // expired.
            (!is_past(current.expires) || current.since.elapsed() < MIN_PAUSE)
                && current.version == self.source.version()
        });
        match (valid, waiting) {
            (Some(current), None)
                if is_past(current.renew_at) && current.since.elapsed() >= MIN_PAUSE =>
            {
                Lookup::Expiring(Arc::clone(current))
            }
            (Some(current), _) => Lookup::Valid(Arc::clone(current)),
            (None, Some(failed)) => Lookup::Failed(failed.failure.clone()),
            (None, None) => Lookup::Missing,
        }
    }

    /// Starts a load unless one is in progress.
    fn start_load(self: &Arc<Self>) {
        let mut state = self.state();
        if std::mem::replace(&mut state.in_progress, true) {
            return;
        }
        drop(state);
        self.status.enter(CredentialState::Refreshing, None, None);
        let this = Arc::clone(self);
        // A task of its own: the call that needs it may give up while others still wait for it.
        self.spawn(async move {
            let guard = LoadGuard(&this);
            let loaded = tokio::time::timeout(LOAD_TIMEOUT, this.source.load()).await;
            let timed_out = || LoadFailure::new("AWS credentials did not come within 30 s");
            let result = this.complete(loaded.unwrap_or_else(|_| Err(timed_out())));
            drop(guard);
            this.completed.send_replace(Some(result));
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.stop.clone().run_until_cancelled_owned(task);
        self.tasks.spawn(async move {
            task.await;
        });
    }

    /// Loads again at an instant, even without calls: the state that operators see must not depend
    /// on calls.
    fn schedule_retry(self: &Arc<Self>, at: Instant) {
        let this = Arc::downgrade(self);
        self.spawn(async move {
            tokio::time::sleep_until(at).await;
            if let Some(this) = this.upgrade()
                && this.state().failed.is_some()
            {
                this.start_load();
            }
        });
    }

    /// Ends a load with its result.
    fn complete(
        self: &Arc<Self>,
        loaded: Result<LoadedCredentials, LoadFailure>,
    ) -> Result<Arc<CurrentCredentials>, LoadFailure> {
        self.status.count_request(loaded.is_ok());
        let mut state = self.state();
        match loaded {
            Ok(loaded) => {
                state.number = state.number.wrapping_add(1);
                let current = Arc::new(self.to_current(&state, loaded));
                state.current = Some(Arc::clone(&current));
                (state.failures, state.failed) = (0, None);
                drop(state);
                self.status.set_ok(current.expires);
                Ok(current)
            }
            Err(failure) => {
                state.failures = state.failures.saturating_add(1);
                let pause = MIN_PAUSE * 2_u32.saturating_pow(state.failures.min(7) - 1);
                let next_try = Instant::now() + pause.min(MAX_PAUSE);
                state.failed = Some(FailedLoad {
                    failure: failure.clone(),
                    next_try,
                });
                let (now, _) = self.clock.now();
                let current = state.current.as_ref();
                let is_valid =
                    current.is_some_and(|current| current.expires.is_none_or(|end| now < end));
                drop(state);
                let state = match (is_valid, failure.login_needed) {
                    (true, _) => CredentialState::Expiring,
                    (false, true) => CredentialState::ReauthNeeded,
                    (false, false) => CredentialState::Failing,
                };
                self.status
                    .enter(state, Some(&failure.reason), Some(next_try));
                self.schedule_retry(next_try);
                Err(failure)
            }
        }
    }

    fn to_current(&self, state: &CacheState, loaded: LoadedCredentials) -> CurrentCredentials {
        let credentials = loaded.credentials;
        let (now, _) = self.clock.now();
        let expires = credentials.expiry();
        let renew_at = expires.map(|end| {
            let lifetime = end.duration_since(now).unwrap_or_default();
            end - renewal_lead(lifetime)
        });
        let token = credentials.session_token().unwrap_or_default();
        // Only the session token tells temporary credentials apart. It is a secret, hence the
        // digest.
        let key = format!("{} {token}", credentials.access_key_id());
        let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
        let digest = format!("{digest:?}");
        CurrentCredentials {
            is_rejected_again: state.rejected.as_ref() == Some(&digest),
            digest,
            expires,
            renew_at,
            identity: credentials.into(),
            sdk: loaded.sdk,
            number: state.number,
            version: loaded.version,
            since: Instant::now(),
        }
    }
}

/// Makes room for the next load when it is dropped, so that a load that panics or is aborted ends
/// too.
struct LoadGuard<'c>(&'c SharedCache);

impl Drop for LoadGuard<'_> {
    fn drop(&mut self) {
        self.0.state().in_progress = false;
    }
}

/// Returns how long before their expiry credentials are replaced. Random, so that replicas do not
/// all ask at once.
fn renewal_lead(lifetime: Duration) -> Duration {
    let lead = (lifetime / 4).min(MAX_RENEWAL_LEAD);
    let random = crate::seal::random::<1>().map_or(0, |[byte]| u32::from(byte));
    lead - lead / 10 * random / 255
}
