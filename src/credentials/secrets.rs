//! Secrets that may change while weir runs: files are watched, secrets of AWS Secrets Manager are
//! fetched.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{AwsSecret, MAX_SECRET, SecretRef};
use crate::files::{FileCell, Files};
use crate::latest::Latest;
use crate::secret::Secret;
use crate::tls::KeySource;

/// The age at which a fetched secret is fetched again. AWS's own caches keep a secret for an hour;
/// five minutes are short enough to notice a rotation while the old secret is still valid.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);
/// The shortest pause between the end of one fetch and the next, however many callers want one.
const MIN_PAUSE: Duration = Duration::from_secs(10);
/// The shortest pause between two looks at a file because of rejections.
const FILE_LOOK: Duration = Duration::from_secs(1);

/// The reason why a secret cannot be read or fetched. Contains neither the secret nor a peer's
/// text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SecretUnavailable(pub Box<str>);

/// Opens the secret that a reference of the config names, see [`Secrets::open`].
pub type OpenSecret<'o> = dyn Fn(&SecretRef) -> Result<SecretCell, SecretUnavailable> + 'o;

/// The future of one fetch.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Secret, SecretUnavailable>> + Send>>;

/// Fetches one secret whenever it is called.
pub type Fetch = Box<dyn Fn() -> Fetching + Send + Sync>;

/// Makes the [`Fetch`] of a secret in AWS Secrets Manager. The AWS credentials for it may be
/// secrets themselves, and are opened with the [`OpenSecret`].
pub type MakeAwsFetch =
    Box<dyn Fn(&AwsSecret, &OpenSecret<'_>) -> Result<Fetch, SecretUnavailable> + Send + Sync>;

/// All secrets of a weir that may change.
pub struct Secrets {
    files: Arc<Files>,
    make_aws_fetch: MakeAwsFetch,
    tasks: TaskTracker,
    stop: CancellationToken,
    fetched: Mutex<HashMap<String, Arc<FetchedSecret>>>,
}

/// One secret, which always gives its latest value.
#[derive(Clone, Debug)]
pub struct SecretCell(SecretOrigin);

#[derive(Clone, Debug)]
enum SecretOrigin {
    Fixed(Secret),
    File(FileCell),
    Fetched(Arc<FetchedSecret>),
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// Creates the secrets of a weir. Fetches run as tasks of `tasks` and end when `stop` is
    /// cancelled.
    #[must_use]
    pub fn new(
        files: Arc<Files>,
        make_aws_fetch: MakeAwsFetch,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            files,
            make_aws_fetch,
            tasks,
            stop,
            fetched: Mutex::default(),
        }
    }

    /// Opens the secret that a reference names. Fetches nothing yet.
    ///
    /// # Errors
    /// A file that can no longer be read, or AWS credentials that cannot be set up.
    pub fn open(&self, reference: &SecretRef) -> Result<SecretCell, SecretUnavailable> {
        match reference {
            SecretRef::Fixed(secret) => Ok(SecretCell(SecretOrigin::Fixed(secret.clone()))),
            SecretRef::File { path, .. } => {
                let file = self.files.open(path, MAX_SECRET);
                let file = file.map_err(|error| SecretUnavailable(error.to_string().into()))?;
                Ok(SecretCell(SecretOrigin::File(file)))
            }
            SecretRef::Aws(secret) => self.open_aws(secret),
        }
    }

    /// Returns [`Secrets::open`] as a function to pass on.
    pub fn opener(&self) -> impl Fn(&SecretRef) -> Result<SecretCell, SecretUnavailable> + '_ {
        |reference| self.open(reference)
    }

    /// Opens a secret of AWS Secrets Manager. Upstreams that name the same secret share one cell,
    /// so that it is fetched once.
    fn open_aws(&self, secret: &AwsSecret) -> Result<SecretCell, SecretUnavailable> {
        let name = format!("{secret:?}");
        let known = self.fetched.lock().get(&name).map(Arc::clone);
        if let Some(known) = known {
            return Ok(SecretCell(SecretOrigin::Fetched(known)));
        }
        // Without the lock: the credentials may be secrets that are opened here too.
        let fetch = (self.make_aws_fetch)(secret, &self.opener())?;
        let opened = FetchedSecret::new(fetch, self.tasks.clone(), self.stop.clone());
        let mut fetched = self.fetched.lock();
        let opened = fetched.entry(name).or_insert(opened);
        Ok(SecretCell(SecretOrigin::Fetched(Arc::clone(opened))))
    }
}

impl SecretCell {
    /// Creates a secret that never changes.
    #[must_use]
    pub fn fixed(text: &str) -> Self {
        Self(SecretOrigin::Fixed(Secret::new(text)))
    }

    /// Returns the latest value. Waits only for a secret that was never fetched.
    ///
    /// # Errors
    /// It could not be fetched.
    pub async fn get(&self) -> Result<Secret, SecretUnavailable> {
        match &self.0 {
            SecretOrigin::Fixed(secret) => Ok(secret.clone()),
            SecretOrigin::File(file) => Ok(file.now()),
            SecretOrigin::Fetched(fetched) => fetched.get().await,
        }
    }

