//! A link: the way to send messages to one upstream and to get its messages back.

mod traffic;

use parking_lot::{RwLock, RwLockReadGuard};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use http::HeaderMap;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::catalog::Listing;
use crate::config;
use crate::credentials::Credentials;
use crate::credentials::aws::control::Control;
use crate::metrics;
use crate::name::{Instance, UpstreamId};
use crate::upstream::error::LinkError;
use crate::upstream::gate::Gate;
use crate::upstream::http::HttpWire;
use crate::upstream::peer::Peer;
use crate::upstream::quirks::Quirks;
use crate::upstream::sessions::Sessions;
use crate::upstream::standing::{Report, Standing, Times};
use crate::upstream::stdio::ChildSpec;
use crate::upstream::subscriptions::Subscriptions;

/// Tells links of this process apart.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// One upstream, reachable. Building a link opens nothing; the keeper of the upstream connects it.
#[derive(Debug)]
pub struct Link {
    /// Its own: no other link of this process has it, whatever the upstream.
    pub number: u64,
    /// What the config says of this upstream.
    pub config: Arc<config::Upstream>,
    /// This weir's name in chains, if it is a hop of one.
    pub instance: Option<Instance>,
    /// What carries the bytes.
    pub wire: Wire,
    /// What has an AgentCore Gateway read its targets anew, if that is wanted.
    pub control: Option<Control>,
    /// Places and circuit: what every call goes through first.
    pub gate: Arc<Gate>,
    /// Where its calls are counted.
    pub metrics: Arc<metrics::Upstream>,
    /// Asks the keeper to list again soon.
    pub resync: Notify,
    /// Asks the keeper to connect again: the session is gone, or a call found nobody.
    pub reconnect: Notify,
    peer: RwLock<Option<Arc<Peer>>>,
    standing: watch::Sender<Standing>,
    times: RwLock<Times>,
    /// Counts attempts to connect that have ended, either way.
    attempts: watch::Sender<u64>,
    report: RwLock<Report>,
    /// What the catalog holds of it, for as long as it does.
    held: RwLock<Weak<Listing>>,
    /// What operators have to know beside the report.
    warning: RwLock<Option<String>>,
    /// The number of the last listing that began.
    begun: AtomicU64,
    /// The number of the last listing whose outcome is in the catalog.
    ended: watch::Sender<u64>,
    ids: AtomicU64,
    /// What callers want to be told of beyond the lists.
    pub subscriptions: Arc<Subscriptions>,
    /// The sessions that callers have of their own.
    pub sessions: Sessions,
    /// No config has it any more.
    retired: AtomicBool,
    tasks: TaskTracker,
}

/// What carries the bytes to an upstream.
#[derive(Debug)]
pub enum Wire {
    /// Streamable HTTP.
    Http(Box<HttpWire>),
    /// A child process.
    Child(Box<ChildSpec>),
}

/// A request to an upstream, all but its envelope.
#[derive(Debug)]
pub struct Outbound {
    /// The link's own id; progress tokens are the same number.
    pub id: u64,
    /// The method.
    pub method: &'static str,
    /// The params as JSON text, with this hop's `_meta`.
    pub params: String,
    /// For an upstream over HTTP: `Mcp-*` where it is modern, and whom the request belongs to.
    pub headers: HeaderMap,
}

