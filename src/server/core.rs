//! The core of a weir: keeps upstreams, publishes the catalog, and applies other configs while calls
//! go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalog::{Catalog, Pins};
use crate::config::{self, Config};
use crate::connector::{self, ConnectorContext};
use crate::credentials::CredentialsContext;
use crate::files::Files;
use crate::guard::Guard;
use crate::hooks::Hooks;
use crate::limits::SharedRates;
use crate::live::accept::AcceptHandle;
use crate::live::command::{NewConfig, PublisherCommand};
use crate::live::keeper::Keeper;
use crate::live::publisher::{self, drift};
use crate::live::schedule::Schedule;
use crate::live::shared_listings::SharedListings;
use crate::live::shared_pins::SharedPins;
use crate::live::state::State;
use crate::live::store::{ListingStore, StoreWriter};
use crate::live::{Live, Snapshot};
use crate::memory::MemoryBudget;
use crate::server::audit;
use crate::server::authentication::Authentication;
use crate::server::context::{make_context, make_hooks};
use crate::server::data_guard::DataGuard;
use crate::server::reconfigured::Reconfigured;
use crate::server::replicas;
use crate::server::restore::{
    apply_stored_pins, begin_sharing, load_pins, restore_listings, share_pins,
};
use crate::server::warnings::{is_gated, warn_of_config};
use crate::server::{error::ServeError, export::Export, options::Options};
use crate::upstream::health::ListingReport;
use crate::upstream::{Link, Wire};

/// How long a stopping weir waits for keepers and child processes, once no call is under way. A child
/// that ignores both the end of its stdin and SIGTERM takes half of it.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Commands to the publisher that may wait.
const COMMANDS: usize = 64;
/// How often a retired link is checked for calls that are still under way.
const DRAIN_POLL: Duration = Duration::from_millis(50);

/// The core of a weir, without listeners: keeps upstreams and publishes the catalog.
pub struct Core {
    pub(super) live: Arc<Live>,
    pub(super) shutdown: CancellationToken,
    pub(super) tasks: TaskTracker,
    schedule: Schedule,
    around: ConnectorContext,
    commands: mpsc::Sender<PublisherCommand>,
    /// Where listings and pins are stored; `None` if they are not.
    store: Option<ListingStore>,
    /// The pins that replicas share, if they do.
    shared_pins: Option<Arc<SharedPins>>,
    /// The listings that replicas share, if they do.
    shared_listings: Option<Arc<SharedListings>>,
    /// Stops the keeper of each link, by the id of the link.
    keepers: BTreeMap<u64, CancellationToken>,
    /// The way callers are authenticated.
    pub(super) authentication: Authentication,
    /// Makes the rules for data.
    data_guard: DataGuard,
    pub(super) export: Export,
}

impl Core {
    /// Starts to keep every upstream, without waiting for any.
    ///
    /// # Errors
    /// Fails if an upstream or the schedule cannot be set up.
    pub async fn start(config: Arc<Config>, options: &Options) -> Result<Self, ServeError> {
        // Fails if another part of the process has installed a provider, which will do as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let files = Arc::new(Files::default());
        let mut around = make_context(&config, options, &files, &tasks, &shutdown);
        let shared = replicas::start(&config, options.exports, &mut around).await?;
        let export = Export::start(&config, options, &around)?;
        let authentication = Authentication::new(&files, &around.auth, &around.memory);
        tasks.spawn(files.watch(shutdown.clone()));
        let links = config.upstreams.values();
        let links = links.map(|upstream| make_link(upstream, &around));
        let links = links.collect::<Result<Arc<[_]>, _>>()?;
        let mut state = State::new(Arc::clone(&config), links.iter().map(|link| link.link_id));
        let store = open_store(&config, options, &links, &mut state).await;
        let sharing = begin_sharing(shared.as_ref(), &around.auth);
        let (shared_pins, shared_listings) = sharing.clone().unzip();
        let from = (store.clone(), shared_pins.as_deref());
        let restored = restore_listings(from, &links, &mut state).await;
        let catalog = restored.publish.unwrap_or_else(|| empty_catalog(&config));
        let (metrics, first_links) = (Arc::clone(&around.metrics), Arc::clone(&links));
        let mut data_guard = DataGuard::new(&metrics, &tasks, &shutdown, options.stores);
        let guard = data_guard.make(&config).await?;
        let hooks = make_hooks(&config, &Hooks::default(), &around)?;
        let first = Snapshot::first(config, first_links, catalog, metrics);
        let first = first.with_guard(guard).with_hooks(hooks);
        let first = first.with_shared_rates(shared.clone().map(SharedRates::new));
        let audit = audit::start(options.stores, &first)?;
        // The record file may be new: children may not read it.
        around.secret_paths.follow(&first.config);
        let live = Arc::new(Live::new(first).with_audit(audit).with_store(shared));
        let writer = StoreWriter::for_both(store.clone(), sharing).map(Arc::new);
        let changed = &restored.pins_changed;
        drop(drift::store_pins(&state, changed, writer.as_deref()));
        if let Some(writer) = &writer {
            tasks.spawn(Arc::clone(writer).run(shutdown.clone()));
        }
        let (commands, received) = mpsc::channel(COMMANDS);
        let accepts = AcceptHandle::new(&commands);
        share_pins(shared_pins.as_ref(), &state, (&live, accepts), &around.auth);
        tasks.spawn(publisher::run(Arc::clone(&live), state, received, writer));
        let mut core = Self {
            live,
            shutdown,
            tasks,
            schedule: Schedule::start().await?,
            around,
            commands,
            store,
            shared_pins,
            shared_listings,
            keepers: BTreeMap::new(),
            authentication,
            data_guard,
            export,
        };
        for link in links.iter() {
            core.schedule.add(link).await?;
            core.start_keeper(link);
        }
        Ok(core)
    }