    /// Returns the latest value, and reads a file again before it does so.
    ///
    /// # Errors
    /// It could not be fetched.
    pub async fn read(&self) -> Result<Secret, SecretUnavailable> {
        if let SecretOrigin::File(file) = &self.0 {
            file.look(Duration::ZERO).await;
        }
        self.get().await
    }

    /// Returns the latest value without waiting; `None` if it was never fetched.
    #[must_use]
    pub fn current(&self) -> Option<Secret> {
        match &self.0 {
            SecretOrigin::Fixed(secret) => Some(secret.clone()),
            SecretOrigin::File(file) => Some(file.now()),
            SecretOrigin::Fetched(fetched) => {
                fetched.refresh_if_stale();
                fetched.value().map(|value| value.secret)
            }
        }
    }

    /// Returns a number that grows whenever the secret changes.
    #[must_use]
    pub fn version(&self) -> u64 {
        match &self.0 {
            SecretOrigin::Fixed(_) => 0,
            SecretOrigin::File(file) => file.version(),
            SecretOrigin::Fetched(fetched) => {
                fetched.refresh_if_stale();
                fetched.value().map_or(0, |value| value.version)
            }
        }
    }

    /// Has the secret read or fetched again in the background because a peer rejected it. Does
    /// nothing if it is no longer of the rejected version.
    pub fn renew_in_background(&self, rejected: u64) {
        if self.version() != rejected {
            return;
        }
        match &self.0 {
            SecretOrigin::Fixed(_) => {}
            SecretOrigin::File(file) => file.look_soon(FILE_LOOK),
            SecretOrigin::Fetched(fetched) => {
                drop(fetched.spawn_fetch());
            }
        }
    }

    /// Does the same as [`SecretCell::renew_in_background`] and waits until it is done.
    pub async fn renew(&self, rejected: u64) {
        if self.version() != rejected {
            return;
        }
        match &self.0 {
            SecretOrigin::Fixed(_) => {}
            SecretOrigin::File(file) => file.look(FILE_LOOK).await,
            SecretOrigin::Fetched(fetched) => fetched.renew().await,
        }
    }
}

impl KeySource for SecretCell {
    fn current(&self) -> Option<Secret> {
        Self::current(self)
    }

    fn version(&self) -> u64 {
        Self::version(self)
    }
}

/// A secret that is fetched.
struct FetchedSecret {
    fetch: Fetch,
    tasks: TaskTracker,
    /// Is cancelled when weir stops; nothing is fetched after that.
    stop: CancellationToken,
    value: Latest<Option<FetchedValue>>,
    /// Held while a fetch runs, so that there is one at a time.
    turn: tokio::sync::Mutex<()>,
    last: Mutex<LastFetch>,
}

/// A fetched value.
#[derive(Clone)]
struct FetchedValue {
    secret: Secret,
    version: u64,
    at: Instant,
}

/// How the last fetch ended.
#[derive(Default)]
struct LastFetch {
    ended: Option<Instant>,
    error: Option<SecretUnavailable>,
}

impl fmt::Debug for FetchedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedSecret").finish_non_exhaustive()
    }
}

