//! The store that replicas share, and the replicas themselves: the ways to them, and their figures.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::{Config, ReplicaStore, TlsSettings};
use crate::connector::ConnectorContext;
use crate::credentials::CredentialsContext;
use crate::credentials::secrets::{SecretCell, SecretUnavailable};
use crate::front::{Forwarding, ReplicaTarget};
use crate::metrics::{Metrics, names};
use crate::replicas::{
    Dial, DialError, DialedStore, ReplicaId, SharedStore, StoreLogin, StoreStream,
};
use crate::seal::{KeyRing, NoRandom};
use crate::secret::Secret;
use crate::server::error::ServeError;
use crate::tls::{self, KeySource};

/// How long a starting weir waits for the store. Without it, it starts with what it has itself.
const START: Duration = Duration::from_secs(1);

/// The way to the store.
struct StoreTarget {
    host: Box<str>,
    port: u16,
    database: u32,
    username: Option<Box<str>>,
    password: Option<SecretCell>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Starts to keep a connection to the store of a config, if it has one and this process serves.
/// Waits a moment for the connection.
///
/// # Errors
/// Its TLS or its password cannot be set up.
pub(super) async fn start(
    config: &Config,
    serves: bool,
    around: &mut ConnectorContext,
) -> Result<Option<Arc<SharedStore>>, ServeError> {
    let settings = config.replicas.as_deref().filter(|_| serves);
    let shared = match settings.and_then(|settings| Some((settings, settings.store.as_ref()?))) {
        Some((settings, store)) => {
            let keys = config.sealing_keys.iter().map(Secret::expose);
            let keys = KeyRing::from_texts(keys).ok_or(NoRandom)?;
            let target = StoreTarget::new(store, &around.auth)?;
            let store = SharedStore::new(settings, store, &keys)?;
            let stop = around.auth.stop.clone();
            let running = Arc::clone(&store).run(dial(target), stop);
            around.tasks.spawn(running);
            store.reached(START).await;
            Some(store)
        }
        None => None,
    };
    around.auth.shared.clone_from(&shared);
    if serves {
        observe(shared.as_ref(), &around.metrics);
    }
    Ok(shared)
}

/// Registers the figures of the store; 0 without one.
fn observe(shared: Option<&Arc<SharedStore>>, metrics: &Metrics) {
    let value = |of: fn(&SharedStore) -> u64| {
        let shared = shared.cloned();
        move || shared.as_deref().map_or(0, of)
    };
    metrics.observe(&names::STORE_UP, value(|store| u64::from(store.is_up())));
    metrics.observe(&names::STORE_LOSSES, value(|store| store.status().losses));
    metrics.observe(
        &names::STORE_FAILURES,
        value(|store| store.status().failures),
    );
    let listings = [
        (
            &names::LISTINGS_LED,
            value(|store| store.status().listings.led),
        ),
        (
            &names::LISTINGS_TAKEN,
            value(|store| store.status().listings.taken),
        ),
        (
            &names::LISTINGS_REFUSED,
            value(|store| store.status().listings.refused),
        ),
    ];
    for (family, value) in listings {
        metrics.observe(family, value);
    }
}

impl StoreTarget {
    fn new(store: &ReplicaStore, auth: &CredentialsContext) -> Result<Self, ServeError> {
        let password = store.password.as_ref();
        let password = password.map(|password| auth.secrets.open(password));
        let tls = store.tls.as_ref();
        let tls = tls.map(|tls| set_up_tls(tls, &store.host, auth));
        Ok(Self {
            host: store.host.clone(),
            port: store.port,
            database: store.database,
            username: store.username.clone(),
            password: password.transpose().map_err(ServeError::ReplicasKey)?,
            tls: tls.transpose()?,
        })
    }

    async fn dial(&self) -> Result<DialedStore, DialError> {
        let password = match &self.password {
            Some(password) => Some(password.read().await.map_err(|error| unreadable(&error))?),
            None => None,
        };
        let address = (&*self.host, self.port);
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| DialError(error.kind().to_string().into()))?;
        // Commands are small, and answers are waited for.
        let _ = stream.set_nodelay(true);
        let stream: Box<dyn StoreStream> = match &self.tls {
            Some((connector, name)) => {
                let connected = connector.connect(name.clone(), stream).await;
                Box::new(connected.map_err(|error| DialError(tls_reason(&error).into()))?)
            }
            None => Box::new(stream),
        };
        Ok(DialedStore {
            stream,
            login: StoreLogin {
                database: self.database,
                username: self.username.clone(),
                password,
            },
        })
    }
}

/// Returns TLS towards a host.
fn set_up_tls(
    settings: &TlsSettings,
    host: &str,
    auth: &CredentialsContext,
) -> Result<(TlsConnector, ServerName<'static>), ServeError> {
    let identity = settings.identity.as_ref();
    let key = identity.map(|identity| auth.secrets.open(&identity.key));
    let key = key.transpose().map_err(ServeError::ReplicasKey)?;
    let key = key.map(|key| Box::new(key) as Box<dyn KeySource>);
    let config = auth.tls.for_upstream(settings, key);
    let config = config.map_err(ServeError::Replicas)?;
    let name = settings.server_name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(name.to_owned());
    let name = name.map_err(|_| ServeError::ReplicasName)?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// Returns what forwards to the other replicas of a config, if it names any.
///
/// # Errors
/// Their TLS cannot be set up, or there are no keys.
pub(super) fn forwarding(
    config: &Config,
    keys: &KeyRing,
    own: ReplicaId,
    auth: &CredentialsContext,
    metrics: &Arc<Metrics>,
) -> Result<Option<Forwarding>, ServeError> {
    let settings = config.replicas.as_deref();
    let Some(settings) = settings.filter(|settings| !settings.peers.is_empty()) else {
        return Ok(None);
    };
    let targets = settings.peers.iter().map(|peer| {
        let tls = peer.has_tls;
        let tls = tls.then(|| set_up_tls(&settings.peer_tls, &peer.host, auth));
        Ok(ReplicaTarget {
            host: peer.host.clone(),
            port: peer.port,
            tls: tls.transpose()?,
        })
    });
    let targets = targets.collect::<Result<_, ServeError>>()?;
    Ok(Some(Forwarding::new(keys, own, targets, metrics)?))
}

fn dial(target: StoreTarget) -> Dial {
    let target = Arc::new(target);
    Box::new(move || {
        let target = Arc::clone(&target);
        Box::pin(async move { target.dial().await })
    })
}

fn unreadable(error: &SecretUnavailable) -> DialError {
    DialError(error.to_string().into())
}

/// Describes why TLS failed.
fn tls_reason(error: &io::Error) -> String {
    let inner = error.get_ref();
    let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
    tls.map_or_else(|| error.kind().to_string(), tls::describe)
}