    /// Applies another config, and waits until callers see it. An upstream whose config is the same keeps
    /// its link, and with it sessions, credentials and calls under way. One whose config differs gets a
    /// new link; the old link ends after its last call. Returns what became of the upstreams.
    ///
    /// # Errors
    /// Fails if an upstream cannot be set up; then everything stays as it was.
    pub async fn configure(&mut self, config: Arc<Config>) -> Result<Reconfigured, ServeError> {
        let authentication = self.authentication.prepare(&config)?;
        let guard = self.data_guard.make(&config).await?;
        let export = self.export.prepare(&config)?;
        let hooks = make_hooks(&config, &self.live.load().hooks, &self.around)?;
        self.around.secret_paths.follow(&config);
        let snapshot = self.live.load_full();
        let known = snapshot.links().iter().map(|link| (link.id(), link));
        let known: BTreeMap<_, _> = known.collect();
        let mut done = Reconfigured::default();
        let (mut links, mut fresh) = (Vec::new(), Vec::new());
        for upstream in config.upstreams.values() {
            let name = upstream.id.as_str().to_owned();
            let earlier = known.get(&upstream.id).copied();
            match earlier {
                Some(link) if link.config.fingerprint == upstream.fingerprint => {
                    links.push(Arc::clone(link));
                    continue;
                }
                Some(_) => done.changed.push(name),
                None => done.added.push(name),
            }
            let link = make_link(upstream, &self.around)?;
            inherit_listing(earlier, &link);
            fresh.push(Arc::clone(&link));
            links.push(link);
        }
        for link in snapshot.links().iter() {
            if !config.upstreams.contains_key(link.id()) {
                done.removed.push(link.id().as_str().to_owned());
            }
        }
        let links: Arc<[_]> = links.into();
        let from = (self.store.clone(), self.shared_pins.as_deref());
        let pins = load_pins(from, &fresh).await;
        if self.store.is_none() && !is_gated(&snapshot.config) {
            warn_of_config(&config);
        }
        let drain = config.listen.drain;
        for link in &fresh {
            if let Err(error) = self.schedule.add(link).await {
                for link in &fresh {
                    self.schedule.remove(link.link_id).await;
                }
                return Err(error.into());
            }
        }
        self.authentication.apply(authentication);
        self.export.apply(export);
        self.publish(config, Arc::clone(&links), pins, (guard, hooks))
            .await;
        // Only now: the publisher ignores listings of links that it does not know.
        fresh.iter().for_each(|link| self.start_keeper(link));
        let kept: BTreeSet<_> = links.iter().map(|link| link.link_id).collect();
        for link in snapshot.links().iter() {
            if !kept.contains(&link.link_id) {
                self.retire(link, drain).await;
            }
        }
        Ok(done)
    }

    /// Publishes another config, and waits until callers see it.
    async fn publish(
        &self,
        config: Arc<Config>,
        links: Arc<[Arc<Link>]>,
        pins: Vec<(u64, Pins)>,
        (guard, hooks): (Option<Arc<Guard>>, Arc<Hooks>),
    ) {
        let (done, told) = oneshot::channel();
        let new = NewConfig {
            hooks,
            config,
            links,
            pins,
            guard,
            done,
        };
        let command = PublisherCommand::Configure(Box::new(new));
        if self.commands.send(command).await.is_ok() {
            let _ = told.await;
        }
    }