impl FetchedSecret {
    fn new(fetch: Fetch, tasks: TaskTracker, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            fetch,
            tasks,
            stop,
            value: Latest::new(None),
            turn: tokio::sync::Mutex::new(()),
            last: Mutex::default(),
        })
    }

    fn value(&self) -> Option<FetchedValue> {
        self.value.get().as_ref().clone()
    }

    async fn get(self: &Arc<Self>) -> Result<Secret, SecretUnavailable> {
        if self.value().is_none() {
            self.renew().await;
        }
        self.refresh_if_stale();
        match (self.value(), self.last.lock().error.clone()) {
            (Some(value), _) => Ok(value.secret),
            (None, Some(error)) => Err(error),
            (None, None) => Err(SecretUnavailable("a secret could not be fetched".into())),
        }
    }

    /// Fetches in the background if the value is too old.
    fn refresh_if_stale(self: &Arc<Self>) {
        let is_stale = |value: FetchedValue| value.at.elapsed() >= MAX_AGE;
        if self.value().is_some_and(is_stale)
            && !self.has_just_ended()
            && self.turn.try_lock().is_ok()
        {
            drop(self.spawn_fetch());
        }
    }

    /// Returns whether the last fetch ended too recently for another one.
    fn has_just_ended(&self) -> bool {
        let ended = self.last.lock().ended;
        ended.is_some_and(|ended| ended.elapsed() < MIN_PAUSE)
    }

    /// Fetches, or waits for the fetch that is under way. Shortly after a fetch this returns at
    /// once.
    async fn renew(self: &Arc<Self>) {
        let _ = self.spawn_fetch().await;
    }

    /// Fetches in a task of its own: a caller that stops waiting must not end a fetch that others
    /// wait for.
    fn spawn_fetch(self: &Arc<Self>) -> JoinHandle<Option<()>> {
        let (fetched, stop) = (Arc::clone(self), self.stop.clone());
        let fetching = async move { fetched.fetch().await };
        self.tasks.spawn(stop.run_until_cancelled_owned(fetching))
    }

    async fn fetch(&self) {
        let turn = self.turn.lock().await;
        if self.has_just_ended() {
            return;
        }
        let result = (self.fetch)().await;
        let mut last = self.last.lock();
        last.ended = Some(Instant::now());
        match result {
            Ok(secret) => {
                let old = self.value();
                let version = match &old {
                    Some(old) if old.secret == secret => old.version,
                    Some(old) => old.version + 1,
                    None => 1,
                };
                if last.error.take().is_some() || old.is_some_and(|old| old.version != version) {
                    tracing::info!("a secret was fetched again and is in use");
                }
                let at = Instant::now();
                self.value.set(Some(FetchedValue {
                    secret,
                    version,
                    at,
                }));
            }
            Err(error) => {
                if last.error.as_ref() != Some(&error) {
                    tracing::warn!(%error, "a secret could not be fetched; its last value stays in use");
                }
                last.error = Some(error);
            }
        }
        drop(last);
        drop(turn);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A store with the answer that a test sets. Each answer takes a second.
    #[derive(Clone, Default)]
    struct SlowStore {
        answer: Arc<Mutex<Option<&'static str>>>,
        requests: Arc<AtomicUsize>,
    }

    impl SlowStore {
        fn set_answer(&self, answer: Option<&'static str>) {
            *self.answer.lock() = answer;
        }

        fn requests(&self) -> usize {
            self.requests.load(Ordering::Relaxed)
        }

        fn cell(&self) -> SecretCell {
            let store = self.clone();
            let fetch: Fetch = Box::new(move || {
                let store = store.clone();
                Box::pin(async move {
                    store.requests.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    let answer = *store.answer.lock();
                    answer
                        .map(Secret::new)
                        .ok_or_else(|| SecretUnavailable("no".into()))
                })
            });
            SecretCell(SecretOrigin::Fetched(FetchedSecret::new(
                fetch,
                TaskTracker::new(),
                CancellationToken::new(),
            )))
        }
    }

    async fn pass(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    fn shown(found: Result<Secret, SecretUnavailable>) -> Result<String, String> {
        found
            .map(|secret| secret.expose().to_owned())
            .map_err(|error| error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_is_fetched_once_for_all_who_want_it() {
        let store = SlowStore::default();
        store.set_answer(Some("one"));
        let cell = store.cell();
        assert!(cell.current().is_none());
        let all = futures::future::join_all((0..50).map(|_| cell.get())).await;
        assert!(
            all.into_iter()
                .all(|found| shown(found) == Ok("one".to_owned()))
        );
        assert_eq!((store.requests(), cell.version()), (1, 1));
        // A caller that stops waiting does not end the fetch for the others.
        let cell = store.cell();
        let impatient = tokio::time::timeout(Duration::from_millis(1), cell.get());
        assert!(impatient.await.is_err());
        assert_eq!(shown(cell.get().await), Ok("one".to_owned()));
        assert_eq!(store.requests(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_secret_is_used_while_a_new_one_is_fetched() {
        let store = SlowStore::default();
        store.set_answer(Some("one"));
        let cell = store.cell();
        cell.get().await.unwrap();
        store.set_answer(Some("two"));
        pass(299).await;
        assert_eq!(shown(cell.get().await), Ok("one".to_owned()));
        pass(2).await;
        assert_eq!((store.requests(), cell.version()), (1, 1));
        pass(2).await;
        assert_eq!((store.requests(), cell.version()), (2, 2));
        assert_eq!(shown(cell.get().await), Ok("two".to_owned()));
        // And while none can be fetched.
        store.set_answer(None);
        for _ in 0..5 {
            pass(200).await;
            assert_eq!(shown(cell.get().await), Ok("two".to_owned()));
        }
        assert!(store.requests() > 3);
        assert_eq!(cell.version(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_was_refused_is_fetched_again_but_not_all_the_time() {
        let store = SlowStore::default();
        store.set_answer(Some("one"));
        let cell = store.cell();
        cell.get().await.unwrap();
        store.set_answer(Some("two"));
        pass(11).await;
        cell.renew(1).await;
        assert_eq!((store.requests(), cell.version()), (2, 2));
        // A late rejection of the old version, then rejections of the new one.
        cell.renew(1).await;
        cell.renew(2).await;
        cell.renew(2).await;
        assert_eq!((store.requests(), cell.version()), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_is_not_asked_by_every_call() {
        let store = SlowStore::default();
        let cell = store.cell();
        for _ in 0..5 {
            assert_eq!(shown(cell.get().await), Err("no".to_owned()));
        }
        assert_eq!(store.requests(), 1);
        store.set_answer(Some("one"));
        pass(11).await;
        assert_eq!(shown(cell.get().await), Ok("one".to_owned()));
        assert_eq!(store.requests(), 2);
    }
}
