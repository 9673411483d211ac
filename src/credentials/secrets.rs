//! Secrets that may change while weir runs: files are watched, AWS secrets fetched.

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
use crate::credentials::aws::With;
use crate::credentials::aws::secrets_manager::Fetcher;
use crate::files::{FileCell, Files};
use crate::latest::Latest;
use crate::secret::Secret;
use crate::tls::Key;

/// How long a fetched secret is used before it is fetched again. AWS's own caches keep it for an hour; a rotation
/// that overlaps, as AWS's do, is noticed in time with this.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// How long to wait after a fetch before the next one, whoever asks.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a refusal waits before it has a file looked at again.
const LOOK: Duration = Duration::from_secs(1);

/// Why a secret cannot be had while weir runs. Never the secret, never a peer's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SecretError(pub Box<str>);

/// All secrets of a weir that may change.
#[derive(Debug)]
pub struct Secrets {
    files: Arc<Files>,
    with: With,
    fetched: Mutex<HashMap<String, Arc<Fetched>>>,
}

/// One secret, as it is now.
#[derive(Clone, Debug)]
pub struct SecretCell(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Fixed(Secret),
    File(FileCell),
    Fetched(Arc<Fetched>),
}

impl Secrets {
    /// The secrets of a weir whose files are `files`.
    #[must_use]
    pub fn new(files: Arc<Files>, with: With) -> Self {
        Self {
            files,
            with,
            fetched: Mutex::default(),
        }
    }

    /// The secret that a reference names. Nothing is fetched yet.
    ///
    /// # Errors
    /// A file that cannot be read any more, or AWS credentials that cannot be set up.
    pub fn open(&self, reference: &SecretRef) -> Result<SecretCell, SecretError> {
        match reference {
            SecretRef::Fixed(secret) => Ok(SecretCell(Kind::Fixed(secret.clone()))),
            SecretRef::File { path, .. } => {
                let file = self.files.open(path, MAX_SECRET);
                let file = file.map_err(|error| SecretError(error.to_string().into()))?;
                Ok(SecretCell(Kind::File(file)))
            }
            SecretRef::Aws(secret) => self.fetched(secret),
        }
    }

    /// The same secret is fetched once, however many upstreams use it.
    fn fetched(&self, secret: &AwsSecret) -> Result<SecretCell, SecretError> {
        let name = format!("{secret:?}");
        let known = |fetched: &Mutex<HashMap<String, Arc<Fetched>>>| {
            let fetched = fetched.lock();
            fetched.get(&name).map(Arc::clone)
        };
        if let Some(known) = known(&self.fetched) {
            return Ok(SecretCell(Kind::Fetched(known)));
        }
        let fetcher = Arc::new(Fetcher::new(secret, &self.with, &|key| self.open(key))?);
        let fetch: Fetch = Box::new(move || {
            let fetcher = Arc::clone(&fetcher);
            Box::pin(async move { fetcher.fetch().await })
        });
        let (tasks, stop) = (self.with.tasks.clone(), self.with.stop.clone());
        let opened = Fetched::new(fetch, tasks, stop);
        let mut fetched = self.fetched.lock();
        let opened = fetched.entry(name).or_insert(opened);
        Ok(SecretCell(Kind::Fetched(Arc::clone(opened))))
    }
}

impl SecretCell {
    /// A secret that never changes.
    #[must_use]
    pub fn fixed(text: &str) -> Self {
        Self(Kind::Fixed(Secret::new(text)))
    }

    /// The secret as it is now. Waits only for one that was never fetched.
    ///
    /// # Errors
    /// It could not be fetched.
    pub async fn get(&self) -> Result<Secret, SecretError> {
        match &self.0 {
            Kind::Fixed(secret) => Ok(secret.clone()),
            Kind::File(file) => Ok(file.now()),
            Kind::Fetched(fetched) => fetched.get().await,
        }
    }

    /// The secret as it is now, after a look at where it comes from.
    ///
    /// # Errors
    /// It could not be fetched.
    pub async fn read(&self) -> Result<Secret, SecretError> {
        if let Kind::File(file) = &self.0 {
            file.look(Duration::ZERO).await;
        }
        self.get().await
    }

    /// The secret, if it is here already.
    #[must_use]
    pub fn now(&self) -> Option<Secret> {
        match &self.0 {
            Kind::Fixed(secret) => Some(secret.clone()),
            Kind::File(file) => Some(file.now()),
            Kind::Fetched(fetched) => {
                fetched.touch();
                fetched.kept().map(|kept| kept.secret)
            }
        }
    }

