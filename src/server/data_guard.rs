//! The rules for the data of requests, as the config says, with their pseudonyms.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::classes::Class;
use crate::config::{Config, PseudonymForm};
use crate::guard::Guard;
use crate::guard::pseudonyms::{
    PseudonymKeys, PseudonymStore, Pseudonyms, Scheme, StoreLimits, store_changes,
};
use crate::metrics::Metrics;
use crate::server::error::ServeError;
use crate::server::state_dir::load_pseudonym_keys;

/// Makes the rules for data of each config that comes into force. Values behind pseudonyms are kept
/// in one store for all of them.
pub(super) struct DataGuard {
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// Whether this process may write in the state folder.
    stores: bool,
    kept: KeptPseudonyms,
}

/// The parts of pseudonyms that outlive a config.
#[derive(Clone, Default)]
struct KeptPseudonyms {
    store: Option<Arc<PseudonymStore>>,
    /// The key of a weir without one in its config and without a state folder.
    own_key: Option<String>,
}

impl DataGuard {
    pub(super) fn new(
        metrics: &Arc<Metrics>,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
        stores: bool,
    ) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
            stores,
            kept: KeptPseudonyms::default(),
        }
    }

    /// Makes the rules of a config; `None` if they let everything pass. It may read the state folder,
    /// and compiles detectors: both on a thread for blocking work.
    ///
    /// # Errors
    /// The state folder or a key cannot be used.
    pub(super) async fn make(
        &mut self,
        config: &Arc<Config>,
    ) -> Result<Option<Arc<Guard>>, ServeError> {
        let (config, metrics) = (Arc::clone(config), Arc::clone(&self.metrics));
        let (mut kept, stores) = (self.kept.clone(), self.stores);
        let making = tokio::task::spawn_blocking(move || {
            let made = kept.make(&config, &metrics, stores);
            made.map(|guard| (guard, kept))
        });
        let made = making.await.map_err(|_| ServeError::Unfinished)?;
        let (guard, kept) = made?;
        if let (Some(store), None) = (&kept.store, &self.kept.store)
            && store.has_file()
        {
            let writing = store_changes(Arc::clone(store), self.shutdown.clone());
            self.tasks.spawn(writing);
        }
        self.kept = kept;
        Ok(guard)
    }
}

impl KeptPseudonyms {
    /// Makes the rules of a config. Blocks.
    fn make(
        &mut self,
        config: &Config,
        metrics: &Arc<Metrics>,
        stores: bool,
    ) -> Result<Option<Arc<Guard>>, ServeError> {
        // Without pseudonyms first: a config without rules needs no key.
        if Guard::of(config, None, metrics)?.is_none() {
            return Ok(None);
        }
        let pseudonyms = Arc::new(self.pseudonyms(config, stores)?);
        let guard = Guard::of(config, Some(pseudonyms), metrics)?;
        Ok(guard.map(Arc::new))
    }

    fn pseudonyms(&mut self, config: &Config, stores: bool) -> Result<Pseudonyms, ServeError> {
        let texts = load_pseudonym_keys(config, stores, &mut self.own_key)?;
        let keys = PseudonymKeys::from_texts(texts.iter().map(String::as_str))?;
        let scheme = match config.guard.pseudonyms.form {
            PseudonymForm::Sealed => Scheme::Sealed,
            PseudonymForm::Stored => Scheme::Stored(self.store(config, stores)?),
        };
        let own = config.guard.detectors.iter();
        let own = own.filter_map(|custom| Class::own(&custom.class).ok());
        Ok(Pseudonyms::new(keys, scheme, own))
    }

    fn store(&mut self, config: &Config, stores: bool) -> Result<Arc<PseudonymStore>, ServeError> {
        let keep = config.guard.pseudonyms.keep;
        if let Some(store) = &self.store {
            store.set_keep(keep);
            return Ok(Arc::clone(store));
        }
        let limits = StoreLimits {
            keep,
            ..StoreLimits::default()
        };
        let store = match config.state_dir.as_ref().filter(|_| stores) {
            Some(dir) => {
                let failed = |source| ServeError::State {
                    path: dir.join("pseudonyms"),
                    source,
                };
                PseudonymStore::open(dir, limits).map_err(failed)?
            }
            None => PseudonymStore::in_memory(limits),
        };
        Ok(Arc::clone(self.store.insert(Arc::new(store))))
    }
}
