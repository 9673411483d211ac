//! The store: commands, and the news of other replicas.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind};
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::time::Instant;
use tokio::time::error::Elapsed;

use crate::config::{ReplicaSettings, ReplicaStore, WhenLost};
use crate::replicas::news::{NewsTopic, StoreNews};
use crate::replicas::status::{ListingFigures, StoreState, StoreStatus};
use crate::seal::{self, KeyRing, MarkKeys, NoRandom, Sealer};

/// The purpose that values are sealed for.
const PURPOSE: &str = "replicas";
/// News that wait for a subscriber. One that falls behind is told to read everything again.
const NEWS: usize = 1024;
/// Commands without an answer that wait to be sent. Further ones are dropped and counted.
const POSTS: usize = 4096;
/// How long replicas have to bring back what the store may have lost, once it is reached again.
const SETTLE: Duration = Duration::from_secs(1);
/// Between two warnings about an error that the store answers.
const QUIET: Duration = Duration::from_secs(60);

/// The store has not answered: there is no connection, or none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of the replicas does not answer")]
pub struct StoreLost;

/// The store that replicas share.
pub struct SharedStore {
    prefix: Box<str>,
    timeout: Duration,
    when_lost: WhenLost,
    /// The name of this process among the replicas, for as long as it runs.
    me: Box<str>,
    sealer: Sealer,
    marks: MarkKeys,
    current: Mutex<Option<CurrentConnection>>,
    /// Told when the current connection is of no use.
    pub(super) broken: Notify,
    state: watch::Sender<StoreState>,
    news: broadcast::Sender<StoreNews>,
    posts: mpsc::Sender<Cmd>,
    /// Taken by the task that sends them.
    pub(super) posted: Mutex<Option<mpsc::Receiver<Cmd>>>,
    connections: AtomicU64,
    losses: AtomicU64,
    failures: AtomicU64,
    /// The listings that replicas share.
    pub(crate) listings: ListingFigures,
    /// When replicas have had the time to bring back what the store may have lost.
    settled_at: Mutex<Option<Instant>>,
    /// When an error of the store was last logged.
    warned: Mutex<Option<Instant>>,
}

/// A connection, and its number.
#[derive(Clone)]
pub(super) struct CurrentConnection {
    pub(super) number: u64,
    pub(super) multiplexed: MultiplexedConnection,
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStore").finish_non_exhaustive()
    }
}

impl SharedStore {
    /// Makes the store of a config. It has no connection until [`Self::run`] is.
    ///
    /// # Errors
    /// There are no random numbers, or the keys cannot be derived.
    pub fn new(
        settings: &ReplicaSettings,
        store: &ReplicaStore,
        keys: &KeyRing,
    ) -> Result<Arc<Self>, NoRandom> {
        let (posts, posted) = mpsc::channel(POSTS);
        Ok(Arc::new(Self {
            prefix: settings.prefix.clone(),
            timeout: store.timeout,
            when_lost: settings.when_lost,
            me: format!("{:016x}", u64::from_be_bytes(seal::random()?)).into(),
            sealer: keys.sealer(PURPOSE).ok_or(NoRandom)?,
            marks: keys.mark_keys().ok_or(NoRandom)?,
            current: Mutex::new(None),
            broken: Notify::new(),
            state: watch::Sender::new(StoreState::Connecting),
            news: broadcast::Sender::new(NEWS),
            posts,
            posted: Mutex::new(Some(posted)),
            connections: AtomicU64::new(0),
            losses: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            listings: ListingFigures::default(),
            settled_at: Mutex::new(None),
            warned: Mutex::new(None),
        }))
    }

    /// Returns the key of something, such as `rate` or `login`.
    pub(crate) fn key(&self, kind: &str, name: &str) -> String {
        format!("{}:{kind}:{name}", self.prefix)
    }

    /// Returns the channel of news.
    pub(super) fn channel(&self) -> String {
        format!("{}:news", self.prefix)
    }

    pub(super) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    pub(super) fn marks(&self) -> &MarkKeys {
        &self.marks
    }

    pub(super) fn me(&self) -> &str {
        &self.me
    }

    /// Returns how limits are kept while the store cannot be reached.
    #[must_use]
    pub fn when_lost(&self) -> WhenLost {
        self.when_lost
    }

    /// Returns whether there is a connection.
    #[must_use]
    pub fn is_up(&self) -> bool {
        *self.state.borrow() == StoreState::Up
    }

