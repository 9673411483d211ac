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
            store: None,
            own_key: None,
        }
    }

    /// Makes the rules of a config; `None` if they let everything pass. It may read the state folder.
    ///
    /// # Errors
    /// The state folder or a key cannot be used.
    pub(super) fn make(&mut self, config: &Config) -> Result<Option<Arc<Guard>>, ServeError> {
        // Without pseudonyms first: a config without rules needs no key.
        if Guard::of(config, None, &self.metrics)?.is_none() {
            return Ok(None);
        }
        let pseudonyms = Arc::new(self.pseudonyms(config)?);
        let guard = Guard::of(config, Some(pseudonyms), &self.metrics)?;
        Ok(guard.map(Arc::new))
    }

    fn pseudonyms(&mut self, config: &Config) -> Result<Pseudonyms, ServeError> {
        let texts = load_pseudonym_keys(config, self.stores, &mut self.own_key)?;
        let keys = PseudonymKeys::from_texts(texts.iter().map(String::as_str))?;
        let scheme = match config.guard.pseudonyms.form {
            PseudonymForm::Sealed => Scheme::Sealed,
            PseudonymForm::Stored => Scheme::Stored(self.store(config)?),
        };
        let own = config.guard.detectors.iter();
        let own = own.filter_map(|custom| Class::own(&custom.class).ok());
        Ok(Pseudonyms::new(keys, scheme, own))
    }

    fn store(&mut self, config: &Config) -> Result<Arc<PseudonymStore>, ServeError> {
        if let Some(store) = &self.store {
            return Ok(Arc::clone(store));
        }
        let limits = StoreLimits {
            keep: config.guard.pseudonyms.keep,
            ..StoreLimits::default()
        };
        let store = match config.state_dir.as_ref().filter(|_| self.stores) {
            Some(dir) => {
                let failed = |source| ServeError::State {
                    path: dir.join("pseudonyms"),
                    source,
                };
                let store = Arc::new(PseudonymStore::open(dir, limits).map_err(failed)?);
                let writing = store_changes(Arc::clone(&store), self.shutdown.clone());
                self.tasks.spawn(writing);
                store
            }
            None => Arc::new(PseudonymStore::in_memory(limits)),
        };
        self.store = Some(Arc::clone(&store));
        Ok(store)
    }
}