    /// Applies a config that differs from the one in force only in the places (file and line) of its
    /// settings, which operators are shown.
    pub async fn relocate(&self, config: Arc<Config>) {
        let (done, told) = oneshot::channel();
        let command = PublisherCommand::Relocate { config, done };
        if self.commands.send(command).await.is_ok() {
            let _ = told.await;
        }
    }

    /// Returns the bytes that may be kept.
    #[must_use]
    pub fn memory(&self) -> &Arc<MemoryBudget> {
        &self.around.memory
    }

    /// Returns what credentials use: secrets, and the configurations of TLS.
    pub(super) fn credentials(&self) -> &CredentialsContext {
        &self.around.auth
    }

    /// Returns the handle that accepts changed definitions.
    #[must_use]
    pub fn accepts(&self) -> AcceptHandle {
        AcceptHandle::new(&self.commands)
    }

    /// Starts the keeper of an upstream.
    fn start_keeper(&mut self, link: &Arc<Link>) {
        let shutdown = self.shutdown.child_token();
        self.keepers.insert(link.link_id, shutdown.clone());
        let keeper = Keeper {
            link: Arc::clone(link),
            commands: self.commands.clone(),
            shared: self.shared_listings.clone().filter(|_| is_shared(link)),
            shutdown,
        };
        self.tasks.spawn(keeper.run());
    }

    /// Ends a link that callers no longer see, once its calls are over or `drain` has passed.
    async fn retire(&mut self, link: &Arc<Link>, drain: Duration) {
        self.schedule.remove(link.link_id).await;
        link.retire();
        let Some(keeper) = self.keepers.remove(&link.link_id) else {
            return;
        };
        let link = Arc::clone(link);
        self.tasks.spawn(async move {
            let quiet = async {
                while link.gate.load().in_flight > 0 {
                    tokio::time::sleep(DRAIN_POLL).await;
                }
            };
            tokio::select! {
                _ = tokio::time::timeout(drain, quiet) => keeper.cancel(),
                () = keeper.cancelled() => {}
            }
        });
    }

    /// Returns the current snapshot, and notice of new ones.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Waits until every upstream has been listed or has failed once.
    pub async fn settled(&self) {
        self.live.settled().await;
    }

    /// Stops: sessions and child processes end, and tasks are awaited within a grace period.
    pub async fn stop(self) {
        let Self {
            live,
            shutdown,
            tasks,
            schedule,
            commands,
            ..
        } = self;
        shutdown.cancel();
        live.load_full().hooks.stop();
        schedule.stop().await;
        // The publisher ends with the last who may tell it something.
        drop(commands);
        tasks.close();
        if tokio::time::timeout(STOP_GRACE, tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                left = tasks.len(),
                "not everything ended within the grace period"
            );
        }
        // After the last request, whose record is written when it ends.
        if let Some(audit) = live.audit() {
            audit.stop().await;
        }
    }
}

/// Returns where listings and pins are stored, if they are. A command that only reads pins has them in
/// `state` then.
async fn open_store(
    config: &Config,
    options: &Options,
    links: &Arc<[Arc<Link>]>,
    state: &mut State,
) -> Option<ListingStore> {
    let store = config.state_dir.as_deref().map(ListingStore::new);
    if options.stores {
        warn_of_config(config);
    } else if let Some(store) = store.clone().filter(|_| options.reads_pins) {
        apply_stored_pins(store, Arc::clone(links), state).await;
    }
    store.filter(|_| options.stores)
}

fn empty_catalog(config: &Config) -> Arc<Catalog> {
    let page_size = config.listen.page_size.get();
    Arc::new(Catalog::merge(&config.naming, page_size, &[]))
}

/// Returns whether the replicas have an upstream in common. A child process is each one's own.
fn is_shared(link: &Link) -> bool {
    match link.wire {
        Wire::Http(_) => true,
        Wire::Child(_) => false,
    }
}

/// Gives a new link the listing of the earlier one, which callers see until the next listing.
fn inherit_listing(earlier: Option<&Arc<Link>>, link: &Link) {
    if let Some(earlier) = earlier {
        link.health.restore_report(ListingReport {
            stale: earlier.health.is_stale(),
            warnings: Vec::new(),
            ..earlier.health.report()
        });
        if let Some(listing) = earlier.rounds.listing() {
            link.rounds.set_listing(&listing);
        }
    }
}

fn make_link(
    upstream: &Arc<config::Upstream>,
    around: &ConnectorContext,
) -> Result<Arc<Link>, ServeError> {
    connector::build_link(upstream, around).map_err(|source| ServeError::Upstream {
        upstream: upstream.id.clone(),
        source,
    })
}
