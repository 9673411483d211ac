//! The keys of one issuer while weir runs: fetched once for all callers, refreshed before they are
//! old, and kept while the issuer cannot be reached.
//!
//! Callers must not drive fetches: a token with a made-up `kid` looks like one that was signed with
//! a key of which weir does not know yet. So fetches for such tokens have an allowance.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::Shared;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::keys::KeySet;
use crate::allowance::Allowance;
use crate::latest::Latest;
use crate::lookups::LookupCounts;

/// The age at which keys are fetched again if the issuer does not say (`Cache-Control`).
const MAX_AGE: Duration = Duration::from_secs(10 * 60);
/// The shortest and the longest age that an issuer may say.
const MIN_SAID: Duration = Duration::from_secs(60);
const MAX_SAID: Duration = Duration::from_secs(3600);
/// How late keys may be fetched again in the background. Later, after hours without a call, a call
/// waits for it: the issuer may have withdrawn a key.
const OVERDUE: Duration = Duration::from_secs(10 * 60);
/// The pause after a fetch that failed.
const RETRY: Duration = Duration::from_secs(5);
/// Fetches because of unknown keys: four at once, and then one in fifteen seconds.
const UNKNOWN_KEY: Duration = Duration::from_secs(15);
const UNKNOWN_KEYS: Duration = Duration::from_secs(3 * 15);

/// Keys that were fetched.
#[derive(Debug)]
pub(super) struct FetchedKeys {
    pub(super) keys: KeySet,
    /// `max-age` of the response.
    pub(super) max_age: Option<Duration>,
}

/// The reason why keys cannot be fetched, for operators.
pub(super) type FetchError = Arc<str>;

/// The future of one fetch.
pub(super) type KeyFetching = Pin<Box<dyn Future<Output = Result<FetchedKeys, FetchError>> + Send>>;

/// Fetches the keys of one issuer whenever it is called.
pub(super) type FetchKeys = Box<dyn Fn() -> KeyFetching + Send + Sync>;

/// The end of a fetch. Clones wait for the same one.
type Landed = Shared<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// A fetch that is under way.
pub(super) struct Flight {
    /// Its end.
    pub(super) landed: Landed,
    /// Whether it had begun before.
    pub(super) is_joined: bool,
}

/// The keys of an issuer that are fetched.
pub(super) struct KeyCache {
    issuer: Box<str>,
    fetch: FetchKeys,
    /// How long keys are used that cannot be fetched again.
    keys_max_age: Duration,
    tasks: TaskTracker,
    /// Is cancelled when weir stops; nothing is fetched after that.
    stop: CancellationToken,
    known: Latest<Option<KnownKeys>>,
    fetches: Mutex<FetchState>,
    lookups: LookupCounts,
}

/// The keys, and until when they are good.
#[derive(Clone)]
struct KnownKeys {
    keys: Arc<KeySet>,
    /// When they are fetched again.
    stale: Instant,
    /// When they are of no use any more.
    end: Instant,
}

/// The outcome of fetches.
struct FetchState {
    flight: Option<Landed>,
    /// Why the last fetch failed, and when the next may begin.
    failed: Option<(FetchError, Instant)>,
    unknown: Allowance,
}

impl FetchState {
    /// Returns the fetch that is under way.
    fn flight(&self) -> Option<Landed> {
        // One that is over and still here broke off.
        self.flight.clone().filter(|flight| flight.peek().is_none())
    }

    fn may_fetch(&self, want: Want, now: Instant) -> bool {
        let is_pause = self.failed.as_ref().is_some_and(|(_, next)| now < *next);
        let is_allowed = want == Want::Keys || self.unknown.debt(now).is_zero();
        self.flight().is_some() || (!is_pause && is_allowed)
    }
}

/// Why keys are to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// There are none, or they are old.
    Keys,
    /// A token has a key that is not among them.
    UnknownKey,
}

impl std::fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyCache").finish_non_exhaustive()
    }
}

