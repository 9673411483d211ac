//! A whole weir: starts listeners and upstream keepers from a config.

mod admin_listener;
mod audit;
mod authentication;
mod config_watch;
mod context;
mod core;
mod data_guard;
mod error;
mod export;
mod front_tls;
mod memory_watch;
mod options;
mod reconfigured;
mod reload;
mod replicas;
mod restore;
mod session_store;
mod state_dir;
mod warnings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::calls::CallWindow;
use crate::admin::trial::ToolTrials;
use crate::admin::{self, AdminAccess, AdminState, AdminToken};
use crate::config::{self, AdminAddress, Config};
use crate::connections::{self, ConnectionLimits, Listener, ReserveFor};
use crate::front::{self, Draining, Forwarding, Front};
use crate::live::front_gateway::FrontGatewaySync;
use crate::live::reload::ReloadHandle;
use crate::metrics::names;
use crate::page;
use crate::seal::{KeyRing, NoRandom};
use crate::session::{self, Crossings, SessionTable};

use self::admin_listener::{AdminListener, RunningAdmin};
use self::memory_watch::watch_memory;

pub use self::core::Core;
pub use error::ServeError;
pub use options::{ConfigSource, Options};
pub use reconfigured::Reconfigured;
pub use reload::ReloadableCore;
pub use state_dir::{
    admin_token, known_admin_token, known_instance, secure_state, with_instance,
    with_known_instance,
};

/// How long aborted calls have to send their error answers.
const ABORT_GRACE: Duration = Duration::from_secs(2);

/// How long connections without a request stay open once weir stops, for requests that are on their
/// way. Less where `listen.drain` is short.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// How often idle session state is dropped.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// A weir whose listeners are bound. Connections wait until it is started.
pub struct Bound {
    config: Arc<Config>,
    keys: KeyRing,
    front: (Listener, SocketAddr),
    admin: Option<AdminListener>,
}

impl Bound {
    /// Binds the listeners.
    ///
    /// # Errors
    /// Fails if an address cannot be bound or the state folder cannot be used.
    pub async fn bind(config: Config) -> Result<Self, ServeError> {
        state_dir::secure_state(&config)?;
        let (keys, config) = (state_dir::load_keys(&config)?, with_instance(config)?);
        let front = bind(config.listen.address).await?;
        let admin = AdminListener::bind(&config).await?;
        Ok(Self {
            config: Arc::new(config),
            keys,
            front,
            admin,
        })
    }

    /// Returns the URL of the MCP endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        let (_, address) = &self.front;
        url_of(*address, &self.config)
    }

    /// Returns the address of the admin listener, if there is one.
    #[must_use]
    pub fn admin_address(&self) -> Option<&AdminAddress> {
        self.admin.as_ref().map(|admin| &admin.address)
    }

    /// Starts to keep the upstreams and to answer requests.
    ///
    /// # Errors
    /// Fails if an upstream or the schedule cannot be set up.
    pub async fn start(self, options: &Options) -> Result<Server, ServeError> {
        let Self {
            config,
            keys,
            front: (listener, address),
            admin,
        } = self;
        let mut core = Core::start(Arc::clone(&config), &options.clone().exporting()).await?;
        let (listener, trust) = front_tls::secure(listener, &config.listen, &core)?;
        let marks = Arc::new(keys.mark_keys().ok_or(NoRandom)?);
        let authentication = core.authentication.start(&config, trust, admin.as_ref())?;
        let token = Arc::clone(core.authentication.admin_token());
        let draining = Draining::default();
        let sessions = start_sessions(&core, &config, &keys)?;
        let front_gateway = start_periodic(&core, &sessions, options.give_back_at_once);
        let (crossings, others) = start_crossings(&core, (&config, &keys), &sessions, &draining)?;
        let front = Arc::new(Front::new(
            &config.listen,
            Arc::clone(&core.live),
            (Arc::clone(&authentication), marks),
            (Arc::clone(&sessions), crossings),
            others,
            &draining,
            core.tasks.clone(),
        ));
        let (tasks, stop) = (core.tasks.clone(), core.shutdown.clone());
        let (accepts, memory) = (core.accepts(), Arc::clone(core.memory()));
        let core = ReloadableCore::start(core, options.source.clone());
        let limits = connection_limits(&config.listen);
        let admin = admin.zip(config.admin.as_ref()).map(|(bound, admin)| {
            let operators = AdminState {
                live: Arc::clone(core.live()),
                reloads: core.reloads().clone(),
                accepts,
                listens_elsewhere: options.listens_elsewhere(),
                callers: authentication,
                events: Arc::default(),
                trials: ToolTrials::new(admin.try_tools),
                calls: Arc::new(CallWindow::new(Instant::now())),
                front_gateway,
                started: Instant::now(),
            };
            tasks.spawn(admin::events::watch(operators.clone(), stop));
            let routes = operator_routes(operators, (admin, &token), &config.listen, &keys);
            bound.serve(routes.merge(front::probes(&front)), &memory, limits, &tasks)
        });
        let endpoint = front::endpoint(front, &config.listen.path);
        let listeners = TaskTracker::new();
        let served = connections::serve(listener, endpoint, memory, draining.begun.clone(), limits);
        listeners.spawn(served);
        Ok(Server {
            core,
            address,
            admin,
            sessions,
            config,
            draining,
            listeners,
        })
    }
}