    /// Describes the store for operators.
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        StoreStatus {
            store: *self.state.borrow(),
            when_lost: self.when_lost.as_str(),
            losses: self.losses.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            listings: self.listings.counts(),
        }
    }

    /// Waits for a connection, for so long at most. Returns whether there is one.
    pub async fn reached(&self, within: Duration) -> bool {
        let mut state = self.state.subscribe();
        let up = state.wait_for(|state| *state == StoreState::Up);
        tokio::time::timeout(within, up).await.is_ok()
    }

    /// Waits until replicas have had the time to bring back what the store may have lost while there
    /// was no connection.
    pub(crate) async fn settled(&self) {
        let until = *self.settled_at.lock();
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Returns a receiver of the news of other replicas.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<StoreNews> {
        self.news.subscribe()
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// There is no connection, no answer in time, or one that is no use.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreLost> {
        let mut current = self.reach()?;
        let asked = command.query_async(&mut current.multiplexed);
        let answer = tokio::time::timeout(self.timeout, asked).await;
        self.judge(current.number, answer)
    }

    /// Sends commands, and waits until all are done.
    ///
    /// # Errors
    /// There is no connection, no answer in time, or one of them failed.
    pub(crate) async fn ask_all(&self, commands: &Pipeline) -> Result<(), StoreLost> {
        let mut current = self.reach()?;
        let sent = commands.exec_async(&mut current.multiplexed);
        let done = tokio::time::timeout(self.timeout, sent).await;
        self.judge(current.number, done)
    }

    /// Returns the connection, or counts that there is none.
    fn reach(&self) -> Result<CurrentConnection, StoreLost> {
        self.connection().ok_or_else(|| self.count_failure())
    }

    /// Notes what went wrong with a command on the connection of this number, if something did.
    fn judge<T>(
        &self,
        number: u64,
        answer: Result<RedisResult<T>, Elapsed>,
    ) -> Result<T, StoreLost> {
        match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => self.note_error(number, &error),
            Err(_) => {
                self.lose(number, "it did not answer in time");
            }
        }
        Err(self.count_failure())
    }

    fn count_failure(&self) -> StoreLost {
        self.failures.fetch_add(1, Ordering::Relaxed);
        StoreLost
    }

    /// Sends a command of whose answer nothing depends, soon. It is dropped if there is no connection
    /// or too many wait.
    pub(crate) fn post(&self, command: Cmd) {
        if !self.is_up() || self.posts.try_send(command).is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells the other replicas, soon.
    pub(crate) fn tell(&self, topic: NewsTopic, text: &str) {
        let message = StoreNews::message(topic, &self.me, text);
        let mut command = redis::cmd("PUBLISH");
        command.arg(self.channel()).arg(message);
        self.post(command);
    }

    pub(super) fn connection(&self) -> Option<CurrentConnection> {
        self.current.lock().clone()
    }

    /// Numbers a new connection.
    pub(super) fn next_number(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Puts a connection to use.
    pub(super) fn put_up(&self, connection: CurrentConnection) {
        *self.settled_at.lock() = (connection.number > 0).then(|| Instant::now() + SETTLE);
        *self.current.lock() = Some(connection);
        self.state.send_replace(StoreState::Up);
        self.pass_on(StoreNews::reached());
    }

    /// Passes news on to whoever listens.
    pub(super) fn pass_on(&self, news: StoreNews) {
        // Nobody may listen.
        let _ = self.news.send(news);
    }

    /// Takes a connection out of use, if it is still the one in use. Returns whether it was.
    pub(super) fn lose(&self, number: u64, reason: &str) -> bool {
        let lost = self
            .current
            .lock()
            .take_if(|current| current.number == number);
        if lost.is_none() {
            return false;
        }
        self.losses.fetch_add(1, Ordering::Relaxed);
        self.state.send_replace(StoreState::Lost);
        tracing::warn!(
            reason,
            when_lost = self.when_lost.as_str(),
            "the store of the replicas is lost: this weir goes on by itself until it is back"
        );
        self.broken.notify_one();
        true
    }

    /// Decides what an error of a command means for the connection.
    pub(super) fn note_error(&self, number: u64, error: &RedisError) {
        let moves = matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::ReadOnly
                    | ServerErrorKind::BusyLoading
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ClusterDown
            )
        );
        if moves || error.is_io_error() || error.is_unrecoverable_error() {
            self.lose(number, describe(error));
            return;
        }
        let mut warned = self.warned.lock();
        if warned.is_none_or(|at| at.elapsed() >= QUIET) {
            *warned = Some(Instant::now());
            let code = error.code().unwrap_or_default();
            tracing::warn!(
                code,
                reason = describe(error),
                "the store of the replicas refuses a command"
            );
        }
    }
}

/// The words for errors of the store: its own may repeat what it was sent.
const WORDS: [(ErrorKind, &str); 10] = [
    (ErrorKind::Io, "the connection broke"),
    (
        ErrorKind::AuthenticationFailed,
        "it does not accept the login",
    ),
    (ErrorKind::RESP3NotSupported, "it is older than Redis 6"),
    (
        ErrorKind::Server(ServerErrorKind::ReadOnly),
        "it can only be read: it is no primary",
    ),
    (
        ErrorKind::Server(ServerErrorKind::BusyLoading),
        "it is still loading its data",
    ),
    (
        ErrorKind::Server(ServerErrorKind::MasterDown),
        "its primary is down",
    ),
    (
        ErrorKind::Server(ServerErrorKind::ClusterDown),
        "it is a cluster that is down",
    ),
    (
        ErrorKind::Server(ServerErrorKind::Moved),
        "it is a cluster, which weir does not use",
    ),
    (
        ErrorKind::Server(ServerErrorKind::NoPerm),
        "its user may not do that",
    ),
    (ErrorKind::Parse, "its answer is of no use"),
];

/// Describes an error of the store.
pub(super) fn describe(error: &RedisError) -> &'static str {
    if matches!(error.code(), Some("WRONGPASS" | "NOAUTH")) {
        return "it does not accept the login";
    }
    let found = WORDS.iter().find(|(kind, _)| *kind == error.kind());
    found.map_or("it answered with an error", |(_, words)| words)
}