    /// Grows whenever the secret changes.
    #[must_use]
    pub fn version(&self) -> u64 {
        match &self.0 {
            Kind::Fixed(_) => 0,
            Kind::File(file) => file.version(),
            Kind::Fetched(fetched) => {
                fetched.touch();
                fetched.kept().map_or(0, |kept| kept.version)
            }
        }
    }

    /// The secret was refused: if it is still of that version, it is read or fetched again before its time, and the
    /// next who want it have what was found.
    pub fn refused(&self, version: u64) {
        if self.version() != version {
            return;
        }
        match &self.0 {
            Kind::Fixed(_) => {}
            Kind::File(file) => file.look_soon(LOOK),
            Kind::Fetched(fetched) => {
                drop(fetched.begin());
            }
        }
    }

    /// [`SecretCell::refused`], and waits for what is found.
    pub async fn renew(&self, version: u64) {
        if self.version() != version {
            return;
        }
        match &self.0 {
            Kind::Fixed(_) => {}
            Kind::File(file) => file.look(LOOK).await,
            Kind::Fetched(fetched) => fetched.renew().await,
        }
    }
}

impl Key for SecretCell {
    fn now(&self) -> Option<Secret> {
        Self::now(self)
    }

    fn version(&self) -> u64 {
        Self::version(self)
    }
}

type Fetching = Pin<Box<dyn Future<Output = Result<Secret, SecretError>> + Send>>;
type Fetch = Box<dyn Fn() -> Fetching + Send + Sync>;

/// A secret that is fetched.
struct Fetched {
    fetch: Fetch,
    tasks: TaskTracker,
    /// When weir stops: nothing is fetched any more.
    stop: CancellationToken,
    kept: Latest<Option<Kept>>,
    /// Whoever has this may fetch.
    turn: tokio::sync::Mutex<()>,
    last: Mutex<Last>,
}

/// What was fetched.
#[derive(Clone)]
struct Kept {
    secret: Secret,
    version: u64,
    at: Instant,
}

/// How the last attempt went.
#[derive(Default)]
struct Last {
    ended: Option<Instant>,
    error: Option<SecretError>,
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched").finish_non_exhaustive()
    }
}

