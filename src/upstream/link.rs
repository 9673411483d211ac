//! A link: the way to send messages to one upstream and to get its messages back.

mod later;
mod traffic;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::caller::Caller;
use crate::config;
use crate::credentials::Credentials;
use crate::credentials::aws::control_plane::ControlPlane;
use crate::memory::MemoryShare;
use crate::metrics;
use crate::name::{Instance, UpstreamId};
use crate::telemetry::SharedAttributes;
use crate::upstream::delegations::{Delegation, Delegations};
use crate::upstream::error::LinkError;
use crate::upstream::gate::Gate;
use crate::upstream::health::{Health, ListingReport};
use crate::upstream::http::HttpWire;
use crate::upstream::peer::{Connection, Peer};
use crate::upstream::quirks::Quirks;
use crate::upstream::rounds::Rounds;
use crate::upstream::sessions::UpstreamSessions;
use crate::upstream::stdio::ChildSpec;
use crate::upstream::subscriptions::Subscriptions;

/// The id of the next link of this process.
static NEXT_LINK_ID: AtomicU64 = AtomicU64::new(0);

/// One upstream, reachable. Building a link opens nothing; the keeper of the upstream connects it.
#[derive(Debug)]
pub struct Link {
    /// The id of this link. No other link of this process has it, not even one to the same
    /// upstream.
    pub link_id: u64,
    /// The config of this upstream.
    pub config: Arc<config::Upstream>,
    /// This weir's name in chains, if it is a hop of one.
    pub instance: Option<Instance>,
    /// The transport that carries the bytes.
    pub wire: Wire,
    /// The client that has an AgentCore Gateway read its targets anew, if the config wants that.
    pub gateway_control: Option<ControlPlane>,
    /// The logins of callers, if it is called on behalf of its callers.
    pub delegations: Option<Delegations>,
    /// The limit of calls in flight and the circuit, which every call passes first.
    pub gate: Arc<Gate>,
    /// The share that pays for what weir reads of this upstream for itself.
    pub memory: MemoryShare,
    /// The metrics of this upstream's calls.
    pub metrics: Arc<metrics::UpstreamMetrics>,
    /// Whether it works and what it listed, for operators.
    pub health: Health,
    /// The attributes of the upstream in spans, once there was one.
    pub(super) described: OnceLock<SharedAttributes>,
    /// When it is listed.
    pub rounds: Rounds,
    /// Asks the keeper to connect again: the session is gone, or a call found no peer.
    reconnect: Notify,
    /// Tells the keeper that a call waits for a peer.
    peer_wanted: Notify,
    peer: RwLock<Option<Arc<Peer>>>,
    /// Whether the upstream has answered that it does not know the session of the last peer, and no
    /// attempt to connect has ended since: it is there, whatever happened to earlier attempts.
    is_session_lost: AtomicBool,
    /// Counts attempts to connect or list that have ended, either way.
    attempts: watch::Sender<u64>,
    next_request_id: AtomicU64,
    /// The callers' subscriptions, beyond the lists.
    pub subscriptions: Arc<Subscriptions>,
    /// The sessions that callers have of their own.
    pub sessions: UpstreamSessions,
    /// Whether no config has this link any more.
    retired: AtomicBool,
    tasks: TaskTracker,
}

/// The transport that carries the bytes to an upstream.
#[derive(Debug)]
pub enum Wire {
    /// Streamable HTTP.
    Http(Box<HttpWire>),
    /// A child process.
    Child(Box<ChildSpec>),
}