impl KeyCache {
    /// Makes the cache of an issuer. Fetches run as tasks of `tasks` and end with `stop`.
    pub(super) fn new(
        issuer: &str,
        fetch: FetchKeys,
        keys_max_age: Duration,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            issuer: issuer.into(),
            fetch,
            keys_max_age,
            tasks,
            stop,
            known: Latest::new(None),
            fetches: Mutex::new(FetchState {
                flight: None,
                failed: None,
                unknown: Allowance::new(UNKNOWN_KEYS),
            }),
            lookups: LookupCounts::default(),
        })
    }

    /// Returns the keys; `None` if there are none, or they are too old. Has old ones fetched again in
    /// the background.
    pub(super) fn current(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let found = self.find();
        self.lookups.count(found.is_some());
        found
    }

    /// Returns how many look-ups found keys, and how many did not.
    pub(super) fn lookups(&self) -> (u64, u64) {
        self.lookups.counts()
    }

    fn find(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let known = self.known.get();
        let known = known.as_ref().as_ref()?;
        let now = Instant::now();
        if now >= known.stale {
            drop(self.fetch(Want::Keys));
        }
        (now < known.end).then(|| Arc::clone(&known.keys))
    }

    /// Returns whether keys are to be fetched before they are used again. Not while the issuer cannot
    /// be reached.
    pub(super) fn is_overdue(&self) -> bool {
        let known = self.known.get();
        let late = |known: &KnownKeys| Instant::now() >= known.stale + OVERDUE;
        known.as_ref().as_ref().is_some_and(late) && self.fetches.lock().failed.is_none()
    }

    /// Returns whether a fetch may begin now, or is under way.
    pub(super) fn may_fetch(&self, want: Want) -> bool {
        self.fetches.lock().may_fetch(want, Instant::now())
    }

    /// Begins a fetch, or joins the one that is under way. Returns `None` if none may begin now: the
    /// last one failed a moment ago, or too many tokens had unknown keys.
    pub(super) fn fetch(self: &Arc<Self>, want: Want) -> Option<Flight> {
        let now = Instant::now();
        let mut state = self.fetches.lock();
        if !state.may_fetch(want, now) {
            return None;
        }
        if let Some(landed) = state.flight() {
            let is_joined = true;
            return Some(Flight { landed, is_joined });
        }
        if want == Want::UnknownKey {
            state.unknown.spend(UNKNOWN_KEY, now);
        }
        // In a task of its own: a caller that leaves does not end a fetch that others wait for.
        let (cache, stop) = (Arc::clone(self), self.stop.clone());
        let fetching = async move { cache.run().await };
        let task = self.tasks.spawn(stop.run_until_cancelled_owned(fetching));
        let landed: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(task.map(drop));
        let landed = landed.shared();
        state.flight = Some(landed.clone());
        Some(Flight {
            landed,
            is_joined: false,
        })
    }

    /// Returns why there are no keys, if the last fetch failed.
    pub(super) fn failure(&self) -> Option<FetchError> {
        let state = self.fetches.lock();
        state.failed.as_ref().map(|(error, _)| Arc::clone(error))
    }

    async fn run(&self) {
        let result = (self.fetch)().await;
        let now = Instant::now();
        let mut state = self.fetches.lock();
        state.flight = None;
        match result {
            Ok(FetchedKeys { keys, max_age }) => {
                let age = max_age.map_or(MAX_AGE, |said| said.clamp(MIN_SAID, MAX_SAID));
                if state.failed.take().is_some() || self.known.get().is_none() {
                    tracing::info!(issuer = %self.issuer, keys = keys.len(), "keys of an issuer of tokens are known");
                }
                self.known.set(Some(KnownKeys {
                    keys: Arc::new(keys),
                    stale: now + age,
                    end: now + self.keys_max_age.max(age),
                }));
            }
            Err(error) => {
                if state.failed.is_none() {
                    let has_keys = self.known.get().is_some();
                    tracing::warn!(
                        issuer = %self.issuer,
                        %error,
                        has_keys,
                        "keys of an issuer of tokens cannot be fetched; what is known of them stays in use for `keys_max_age`"
                    );
                }
                state.failed = Some((error, now + RETRY));
            }
        }
    }
}