fn connection_limits(listen: &config::Listen) -> ConnectionLimits {
    let limits = ConnectionLimits {
        connections: listen.connections.get(),
        header: listen.header_timeout,
        reserve: ReserveFor::Probes,
        last_requests: LAST_REQUESTS.min(listen.drain / 4),
    };
    limits.with_room()
}

/// Returns what the admin listener answers: to programs, and to people.
fn operator_routes(
    operators: AdminState,
    (admin, token): (&config::Admin, &Arc<AdminToken>),
    listen: &config::Listen,
    keys: &KeyRing,
) -> Router {
    let access = AdminAccess::new(admin, token, listen, &operators.callers);
    let access = Arc::new(access);
    let page = page::router(operators.clone(), Arc::clone(&access), admin.page, keys);
    admin::router(operators, access).merge(page)
}

/// Makes the table of sessions, with what is stored of earlier ones.
fn start_sessions(
    core: &Core,
    config: &Config,
    keys: &KeyRing,
) -> Result<Arc<SessionTable>, ServeError> {
    let sessions = Arc::new(SessionTable::new(keys, Arc::clone(core.memory()))?);
    if let Some(dir) = &config.state_dir {
        session_store::restore(dir, &sessions);
        let stop = core.shutdown.clone();
        let storing = session_store::store_changes(Arc::clone(&sessions), dir.clone(), stop);
        core.tasks.spawn(storing);
    }
    if let Some(store) = core.live.shared_store() {
        let (store, stop) = (Arc::clone(store), core.shutdown.clone());
        core.tasks.spawn(Arc::clone(&sessions).share(store, stop));
    }
    observe(core, &sessions);
    Ok(sessions)
}

/// Makes the table of calls that wait for their callers, and the way to the replicas that have others.
fn start_crossings(
    core: &Core,
    (config, keys): (&Config, &KeyRing),
    sessions: &SessionTable,
    draining: &Draining,
) -> Result<(Arc<Crossings>, Option<Forwarding>), ServeError> {
    let begun = draining.begun.clone();
    let crossings = Arc::new(Crossings::new(keys, begun, core.shutdown.clone())?);
    let waiting = Arc::clone(&crossings);
    let metrics = &core.live.load().metrics;
    metrics.observe(&names::PARKED_CALLS, move || waiting.parked() as u64);
    let replica = crossings.replica();
    let forwarding = replicas::forwarding(config, keys, replica, core.credentials(), metrics)?;
    if forwarding.is_some() {
        sessions.name_replica(replica.tag());
    }
    Ok((crossings, forwarding))
}

/// Starts what runs from time to time, until weir stops. Returns what tells a gateway in front of each
/// catalog, if the config names one.
fn start_periodic(
    core: &Core,
    sessions: &Arc<SessionTable>,
    give_back_at_once: Option<fn(bool)>,
) -> Arc<FrontGatewaySync> {
    let stop = || core.shutdown.clone();
    core.tasks
        .spawn(sweep_sessions(Arc::clone(sessions), stop()));
    core.tasks.spawn(watch_memory(
        Arc::clone(core.memory()),
        Arc::clone(sessions),
        give_back_at_once,
        stop(),
    ));
    let sync = FrontGatewaySync::new(&core.live, core.credentials());
    core.tasks.spawn(Arc::clone(&sync).run(stop()));
    sync
}