impl Fetched {
    fn new(fetch: Fetch, tasks: TaskTracker, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            fetch,
            tasks,
            stop,
            kept: Latest::new(None),
            turn: tokio::sync::Mutex::new(()),
            last: Mutex::default(),
        })
    }

    fn kept(&self) -> Option<Kept> {
        self.kept.get().as_ref().clone()
    }

    fn last(&self) -> parking_lot::MutexGuard<'_, Last> {
        self.last.lock()
    }

    async fn get(self: &Arc<Self>) -> Result<Secret, SecretError> {
        if self.kept().is_none() {
            self.renew().await;
        }
        self.touch();
        match (self.kept(), self.last().error.clone()) {
            (Some(kept), _) => Ok(kept.secret),
            (None, Some(error)) => Err(error),
            (None, None) => Err(SecretError("a secret could not be fetched".into())),
        }
    }

    /// Fetches in the background what is no longer fresh.
    fn touch(self: &Arc<Self>) {
        let stale = |kept: Kept| kept.at.elapsed() >= FRESH;
        if self.kept().is_some_and(stale) && !self.is_soon() && self.turn.try_lock().is_ok() {
            drop(self.begin());
        }
    }

    /// Whether it is too soon for another attempt.
    fn is_soon(&self) -> bool {
        self.last()
            .ended
            .is_some_and(|ended| ended.elapsed() < PAUSE)
    }

    /// Fetches, or waits for whoever is at it. Those who come soon after have what they found.
    async fn renew(self: &Arc<Self>) {
        let _ = self.begin().await;
    }

    /// In a task of its own: who waits for it may go, and the others still want it.
    fn begin(self: &Arc<Self>) -> JoinHandle<Option<()>> {
        let (fetched, stop) = (Arc::clone(self), self.stop.clone());
        let fetching = async move { fetched.fetch().await };
        self.tasks.spawn(stop.run_until_cancelled_owned(fetching))
    }

    async fn fetch(&self) {
        let turn = self.turn.lock().await;
        if self.is_soon() {
            return;
        }
        let found = (self.fetch)().await;
        let mut last = self.last();
        last.ended = Some(Instant::now());
        match found {
            Ok(secret) => {
                let old = self.kept();
                let version = match &old {
                    Some(old) if old.secret == secret => old.version,
                    Some(old) => old.version + 1,
                    None => 1,
                };
                if last.error.take().is_some() || old.is_some_and(|old| old.version != version) {
                    tracing::info!("a secret was fetched anew and is in use");
                }
                let at = Instant::now();
                self.kept.set(Some(Kept {
                    secret,
                    version,
                    at,
                }));
            }
            Err(error) => {
                if last.error.as_ref() != Some(&error) {
                    tracing::warn!(%error, "a secret could not be fetched; what is there stays in use");
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

    /// A store whose answers are written here; it takes a second to answer.
    #[derive(Clone, Default)]
    struct Store {
        answer: Arc<Mutex<Option<&'static str>>>,
        asked: Arc<AtomicUsize>,
    }

    impl Store {
        fn says(&self, answer: Option<&'static str>) {
            *self.answer.lock() = answer;
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }

        fn cell(&self) -> SecretCell {
            let store = self.clone();
            let fetch: Fetch = Box::new(move || {
                let store = store.clone();
                Box::pin(async move {
                    store.asked.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    let answer = *store.answer.lock();
                    answer
                        .map(Secret::new)
                        .ok_or_else(|| SecretError("no".into()))
                })
            });
            SecretCell(Kind::Fetched(Fetched::new(
                fetch,
                TaskTracker::new(),
                CancellationToken::new(),
            )))
        }
    }

    async fn pass(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    fn shown(found: Result<Secret, SecretError>) -> Result<String, String> {
        found
            .map(|secret| secret.expose().to_owned())
            .map_err(|error| error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_is_fetched_once_for_all_who_want_it() {
        let store = Store::default();
        store.says(Some("one"));
        let cell = store.cell();
        assert!(cell.now().is_none());
        let all = futures::future::join_all((0..50).map(|_| cell.get())).await;
        assert!(
            all.into_iter()
                .all(|found| shown(found) == Ok("one".to_owned()))
        );
        assert_eq!((store.asked(), cell.version()), (1, 1));
        // One who goes takes nothing away from the others.
        let cell = store.cell();
        let impatient = tokio::time::timeout(Duration::from_millis(1), cell.get());
        assert!(impatient.await.is_err());
        assert_eq!(shown(cell.get().await), Ok("one".to_owned()));
        assert_eq!(store.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_secret_is_used_while_a_new_one_is_fetched() {
        let store = Store::default();
        store.says(Some("one"));
        let cell = store.cell();
        cell.get().await.unwrap();
        store.says(Some("two"));
        pass(299).await;
        assert_eq!(shown(cell.get().await), Ok("one".to_owned()));
        pass(2).await;
        assert_eq!((store.asked(), cell.version()), (1, 1));
        pass(2).await;
        assert_eq!((store.asked(), cell.version()), (2, 2));
        assert_eq!(shown(cell.get().await), Ok("two".to_owned()));
        // And while none is to be had.
        store.says(None);
        for _ in 0..5 {
            pass(200).await;
            assert_eq!(shown(cell.get().await), Ok("two".to_owned()));
        }
        assert!(store.asked() > 3);
        assert_eq!(cell.version(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_was_refused_is_fetched_again_but_not_all_the_time() {
        let store = Store::default();
        store.says(Some("one"));
        let cell = store.cell();
        cell.get().await.unwrap();
        store.says(Some("two"));
        pass(11).await;
        cell.renew(1).await;
        assert_eq!((store.asked(), cell.version()), (2, 2));
        // Somebody else's late refusal, then refusals of the new one.
        cell.renew(1).await;
        cell.renew(2).await;
        cell.renew(2).await;
        assert_eq!((store.asked(), cell.version()), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_is_not_asked_by_every_call() {
        let store = Store::default();
        let cell = store.cell();
        for _ in 0..5 {
            assert_eq!(shown(cell.get().await), Err("no".to_owned()));
        }
        assert_eq!(store.asked(), 1);
        store.says(Some("one"));
        pass(11).await;
        assert_eq!(shown(cell.get().await), Ok("one".to_owned()));
        assert_eq!(store.asked(), 2);
    }
}