impl Link {
    /// Builds a link. Opens nothing.
    #[must_use]
    pub fn new(
        config: Arc<config::Upstream>,
        instance: Option<Instance>,
        wire: Wire,
        tasks: TaskTracker,
        memory: MemoryShare,
        metrics: Arc<metrics::UpstreamMetrics>,
    ) -> Self {
        Self {
            link_id: NEXT_LINK_ID.fetch_add(1, Ordering::Relaxed),
            gate: Arc::new(Gate::new(&config)),
            sessions: UpstreamSessions::new(&config),
            rounds: Rounds::new(&config.resync),
            config,
            instance,
            wire,
            gateway_control: None,
            delegations: None,
            memory,
            metrics,
            health: Health::new(),
            described: OnceLock::new(),
            reconnect: Notify::new(),
            peer_wanted: Notify::new(),
            peer: RwLock::new(None),
            is_session_lost: AtomicBool::new(false),
            attempts: watch::Sender::new(0),
            next_request_id: AtomicU64::new(1),
            subscriptions: Arc::default(),
            retired: AtomicBool::new(false),
            tasks,
        }
    }

    /// Returns the upstream's key in the config.
    #[must_use]
    pub fn id(&self) -> &UpstreamId {
        &self.config.id
    }

    /// Marks the link as one that no config has any more.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        if let Some(delegations) = &self.delegations {
            delegations.clear();
        }
    }

    /// Returns the login of a caller, if the upstream is called on behalf of its callers; `None` if
    /// weir's own login serves it.
    ///
    /// # Errors
    /// It is, and the caller has no token.
    pub fn delegation(&self, caller: &Caller) -> Result<Option<Arc<Delegation>>, LinkError> {
        match &self.delegations {
            Some(delegations) => delegations.find(caller),
            None => Ok(None),
        }
    }

    /// Returns whether no config has it any more.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Returns what is particular to the other end.
    #[must_use]
    pub fn quirks(&self) -> Quirks {
        match &self.wire {
            Wire::Http(wire) => wire.quirks(),
            Wire::Child(_) => Quirks::default(),
        }
    }

    /// Returns the tracker that owns every task spawned for this upstream.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Returns a new request id, never used before on this link.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.next_request_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the peer that is connected now, if there is one. Does not wait.
    #[must_use]
    pub fn current_peer(&self) -> Option<Arc<Peer>> {
        self.peer.read().clone()
    }

    /// Returns the connected peer. Without one, asks the keeper to connect, and waits until
    /// `deadline` for the attempt under way. A link that is known to fail is not waited for, unless
    /// all that is known since is that its upstream answered.
    ///
    /// # Errors
    /// There is no peer: the reason of the last attempt.
    pub async fn wait_for_peer(&self, deadline: Instant) -> Result<Arc<Peer>, LinkError> {
        if let Some(peer) = self.open_peer() {
            return Ok(peer);
        }
        let attempts = self.attempts.subscribe();
        self.request_reconnect();
        self.peer_wanted.notify_one();
        if self.health.is_failing() && !self.is_session_lost() {
            Err(self.not_connected())
        } else {
            self.next_peer(attempts, deadline).await
        }
    }

    /// Forgets `stale`, whose session was found gone, and waits for the next peer.
    ///
    /// # Errors
    /// The attempt failed, or was not over by `deadline`.
    pub async fn replace_peer(
        &self,
        stale: &Arc<Peer>,
        deadline: Instant,
    ) -> Result<Arc<Peer>, LinkError> {
        let attempts = self.attempts.subscribe();
        self.forget_peer(stale);
        self.request_reconnect();
        self.peer_wanted.notify_one();
        self.next_peer(attempts, deadline).await
    }

    async fn next_peer(
        &self,
        mut attempts: watch::Receiver<u64>,
        deadline: Instant,
    ) -> Result<Arc<Peer>, LinkError> {
        loop {
            if let Some(peer) = self.open_peer() {
                return Ok(peer);
            }
            match tokio::time::timeout_at(deadline, attempts.changed()).await {
                Ok(Ok(())) if self.is_session_lost() => {}
                Ok(Ok(())) if self.current_peer().is_none() => return Err(self.not_connected()),
                Ok(Ok(())) => {}
                Err(_) if self.health.is_starting() => return Err(LinkError::StillStarting),
                Ok(Err(_)) | Err(_) => return Err(LinkError::Timeout),
            }
        }
    }

    fn open_peer(&self) -> Option<Arc<Peer>> {
        self.current_peer().filter(|peer| peer.is_open())
    }

    fn is_session_lost(&self) -> bool {
        self.is_session_lost.load(Ordering::Acquire)
    }

    fn not_connected(&self) -> LinkError {
        LinkError::NotConnected {
            reason: self.health.failure_reason(),
        }
    }

    /// Asks the keeper to connect again.
    pub fn request_reconnect(&self) {
        self.reconnect.notify_one();
    }

    /// Waits until a reconnect is requested. For the keeper.
    pub async fn reconnect_requested(&self) {
        self.reconnect.notified().await;
    }

    /// Waits until a call waits for a peer. For the keeper.
    pub async fn peer_wanted(&self) {
        self.peer_wanted.notified().await;
    }

    /// Returns the credentials that weir logs in with, if it uses any.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        match &self.wire {
            Wire::Http(wire) => Some(wire.credentials()).filter(|found| !found.is_empty()),
            Wire::Child(_) => None,
        }
    }

    /// Waits until weir has credentials again after it had none. Never returns where none are
    /// needed. For the keeper.
    pub async fn credentials_recovered(&self) {
        match self.credentials() {
            Some(credentials) => credentials.wait_recovered().await,
            None => std::future::pending().await,
        }
    }

    /// Sets the peer of a connection that was made. For the keeper.
    pub fn set_peer(&self, peer: Arc<Peer>) {
        let mut current = self.peer.write();
        *current = Some(peer);
        self.is_session_lost.store(false, Ordering::Release);
        drop(current);
        self.sessions.reset();
        self.attempts.send_modify(|attempts| *attempts += 1);
    }

    /// Forgets a peer whose session or process is gone, unless another has taken its place. Returns
    /// whether it was the one that all callers share.
    pub fn forget_peer(&self, stale: &Arc<Peer>) -> bool {
        let mut peer = self.peer.write();
        let is_it = peer
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, stale));
        if is_it {
            *peer = None;
            // That a process has ended says nothing about the next one.
            let is_lost = matches!(stale.connection, Connection::Http(_));
            self.is_session_lost.store(is_lost, Ordering::Release);
        }
        is_it
    }

    /// Records that an attempt to connect failed. Its reason is recorded by [`Self::record_failure`].
    /// For the keeper.
    pub fn record_no_connection(&self) {
        self.is_session_lost.store(false, Ordering::Release);
    }

    /// Records that an attempt to connect or list failed. For the keeper.
    pub fn record_failure(&self, error: &LinkError) {
        self.health.record_failure(error);
        self.gate.record_listing_failure(error);
        self.attempts.send_modify(|attempts| *attempts += 1);
    }

    /// Records that a listing is in the catalog. For the publisher.
    pub fn record_listing(&self, report: ListingReport) {
        self.gate.record_listing();
        self.health.record_listing(report);
    }

    /// Returns when a listing that starts now has to be over.
    #[must_use]
    pub fn list_deadline(&self) -> Instant {
        Instant::now() + self.config.timeouts.list
    }

    /// Returns when a connection that starts now has to be usable. A child process has until
    /// [`Self::open_deadline`] for its first answer.
    #[must_use]
    pub fn connect_deadline(&self) -> Instant {
        Instant::now() + self.config.timeouts.connect + self.config.timeouts.list
    }

    /// Returns when a session that is opened now has to be usable. Over stdio it is a process, which
    /// may take minutes to start.
    #[must_use]
    pub fn open_deadline(&self) -> Instant {
        match &self.wire {
            Wire::Http(_) => self.connect_deadline(),
            Wire::Child(_) => Instant::now() + self.config.timeouts.start,
        }
    }
}