/// Registers the gauges that need the sessions, the runtime or the memory.
fn observe(core: &Core, sessions: &Arc<SessionTable>) {
    let metrics = &core.live.load().metrics;
    let (known, runtime) = (Arc::clone(sessions), Handle::current());
    let kept = Arc::clone(core.memory());
    metrics.observe(&names::LEGACY_SESSIONS, move || known.known());
    metrics.observe(&names::KEPT_MEMORY, move || kept.used() as u64);
    metrics.observe(&names::TASKS, move || {
        runtime.metrics().num_alive_tasks() as u64
    });
}

/// Drops the state of idle sessions from time to time.
async fn sweep_sessions(sessions: Arc<SessionTable>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(SWEEP_PERIOD) => sessions.sweep(session::IDLE),
        }
    }
}

/// A running weir with its listeners.
pub struct Server {
    core: ReloadableCore,
    address: SocketAddr,
    /// Stopped after the calls have ended, so that operators can watch them end.
    admin: Option<RunningAdmin>,
    config: Arc<Config>,
    sessions: Arc<SessionTable>,
    draining: Draining,
    listeners: TaskTracker,
}

impl Server {
    /// Binds the listeners, then starts to keep the upstreams. The catalog fills as upstreams answer.
    ///
    /// # Errors
    /// Fails if an address cannot be bound, the state folder cannot be used, or an upstream cannot be set
    /// up.
    pub async fn start(config: Config, options: Options) -> Result<Self, ServeError> {
        Bound::bind(config).await?.start(&options).await
    }

    /// Returns the address that callers connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address of the admin listener, if there is one.
    #[must_use]
    pub fn admin_address(&self) -> Option<&AdminAddress> {
        self.admin.as_ref().map(|admin| &admin.address)
    }

    /// Returns the URL of the MCP endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        url_of(self.address, &self.config)
    }

    /// Returns a receiver of the generation: the number of every new snapshot.
    #[must_use]
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.core.live().watch()
    }

    /// Waits until every upstream has been listed or has failed once.
    pub async fn settled(&self) {
        self.core.live().settled().await;
    }

    /// Returns the handle that reloads the config.
    #[must_use]
    pub fn reloads(&self) -> &ReloadHandle {
        self.core.reloads()
    }

    /// Stops. New connections are refused and streams end; connections that are open take a last request if
    /// it comes soon; calls under way finish within `listen.drain` or are answered with an error. Then sessions, child processes and the admin listener end.
    pub async fn stop(self) {
        self.draining.begun.cancel();
        self.core.unwatch();
        self.listeners.close();
        let drain = self.config.listen.drain;
        let drained = tokio::time::timeout(drain, self.listeners.wait()).await;
        if drained.is_err() {
            tracing::warn!(waited = ?drain, "calls under way did not finish in time: they are aborted");
        }
        // Also aborts calls whose callers are gone, which no listener waits for.
        self.core.live().load().metrics.give_up();
        self.draining.given_up.cancel();
        if drained.is_err() {
            let answered = tokio::time::timeout(ABORT_GRACE, self.listeners.wait()).await;
            if answered.is_err() {
                tracing::warn!("some callers did not read their answers");
            }
        }
        if let Some(admin) = self.admin {
            admin.stop.cancel();
        }
        // Closes the sessions that callers have at upstreams, within the grace period of the core.
        self.sessions.leave();
        self.core.stop().await;
    }
}

/// Returns the URL of the MCP endpoint at an address.
fn url_of(address: SocketAddr, config: &Config) -> String {
    let listen = &config.listen;
    let scheme = if listen.tls.is_some() {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{address}{}", listen.path)
}

async fn bind(address: SocketAddr) -> Result<(Listener, SocketAddr), ServeError> {
    let bound = Listener::bind(address).await;
    bound.map_err(|source| ServeError::Bind { address, source })
}