impl Link {
    /// A link as the config wants it. Opens nothing.
    #[must_use]
    pub fn new(
        config: Arc<config::Upstream>,
        instance: Option<Instance>,
        wire: Wire,
        tasks: TaskTracker,
        metrics: Arc<metrics::Upstream>,
    ) -> Self {
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            gate: Arc::new(Gate::new(&config)),
            sessions: Sessions::new(&config),
            config,
            instance,
            wire,
            control: None,
            metrics,
            resync: Notify::new(),
            reconnect: Notify::new(),
            peer: RwLock::new(None),
            standing: watch::Sender::new(Standing::Connecting),
            times: RwLock::new(Times {
                since: Instant::now(),
                next_try: None,
            }),
            attempts: watch::Sender::new(0),
            report: RwLock::default(),
            held: RwLock::default(),
            warning: RwLock::default(),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
            ids: AtomicU64::new(1),
            subscriptions: Arc::default(),
            retired: AtomicBool::new(false),
            tasks,
        }
    }

    /// The upstream's key in the config.
    #[must_use]
    pub fn id(&self) -> &UpstreamId {
        &self.config.id
    }

    /// Notes that no config has it any more.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Whether no config has it any more.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// What is particular to the other end.
    #[must_use]
    pub fn quirks(&self) -> Quirks {
        match &self.wire {
            Wire::Http(wire) => wire.quirks(),
            Wire::Child(_) => Quirks::default(),
        }
    }

    /// The tasks of this weir; what is spawned for this upstream is owned there.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// A new request id, never used before on this link.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Who is there now, if anybody; does not wait.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Peer>> {
        read(&self.peer).clone()
    }

    /// Who is there. Where nobody is, the keeper is asked to try, and the end of an attempt under way
    /// is awaited until `deadline`.
    ///
    /// # Errors
    /// Nobody is there: the last attempt's reason.
    pub async fn peer(&self, deadline: Instant) -> Result<Arc<Peer>, LinkError> {
        if let Some(peer) = self.current().filter(|peer| peer.is_open()) {
            return Ok(peer);
        }
        let attempts = self.attempts.subscribe();
        self.reconnect.notify_one();
        let known_dead = matches!(*self.standing.borrow(), Standing::Failing { .. });
        if known_dead {
            self.not_connected()
        } else {
            self.next_peer(attempts, deadline).await
        }
    }

    /// Waits for somebody other than `stale`, after its session was found gone.
    ///
    /// # Errors
    /// Nobody came until `deadline`, or the attempt failed.
    pub async fn peer_after(
        &self,
        stale: &Arc<Peer>,
        deadline: Instant,
    ) -> Result<Arc<Peer>, LinkError> {
        let attempts = self.attempts.subscribe();
        self.forget(stale);
        self.reconnect.notify_one();
        self.next_peer(attempts, deadline).await
    }

    async fn next_peer(
        &self,
        mut attempts: watch::Receiver<u64>,
        deadline: Instant,
    ) -> Result<Arc<Peer>, LinkError> {
        loop {
            if let Some(peer) = self.current().filter(|peer| peer.is_open()) {
                return Ok(peer);
            }
            match tokio::time::timeout_at(deadline, attempts.changed()).await {
                Ok(Ok(())) if self.current().is_none() => return self.not_connected(),
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(LinkError::Timeout),
            }
        }
    }

    fn not_connected<T>(&self) -> Result<T, LinkError> {
        let reason = match &*self.standing.borrow() {
            Standing::Failing { public, .. } => public,
            Standing::Up | Standing::Connecting => "the connection was lost",
        };
        Err(LinkError::NotConnected { reason })
    }

    /// Whether the last attempt to connect or list worked.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// What logs in to it, over HTTP and if anything does.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        match &self.wire {
            Wire::Http(wire) => Some(wire.credentials()).filter(|found| !found.are_none()),
            Wire::Child(_) => None,
        }
    }

    /// Waits until weir has something to log in with again, where it had nothing. For the keeper.
    pub async fn let_in_again(&self) {
        match self.credentials() {
            Some(credentials) => credentials.recovered().await,
            None => std::future::pending().await,
        }
    }

    /// Since when it is so, and when it is tried next.
    #[must_use]
    pub fn times(&self) -> Times {
        *read(&self.times)
    }

    fn edit_times(&self, edit: impl FnOnce(&mut Times)) {
        edit(&mut self.times.write());
    }

    /// For the keeper: when it tries next without being asked.
    pub fn plan(&self, next_try: Option<Instant>) {
        self.edit_times(|times| times.next_try = next_try);
    }

    /// For the keeper: somebody is there.
    pub fn connected(&self, peer: Arc<Peer>) {
        *self.peer.write() = Some(peer);
        self.sessions.renewed();
        self.attempts.send_modify(|attempts| *attempts += 1);
    }

    /// For the keeper: an attempt failed. The standing keeps the time of the first failure in a row.
    pub fn failed(&self, error: &LinkError) {
        self.standing.send_modify(|standing| {
            let since = match standing {
                Standing::Failing { since, .. } => *since,
                Standing::Connecting | Standing::Up => Instant::now(),
            };
            self.edit_times(|times| times.since = since);
            *standing = Standing::Failing {
                reason: error.in_full(),
                public: error.public(),
                since,
            };
        });
        self.gate.unlisted(error);
        self.attempts.send_modify(|attempts| *attempts += 1);
    }

    /// For the keeper: numbers the listing that begins now.
    pub fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// For the publisher: whatever the listing of this number led to is in place.
    pub fn ended(&self, round: u64) {
        self.ended.send_replace(round);
    }

    /// Lists again and waits until the outcome of a listing that began after this call is in place;
    /// false if that takes longer than until `deadline`.
    pub async fn resynced(&self, deadline: Instant) -> bool {
        let next = self.begun.load(Ordering::Acquire) + 1;
        let mut ended = self.ended.subscribe();
        self.resync.notify_one();
        let done = ended.wait_for(|ended| *ended >= next);
        matches!(tokio::time::timeout_at(deadline, done).await, Ok(Ok(_)))
    }

    /// For the publisher: a listing is in the catalog.
    pub fn listed(&self, report: Report) {
        *self.report.write() = report;
        self.gate.listed();
        if self.standing.send_replace(Standing::Up) != Standing::Up {
            self.edit_times(|times| times.since = Instant::now());
        }
    }

    /// At the start: a listing of an earlier run, or of an earlier link, is in the catalog.
    pub fn restored(&self, report: Report) {
        *self.report.write() = report;
    }

    /// For the publisher: what the catalog holds of it, as it was listed.
    pub fn hold(&self, listing: &Arc<Listing>) {
        *self.held.write() = Arc::downgrade(listing);
    }

    /// What the catalog holds of it, as it was listed.
    #[must_use]
    pub fn held(&self) -> Option<Arc<Listing>> {
        read(&self.held).upgrade()
    }

    /// What the last good listing had, and what else operators have to know.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = read(&self.report).clone();
        report.warnings.extend(read(&self.warning).clone());
        report
    }

    /// Whether there is a listing that weir fails to renew, or has of an earlier run and has not renewed yet.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let report = read(&self.report);
        let fails = matches!(*self.standing.borrow(), Standing::Failing { .. });
        report.at.is_some() && (report.stale || fails)
    }

    /// For the keeper: what operators have to know besides the report, from now on.
    pub fn warn(&self, warning: Option<String>) {
        *self.warning.write() = warning;
    }

    /// Tells when the standing changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Forgets a peer whose session or process is gone, unless another has taken its place.
    pub fn forget(&self, stale: &Arc<Peer>) {
        let mut peer = self.peer.write();
        if peer
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, stale))
        {
            *peer = None;
        }
    }

    /// When a call that starts now has to be over.
    #[must_use]
    pub fn call_deadline(&self) -> Instant {
        Instant::now() + self.config.timeouts.call
    }

    /// When a listing that starts now has to be over.
    #[must_use]
    pub fn list_deadline(&self) -> Instant {
        Instant::now() + self.config.timeouts.list
    }

    /// When a connection that starts now has to be usable.
    #[must_use]
    pub fn connect_deadline(&self) -> Instant {
        Instant::now() + self.config.timeouts.connect + self.config.timeouts.list
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read()
}
